"""Finding plans, taxonomies, suites and data cards by name.

A *workspace* is any folder with `capture/`, `annotations/`, `benchmark/` and `data_cards/` in it. A
definition is given by name ("angle") or by path ("./my_plans/angle.toml"). A name is looked up in
the workspace in the current folder first, and then among the definitions shipped with loco-tools.
"""

from pathlib import Path

from loco_tools.errors import DefinitionError, did_you_mean

KINDS = {
    "capture": "plan",
    "annotations": "taxonomy",
    "benchmark/suites": "suite",
    "data_cards": "data card",
}
"""Folder in a workspace -> the term for a file in it."""

_SUFFIX = {"data_cards": ".md"}


def shipped_root() -> Path:
    """The workspace in the installation: `_definitions` in a wheel, otherwise the checkout."""
    package = Path(__file__).resolve().parent
    in_wheel = package / "_definitions"
    return in_wheel if in_wheel.is_dir() else package.parent


def names(folder: str, workspace: Path | None = None) -> list[str]:
    """The names of all definitions in `folder` ("capture", "annotations", ...), sorted."""
    suffix = _SUFFIX.get(folder, ".toml")
    files = [path for root in _roots(workspace) for path in (root / folder).glob(f"*{suffix}")]
    return sorted({path.stem for path in files if path.stem != "README"})


def locate(folder: str, name: str, workspace: Path | None = None) -> Path:
    """The file of a definition that is given by name or path.

    Raises:
        DefinitionError: there is no such definition; the message names the nearest one.
    """
    suffix = _SUFFIX.get(folder, ".toml")
    if name.endswith(suffix) or "/" in name or "\\" in name:
        path = Path(name)
        if not path.is_file():
            raise DefinitionError(f"{path}: no such {KINDS[folder]} file")
        return path
    for root in _roots(workspace):
        path = root / folder / f"{name}{suffix}"
        if path.is_file():
            return path
    known = names(folder, workspace)
    raise DefinitionError(f'unknown {KINDS[folder]} "{name}"; {did_you_mean(name, known)}')


def _roots(workspace: Path | None) -> list[Path]:
    return [workspace or Path.cwd(), shipped_root()]
