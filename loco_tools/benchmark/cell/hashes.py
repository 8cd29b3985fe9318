"""Hashes of what determines a result: the data of a class, and the code that is run on it."""

import ast
import hashlib
import importlib.util
import json
from collections.abc import Iterable
from pathlib import Path

from loco_tools import files
from loco_tools.ensembles import ENSEMBLES, ensemble_place
from loco_tools.progress import SILENT, Progress


def data_hash(
    folder: Path,
    cache: Path | None = None,
    progress: Progress = SILENT,
    *,
    remember: bool = True,
) -> str:
    """The hash of a class: names, sizes and contents of every file that is not hidden.

    Args:
        folder: the class.
        cache: JSON file of contents already hashed; a file is read again only when its size or
            modification time has changed.
        progress: advances by one per file.
        remember: whether the cache is brought up to date; otherwise it is only read.
    """
    known = _read_cache(cache)
    paths = sorted(p for p in folder.rglob("*") if p.is_file() and not _hidden(p, folder))
    seen: dict[str, list[int | str]] = {}
    total = hashlib.sha256()
    with progress.task(f"{folder.name}: hashing", len(paths)) as advance:
        for path in paths:
            stat, place = path.stat(), str(path.resolve())
            entry = known.get(place)
            if entry is None or entry[:2] != [stat.st_size, stat.st_mtime_ns]:
                entry = [stat.st_size, stat.st_mtime_ns, files.sha256_of(path)]
            seen[place] = entry
            name = path.relative_to(folder).as_posix()
            total.update(json.dumps([name, entry[0], entry[2]]).encode())
            advance(1)
    if (
        remember
        and cache is not None
        and any(known.get(place) != entry for place, entry in seen.items())
    ):
        files.write_json(cache, known | seen)
    return total.hexdigest()


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
    from loco_tools.methods import method_place

    is_ensemble = method in ENSEMBLES
    place = ensemble_place(method).place if is_ensemble else method_place(method)
    module = place.partition(":")[0]
    package = module.partition(".")[0] if not module.startswith("loco_tools.") else module
    modules = [module, "loco_tools.synthesis.families"]  # held-out images are judged by it
    modules += ["loco_tools.evaluation", "loco_tools.benchmark.cell.work"]
    within = ["loco_tools.methods", "loco_tools.metrics", "loco_tools.evaluation", package]
    # What ensembles are made of is not behind a single method, which need not be fitted again.
    return code_hash(modules, [*within, *(["loco_tools.ensembles"] * is_ensemble)])


def _hidden(path: Path, folder: Path) -> bool:
    return any(part.startswith(".") for part in path.relative_to(folder).parts)


def _read_cache(cache: Path | None) -> dict[str, list[int | str]]:
    """What was hashed before; a damaged cache counts as empty."""
    if cache is None or not cache.is_file():
        return {}
    try:
        content = json.loads(cache.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError):
        return {}
    return content if isinstance(content, dict) else {}


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
