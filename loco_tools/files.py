"""Files are read only where they are regular files, and written atomically.

A reader never gets a partly written file, nor half of what belongs together:

- A file is written under a hidden name next to its target (`.<name>.tmp`), synced and renamed.
- Folders, and files that belong together, are written into a hidden folder (`.<name>.new`), synced,
  and committed by one rename (to `.<name>.commit`). From then on the new state counts: what lies in
  there is moved to its place, and if the process is killed meanwhile, whoever opens the target next
  moves the rest: see `settle`.

After a crash, or on a full disk, the old state or the new one is there. A target has one hidden
name, which the operating system locks while it is in use, so the next write of a target takes over
what a killed process left. Where the lock is taken, or cannot be had (Windows, some network disks),
a name of one's own is used.
"""

import contextlib
import errno
import hashlib
import os
import shutil
import stat
import sys
import time
import uuid
from collections.abc import Iterator, Sequence
from io import BufferedReader
from pathlib import Path
from typing import IO, Any, BinaryIO

from loco_tools.wording import json_text

if sys.platform != "win32":
    import fcntl

_PATIENCE_S = 5.0
"""How long `settle` waits for a live process that is moving files to their places."""

_KINDS = {
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFDIR: "a folder",
}


def is_full(error: OSError) -> bool:
    """Whether an error says that the disk, or the user's share of it, is full."""
    return error.errno in {errno.ENOSPC, errno.EDQUOT}


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
    temporary = _hidden(path, "tmp")
    lock = _claim(temporary)
    if lock is None:
        temporary = _hidden(path, "tmp", unique=True)
    with lock or contextlib.nullcontext():
        try:
            with temporary.open("wb") as stream:
                yield stream
                stream.flush()
                if not _is_staged(path):
                    os.fsync(stream.fileno())
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
    if not _is_staged(path):
        sync_folder(path.parent)


def write_text(path: Path, content: str) -> None:
    """Replace `path` by UTF-8 text with Unix line breaks, atomically."""
    write_bytes(path, content.encode("utf-8"))


def write_json(path: Path, content: Any) -> None:
    """Replace `path` by indented JSON, atomically; NaN and infinity are a ValueError."""
    write_text(path, json_text(content, indent=2) + "\n")


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
    if before == 0:
        sync_folder(path.parent)


@contextlib.contextmanager
def folder_swapped_in(path: Path) -> Iterator[Path]:
    """A new folder that replaces `path` when the block ends without an error; see `swapped_in`."""
    with swapped_in(path) as (fresh,):
        fresh.mkdir()
        yield fresh


@contextlib.contextmanager
def swapped_in(*targets: Path) -> Iterator[tuple[Path, ...]]:
    """New folders and files that replace `targets`, all of them or none, when the block ends.

    After an error the new ones are removed and the targets are unchanged.

    Args:
        targets: paths in one folder, which is created if it does not exist. The first one gives the
            commit its name: `settle` takes it.

    Yields:
        For each target the path at which the block creates the new file or folder. A target for
        which nothing is created stays as it is.

    Raises:
        OSError: a file would replace a folder, or a folder a file; or the disk is full.
    """
    first = targets[0]
    settle(first)
    commit = _hidden(first, "commit")
    with _staging(first) as folder:
        new = folder / "new"
        try:
            yield tuple(new / target.name for target in targets)
            made = [target for target in targets if (new / target.name).exists()]
            for target in made:
                _check_same_type(new / target.name, target)
            if not _is_staged(first):
                _sync_tree(folder)
            settle(first)
            folder.rename(commit)
        except BaseException:
            _clear(folder)
            raise
        try:
            _move_in(commit)
        except OSError:
            _move_back(commit, made)
            raise
        _retire(commit)


def settle(path: Path) -> None:
    """Finish the commit of a process that was killed while it replaced `path`.

    Costs one look at the disk if there is none. Every reader of what `swapped_in` writes calls it.

    Raises:
        OSError: there is such a commit, and it cannot be finished here, as on a read-only disk.
    """
    commit = _hidden(path, "commit")
    end_s = time.monotonic() + _PATIENCE_S
    while commit.is_dir():
        lock = _claim(commit / "lock")
        if lock is None and sys.platform != "win32" and time.monotonic() < end_s:
            time.sleep(0.01)  # a live process moves them to their places, or has just done so
            continue
        with lock or contextlib.nullcontext():
            _move_in(commit)
            _retire(commit)


def settle_all(folder: Path) -> None:
    """Finish the commits of killed processes for everything in a folder; see `settle`."""
    if folder.is_dir():
        for commit in sorted(folder.glob(".*.commit")):
            settle(folder / commit.name.removeprefix(".").removesuffix(".commit"))


def remove_leftovers(path: Path) -> None:
    """Remove what a process that was killed in `swapped_in(path)` left, or finish its commit."""
    settle(path)
    staging = _hidden(path, "new")
    if staging.is_dir() and (lock := _claim(staging / "lock")) is not None:
        with lock:
            _clear(staging)


