"""What the layouts share: listing images, checking the masks of a class, joining its samples."""

import re
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from loco_tools.datasets.images import image_size, read_mask
from loco_tools.datasets.masks import PackedMask
from loco_tools.datasets.sample import DatasetClass, Layout, Sample, Split
from loco_tools.datasets.sidecar import with_origins
from loco_tools.errors import DatasetError

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp")


def natural_key(name: str) -> tuple[tuple[int, str], ...]:
    """Sort key that compares runs of digits by value.

    >>> sorted(["10.png", "9.png", "a2", "a10"], key=natural_key)
    ['9.png', '10.png', 'a2', 'a10']
    """
    parts = re.findall(r"\d+|\D+", name)
    return tuple((int(part), "") if part.isdecimal() else (-1, part) for part in parts)


def subfolders(folder: Path) -> list[Path]:
    """The folders in a folder in natural order, without hidden ones; none if it does not exist."""
    if not folder.is_dir():
        return []
    found = [path for path in folder.iterdir() if path.is_dir() and path.name[0] != "."]
    return sorted(found, key=lambda path: natural_key(path.name))


def images_in(folder: Path) -> dict[str, Path]:
    """The images of a folder by the stem of their name, in natural order; hidden files left out.

    Raises:
        DatasetError: two images share a stem, so neither their masks nor their maps are certain.
    """
    if not folder.is_dir():
        return {}
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir(), key=lambda path: natural_key(path.name)):
        if path.suffix.lower() not in IMAGE_SUFFIXES or path.name[0] == ".":
            continue
        if path.stem in found:
            raise DatasetError(
                f"{path}: expected one image of the name {path.stem}, got {found[path.stem].name} "
                "as well; next step: rename or remove one of them"
            )
        found[path.stem] = path
    return found


def class_of(class_dir: Path, layout: Layout, anomalous: Iterable[Sample]) -> DatasetClass:
    """A class with its good images from `<split>/good`, and what its sidecar knows of all of them.

    Raises:
        DatasetError: as for `images_in` and `with_origins`.
    """
    return DatasetClass(
        name=class_dir.name,
        path=class_dir,
        layout=layout,
        train=with_origins(class_dir, _good(class_dir, "train")),
        validation=with_origins(class_dir, _good(class_dir, "validation")),
        test=with_origins(class_dir, [*_good(class_dir, "test"), *anomalous]),
    )


def _good(class_dir: Path, split: Split) -> Iterator[Sample]:
    for stem, path in images_in(class_dir / split / "good").items():
        yield Sample(stem, class_dir.name, split, "good", "good", path)


class ReadMask(NamedTuple):
    """A mask, and the positive values that it has in the file."""

    values: tuple[int, ...]
    packed: PackedMask


def read_masks(
    masks: Iterable[tuple[Path, Path]], *, in_colour: bool = False
) -> dict[Path, ReadMask]:
    """Decode masks on all cores.

    Args:
        masks: pairs of a mask and the image that it belongs to.
        in_colour: as for `read_mask`.

    Raises:
        DatasetError: a mask or an image is missing or damaged, they differ in size, or a mask has
            no positive pixel.
    """
    pairs = list(masks)
    with ThreadPoolExecutor() as pool:
        found = pool.map(lambda pair: _read_checked(pair[0], pair[1], in_colour), pairs)
        return {path: mask for (path, _), mask in zip(pairs, found, strict=True)}


def _read_checked(path: Path, image_path: Path, in_colour: bool) -> ReadMask:
    mask = read_mask(path, in_colour=in_colour)
    if mask.shape != (expected := image_size(image_path)):
        raise DatasetError(
            f"{path}: expected a mask of {expected} (height, width) like {image_path}, "
            f"got {mask.shape}"
        )
    counts = cv2.calcHist([mask], [0], None, [256], [0, 256]).ravel()
    values = tuple(int(value) for value in np.flatnonzero(counts) if value > 0)
    if not values:
        raise DatasetError(
            f"{path}: expected at least one positive pixel, got an empty mask; next step: mark "
            f"the defect, or remove the mask and move {image_path} to test/good"
        )
    return ReadMask(values, PackedMask.pack(mask))
