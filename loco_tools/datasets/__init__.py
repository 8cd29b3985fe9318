"""Reading dataset classes: one module per layout, one kind of sample for all of them."""

from collections.abc import Callable, Mapping
from pathlib import Path

from loco_tools.datasets import autovi, mvtec_ad, mvtec_loco
from loco_tools.datasets.sample import DatasetClass, Layout
from loco_tools.datasets.tree import images_in, subfolders
from loco_tools.errors import DatasetError

__all__ = ["find_classes", "load"]

_LOADERS: Mapping[Layout, Callable[[Path], DatasetClass]] = {
    "mvtec_ad": mvtec_ad.load,
    "mvtec_loco": mvtec_loco.load,
    "autovi": autovi.load,
}


def load(path: Path | str) -> DatasetClass:
    """Read a class folder, whatever its layout.

    The layout is MVTec LOCO AD where there is a `test/logical_anomalies` or a
    `test/structural_anomalies`; AutoVI where the masks of an image of any other kind lie in a
    folder of their own (`ground_truth/<defect>/<image>/`); MVTec LOCO AD also where there is a
    `defects_config.json`; and MVTec AD otherwise.

    Raises:
        DatasetError: the folder is no class folder, or something in it is wrong; the message says
            what was expected and what was found.
    """
    class_dir = _resolved(path)
    layout = _layout(class_dir)
    if layout is None:
        raise _no_class(class_dir)
    return _LOADERS[layout](class_dir)


def find_classes(root: Path | str) -> list[Path]:
    """The class folders at `root`: itself when it is one, otherwise those in it, in natural order.

    Raises:
        DatasetError: there is none.
    """
    folder = _resolved(root)
    if _layout(folder):
        return [folder]
    classes = [path for path in subfolders(folder) if _layout(path)]
    if not classes:
        raise _no_class(folder)
    return classes


def _resolved(path: Path | str) -> Path:
    """The absolute path, so that the folder has a name even when it is given as "."."""
    folder = Path(path).absolute()
    folder = folder.resolve() if not folder.name or ".." in folder.parts else folder
    if not folder.is_dir():
        got = "a file" if folder.exists() else "no such folder"
        raise DatasetError(f"{path}: expected a folder with a dataset class, got {got}")
    return folder


def _layout(folder: Path) -> Layout | None:
    if not (folder / "test").is_dir() and not images_in(folder / "train" / "good"):
        return None
    if any((folder / "test" / name).exists() for name in mvtec_loco.KIND_FOLDERS):
        return "mvtec_loco"
    if any(subfolders(defect) for defect in subfolders(folder / "ground_truth")):
        return "autovi"
    return "mvtec_loco" if (folder / mvtec_loco.CONFIG).exists() else "mvtec_ad"


def _no_class(folder: Path) -> DatasetError:
    inside = sorted(path.name for path in folder.iterdir() if path.name[0] != ".")
    found = ", ".join(inside[:10]) + (", ..." if len(inside) > 10 else "")
    classes = [path for path in subfolders(folder) if _layout(path)]
    hint = f"; next step: name one of its classes, for example {classes[0]}" if classes else ""
    return DatasetError(
        f"{folder}: expected a class in MVTec AD, MVTec LOCO AD or AutoVI layout (train/good, "
        "test/good, test/<kind>, ground_truth/<kind>), got a folder with "
        f"{found or 'nothing'}{hint}"
    )
