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


def code_hash(modules: Iterable[str], within: Iterable[str]) -> str:
    """The hash of the source files of modules and of all modules that they import, transitively.

    Args:
        modules: dotted names to begin with.
        within: dotted names of packages or modules; an imported module counts if it is one of
            these or inside one of these, and is left out otherwise.
    """
    prefixes = tuple(within)
    texts: dict[str, str] = {}
    pending = list(modules)
    while pending:
        module = pending.pop()
        source = _source_file(module)
        if module in texts or source is None:
            continue
        texts[module] = source.read_text(encoding="utf-8")
        pending += [
            name
            for name in _imported_names(texts[module])
            if any(name == prefix or name.startswith(f"{prefix}.") for prefix in prefixes)
        ]
    return hashlib.sha256(json.dumps(sorted(texts.items())).encode()).hexdigest()


def code_behind(method: str) -> str:
    """The hash of the code behind a method or an ensemble: its own, its imports, the evaluation.

    Args:
        method: as in `MethodEntry.implementation`.
    """
    from loco_tools.methods import import_path_of

    is_ensemble = method in ENSEMBLES
    import_path = ensemble_definition(method).import_path if is_ensemble else import_path_of(method)
    module = import_path.partition(":")[0]
    package = module if module.startswith("loco_tools.") else module.partition(".")[0]
    modules = [
        module,
        "loco_tools.synthesis.families",  # makes the anomalies of the held-out images
        "loco_tools.evaluation",
        "loco_tools.benchmark.cell.work",
    ]
    within = [
        *(f"loco_tools.{room}" for room in ("methods", "synthesis", "metrics", "evaluation")),
        "loco_tools.datasets.images",  # resizes images
        package,
    ]
    if is_ensemble:  # a single method is not fitted again when the code of ensembles changes
        within.append("loco_tools.ensembles")
    return code_hash(modules, within)


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


def _imported_names(text: str) -> list[str]:
    """Every dotted name that a source might import as a module (`from a import b`: a and a.b)."""
    names: list[str] = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.append(node.module)
            names += [f"{node.module}.{alias.name}" for alias in node.names]
    return names


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
