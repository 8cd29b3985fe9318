"""The hash of the code that a result depends on, and the check that a worker has the same code."""

import ast
import hashlib
import importlib.util
import json
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from loco_tools.benchmark.cell.cost import versions
from loco_tools.ensembles import ENSEMBLES, ensemble_definition
from loco_tools.errors import BenchmarkError

if TYPE_CHECKING:
    from loco_tools.benchmark.cell.record import Stamp


def code_hash(modules: Iterable[str], within: Iterable[str], root: Path | None = None) -> str:
    """The hash of the source files of modules and of all modules that they import, transitively.

    Imports are read from the source, in functions too, absolute and relative ones; the packages
    that a module is in count as imported. What a module imports by a computed name is not known.

    Args:
        modules: dotted names to begin with.
        within: dotted names of packages or modules; an imported module counts if it is one of
            these or inside one of these, and is left out otherwise.
        root: an imported module counts as well if its source file lies in this folder.
    """
    prefixes = tuple(within)
    hashes: dict[str, str] = {}
    pending = list(modules)
    while pending:
        module = pending.pop()
        source = _source_file(module)
        if module in hashes or source is None:
            continue
        content = source.read_bytes()
        hashes[module] = hashlib.sha256(content).hexdigest()
        package = module if source.name == "__init__.py" else module.rpartition(".")[0]
        for name in (module.rpartition(".")[0], *_imported_names(content, package)):
            named = any(name == prefix or name.startswith(f"{prefix}.") for prefix in prefixes)
            if named or (root is not None and _is_in(root, name.partition(".")[0])):
                pending.append(name)
    return hashlib.sha256(json.dumps(sorted(hashes.items())).encode()).hexdigest()


def code_behind(method: str) -> str:
    """The hash of the code behind a method or an ensemble: its own, its imports, the evaluation.

    Of a plug-in, its own package counts, and the other modules of the folder in which it lies,
    unless that is a folder of installed packages.

    Args:
        method: as in `MethodEntry.implementation`.
    """
    from loco_tools.methods import import_path_of

    is_ensemble = method in ENSEMBLES
    import_path = ensemble_definition(method).import_path if is_ensemble else import_path_of(method)
    module = import_path.partition(":")[0]
    is_own = module.startswith("loco_tools.")
    modules = [
        module,
        "loco_tools.synthesis.families",  # makes the anomalies of the held-out images
        "loco_tools.evaluation",
        "loco_tools.benchmark.cell.work",
    ]
    within = [
        *(f"loco_tools.{room}" for room in ("methods", "synthesis", "metrics", "evaluation")),
        "loco_tools.datasets",  # reads images, masks and splits, and resizes
        module if is_own else module.partition(".")[0],
    ]
    if is_ensemble:  # a single method is not fitted again when the code of ensembles changes
        within.append("loco_tools.ensembles")
    return code_hash(modules, within, None if is_own else _folder_of(module))


def check_code(stamp: "Stamp", method: str) -> None:
    """Refuse to run with other code or other packages than a cell's key was made from.

    Args:
        stamp: of the cell.
        method: as for `code_behind`.

    Raises:
        BenchmarkError: the version of a package, or the code of the method, differs.
    """
    here, code = _versions_and_code(method)
    for name, expected in stamp.versions.items():
        if here.get(name) != expected:
            raise BenchmarkError(
                f"expected {name} {expected}, with which this run was started, got "
                f"{here.get(name, 'none')} here; next step: install the same versions everywhere"
            )
    if code != stamp.code_hash:
        raise BenchmarkError(
            f'method "{method}": code differs from the code that started this run; next step: '
            "install the same loco-tools everywhere, or run the command again if the code has "
            "been changed since"
        )


@cache
def _versions_and_code(method: str) -> tuple[dict[str, str], str]:
    """Determined once per process, at its first cell of the method."""
    return versions(), code_behind(method)


def _folder_of(module: str) -> Path | None:
    """The folder from which a plug-in is imported; None for a folder of installed packages."""
    source = _source_file(module)
    if source is None:
        return None
    steps = module.count(".") + (source.name == "__init__.py")
    folder = source.parents[steps]
    installed = {"site-packages", "dist-packages", Path(json.__file__).parents[1].name}
    return None if folder.name in installed else folder


def _is_in(root: Path, top_level: str) -> bool:
    """Whether a module or package of one name is imported from a folder; it is not imported."""
    try:
        spec = importlib.util.find_spec(top_level)
    except (ImportError, ValueError):
        return False
    if spec is None or top_level == "loco_tools":  # whose rooms `within` names
        return False
    places = [*(spec.submodule_search_locations or ()), spec.origin or ""]
    return any(Path(place).is_relative_to(root) for place in places)


@cache
def _imported_names(content: bytes, package: str) -> tuple[str, ...]:
    """Every dotted name that a source might import as a module (`from a import b`: a and a.b).

    Args:
        content: the source; one that is no Python imports nothing.
        package: in which relative imports start; "" for a module in no package.
    """
    try:
        nodes = list(ast.walk(ast.parse(content)))
    except (SyntaxError, ValueError, RecursionError):
        return ()
    names: list[str] = []
    for node in nodes:
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            try:
                base = importlib.util.resolve_name(
                    "." * node.level + (node.module or ""), package or None
                )
            except ImportError:  # above the top-level package
                continue
            names += [base, *(f"{base}.{alias.name}" for alias in node.names)]
    return tuple(names)


def _source_file(module: str) -> Path | None:
    """The source file of a module; None for a name that is no module with a source file."""
    parent = module.rpartition(".")[0]
    source = _source_file(parent) if parent else None
    if source is not None and source.name != "__init__.py":
        return None  # a name in a module; `find_spec` would import the module to find that out
    try:
        spec = importlib.util.find_spec(module)
    except (ImportError, ValueError):
        return None
    if spec is None or spec.origin is None or not spec.origin.endswith(".py"):
        return None
    return Path(spec.origin)
