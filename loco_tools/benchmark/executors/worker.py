"""The program of a local worker process, and the messages between it and the run.

The worker reads pickled jobs from its standard input, and writes pickled messages to its standard
output: `Ready` once, progress messages, and one `CellEnded` or `RunHalted` per job. It stops when
its input ends, so that no worker outlives its run, however that ends.
"""

import _thread
import contextlib
import os
import pickle
import queue
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

from loco_tools.benchmark.cell.record import CellRecord
from loco_tools.benchmark.cell.work import Job, run_cell
from loco_tools.errors import LocoToolsError
from loco_tools.progress import Advance, Progress

PERIOD_S = 0.2
"""Shortest time between two progress messages of one task; steps in between are summed up."""


class Ready(NamedTuple):
    """The worker has started."""


class CellEnded(NamedTuple):
    """A cell has ended, and its folder is complete."""

    record: CellRecord


class RunHalted(NamedTuple):
    """The run cannot continue, because the disk is full."""

    message: str


class Note(NamedTuple):
    """See `Progress.note`."""

    message: str


class TaskOpened(NamedTuple):
    """A task has begun; `number` identifies it among the tasks of the worker."""

    number: int
    description: str
    total: int | None


class TaskAdvanced(NamedTuple):
    """Steps of a task have been done."""

    number: int
    steps: int


class TaskClosed(NamedTuple):
    """A task has ended."""

    number: int


ProgressMessage = Note | TaskOpened | TaskAdvanced | TaskClosed


class SendingProgress:
    """A `Progress` of the worker that sends messages."""

    def __init__(self, send: Callable[[ProgressMessage], None]) -> None:
        self._send = send
        self._numbers = count()

    @contextlib.contextmanager
    def task(self, description: str, total: int | None = None) -> Iterator[Advance]:
        """See `Progress.task`."""
        number, steps, sent_s = next(self._numbers), 0, 0.0
        self._send(TaskOpened(number, description, total))

        def advance(done: int) -> None:
            nonlocal steps, sent_s
            steps += done
            now_s = time.monotonic()
            if now_s - sent_s >= PERIOD_S:
                self._send(TaskAdvanced(number, steps))
                steps, sent_s = 0, now_s

        try:
            yield advance
        finally:
            self._send(TaskClosed(number))

    def note(self, message: str) -> None:
        """See `Progress.note`."""
        self._send(Note(message))


class ProgressReplay:
    """Shows the progress messages of one worker in the run."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._open: dict[int, tuple[contextlib.ExitStack, Advance]] = {}

    def show(self, message: ProgressMessage, prefix: str = "") -> None:
        """Show a message; `prefix` precedes the description of a new task."""
        match message:
            case Note(text):
                self._progress.note(text)
            case TaskOpened(number, description, total):
                stack = contextlib.ExitStack()
                advance = stack.enter_context(self._progress.task(prefix + description, total))
                self._open[number] = (stack, advance)
            case TaskAdvanced(number, steps):
                self._open[number][1](steps)
            case TaskClosed(number):
                self._open.pop(number)[0].close()

    def close(self) -> None:
        """Close the tasks that are still open, because the worker has died."""
        while self._open:
            self._open.popitem()[1][0].close()


class _Stopped(BaseException):
    """Raised in the middle of a cell when the run has ended, so that the cell cleans up."""


def main(threads: int) -> None:
    """Run cells until the input ends; `threads` is the number of CPU threads for OpenCV."""
    import cv2

    def stop(_number: int, _frame: FrameType | None) -> Any:
        raise _Stopped

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # ctrl-c is for the run, which then stops us
    signal.signal(signal.SIGTERM, stop)
    with contextlib.suppress(OSError):  # when memory runs out, Linux shall kill us, not the run
        Path("/proc/self/oom_score_adj").write_text("500", encoding="ascii")
    cv2.setNumThreads(threads)
    out = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # where the prints of a method go
    lock = threading.Lock()  # threads of a method may report progress too

    def send(value: object) -> None:
        try:
            with lock:
                pickle.dump(value, out)
                out.flush()
        except OSError:  # the run has ended
            raise _Stopped from None

    jobs: queue.Queue[Job | None] = queue.Queue()
    threading.Thread(target=_receive, args=(jobs,), daemon=True).start()
    with contextlib.suppress(_Stopped):
        send(Ready())
        while (job := jobs.get()) is not None:
            try:
                send(CellEnded(run_cell(job, SendingProgress(send))))
            except LocoToolsError as error:
                send(RunHalted(str(error)))
    os._exit(0)  # without waiting for threads that a method has left behind


def _receive(jobs: "queue.Queue[Job | None]") -> None:
    """Receive jobs; when the input ends, interrupt the cell that is running."""
    with contextlib.suppress(EOFError, OSError, pickle.UnpicklingError):
        while True:
            jobs.put(pickle.load(sys.stdin.buffer))  # noqa: S301
    jobs.put(None)
    _thread.interrupt_main(signal.SIGTERM)
