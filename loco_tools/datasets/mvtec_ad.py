"""The layout of MVTec AD (Bergmann et al., CVPR 2019), also with a validation split.

    <class>/train/good/000.png
    <class>/validation/good/000.png                 optional
    <class>/test/{good,<defect>}/000.png
    <class>/ground_truth/<defect>/000_mask.png      or 000.png; any positive value is the defect

A defect folder is a defect type and may have any name. Its defects count as structural and have no
saturation threshold.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

from loco_tools.datasets.sample import DatasetClass, Defect, Sample
from loco_tools.datasets.tree import class_of, images_in, read_masks, subfolders
from loco_tools.errors import DatasetError


def load(class_dir: Path) -> DatasetClass:
    """Read a class folder; every mask is decoded once, to be sure of it.

    Raises:
        DatasetError: an anomalous image has no mask, a mask no image; a mask is damaged, empty or
            of another size than its image; or the sidecar cannot be read.
    """
    return class_of(class_dir, "mvtec_ad", _anomalous(class_dir))


def _anomalous(class_dir: Path) -> Iterator[Sample]:
    anomalous = [path for path in subfolders(class_dir / "test") if path.name != "good"]
    marked = [path for path in subfolders(class_dir / "ground_truth") if path.name != "good"]
    for folder in marked:
        if images_in(folder) and not (class_dir / "test" / folder.name).is_dir():
            raise DatasetError(
                f"{folder}: expected images of these masks in {class_dir / 'test' / folder.name}, "
                "got no such folder; next step: rename one of the two"
            )
    for folder in anomalous:
        yield from _with_defect(class_dir, folder)


def _with_defect(class_dir: Path, folder: Path) -> Iterator[Sample]:
    images = images_in(folder)
    masks = _masks_of(images, class_dir / "ground_truth" / folder.name)
    read = read_masks((masks[stem], path) for stem, path in images.items())
    for stem, path in images.items():
        mask = masks[stem]
        defect = Defect(folder.name, "structural", mask, packed=read[mask].packed)
        yield Sample(stem, class_dir.name, "test", "structural", folder.name, path, (defect,))


def _masks_of(images: Mapping[str, Path], folder: Path) -> dict[str, Path]:
    """The mask of each image of a defect folder, by the stem of the image."""
    present = images_in(folder)
    masks: dict[str, Path] = {}
    for stem, path in images.items():
        found = [name for name in (f"{stem}_mask", stem) if name in present]
        if len(found) != 1:
            got = " and ".join(present[name].name for name in found) or "none"
            raise DatasetError(
                f"{path}: expected one mask in {folder}, named {stem}_mask.png or {stem}.png, "
                f"got {got}"
            )
        masks[stem] = present.pop(found[0])
    if present:
        rest = f" (and {len(present) - 1} more such masks)" if len(present) > 1 else ""
        raise DatasetError(
            f"{next(iter(present.values()))}: expected an image of its name in the test folder "
            f"{folder.name}, got none{rest}; next step: add the image, or remove the mask"
        )
    return masks
