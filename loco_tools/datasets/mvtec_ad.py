"""The layout of MVTec AD (Bergmann et al., CVPR 2019), optionally with a validation split.

    <class>/train/good/000.png
    <class>/validation/good/000.png                 optional
    <class>/test/{good,<defect>}/000.png
    <class>/ground_truth/<defect>/000_mask.png      or 000.png; any positive value is the defect

Each defect folder is a defect type and may have any name. The defects count as structural and have
no saturation threshold.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

from loco_tools.datasets.sample import DatasetClass, Defect, Sample
from loco_tools.datasets.tree import images_in, make_class, read_masks, subfolders
from loco_tools.errors import DatasetError
from loco_tools.wording import plural


def load(class_dir: Path) -> DatasetClass:
    """Read a class folder; every mask is decoded once to check it.

    Raises:
        DatasetError: an anomalous image has no mask or a mask no image; a mask is damaged, empty
            or differs in size from its image; or the sidecar cannot be read.
    """
    return make_class(class_dir, "mvtec_ad", _anomalous_samples(class_dir))


def _anomalous_samples(class_dir: Path) -> Iterator[Sample]:
    for folder in subfolders(class_dir / "ground_truth"):
        expected = class_dir / "test" / folder.name
        if folder.name != "good" and images_in(folder) and not expected.is_dir():
            raise DatasetError(
                f"{folder}: expected images of these masks in {expected}, got no such folder; "
                "next step: rename one of the two"
            )
    for folder in subfolders(class_dir / "test"):
        if folder.name == "good":
            continue
        images = images_in(folder)
        masks = _find_masks(images, class_dir / "ground_truth" / folder.name)
        read = read_masks((masks[stem], path) for stem, path in images.items())
        for stem, path in images.items():
            mask = masks[stem]
            defect = Defect(folder.name, "structural", mask, packed=read[mask].packed)
            yield Sample(stem, class_dir.name, "test", "structural", folder.name, path, (defect,))


def _find_masks(images: Mapping[str, Path], folder: Path) -> dict[str, Path]:
    """The mask of each image of a defect folder, by the stem of the image."""
    present = images_in(folder)
    masks: dict[str, Path] = {}
    for stem, path in images.items():
        names = [name for name in (f"{stem}_mask", stem) if name in present]
        if len(names) != 1:
            got = " and ".join(present[name].name for name in names) or "none"
            raise DatasetError(
                f"{path}: expected one mask in {folder}, named {stem}_mask.png or {stem}.png, "
                f"got {got}"
            )
        masks[stem] = present.pop(names[0])
    if present:
        others = len(present) - 1
        rest = f" (and {plural(others, 'more such mask')})" if others else ""
        raise DatasetError(
            f"{next(iter(present.values()))}: expected an image of its name in the test folder "
            f"{folder.name}, got none{rest}; next step: add the image, or remove the mask"
        )
    return masks
