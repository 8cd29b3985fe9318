"""Cells on this machine: in worker processes, or in the process of the run itself.

A worker process lives as long as the run and is replaced when it dies. A process pool of the
standard library breaks as a whole when one process dies, and offers a worker neither a GPU of its
own nor a way to report progress. Hence this pool: a process per share of the machine, pickled
messages over its pipes (see `worker`), and a thread per process that receives them.
"""

import os
import pickle
import queue
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from loco_tools.benchmark.cell.failures import THREADS
from loco_tools.benchmark.cell.record import CellRecord
from loco_tools.benchmark.cell.work import Job, run_cell
from loco_tools.benchmark.executors.base import (
    Executor,
    describe_exit,
    record_crash,
    remove_leftovers,
)
from loco_tools.benchmark.executors.worker import CellEnded, ProgressReplay, Ready, RunHalted
from loco_tools.datasets.reading import available_cores
from loco_tools.errors import BenchmarkError
from loco_tools.progress import SILENT, Progress

GRACE_S = 10.0
"""Time that a worker has to clean up after it was asked to stop."""

PROGRAM = (
    "import pickle, sys; sys.path[:] = pickle.load(sys.stdin.buffer); "
    "from loco_tools.benchmark.executors.worker import main; main({threads})"
)
"""A worker finds methods where the run finds them, and does not import the run's main module."""


@dataclass(frozen=True)
class Slot:
    """A share of the machine: environment variables for a worker, and its CPU threads."""

    environment: Mapping[str, str]
    threads: int


def slots(
    device: str, workers: int | None, environment: Mapping[str, str] = os.environ
) -> list[Slot]:
    """Divide this machine among workers: one GPU each, and the CPU threads evenly.

    Args:
        device: of the cells. With "cuda" every worker has one GPU; if there are more workers than
            GPUs, several share one.
        workers: their number; None: one per GPU, or one on a CPU or on a GPU named by its number.
        environment: of the run; its limit on threads holds for every worker.
    """
    gpus: list[str] = []
    if device == "cuda" and (visible := environment.get("CUDA_VISIBLE_DEVICES", "")):
        gpus = [name.strip() for name in visible.split(",")]
    elif device == "cuda":
        import torch

        gpus = [str(number) for number in range(torch.cuda.device_count())]
    count = workers or len(gpus) or 1
    threads = max(1, available_cores() // count)
    limit = environment.get(THREADS[0], "")
    if limit.isdecimal() and int(limit) > 0:
        threads = min(threads, int(limit))
    shares = [dict.fromkeys(THREADS, str(threads)) for _ in range(count)]
    for number, share in enumerate(shares if gpus else []):
        share["CUDA_VISIBLE_DEVICES"] = gpus[number % len(gpus)]
    return [Slot(share, threads) for share in shares]


class InProcess(Executor):
    """Runs one cell after the other in this process; a crash of a cell ends the run."""

    at_once = 1

    def __init__(self, progress: Progress = SILENT) -> None:
        self._progress = progress
        self._queue: deque[Job] = deque()

    def submit(self, jobs: Sequence[Job]) -> None:
        """See `Executor.submit`."""
        self._queue.extend(jobs)

    def wait(self) -> list[CellRecord]:
        """See `Executor.wait`."""
        return [run_cell(self._queue.popleft(), self._progress)]

    def stop(self) -> None:
        """See `Executor.stop`."""
        self._queue.clear()


class _OutputClosed(NamedTuple):
    """A worker has closed its output: it has ended or is about to."""


class _Worker:
    """A worker process, and the cell that it is running."""

    def __init__(self, slot: Slot, inbox: "queue.Queue[tuple[_Worker, Any]]") -> None:
        self.job: Job | None = None
        self.is_ready = False
        self._process = subprocess.Popen(  # noqa: S603 - our own program
            [sys.executable, "-c", PROGRAM.format(threads=slot.threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, **slot.environment},
            start_new_session=True,  # ctrl-c is for the run
        )
        self._inbox = inbox
        threading.Thread(target=self._receive, daemon=True).start()
        self._send(sys.path)

    def start(self, job: Job) -> None:
        """Start a cell."""
        self.job = job
        self._send(job)

    def ask_to_stop(self) -> None:
        """Close its input, upon which it stops in the middle of a cell."""
        if self._process.stdin is not None:
            try:
                self._process.stdin.close()
            except OSError:  # it has died with unread input
                return

    def end(self, timeout_s: float) -> int:
        """Wait for its end, or kill it after `timeout_s`; its exit code."""
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
        except OSError:  # it has died, which the receiving thread reports
            return

    def _receive(self) -> None:
        stream = self._process.stdout
        try:
            while stream is not None:
                self._inbox.put((self, pickle.load(stream)))  # noqa: S301
        except (EOFError, OSError, pickle.UnpicklingError):
            self._inbox.put((self, _OutputClosed()))


class LocalProcesses(Executor):
    """One worker process per slot; it is started when there is a cell for it."""

    def __init__(self, slots: Sequence[Slot], progress: Progress = SILENT) -> None:
        self.at_once = len(slots)
        self._slots = list(slots)
        self._workers: list[_Worker | None] = [None] * len(slots)
        self._replays = [ProgressReplay(progress) for _ in slots]
        self._inbox: queue.Queue[tuple[_Worker, Any]] = queue.Queue()
        self._waiting: deque[Job] = deque()

    def submit(self, jobs: Sequence[Job]) -> None:
        """See `Executor.submit`."""
        self._waiting.extend(jobs)
        self._start_waiting_cells()

    def wait(self) -> list[CellRecord]:
        """See `Executor.wait`."""
        record = None
        while record is None:
            worker, message = self._inbox.get()
            number = self._workers.index(worker)
            match message:
                case Ready():
                    worker.is_ready = True
                case CellEnded():
                    worker.job = None
                    record = message.record
                case RunHalted():
                    raise BenchmarkError(message.message)
                case _OutputClosed():
                    record = self._replace_dead_worker(number, worker)
                case progress:
                    job = worker.job if len(self._slots) > 1 else None
                    prefix = f"{job.stamp.class_name}, " if job is not None else ""
                    self._replays[number].show(progress, prefix)
        self._start_waiting_cells()
        return [record]

    def stop(self) -> None:
        """See `Executor.stop`."""
        running = [worker for worker in self._workers if worker is not None]
        for worker in running:
            worker.ask_to_stop()
        for worker in running:
            worker.end(GRACE_S)
            if worker.job is not None:
                remove_leftovers(worker.job)
        for replay in self._replays:
            replay.close()
        self._workers = [None] * len(self._slots)
        self._waiting.clear()

    def _start_waiting_cells(self) -> None:
        """Give waiting cells to idle workers, and start the workers that are missing."""
        for number, slot in enumerate(self._slots):
            if not self._waiting:
                return
            worker = self._workers[number] or _Worker(slot, self._inbox)
            self._workers[number] = worker
            if worker.job is None:
                worker.start(self._waiting.popleft())

    def _replace_dead_worker(self, number: int, worker: _Worker) -> CellRecord | None:
        """Free the slot of a worker that has died; the failed record of its cell, if it had one."""
        self._replays[number].close()
        self._workers[number] = None
        worker.ask_to_stop()
        exit_code = worker.end(GRACE_S)
        if not worker.is_ready:
            raise BenchmarkError(
                f"a worker process did not start (exit code {exit_code}, its message is above); "
                "next step: run the cells in this process with --set executor.workers=0"
            )
        if worker.job is None:
            return None
        return record_crash(worker.job, describe_exit(exit_code))
