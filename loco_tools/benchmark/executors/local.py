"""Cells in processes of this machine, which live as long as the run and are replaced when they die.

A process pool of the standard library breaks as a whole when one process dies, and others give a
worker neither a GPU of its own nor a way to report progress; hence this one: a process per share
of the machine, pickles over its pipes, a thread per process that listens.
"""

import os
import pickle
import queue
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Sequence
from typing import Any, NamedTuple

from loco_tools.benchmark.cell.record import CellRecord
from loco_tools.benchmark.cell.work import Job
from loco_tools.benchmark.executors.base import Executor, crashed, ending, tidy
from loco_tools.benchmark.executors.relay import Replay
from loco_tools.benchmark.executors.slots import Slot
from loco_tools.benchmark.executors.worker import Ended, Halted, Ready
from loco_tools.errors import BenchmarkError
from loco_tools.progress import SILENT, Progress

GRACE_S = 10.0
"""How long a worker that is told to stop may take to clear away what it has half-written."""

PROGRAM = (
    "import pickle, sys; sys.path[:] = pickle.load(sys.stdin.buffer); "
    "from loco_tools.benchmark.executors.worker import main; main({threads})"
)
"""Methods are found where the run finds them, and the run's own main module is not imported."""


class _Gone(NamedTuple):
    """A worker has closed its output: it has ended or is about to."""


class _Worker:
    """A worker process, and the cell that it is working on."""

    def __init__(self, slot: Slot, inbox: "queue.Queue[tuple[_Worker, Any]]") -> None:
        self.job: Job | None = None
        self.started = False
        self._process = subprocess.Popen(  # noqa: S603 - our own program
            [sys.executable, "-c", PROGRAM.format(threads=slot.threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, **slot.environment},
            start_new_session=True,  # ctrl-c is for the run
        )
        self._inbox = inbox
        threading.Thread(target=self._listen, daemon=True).start()
        self._send(sys.path)

    def begin(self, job: Job) -> None:
        """Work on a cell."""
        self.job = job
        self._send(job)

    def ask_to_stop(self) -> None:
        """End its input, and with it whatever it does."""
        if self._process.stdin is not None:
            try:
                self._process.stdin.close()
            except OSError:  # it died with something unread
                return

    def end(self, timeout_s: float) -> int:
        """Its exit code, after killing it if it needs longer."""
        try:
            return self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()

    def _send(self, value: object) -> None:
        stream = self._process.stdin
        try:
            pickle.dump(value, stream)  # type: ignore[arg-type]
            stream.flush()  # type: ignore[union-attr]
        except OSError:  # it has died; the listening thread says so
            return

    def _listen(self) -> None:
        stream = self._process.stdout
        try:
            while stream is not None:
                self._inbox.put((self, pickle.load(stream)))  # noqa: S301
        except (EOFError, OSError, pickle.UnpicklingError):
            self._inbox.put((self, _Gone()))


class LocalProcesses(Executor):
    """One worker process per slot, started when there is a cell for it."""

    def __init__(self, slots: Sequence[Slot], progress: Progress = SILENT) -> None:
        self.at_once = len(slots)
        self._slots = list(slots)
        self._workers: list[_Worker | None] = [None] * len(slots)
        self._replays = [Replay(progress) for _ in slots]
        self._inbox: queue.Queue[tuple[_Worker, Any]] = queue.Queue()
        self._waiting: deque[Job] = deque()

    def submit(self, jobs: Sequence[Job]) -> None:
        """See `Executor.submit`."""
        self._waiting.extend(jobs)
        self._hand_out()

    def wait(self) -> list[CellRecord]:
        """See `Executor.wait`."""
        while True:
            worker, message = self._inbox.get()
            place = self._workers.index(worker)
            record = self._take(place, worker, message)
            if record is not None:
                self._hand_out()
                return [record]

    def stop(self) -> None:
        """See `Executor.stop`."""
        running = [worker for worker in self._workers if worker is not None]
        for worker in running:
            worker.ask_to_stop()
        for worker in running:
            worker.end(GRACE_S)
            if worker.job is not None:
                tidy(worker.job)
        for replay in self._replays:
            replay.close()
        self._workers = [None] * len(self._slots)
        self._waiting.clear()

    def _hand_out(self) -> None:
        """Give waiting cells to idle workers, starting those that do not run."""
        for place, slot in enumerate(self._slots):
            if not self._waiting:
                return
            worker = self._workers[place] or _Worker(slot, self._inbox)
            self._workers[place] = worker
            if worker.job is None:
                worker.begin(self._waiting.popleft())

    def _take(self, place: int, worker: _Worker, message: Any) -> CellRecord | None:
        """What a message means: the record of a cell that has ended, or nothing yet."""
        match message:
            case Ready():
                worker.started = True
            case Ended(record):
                worker.job = None
                return record
            case Halted(reason):
                raise BenchmarkError(reason)
            case _Gone():
                return self._bury(place, worker)
            case report:
                self._replays[place].show(report, self._title(worker))
        return None

    def _bury(self, place: int, worker: _Worker) -> CellRecord | None:
        """Take note that a worker has died; the next cell of its slot gets a new one."""
        self._replays[place].close()
        self._workers[place] = None
        worker.ask_to_stop()
        exit_code = worker.end(GRACE_S)
        if not worker.started:
            raise BenchmarkError(
                f"a worker process could not be started (exit code {exit_code}, its message is "
                "above); next step: run with --set executor.workers=0, in this process"
            )
        return crashed(worker.job, ending(exit_code)) if worker.job is not None else None

    def _title(self, worker: _Worker) -> str:
        """Which cell a bar is of, where several are worked on at once."""
        return f"{worker.job.stamp.class_name}, " if len(self._slots) > 1 and worker.job else ""
