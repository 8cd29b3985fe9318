"""The layout of MVTec AD (Bergmann et al., CVPR 2019), also with a validation split.

    <class>/train/good/000.png
    <class>/validation/good/000.png                 optional
    <class>/test/{good,<defect>}/000.png
    <class>/ground_truth/<defect>/000_mask.png      or 000.png; any positive value is the defect

A defect folder is a defect type and may have any name. Its defects count as structural and have no
saturation threshold.
"""

from collections.abc import Iterator
from pathlib import Path

from loco_tools.datasets.sample import DatasetClass, Defect, Sample, Split
from loco_tools.datasets.sidecar import with_origins
from loco_tools.datasets.tree import images_in, positive_values, subfolders
from loco_tools.errors import DatasetError


def load(class_dir: Path) -> DatasetClass:
    """Read a class folder; every mask is decoded once, to be sure of it.

    Raises:
        DatasetError: an anomalous image has no mask, a mask no image; a mask is damaged, empty or
            of another size than its image; or the sidecar cannot be read.
    """
    test = tuple(_test(class_dir))
    masks = {d.mask_path: sample.image_path for sample in test for d in sample.defects}
    positive_values(masks.items())
    return DatasetClass(
        name=class_dir.name,
        path=class_dir,
        layout="mvtec_ad",
        train=with_origins(class_dir, _good(class_dir, "train")),
        validation=with_origins(class_dir, _good(class_dir, "validation")),
        test=with_origins(class_dir, test),
    )


def _good(class_dir: Path, split: Split) -> Iterator[Sample]:
    for stem, path in images_in(class_dir / split / "good").items():
        yield Sample(stem, class_dir.name, split, "good", "good", path)


def _test(class_dir: Path) -> Iterator[Sample]:
    yield from _good(class_dir, "test")
    anomalous = [path for path in subfolders(class_dir / "test") if path.name != "good"]
    marked = [path for path in subfolders(class_dir / "ground_truth") if path.name != "good"]
    for folder in marked:
        if images_in(folder) and not (class_dir / "test" / folder.name).is_dir():
            raise DatasetError(
                f"{folder}: expected images of these masks in {class_dir / 'test' / folder.name}, "
                "got no such folder; next step: rename one of the two"
            )
    for folder in anomalous:
        yield from _anomalous(class_dir, folder)


def _anomalous(class_dir: Path, folder: Path) -> Iterator[Sample]:
    mask_folder = class_dir / "ground_truth" / folder.name
    masks = images_in(mask_folder)
    for stem, path in images_in(folder).items():
        found = [name for name in (f"{stem}_mask", stem) if name in masks]
        if len(found) != 1:
            got = " and ".join(masks[name].name for name in found) or "none"
            raise DatasetError(
                f"{path}: expected one mask in {mask_folder}, named {stem}_mask.png or "
                f"{stem}.png, got {got}"
            )
        defect = Defect(name=folder.name, kind="structural", mask_path=masks.pop(found[0]))
        yield Sample(stem, class_dir.name, "test", "structural", folder.name, path, (defect,))
    if masks:
        mask = next(iter(masks.values()))
        raise DatasetError(
            f"{mask}: expected its image in {folder}, got none"
            + (f" (and {len(masks) - 1} more such masks)" if len(masks) > 1 else "")
            + "; next step: add the image, or remove the mask"
        )
