"""The hash of the code that a result depends on."""

import ast
import hashlib
import importlib.util
import json
from collections.abc import Iterable
from pathlib import Path

from loco_tools.ensembles import ENSEMBLES, ensemble_definition


def code_hash(modules: Iterable[str], within: Iterable[str]) -> str:
    """The hash of modules' source files and of all that they import inside some packages.

    Args:
        modules: dotted names to begin with.
        within: packages (dotted prefixes) whose modules count; what lies outside is left out.
    """
    prefixes = tuple(within)
    found: dict[str, str] = {}
    pending = list(modules)
    while pending:
        module = pending.pop()
        source = _source(module)
        if module in found or source is None:
            continue
        text = source.read_text(encoding="utf-8")
        found[module] = text
        pending += [name for name in _imports(text) if _inside(name, prefixes)]
    listing = json.dumps(sorted(found.items()))
    return hashlib.sha256(listing.encode()).hexdigest()


def code_behind(method: str) -> str:
    """The hash of the code behind a method or ensemble: itself, its imports, and the evaluation.

    Args:
        method: as in `MethodEntry.name`.
    """
    from loco_tools.methods import import_path_of

    is_ensemble = method in ENSEMBLES
    place = ensemble_definition(method).import_path if is_ensemble else import_path_of(method)
    module = place.partition(":")[0]
    package = module.partition(".")[0] if not module.startswith("loco_tools.") else module
    modules = [module, "loco_tools.synthesis.families"]  # held-out images are judged by it
    modules += ["loco_tools.evaluation", "loco_tools.benchmark.cell.work"]
    within = [f"loco_tools.{room}" for room in ("methods", "synthesis", "metrics", "evaluation")]
    within += ["loco_tools.datasets.images", package]  # images are resized there
    # What ensembles are made of is not behind a single method, which need not be fitted again.
    return code_hash(modules, [*within, *(["loco_tools.ensembles"] * is_ensemble)])


def _inside(name: str, prefixes: tuple[str, ...]) -> bool:
    return any(name == prefix or name.startswith(prefix + ".") for prefix in prefixes)


def _imports(text: str) -> list[str]:
    """Every dotted name that a source might import as a module (`from a import b`: a and a.b)."""
    names: list[str] = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.append(node.module)
            names += [f"{node.module}.{alias.name}" for alias in node.names]
    return names


def _source(module: str) -> Path | None:
    """The source file of a module; None for names that are no module with a source."""
    try:
        spec = importlib.util.find_spec(module)
    except (ImportError, ValueError):
        return None
    if spec is None or spec.origin is None or not spec.origin.endswith(".py"):
        return None
    return Path(spec.origin)
