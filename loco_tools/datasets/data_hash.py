"""The hash of a class: names, sizes and contents of its files."""

import json
from hashlib import sha256
from pathlib import Path

from loco_tools import files
from loco_tools.progress import SILENT, Progress
from loco_tools.schema import loads_json


def data_hash(
    folder: Path,
    cache: Path | None = None,
    progress: Progress = SILENT,
    *,
    remember: bool = True,
) -> str:
    """The SHA-256 over the names, sizes and contents of all files that are not hidden.

    Args:
        folder: the class.
        cache: JSON file with the hashes of files; a file is read again only if its size or
            modification time has changed. A damaged cache counts as empty.
        progress: advances by one per file.
        remember: whether the cache is updated; otherwise it is only read.
    """
    known: dict[str, list[int | str]] = {}
    if cache is not None and cache.is_file():
        try:
            content = loads_json(files.read_text(cache))
        except ValueError:
            content = None
        known = content if isinstance(content, dict) else {}
    names = {path: path.relative_to(folder) for path in folder.rglob("*") if path.is_file()}
    visible = sorted(
        path for path, name in names.items() if not any(part[0] == "." for part in name.parts)
    )
    entries: dict[str, list[int | str]] = {}
    total = sha256()
    with progress.task(f"{folder.name}: hashing", len(visible)) as advance:
        for path in visible:
            stat, absolute = path.stat(), str(path.resolve())
            entry = known.get(absolute)
            if entry is None or entry[:2] != [stat.st_size, stat.st_mtime_ns]:
                entry = [stat.st_size, stat.st_mtime_ns, files.sha256_of(path)]
            entries[absolute] = entry
            total.update(json.dumps([names[path].as_posix(), entry[0], entry[2]]).encode())
            advance(1)
    changed = any(known.get(path) != entry for path, entry in entries.items())
    if cache is not None and remember and changed:
        files.write_json(cache, known | entries)
    return total.hexdigest()
