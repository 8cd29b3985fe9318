"""One writer for a session: a lock that dies with its process, and a note of who holds it."""

import contextlib
import datetime
import os
import socket
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from loco_tools import files
from loco_tools.errors import CaptureError

LOCK = ".lock"
HOLDER = ".holder"


@contextlib.contextmanager
def held(folder: Path) -> Iterator[None]:
    """Hold the lock of a session's folder, which is made when needed.

    The lock is the operating system's: it is free again when its process ends, however that was.

    Raises:
        CaptureError: another process holds it; the message names the process and its computer.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise CaptureError(
            f"{folder}: is being written by {_holder(folder)}; next step: stop that one, or begin "
            "another session with --new"
        ) from error
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
