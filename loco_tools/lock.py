"""One writer per folder: a lock that ends with its process, and a note that names its holder."""

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
    """Hold the lock of a folder, which is created if it does not exist.

    It is a lock of the operating system, which is released when its process ends in any way.

    Args:
        folder: the folder of a session or of a run.
        error: the exception that is raised if another process holds the lock; its message names
            that process and its computer.
        otherwise: what the user can do instead of stopping that process, such as "begin another
            session with --new".
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout as timeout:
        try:
            holder = (folder / HOLDER).read_text(encoding="utf-8").strip()
        except OSError:
            holder = ""
        raise error(
            f"{folder}: is being written by {holder or 'another process'}; next step: stop that "
            f"process, or {otherwise}"
        ) from timeout
    since = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    note = f"process {os.getpid()} on {socket.gethostname()} since {since}"
    try:
        # not in the file of the lock, which every attempt to take the lock empties
        files.write_text(folder / HOLDER, f"{note}\n")
        yield
    finally:
        (folder / HOLDER).unlink(missing_ok=True)
        lock.release()
