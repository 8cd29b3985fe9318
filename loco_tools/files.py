"""Writing files so that a reader never sees half of one.

Each writer makes a temporary file beside the target, syncs it and renames it into place: after a
crash or on a full disk the target is either the old one or the new one.
"""

import contextlib
import glob
import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO


def write_bytes(path: Path, content: bytes) -> None:
    """Replace `path` by `content` atomically, making its folder when needed."""
    with file_swapped_in(path) as stream:
        stream.write(content)


@contextlib.contextmanager
def file_swapped_in(path: Path) -> Iterator[BinaryIO]:
    """A fresh file beside `path` that takes its place when the block ends without an error.

    Its folder is made when needed. On an error the fresh file is removed and `path` is as it was.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.tmp")
    try:
        with temporary.open("wb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_text(path: Path, content: str) -> None:
    """Replace `path` by UTF-8 text with Unix line ends, atomically."""
    write_bytes(path, content.encode("utf-8"))


def write_json(path: Path, content: Any) -> None:
    """Replace `path` by readable JSON, atomically; NaN and infinity are refused."""
    write_text(path, json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def append_line(path: Path, line: str) -> None:
    """Append one line to a journal and sync it to the disk before returning.

    When that fails, on a full disk say, the journal is as it was.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab", buffering=0) as stream:
        before = stream.seek(0, os.SEEK_END)
        try:
            left = memoryview(line.encode("utf-8") + b"\n")
            while left:
                left = left[stream.write(left) :]
            os.fsync(stream.fileno())
        except BaseException:
            stream.truncate(before)
            raise


@contextlib.contextmanager
def folder_swapped_in(path: Path) -> Iterator[Path]:
    """A fresh folder beside `path` that takes its place when the block ends without an error.

    What stood at `path` before is removed only after the new folder is complete. On an error the
    new folder is removed and `path` is as it was.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    mark = uuid.uuid4().hex[:8]
    fresh, old = (path.with_name(f".{path.name}.{mark}.{role}") for role in ("new", "old"))
    fresh.mkdir()
    try:
        yield fresh
        if path.exists():
            path.rename(old)
        fresh.rename(path)
    except BaseException:
        if old.exists() and not path.exists():
            old.rename(path)
        raise
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def remove_leftovers(path: Path) -> None:
    """Remove what a process that was killed in `folder_swapped_in(path)` has left beside `path`.

    What stood at `path` is put back if the process died between the two renames. Nobody may be
    writing `path` meanwhile.
    """
    for fresh in path.parent.glob(f".{glob.escape(path.name)}.*.new"):
        shutil.rmtree(fresh, ignore_errors=True)
    for old in path.parent.glob(f".{glob.escape(path.name)}.*.old"):
        if path.exists():
            shutil.rmtree(old, ignore_errors=True)
        else:
            old.rename(path)


def link_in_place(original: Path, copy: Path) -> None:
    """Put a hard link to `original` in the place of `copy`; a disk without such links keeps it."""
    temporary = copy.with_name(f".{copy.name}.{uuid.uuid4().hex[:8]}.tmp")
    try:
        os.link(original, temporary)
        temporary.replace(copy)
    except OSError:
        temporary.unlink(missing_ok=True)


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file's content as 64 hexadecimal digits."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
