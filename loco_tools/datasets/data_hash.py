"""The hash of a class: names, sizes and contents of its files."""

import hashlib
import json
from pathlib import Path

from loco_tools import files
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
