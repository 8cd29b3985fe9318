"""Parts that the layouts share: listing images, reading masks, and building a class."""

import re
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from loco_tools.datasets.images import image_size, read_mask
from loco_tools.datasets.masks import PackedMask, positive_values
from loco_tools.datasets.sample import DatasetClass, Layout, Sample, Split
from loco_tools.datasets.sidecar import Provenance, read_provenance, sidecar_path
from loco_tools.errors import DatasetError

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp")


def natural_key(name: str) -> tuple[tuple[int, str], ...]:
    """Sort key that compares runs of digits by value.

    >>> sorted(["10.png", "9.png", "a2", "a10"], key=natural_key)
    ['a2', 'a10', '9.png', '10.png']
    """
    parts = re.findall(r"\d+|\D+", name)
    return tuple((int(part), "") if part.isdecimal() else (-1, part) for part in parts)


def subfolders(folder: Path) -> list[Path]:
    """The visible folders in a folder in natural order; empty if the folder does not exist."""
    if not folder.is_dir():
        return []
    visible = [path for path in folder.iterdir() if path.is_dir() and path.name[0] != "."]
    return sorted(visible, key=lambda path: natural_key(path.name))


def images_in(folder: Path) -> dict[str, Path]:
    """The visible images of a folder by their stem, in natural order.

    Raises:
        DatasetError: two images share a stem, so their masks and anomaly maps are ambiguous.
    """
    if not folder.is_dir():
        return {}
    images: dict[str, Path] = {}
    for path in sorted(folder.iterdir(), key=lambda path: natural_key(path.name)):
        if path.suffix.lower() not in IMAGE_SUFFIXES or path.name[0] == ".":
            continue
        if path.stem in images:
            raise DatasetError(
                f"{path}: expected one image of the name {path.stem}, got {images[path.stem].name} "
                "as well; next step: rename or remove one of them"
            )
        images[path.stem] = path
    return images


def make_class(class_dir: Path, layout: Layout, anomalous: Iterable[Sample]) -> DatasetClass:
    """Build a class from its good images (`<split>/good`), its anomalous images and its sidecar.

    Args:
        class_dir: the class folder.
        layout: the layout that was recognised.
        anomalous: the anomalous test images with their defects.

    Raises:
        DatasetError: two images share a stem, or the sidecar cannot be read.
    """
    provenance = read_provenance(sidecar_path(class_dir))

    def located(sample: Sample) -> Sample:
        image = sample.image_path.relative_to(class_dir).as_posix()
        known = provenance.get(image, Provenance())
        return replace(sample, part=known.part, view=known.view, part_kind=known.part_kind)

    def good(split: Split) -> tuple[Sample, ...]:
        images = images_in(class_dir / split / "good")
        return tuple(
            located(Sample(stem, class_dir.name, split, "good", "good", path))
            for stem, path in images.items()
        )

    return DatasetClass(
        name=class_dir.name,
        path=class_dir,
        layout=layout,
        train=good("train"),
        validation=good("validation"),
        test=(*good("test"), *map(located, anomalous)),
    )


class ReadMask(NamedTuple):
    """A decoded mask.

    Attributes:
        values: the positive pixel values in the file.
        packed: the pixels.
    """

    values: tuple[int, ...]
    packed: PackedMask


def read_masks(
    masks: Iterable[tuple[Path, Path]], *, in_colour: bool = False
) -> dict[Path, ReadMask]:
    """Decode masks on all cores.

    Args:
        masks: pairs of a mask and the image that it belongs to.
        in_colour: see `read_mask`.

    Raises:
        DatasetError: a mask or an image is missing or damaged, they differ in size, or a mask has
            no positive pixel.
    """

    def read(pair: tuple[Path, Path]) -> ReadMask:
        path, image_path = pair
        mask = read_mask(path, in_colour=in_colour)
        if mask.shape != (expected := image_size(image_path)):
            raise DatasetError(
                f"{path}: expected a mask of {expected} (height, width) like {image_path}, "
                f"got {mask.shape}"
            )
        values = positive_values(mask)
        if not values:
            raise DatasetError(
                f"{path}: expected at least one positive pixel, got an empty mask; next step: mark "
                f"the defect, or remove the mask and move {image_path} to test/good"
            )
        return ReadMask(values, PackedMask.pack(mask))

    pairs = list(masks)
    with ThreadPoolExecutor() as pool:
        return {path: mask for (path, _), mask in zip(pairs, pool.map(read, pairs), strict=True)}
