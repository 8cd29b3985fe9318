"""One writer per folder: a lock that ends with its process, and a note that names its holder."""

import contextlib
import datetime
import os
import re
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from loco_tools import files
from loco_tools.errors import LocoToolsError

LOCK = ".lock"
HOLDER = ".holder"
_NOTE = re.compile(r"process (\d+) on (.+) since ")


@contextlib.contextmanager
def held(folder: Path, error: type[LocoToolsError], otherwise: str) -> Iterator[None]:
    """Hold the lock of a folder, which is created if it does not exist.

    It is a lock of the operating system, which is released when its process ends in any way. The
    files `.lock` and `.holder` lie in the folder.

    Args:
        folder: the folder of a session or of a run.
        error: the exception that is raised if another process holds the lock; its message names
            that process and its computer.
        otherwise: what the user can do instead of stopping that process, such as "begin another
            session with --new".
    """
    with _locked(folder, folder / LOCK, folder / HOLDER, error, otherwise):
        yield


@contextlib.contextmanager
def held_beside(target: Path, error: type[LocoToolsError], otherwise: str) -> Iterator[None]:
    """As `held`, with the files of the lock next to `target`: `.<name>.lock`, `.<name>.holder`.

    For folders that hold nothing of ours, and that are replaced as a whole. Both files are removed
    at the end.
    """
    lock, holder = (target.with_name(f".{target.name}{name}") for name in (LOCK, HOLDER))
    with _locked(target, lock, holder, error, otherwise):
        try:
            yield
        finally:
            with contextlib.suppress(OSError):  # while it is held: filelock notices
                lock.unlink()


@contextlib.contextmanager
def _locked(
    target: Path, path: Path, holder: Path, error: type[LocoToolsError], otherwise: str
) -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout as timeout:
        raise error(
            f"{target}: is being written by {_describe_holder(holder)}; next step: stop that "
            f"process, or {otherwise}"
        ) from timeout
    since = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    note = f"process {os.getpid()} on {socket.gethostname()} since {since}"
    try:
        # not in the file of the lock, which every attempt to take the lock empties
        files.write_text(holder, f"{note}\n")
        yield
    finally:
        holder.unlink(missing_ok=True)
        lock.release()


def _describe_holder(holder: Path) -> str:
    """The process that holds a lock; a note of a process that has died since is not believed."""
    try:
        note = files.read_text(holder).strip()
    except (OSError, ValueError):
        note = ""
    found = _NOTE.match(note)
    if found and sys.platform != "win32" and found[2] == socket.gethostname():
        try:
            os.kill(int(found[1]), 0)
        except ProcessLookupError:
            note = ""
        except (OSError, OverflowError):
            pass
    return note or "another process"
