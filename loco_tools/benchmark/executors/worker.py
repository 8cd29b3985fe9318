"""The program of a local worker process: reads jobs from its standard input until that ends.

Pickled values travel both ways: jobs come in; `Ready`, reports of progress, and
one `Ended` or `Halted` per job go out. The end of the input is the order to stop, so that no
worker outlives its run, however that ends.
"""

import _thread
import contextlib
import os
import pickle
import queue
import signal
import sys
import threading
from pathlib import Path
from types import FrameType
from typing import Any, BinaryIO, NamedTuple

from loco_tools.benchmark.cell.attempt import attempt
from loco_tools.benchmark.cell.record import CellRecord
from loco_tools.benchmark.cell.work import Job
from loco_tools.benchmark.executors.relay import SendingProgress
from loco_tools.errors import LocoToolsError


class Ready(NamedTuple):
    """The worker has started."""


class Ended(NamedTuple):
    """A cell has ended, and its folder is complete."""

    record: CellRecord


class Halted(NamedTuple):
    """The run cannot go on: the disk is full."""

    message: str


class _Stopped(BaseException):
    """Raised in the middle of a cell when the run has ended, so that nothing is left behind."""


def main(threads: int) -> None:
    """Work until the input ends; `threads` is how many CPU threads OpenCV may use."""
    import cv2

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # ctrl-c is for the run, which then stops us
    signal.signal(signal.SIGTERM, _stop)
    _be_killed_first()
    cv2.setNumThreads(threads)
    out = _private_stdout()
    lock = threading.Lock()  # a method's own threads may report progress too

    def send(value: object) -> None:
        try:
            with lock:
                pickle.dump(value, out)
                out.flush()
        except OSError:  # the run is gone; no fault of the cell
            raise _Stopped from None

    jobs: queue.Queue[Job | None] = queue.Queue()
    threading.Thread(target=_receive, args=(jobs,), daemon=True).start()
    with contextlib.suppress(_Stopped):
        send(Ready())
        while (job := jobs.get()) is not None:
            send(_work(job, SendingProgress(send)))
    os._exit(0)  # without waiting for threads that a method has left


def _work(job: Job, progress: SendingProgress) -> Ended | Halted:
    try:
        return Ended(attempt(job, progress))
    except LocoToolsError as error:
        return Halted(str(error))


def _receive(jobs: "queue.Queue[Job | None]") -> None:
    """Take jobs in; when the input ends, stop the cell that is being worked on."""
    with contextlib.suppress(EOFError, OSError, pickle.UnpicklingError):
        while True:
            jobs.put(pickle.load(sys.stdin.buffer))  # noqa: S301
    jobs.put(None)
    _thread.interrupt_main(signal.SIGTERM)


def _stop(_number: int, _frame: FrameType | None) -> Any:
    raise _Stopped


def _private_stdout() -> BinaryIO:
    """The way to the run; what a method prints goes to standard error instead."""
    out = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    return out


def _be_killed_first() -> None:
    """Where Linux runs out of memory it should take a worker and not the run."""
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("500", encoding="ascii")
