"""From an examined folder to the samples of a class."""

from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from loco_tools.datasets.mvtec_loco import CONFIG, KIND_FOLDERS, DefectType, read_config
from loco_tools.datasets.sample import DatasetClass, Defect, Kind, Layout, Sample, Split
from loco_tools.datasets.sidecar import Provenance, read_provenance, sidecar_path
from loco_tools.datasets.validation.class_tree import MaskFile
from loco_tools.datasets.validation.examination import Examination
from loco_tools.errors import DatasetError
from loco_tools.wording import plural, printable


def build_class(examination: Examination) -> DatasetClass:
    """The samples of a class.

    Raises:
        DatasetError: there is a fault that makes reading the class impossible.
    """
    root, layout, contents = examination.tree.root, examination.layout, examination.contents
    if layout == "unknown":
        raise DatasetError(f"{printable(str(root))}: is not a class folder any more")
    provenance = read_provenance(sidecar_path(root))
    types = read_config(root / CONFIG) if contents.masks and layout != "mvtec_ad" else {}
    if refusals := examination.report.refusals:
        others = len(refusals) - 1
        more = f"; {plural(others, 'more error')}: loco-tools validate {root}" if others else ""
        raise DatasetError(printable(f"{refusals[0].sentence(root)}{more}"))
    masks: defaultdict[str, list[MaskFile]] = defaultdict(list)
    for mask in contents.masks:
        masks[mask.image].append(mask)
    splits: dict[Split, list[Sample]] = {"train": [], "validation": [], "test": []}
    for image in contents.images:
        kind = _kind_of(image.kind_folder, layout)
        known = provenance.get(image.path, Provenance())
        path = root / image.path
        splits[image.split].append(
            Sample(
                id=path.stem,
                class_name=root.name,
                split=image.split,
                kind=kind,
                kind_folder=image.kind_folder,
                image_path=path,
                defects=tuple(
                    _make_defect(mask, image.kind_folder, kind, examination, types)
                    for mask in masks[image.path]
                    if kind != "good"
                ),
                part=known.part,
                view=known.view,
                part_kind=known.part_kind,
            )
        )
    return DatasetClass(
        name=root.name,
        path=root,
        layout=layout,
        train=tuple(splits["train"]),
        validation=tuple(splits["validation"]),
        test=tuple(splits["test"]),
    )


def _kind_of(kind_folder: str, layout: Layout) -> Kind:
    """Defects of layouts that do not tell the kinds apart count as structural."""
    if kind_folder == "good":
        return "good"
    return KIND_FOLDERS[kind_folder] if layout == "mvtec_loco" else "structural"


def _make_defect(
    mask: MaskFile,
    kind_folder: str,
    kind: Literal["structural", "logical"],
    examination: Examination,
    types: Mapping[int, DefectType],
) -> Defect:
    """The defect of a mask; in MVTec AD its folder names it, otherwise the value of its pixels."""
    path: Path = examination.tree.root / mask.path
    inspection = examination.inspections[mask.path]
    if examination.layout == "mvtec_ad":
        return Defect(kind_folder, kind, path, packed=inspection.packed)
    value = inspection.values[0]
    return Defect(
        types[value].defect_name, kind, path, value, types[value].threshold, inspection.packed
    )
