"""Reading dataset classes in any layout, with one data model for all of them."""

import warnings
from pathlib import Path

from loco_tools import files
from loco_tools.datasets.class_building import build_class
from loco_tools.datasets.sample import DatasetClass
from loco_tools.datasets.tree import IMAGE_SUFFIXES, subfolders
from loco_tools.datasets.validation import resolve
from loco_tools.datasets.validation.examination import examine
from loco_tools.datasets.validation.findings import Findings
from loco_tools.errors import DatasetError, DatasetWarning
from loco_tools.progress import SILENT, Progress
from loco_tools.wording import listed, printable

__all__ = ["check", "find_classes", "load", "load_any"]


def load(path: Path | str, *, warn: bool = True) -> DatasetClass:
    """Read a class folder in any layout; `validation.examination` describes how it is recognised.

    Masks are decoded once. Of images only the headers are read; JPEG files are searched for damage.

    Args:
        path: the folder.
        warn: whether files that are not used, and faults that change metrics, are reported by one
            `DatasetWarning`; otherwise they are not looked for.

    Raises:
        DatasetError: the folder is not a class folder, or a fault makes it impossible to read it:
            every anomalous image needs masks, and every mask an image of its size.
    """
    return _load(path, warn=warn)


def _load(path: Path | str, *, warn: bool) -> DatasetClass:
    folder = resolve(path)
    if not is_class(folder):
        raise _no_class(folder)
    examination = examine(folder, "headers" if warn else "masks")
    dataset = build_class(examination)
    findings = examination.findings
    notable = [finding for finding in findings.notable if finding.effect != "bench"]
    if warn and (lines := findings.brief(notable)):
        text = "\n".join([f"{printable(str(folder))}:", *(f"  {line}" for line in lines)])
        warnings.warn(DatasetWarning(text), stacklevel=3)  # the caller of load or of load_any
    return dataset


def check(
    path: Path | str, progress: Progress = SILENT, *, compare_pixels: bool = False
) -> Findings:
    """The findings of `validation.validate` that need no image to be decoded.

    Exceptions are 16-bit images, and JPEG files, in which damage is searched for.

    Args:
        path: the class folder.
        progress: advances by one per file.
        compare_pixels: whether images are decoded to find those that occur twice in different
            files; otherwise only equal files are found.

    Raises:
        DatasetError: `path` is not a folder.
    """
    return examine(resolve(path), "headers", progress, compare_pixels=compare_pixels).findings


def load_any(path: Path | str) -> DatasetClass | dict[str, DatasetClass]:
    """Read a class folder, or every class in a folder of classes.

    Returns:
        The class; or the classes by name, in natural order, if `path` is a folder of classes.

    Raises:
        DatasetError: there is no class in the folder, or classes cannot be read; the message names
            the fault of each.
    """
    folder = resolve(path)
    if is_class(folder):
        return _load(folder, warn=True)
    classes: dict[str, DatasetClass] = {}
    faults: list[str] = []
    for class_dir in find_classes(folder):
        try:
            classes[class_dir.name] = _load(class_dir, warn=True)
        except DatasetError as error:
            faults.append(str(error))
    if faults:
        raise DatasetError("\n".join(faults))
    return classes


def find_classes(root: Path | str) -> list[Path]:
    """The class folders in `root` in natural order; `root` alone if it is a class folder itself.

    Raises:
        DatasetError: there is no class folder.
    """
    folder = resolve(root)
    files.settle_all(folder)
    if is_class(folder):
        return [folder]
    classes = [path for path in subfolders(folder) if is_class(path)]
    if not classes:
        raise _no_class(folder)
    return classes


def is_class(folder: Path) -> bool:
    """Whether a folder is a class, sound or not: it has a folder `test` or images in train/good."""
    if (folder / "test").is_dir() and not (folder / "test").is_symlink():
        return True
    good = folder / "train" / "good"
    return good.is_dir() and any(
        path.suffix.lower() in IMAGE_SUFFIXES and path.name[0] != "." for path in good.iterdir()
    )


def _no_class(folder: Path) -> DatasetError:
    inside = sorted(printable(path.name) for path in folder.iterdir() if path.name[0] != ".")
    classes = [printable(str(path)) for path in subfolders(folder) if is_class(path)]
    hint = f"; next step: name one of its classes: {', '.join(classes)}" if classes else ""
    return DatasetError(
        f"{printable(str(folder))}: expected a class in MVTec AD, MVTec LOCO AD or AutoVI layout "
        "(train/good, test/good, test/<kind>, ground_truth/<kind>), got a folder with "
        f"{listed(inside, 10) or 'nothing'}{hint}"
    )
