"""The layout of AutoVI (Carvalho et al., Renault Group, 2024, doi 10.5281/zenodo.10459003).

    <class>/train/good/0000.png
    <class>/test/{good,<defect>,multiple}/0000.png
    <class>/ground_truth/<defect>/0000/0000.png, 0001.png, ...
    <class>/defects_config.json

It is the layout of MVTec LOCO AD with one folder per defect type, as in MVTec AD, in place of the
two kinds of anomalies. Images with several defect types lie in `multiple`. The name of a defect
comes from the pixel value of its mask and `defects_config.json`, not from its folder. Masks may be
stored as RGB or RGBA.

The layout does not record which defects are logical, so all of them count as structural.
"""

from pathlib import Path

from loco_tools.datasets.mvtec_loco import DefectKind, anomalous_samples
from loco_tools.datasets.sample import DatasetClass
from loco_tools.datasets.tree import images_in, make_class, subfolders
from loco_tools.errors import DatasetError


def load(class_dir: Path) -> DatasetClass:
    """Read a class folder; every mask is decoded once, because its value identifies the defect.

    Raises:
        DatasetError: as for MVTec LOCO AD.
    """
    for folder in subfolders(class_dir / "ground_truth"):
        expected = class_dir / "test" / folder.name
        has_masks = any(images_in(path) for path in subfolders(folder))
        if folder.name != "good" and has_masks and not expected.is_dir():
            raise DatasetError(
                f"{folder}: expected images of these masks in {expected}, got no such folder; "
                "next step: rename one of the two"
            )
    names = [path.name for path in subfolders(class_dir / "test") if path.name != "good"]
    kinds: dict[str, DefectKind] = dict.fromkeys(names, "structural")
    return make_class(
        class_dir, "autovi", anomalous_samples(class_dir, kinds, masks_in_colour=True)
    )
