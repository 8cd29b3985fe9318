"""Reading dataset classes: one module per layout, and one data model for all of them."""

from collections.abc import Callable, Mapping
from pathlib import Path

from loco_tools.datasets import autovi, mvtec_ad, mvtec_loco
from loco_tools.datasets.sample import DatasetClass, Layout
from loco_tools.datasets.tree import images_in, subfolders
from loco_tools.errors import DatasetError
from loco_tools.wording import listed

__all__ = ["find_classes", "load", "load_any"]

_LOADERS: Mapping[Layout, Callable[[Path], DatasetClass]] = {
    "mvtec_ad": mvtec_ad.load,
    "mvtec_loco": mvtec_loco.load,
    "autovi": autovi.load,
}


def load(path: Path | str) -> DatasetClass:
    """Read a class folder in any layout.

    The layout is recognised as follows, first match first:

    - MVTec LOCO AD: there is a `test/logical_anomalies` or a `test/structural_anomalies`;
    - AutoVI: the masks of each image lie in a folder (`ground_truth/<defect>/<image>/`);
    - MVTec LOCO AD: there is a `defects_config.json`;
    - MVTec AD: everything else.

    Raises:
        DatasetError: the folder is not a class folder, or a file in it is wrong.
    """
    class_dir = _resolve(path)
    layout = _recognise_layout(class_dir)
    if layout is None:
        raise _no_class(class_dir)
    return _LOADERS[layout](class_dir)


def load_any(path: Path | str) -> DatasetClass | dict[str, DatasetClass]:
    """Read a class folder, or every class in a folder of classes.

    Returns:
        The class; or the classes by name, in natural order, if `path` is a folder of classes.

    Raises:
        DatasetError: there is no class in the folder, or a file of a class is wrong.
    """
    folder = _resolve(path)
    if _recognise_layout(folder):
        return load(folder)
    return {class_dir.name: load(class_dir) for class_dir in find_classes(folder)}


def find_classes(root: Path | str) -> list[Path]:
    """The class folders in `root` in natural order; `root` alone if it is a class folder itself.

    Raises:
        DatasetError: there is no class folder.
    """
    folder = _resolve(root)
    if _recognise_layout(folder):
        return [folder]
    classes = [path for path in subfolders(folder) if _recognise_layout(path)]
    if not classes:
        raise _no_class(folder)
    return classes


def _resolve(path: Path | str) -> Path:
    """The absolute path, so that the folder has a name even if it is given as "."."""
    folder = Path(path).absolute()
    folder = folder.resolve() if not folder.name or ".." in folder.parts else folder
    if not folder.is_dir():
        got = "a file" if folder.exists() else "no such folder"
        raise DatasetError(f"{path}: expected a folder with a dataset class, got {got}")
    return folder


def _recognise_layout(folder: Path) -> Layout | None:
    if not (folder / "test").is_dir() and not images_in(folder / "train" / "good"):
        return None
    if any((folder / "test" / name).exists() for name in mvtec_loco.KIND_FOLDERS):
        return "mvtec_loco"
    if any(subfolders(defect) for defect in subfolders(folder / "ground_truth")):
        return "autovi"
    return "mvtec_loco" if (folder / mvtec_loco.CONFIG).exists() else "mvtec_ad"


def _no_class(folder: Path) -> DatasetError:
    inside = sorted(path.name for path in folder.iterdir() if path.name[0] != ".")
    classes = [str(path) for path in subfolders(folder) if _recognise_layout(path)]
    hint = f"; next step: name one of its classes: {', '.join(classes)}" if classes else ""
    return DatasetError(
        f"{folder}: expected a class in MVTec AD, MVTec LOCO AD or AutoVI layout (train/good, "
        "test/good, test/<kind>, ground_truth/<kind>), got a folder with "
        f"{listed(inside, 10) or 'nothing'}{hint}"
    )
