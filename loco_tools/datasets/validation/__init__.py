"""Proving a class sound: every fault of a folder in one pass."""

from functools import partial
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
from loco_tools.datasets.validation.file_inspection import Inspection, inspect_image, inspect_mask
from loco_tools.datasets.validation.findings import Findings, Report
from loco_tools.datasets.validation.layout_ad import check_ad
from loco_tools.datasets.validation.layout_loco import check_autovi, check_loco
from loco_tools.datasets.validation.names import check_clashes
from loco_tools.datasets.validation.pixels import (
    check_images,
    check_masks,
    check_repeats,
    check_sizes,
    files_of,
)
from loco_tools.datasets.validation.sidecar import check_sidecar, read_sidecar
from loco_tools.errors import DatasetError
from loco_tools.progress import SILENT, Progress
from loco_tools.wording import listed

_CHECKS = {"mvtec_loco": check_loco, "autovi": check_autovi, "mvtec_ad": check_ad}


def validate(path: Path | str, progress: Progress = SILENT) -> Findings:
    """Report every fault of a class folder, whatever its layout, without stopping at the first.

    Nothing in the folder makes it raise: files are listed without following links, headers are
    read before pixels, and each file is decoded once, on several threads. The same folder gives
    the same findings in the same order. `findings.CODES` lists what can be found.

    Raises:
        DatasetError: `path` is no folder.
    """
    folder = Path(path).absolute()
    folder = folder.resolve() if not folder.name or ".." in folder.parts else folder
    if not folder.is_dir():
        got = "a file" if folder.exists() else "no such folder"
        raise DatasetError(f"{path}: expected the folder of a dataset class, got {got}")
    report = Report()
    tree = read_tree(folder, report)
    layout = layout_of(tree)
    if layout == "unknown":
        _no_class(tree, report)
    else:
        _check_class(tree, layout, report, progress)
    return Findings(folder, layout, report.findings())


def layout_of(tree: ClassTree) -> Layout | Literal["unknown"]:
    """The layout by the rule of `loco_tools.load`; there are classes too broken for it to read."""
    if not tree.has("test") and not tree.images_in("train/good"):
        return "unknown"
    if any(tree.has(f"test/{kind}") for kind in KIND_FOLDERS):
        return "mvtec_loco"
    if any(tree.folders_in(defect) for defect in tree.folders_in("ground_truth")):
        return "autovi"
    return "mvtec_loco" if CONFIG in tree.files else "mvtec_ad"


def _check_class(tree: ClassTree, layout: Layout, report: Report, progress: Progress) -> None:
    check_clashes(tree, report)
    contents = _CHECKS[layout](tree, report)
    inspected = _inspect(tree, contents, layout, progress)
    records = read_sidecar(tree.root, report)
    views = {image: record.get("view") for image, record in records.items()}
    check_images(contents.images, inspected, layout, report)
    check_masks(contents.masks, inspected, layout, report)
    check_sizes(contents.images, inspected, views, report)
    check_repeats(contents.images, inspected, report)
    check_sidecar(tree.root, contents.images, inspected, records, report)
    if layout != "mvtec_ad" and (entries := check_config(tree.root, report)) is not None:
        check_use(contents.masks, inspected, entries, report)


def _inspect(
    tree: ClassTree, contents: Contents, layout: Layout, progress: Progress
) -> dict[str, Inspection]:
    """Look into every image and mask, on several threads."""
    files = files_of(contents)
    as_mask = partial(inspect_mask, in_colour=layout == "autovi")
    found: dict[str, Inspection] = {}

    def look(file: tuple[str, bool]) -> Inspection:
        path, mask = file
        return as_mask(tree.root / path) if mask else inspect_image(tree.root / path)

    with progress.task(f"validate {tree.root.name}", len(files)) as advance:
        for (path, _), seen in zip(files, in_order(look, files), strict=True):
            found[path] = seen
            advance(1)
    return found


def _no_class(tree: ClassTree, report: Report) -> None:
    """Say what an unknown folder lacks, or which folders in it are classes."""
    classes = [
        folder
        for folder in tree.folders_in("")
        if tree.has(f"{folder}/test") or tree.images_in(f"{folder}/train/good")
    ]
    inside = [name_of(path) for path in (*tree.folders_in(""), *tree.files_in(""))]
    images = sum(is_image(path) for path in tree.files)
    hint = f"name one of its classes: {listed(classes)}" if classes else ""
    report.add(
        "no_class",
        ".",
        expected="a class in MVTec LOCO AD, MVTec AD or AutoVI layout: train/good, test/good, "
        "test/<kind>, ground_truth/<kind>",
        found=f"neither test nor images in train/good, but {images} images below "
        f"{listed(inside) or 'nothing'}",
        mend=hint or "move good images to train/good and test/good, others to test/<kind>",
    )
