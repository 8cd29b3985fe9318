"""One writer for a folder: a lock that dies with its process, and a note of who holds it."""

import contextlib
import datetime
import os
import socket
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from loco_tools import files
from loco_tools.errors import LocoToolsError

LOCK = ".lock"
HOLDER = ".holder"


@contextlib.contextmanager
def held(folder: Path, error: type[LocoToolsError], otherwise: str) -> Iterator[None]:
    """Hold the lock of a folder, which is made when needed.

    The lock is the operating system's: it is free again when its process ends, however that was.

    Args:
        folder: a session's, or a run's.
        error: what is raised when another process holds it; its message names that process and
            its computer.
        otherwise: what can be done but to stop that one, such as "begin another session with
            --new".
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout as timeout:
        raise error(
            f"{folder}: is being written by {_holder(folder)}; next step: stop that one, or "
            f"{otherwise}"
        ) from timeout
    try:
        # not in the lock's own file, which whoever tries the lock empties
        files.write_text(folder / HOLDER, f"{_myself()}\n")
        yield
    finally:
        (folder / HOLDER).unlink(missing_ok=True)
        lock.release()


def _myself() -> str:
    since = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    return f"process {os.getpid()} on {socket.gethostname()} since {since}"


def _holder(folder: Path) -> str:
    try:
        return (folder / HOLDER).read_text(encoding="utf-8").strip() or "another process"
    except OSError:
        return "another process"
