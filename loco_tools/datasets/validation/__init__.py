"""Checking that a class is sound: every fault of a folder in one pass."""

from pathlib import Path
from typing import Literal

from loco_tools.datasets.mvtec_loco import CONFIG, KIND_FOLDERS
from loco_tools.datasets.reading import in_order
from loco_tools.datasets.sample import Layout
from loco_tools.datasets.validation.class_tree import (
    ClassTree,
    Contents,
    is_image,
    name_of,
    read_tree,
)
from loco_tools.datasets.validation.defects_config import check_config, check_use
from loco_tools.datasets.validation.file_inspection import Inspection, inspect_file
from loco_tools.datasets.validation.findings import Findings, Report
from loco_tools.datasets.validation.layout_ad import check_ad
from loco_tools.datasets.validation.layout_loco import check_autovi, check_loco
from loco_tools.datasets.validation.names import check_clashes
from loco_tools.datasets.validation.pixels import (
    check_images,
    check_masks,
    check_repeats,
    check_sizes,
)
from loco_tools.datasets.validation.sidecar import check_sidecar, read_sidecar
from loco_tools.errors import DatasetError
from loco_tools.progress import SILENT, Progress
from loco_tools.wording import listed, plural

_CHECKS = {"mvtec_loco": check_loco, "autovi": check_autovi, "mvtec_ad": check_ad}


def validate(path: Path | str, progress: Progress = SILENT) -> Findings:
    """Report every fault of a class folder in any layout, without stopping at the first.

    Nothing in the folder makes this function raise: files are listed without following links,
    headers are read before pixels, and each file is decoded once, on several threads. The same
    folder gives the same findings in the same order. `findings.CODES` lists all possible findings.

    Raises:
        DatasetError: `path` is not a folder.
    """
    folder = Path(path).absolute()
    folder = folder.resolve() if not folder.name or ".." in folder.parts else folder
    if not folder.is_dir():
        got = "a file" if folder.exists() else "no such folder"
        raise DatasetError(f"{path}: expected the folder of a dataset class, got {got}")
    report = Report()
    tree = read_tree(folder, report)
    layout = recognise_layout(tree)
    if layout == "unknown":
        _report_no_class(tree, report)
        return Findings(folder, layout, report.findings())
    check_clashes(tree, report)
    contents = _CHECKS[layout](tree, report)
    inspections = _inspect_files(tree, contents, layout, progress)
    records = read_sidecar(tree.root, report)
    views = {image: record.get("view") for image, record in records.items()}
    check_images(contents.images, inspections, layout, report)
    check_masks(contents.masks, inspections, layout, report)
    check_sizes(contents.images, inspections, views, report)
    check_repeats(contents.images, inspections, report)
    check_sidecar(tree.root, contents.images, inspections, records, report)
    if layout != "mvtec_ad" and (entries := check_config(tree.root, report)) is not None:
        check_use(contents.masks, inspections, entries, report)
    return Findings(folder, layout, report.findings())


def recognise_layout(tree: ClassTree) -> Layout | Literal["unknown"]:
    """The layout by the rule of `loco_tools.datasets.load`, also of classes that it cannot read."""
    if not tree.has("test") and not tree.images_in("train/good"):
        return "unknown"
    if any(tree.has(f"test/{kind}") for kind in KIND_FOLDERS):
        return "mvtec_loco"
    if any(tree.folders_in(defect) for defect in tree.folders_in("ground_truth")):
        return "autovi"
    return "mvtec_loco" if CONFIG in tree.files else "mvtec_ad"


def _inspect_files(
    tree: ClassTree, contents: Contents, layout: Layout, progress: Progress
) -> dict[str, Inspection]:
    """Inspect every image and mask, on several threads."""
    files = [(image.path, False) for image in contents.images]
    files += [(mask.path, True) for mask in contents.masks]

    def inspect(file: tuple[str, bool]) -> Inspection:
        path, is_mask = file
        return inspect_file(tree.root / path, is_mask=is_mask, in_colour=layout == "autovi")

    inspections: dict[str, Inspection] = {}
    with progress.task(f"validate {tree.root.name}", len(files)) as advance:
        for (path, _), inspection in zip(files, in_order(inspect, files), strict=True):
            inspections[path] = inspection
            advance(1)
    return inspections


def _report_no_class(tree: ClassTree, report: Report) -> None:
    """Report what an unknown folder lacks, and which folders in it are classes."""
    classes = [
        folder
        for folder in tree.folders_in("")
        if tree.has(f"{folder}/test") or tree.images_in(f"{folder}/train/good")
    ]
    inside = [name_of(path) for path in (*tree.folders_in(""), *tree.files_in(""))]
    images = plural(sum(is_image(path) for path in tree.files), "image")
    report.add(
        "no_class",
        ".",
        expected="a class in MVTec LOCO AD, MVTec AD or AutoVI layout: train/good, test/good, "
        "test/<kind>, ground_truth/<kind>",
        found=f"neither a test folder nor images in train/good, but {images} below "
        f"{listed(inside) or 'nothing'}",
        next_step=f"name one of its classes: {', '.join(classes)}"
        if classes
        else "move good images to train/good and test/good, others to test/<kind>",
    )
