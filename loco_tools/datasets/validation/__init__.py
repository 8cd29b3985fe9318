"""Checking that a class is sound: every fault of a folder in one pass."""

from pathlib import Path

from loco_tools import files
from loco_tools.datasets.validation.examination import examine
from loco_tools.datasets.validation.findings import Findings
from loco_tools.errors import DatasetError
from loco_tools.progress import SILENT, Progress


def validate(path: Path | str, progress: Progress = SILENT) -> Findings:
    """Report every fault of a class folder in any layout, without stopping at the first.

    Nothing in the folder makes this function raise: links to folders are not followed, headers are
    read before pixels, and each file is decoded once, on several threads. The same folder gives the
    same findings in the same order. `findings.CODES` lists all possible findings.

    Raises:
        DatasetError: `path` is not a folder.
    """
    return examine(resolve(path), "pixels", progress).findings


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
