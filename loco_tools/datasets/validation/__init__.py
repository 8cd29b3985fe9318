"""Checking that a class is sound: every fault of a folder in one pass."""

from pathlib import Path

from loco_tools import files
from loco_tools.datasets.validation.class_tree import ClassTree, is_image, name_of
from loco_tools.datasets.validation.examination import examine
from loco_tools.datasets.validation.findings import Findings, Report
from loco_tools.errors import DatasetError
from loco_tools.progress import SILENT, Progress
from loco_tools.wording import listed, plural


def validate(path: Path | str, progress: Progress = SILENT) -> Findings:
    """Report every fault of a class folder in any layout, without stopping at the first.

    Nothing in the folder makes this function raise: links to folders are not followed, headers are
    read before pixels, and each file is decoded once, on several threads. The same folder gives the
    same findings in the same order. `findings.CODES` lists all possible findings.

    Raises:
        DatasetError: `path` is not a folder.
    """
    folder = resolve(path)
    examination = examine(folder, "pixels", progress)
    if examination.layout == "unknown":
        _report_no_class(examination.tree, examination.report)
    return examination.findings


def resolve(path: Path | str) -> Path:
    """The absolute path of a folder, so that it has a name even if it is given as ".".

    The commit of a conversion or an export that was killed is finished first.

    Raises:
        DatasetError: `path` is not a folder.
    """
    folder = Path(path).absolute()
    folder = folder.resolve() if not folder.name or ".." in folder.parts else folder
    files.settle(folder)
    if not folder.is_dir():
        got = "a file" if folder.exists() else "no such folder"
        raise DatasetError(f"{path}: expected the folder of a dataset class, got {got}")
    return folder


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
