"""The layout of AutoVI (Carvalho et al., Renault Group, 2024, doi 10.5281/zenodo.10459003).

    <class>/train/good/0000.png
    <class>/test/{good,<defect>,multiple}/0000.png
    <class>/ground_truth/<defect>/0000/0000.png, 0001.png, ...
    <class>/defects_config.json

It is that of MVTec LOCO AD with a folder per defect type, as in MVTec AD, in place of the two
kinds; images with several types lie in `multiple`. The name of a defect comes from the value of
its mask and `defects_config.json`, not from its folder. Masks may be stored as RGB or RGBA.

The tree does not say which defects are logical, so all of them count as structural.
"""

from pathlib import Path

from loco_tools.datasets.mvtec_loco import DefectKind, anomalous_samples
from loco_tools.datasets.sample import DatasetClass
from loco_tools.datasets.tree import class_of, images_in, subfolders
from loco_tools.errors import DatasetError


def load(class_dir: Path) -> DatasetClass:
    """Read a class folder; every mask is decoded once, because its value says which defect it is.

    Raises:
        DatasetError: as for MVTec LOCO AD.
    """
    _refuse_masks_without_images(class_dir)
    kinds: dict[str, DefectKind] = {
        path.name: "structural" for path in _defect_folders(class_dir / "test")
    }
    return class_of(class_dir, "autovi", anomalous_samples(class_dir, kinds, masks_in_colour=True))


def _refuse_masks_without_images(class_dir: Path) -> None:
    for folder in _defect_folders(class_dir / "ground_truth"):
        expected = class_dir / "test" / folder.name
        if not expected.is_dir() and any(images_in(path) for path in subfolders(folder)):
            raise DatasetError(
                f"{folder}: expected images of these masks in {expected}, got no such folder; "
                "next step: rename one of the two"
            )


def _defect_folders(folder: Path) -> list[Path]:
    return [path for path in subfolders(folder) if path.name != "good"]
