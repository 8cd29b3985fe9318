"""Files are read only where they are regular files, and written atomically.

Each writing function writes a temporary file next to the target, syncs it and renames it: after a
crash, or on a full disk, the target is either the old file or the new one.
"""

import contextlib
import errno
import glob
import hashlib
import json
import os
import shutil
import stat
import uuid
from collections.abc import Iterator
from io import BufferedReader
from pathlib import Path
from typing import Any, BinaryIO

_KINDS = {
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFDIR: "a folder",
}


def open_regular(path: Path) -> BufferedReader:
    """Open a file for reading, unless it is a named pipe, a device, a socket or a folder.

    Opening a named pipe in the usual way would wait for its writer, and a device may never end.

    Raises:
        OSError: the file cannot be opened, or is not a regular file.
    """
    no_wait = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    descriptor = os.open(path, os.O_RDONLY | no_wait)
    kind = stat.S_IFMT(os.fstat(descriptor).st_mode)
    if kind != stat.S_IFREG:
        os.close(descriptor)
        found = _KINDS.get(kind, "no regular file")
        raise OSError(errno.EINVAL, f"it is {found}, expected a file", str(path))
    return os.fdopen(descriptor, "rb")


def read_bytes(path: Path) -> bytes:
    """The content of a regular file; errors as for `open_regular`."""
    with open_regular(path) as stream:
        return stream.read()


def read_text(path: Path) -> str:
    """The UTF-8 text of a regular file, without a byte order mark.

    Raises:
        OSError: as for `open_regular`.
        ValueError: the bytes are not UTF-8.
    """
    return decode(read_bytes(path))


def decode(content: bytes) -> str:
    """The UTF-8 text of a file's content, without a byte order mark.

    Raises:
        ValueError: the bytes are not UTF-8.
    """
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"a byte that is not UTF-8 at position {error.start}") from error


def write_bytes(path: Path, content: bytes) -> None:
    """Replace `path` by `content` atomically; its folder is created if it does not exist."""
    with file_swapped_in(path) as stream:
        stream.write(content)


@contextlib.contextmanager
def file_swapped_in(path: Path) -> Iterator[BinaryIO]:
    """A new file that replaces `path` when the block ends without an error.

    Its folder is created if it does not exist. After an error the new file is removed and `path` is
    unchanged.
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
    """Replace `path` by UTF-8 text with Unix line breaks, atomically."""
    write_bytes(path, content.encode("utf-8"))


def write_json(path: Path, content: Any) -> None:
    """Replace `path` by indented JSON, atomically; NaN and infinity are a ValueError."""
    write_text(path, json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def append_line(path: Path, line: str) -> None:
    """Append one line to a journal and sync it to the disk before returning.

    If that fails, for example on a full disk, the journal is unchanged.
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
    """A new folder that replaces `path` when the block ends without an error.

    The old folder is removed only after the new one is complete. After an error the new folder is
    removed and `path` is unchanged.
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
    """Remove the temporary folders that a process killed in `folder_swapped_in(path)` left behind.

    The old folder is put back if the process was killed between the two renames. No other process
    may write `path` at the same time.
    """
    for fresh in path.parent.glob(f".{glob.escape(path.name)}.*.new"):
        shutil.rmtree(fresh, ignore_errors=True)
    for old in path.parent.glob(f".{glob.escape(path.name)}.*.old"):
        if path.exists():
            shutil.rmtree(old, ignore_errors=True)
        else:
            old.rename(path)


def link_in_place(original: Path, copy: Path) -> None:
    """Replace `copy` by a hard link to `original`; it is kept on disks without hard links."""
    temporary = copy.with_name(f".{copy.name}.{uuid.uuid4().hex[:8]}.tmp")
    try:
        os.link(original, temporary)
        temporary.replace(copy)
    except OSError:
        temporary.unlink(missing_ok=True)


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file's content as 64 hexadecimal digits."""
    with open_regular(path) as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
