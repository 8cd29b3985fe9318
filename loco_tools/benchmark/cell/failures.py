"""How a cell fails: one message, and no harm to a finished cell, to the run or to later cells."""

import contextlib
import os
import sys
import sysconfig
import tempfile
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from loco_tools import files
from loco_tools.benchmark.cell.record import CellRecord, write_failure
from loco_tools.errors import LocoToolsError

if TYPE_CHECKING:
    from loco_tools.benchmark.cell.work import Job

INSTALLED = tuple(sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib"))
"""Folders of code that is not the user's own."""

THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
"""Environment variables from which numerical libraries take their threads when they are loaded."""

OURS = str(Path(__file__).parents[2])


def record_failure(job: "Job", error: str, trace: str = "") -> CellRecord:
    """Record that a cell failed, or that the maps of a finished cell could not be made.

    A finished cell with the same key is left as it is; its record is returned with `maps_error`.

    Args:
        job: the cell.
        error: the message.
        trace: a traceback for whoever repairs the method.
    """
    finished = job.reusable()
    if finished is not None:
        return finished.model_copy(update={"maps_error": error})
    if trace:
        error += "; next step: read traceback.txt in the cell's folder"
    return write_failure(job.stamp, error, trace, job.out)


def explain(error: BaseException, method: str) -> tuple[str, str]:
    """The message of an error in a cell, and its traceback if it is not one of ours.

    Args:
        error: what was raised.
        method: the implementation, as the user named it.
    """
    if isinstance(error, LocoToolsError):
        return str(error), ""
    trace = "".join(traceback.format_exception(error))
    if isinstance(error, SystemExit):
        return (
            f'method "{method}" called sys.exit({error.code!r}){_place(error)}; expected it to '
            "return, or to raise an exception",
            trace,
        )
    text = " ".join(str(error).split())
    message = f"{type(error).__name__}: {text}" if text else f"{type(error).__name__}"
    hint = ""
    if isinstance(error, ValueError) and "read-only" in text:
        hint = "; images must not be modified: expected the method to change a copy of them"
    return message + _place(error) + hint, trace


def _place(error: BaseException) -> str:
    """The line of the user's own code, or else of ours, in which an error was raised."""
    frames = [
        (frame, line)
        for frame, line in traceback.walk_tb(error.__traceback__)
        if not frame.f_code.co_filename.startswith((*INSTALLED, "<"))
    ]
    own = [one for one in frames if not one[0].f_code.co_filename.startswith(OURS)]
    if not frames:
        return ""
    frame, line = (own or frames)[-1]
    return f" (in {frame.f_globals.get('__name__', frame.f_code.co_filename)}, line {line})"


@contextlib.contextmanager
def controlled_state(threads: int | None) -> Iterator[None]:
    """Fix the CPU threads of a cell, and undo afterwards what a method did to the process.

    The current folder and torch's default type and threads are restored. What the method prints
    goes to standard error, because standard output may be the JSON of the command.

    Args:
        threads: of torch and of the numerical libraries; sums over several threads are rounded
            in another order, which changes trained networks. None: they are left as they are.
    """
    import torch
    from threadpoolctl import threadpool_limits

    folder, environment = Path.cwd(), {name: os.environ.get(name) for name in THREADS}
    before = torch.get_default_dtype(), torch.get_num_threads()
    try:
        with threadpool_limits(threads), contextlib.redirect_stdout(sys.stderr):
            torch.set_num_threads(threads or before[1])
            if threads is not None:  # for libraries that are loaded later
                os.environ.update(dict.fromkeys(THREADS, str(threads)))
            yield
    finally:
        os.chdir(folder)
        for name, value in environment.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value
        torch.set_default_dtype(before[0])
        torch.set_num_threads(before[1])


def explain_full_disk(error: BaseException, job: "Job") -> str:
    """The message of an error that a full disk has caused, also indirectly; "" for other errors."""
    cause: BaseException | None = error
    while cause is not None:
        full = isinstance(cause, OSError) and files.is_full(cause)
        if full or "No space left on device" in str(cause):
            named = cause.filename if isinstance(cause, OSError) else None
            other = "" if named else f"; or that of temporary files, {tempfile.gettempdir()}"
            return (
                f"{named or job.out}: the disk is full ({job.cell}{other}); finished cells are "
                "kept and no file of the run is incomplete; next step: free some space and run "
                "the command again"
            )
        cause = cause.__cause__ or cause.__context__
    return ""
