"""The hash of a class: names, sizes and contents of its files; and that of its sidecar."""

import json
import os
import time
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path
from typing import Any

from loco_tools import files
from loco_tools.datasets.sidecar import read_provenance, sidecar_path
from loco_tools.errors import DatasetError
from loco_tools.progress import SILENT, Progress
from loco_tools.schema import loads_json

SETTLED_S = 2.0
"""A file that changed later than this before it was read may change again within the resolution of
its times (2 s on FAT), so that its hash is not cached."""


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
        cache: JSON file with the hashes of files; a file is read again unless its size, inode, and
            the times of its last modification and of the last change of its inode are the same. A
            damaged cache counts as empty, and so does the entry of a file without an inode number.
        progress: advances by one per file.
        remember: whether the cache is updated; otherwise it is only read.
    """
    known: dict[str, list[int | str]] = {}
    if cache is not None and cache.is_file():
        try:
            content = loads_json(files.read_text(cache))
        except ValueError:
            content = None
        if isinstance(content, dict):
            known = {path: entry for path, entry in content.items() if _is_entry(entry)}
    visible = _visible_files(folder)
    entries = dict(known)
    total = sha256()
    with progress.task(f"{folder.name}: hashing", len(visible)) as advance:
        for path in visible:
            began_s, stat, absolute = time.time(), path.stat(), str(path.resolve())
            state = [stat.st_size, stat.st_ino, stat.st_mtime_ns, stat.st_ctime_ns]
            entry = entries.pop(absolute, None)
            if entry is None or entry[:-1] != state or not stat.st_ino:
                entry = [*state, files.sha256_of(path)]
            if max(stat.st_mtime, stat.st_ctime) < began_s - SETTLED_S:
                entries[absolute] = entry
            name = path.relative_to(folder).as_posix()
            total.update(json.dumps([name, stat.st_size, entry[-1]]).encode())
            advance(1)
    if cache is not None and remember and entries != known:
        files.write_json(cache, entries)
    return total.hexdigest()


def _is_entry(value: Any) -> bool:
    """Whether a value of the cache is four integers and a hash."""
    return isinstance(value, list) and [type(one) for one in value] == [int, int, int, int, str]


def _visible_files(folder: Path) -> list[Path]:
    """All files in a folder whose names and folders are not hidden, through links as well."""
    found = []
    for root, folders, names in os.walk(folder, followlinks=True):
        here = Path(root)
        folders[:] = [
            name
            for name in folders
            if name[0] != "." and not here.resolve().is_relative_to((here / name).resolve())
        ]  # a link to a folder above has no end
        found += [here / name for name in names if name[0] != "."]
    return sorted(path for path in found if path.is_file())


def sidecar_hash(folder: Path) -> str:
    """The SHA-256 over what the sidecar of a class says on parts and views; "" without a sidecar.

    These determine the parts over which results are summed up; its other keys change no result. A
    sidecar that cannot be read is hashed as it is.
    """
    path = sidecar_path(folder.resolve())
    if not path.is_file():
        return ""
    try:
        provenance = read_provenance(path)
    except DatasetError:  # the cells of the class fail with that error
        return files.sha256_of(path)
    known = {image: asdict(one) for image, one in provenance.items()}
    return sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()