def sync_folder(folder: Path) -> None:
    """Sync the names of the files in a folder to the disk, where the system can do that."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # some network disks cannot
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def link_in_place(original: Path, copy: Path) -> None:
    """Replace `copy` by a hard link to `original`; it is kept on disks without hard links."""
    temporary = _hidden(copy, "tmp", unique=True)
    try:
        os.link(original, temporary)
        temporary.replace(copy)
    except OSError:
        temporary.unlink(missing_ok=True)


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file's content as 64 hexadecimal digits."""
    with open_regular(path) as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _hidden(path: Path, role: str, *, unique: bool = False) -> Path:
    mark = f".{uuid.uuid4().hex[:8]}" if unique else ""
    return path.with_name(f".{path.name}{mark}.{role}")


def _is_staged(path: Path) -> bool:
    """Whether a path lies in a hidden folder whose commit will sync everything in it."""
    return any(p.name.startswith(".") and p.name.endswith(".new") for p in path.parents)


def _claim(path: Path) -> BinaryIO | None:
    """Open a file, which may be a leftover, locked against other processes; None: not to be had."""
    if sys.platform == "win32":
        return None  # an open file could not be renamed there

    def keep_content(name: str, flags: int) -> int:
        return os.open(name, flags & ~os.O_TRUNC | os.O_NOFOLLOW, 0o666)

    stream: IO[bytes] | None = None
    try:
        stream = open(path, "wb", opener=keep_content)  # noqa: SIM115
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # between opening and locking, its holder may have renamed or removed it
        if os.path.samestat(os.fstat(stream.fileno()), path.stat()):
            return stream
    except OSError:
        pass
    if stream is not None:
        stream.close()
    return None


@contextlib.contextmanager
def _staging(target: Path) -> Iterator[Path]:
    """A locked hidden folder for a commit, with the empty folders `new` and `old`."""
    folder = _hidden(target, "new")
    folder.mkdir(parents=True, exist_ok=True)
    lock = _claim(folder / "lock")
    if lock is None:
        with contextlib.suppress(OSError):
            folder.rmdir()
        folder = _hidden(target, "new", unique=True)
    with lock or contextlib.nullcontext():
        try:
            for name in ("new", "old"):
                shutil.rmtree(folder / name, ignore_errors=True)
                (folder / name).mkdir(parents=True)
        except BaseException:
            _clear(folder)
            raise
        yield folder


def _check_same_type(new: Path, target: Path) -> None:
    if new.is_dir() and target.exists() and not target.is_dir():
        raise NotADirectoryError(
            errno.ENOTDIR, "expected a folder to replace, got a file", str(target)
        )
    if new.is_file() and target.is_dir():
        raise IsADirectoryError(
            errno.EISDIR, "expected a file to replace, got a folder", str(target)
        )


def _sync_tree(folder: Path) -> None:
    for parent, _, names in os.walk(folder):
        for name in names:
            with (Path(parent) / name).open("rb") as stream:
                os.fsync(stream.fileno())
        sync_folder(Path(parent))


def _move_in(commit: Path) -> None:
    """Move everything in `commit/new` to its place, and what it replaces to `commit/old`."""
    if not _is_staged(commit):
        sync_folder(commit.parent)
    for new in sorted((commit / "new").iterdir()):
        target, old = commit.parent / new.name, commit / "old" / new.name
        if target.is_file():
            with contextlib.suppress(OSError):  # a copy for _move_back; a file is never missing
                os.link(target, old)
        elif os.path.lexists(target):
            target.rename(old)
        new.replace(target)
    if not _is_staged(commit):
        sync_folder(commit.parent)


def _move_back(commit: Path, targets: Sequence[Path]) -> None:
    """Undo `_move_in` after an error; if it is killed, `_move_in` can finish what is left."""
    for target in targets:
        new, old = (commit / part / target.name for part in ("new", "old"))
        if not new.exists():
            target.rename(new)
        if old.exists():
            old.replace(target)
    _retire(commit)


def _retire(commit: Path) -> None:
    """Remove a commit that is finished; it stops being one by the first rename."""
    target = commit.with_name(commit.name.removeprefix(".").removesuffix(".commit"))
    folder = _hidden(target, "new")
    try:
        commit.rename(folder)
    except OSError:  # another process prepares the next commit
        folder = _hidden(target, "new", unique=True)
        commit.rename(folder)
    _clear(folder)


def _clear(folder: Path) -> None:
    """Remove a hidden folder; its lock last, because others may use the folder from then on."""
    for name in ("new", "old"):
        shutil.rmtree(folder / name, ignore_errors=True)
    with contextlib.suppress(OSError):
        (folder / "lock").unlink(missing_ok=True)
        folder.rmdir()
