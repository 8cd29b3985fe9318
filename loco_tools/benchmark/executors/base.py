"""The interface of executors, and the failed record of a cell whose process died."""

import signal
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Self

from loco_tools import files
from loco_tools.benchmark.cell.failures import record_failure
from loco_tools.benchmark.cell.record import CellRecord
from loco_tools.benchmark.cell.work import Job


class Executor(ABC):
    """Runs cells somewhere. It is used in a `with` block, which stops it at the end.

    Attributes:
        at_once: how many cells may be submitted at the same time; None: all that are ready.
    """

    at_once: int | None = None

    @abstractmethod
    def submit(self, jobs: Sequence[Job]) -> None:
        """Start or queue cells whose members are finished; returns at once."""

    @abstractmethod
    def wait(self) -> list[CellRecord]:
        """Block until a cell has ended, and return the records of the cells that have ended since.

        The folder of each of these cells is then complete, in the run's folder. A cell whose
        process died has a failed record.

        Raises:
            BenchmarkError: the disk is full, or the executor cannot go on.
        """

    @abstractmethod
    def stop(self) -> None:
        """Stop the cells that are running; no incomplete file of them remains."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def record_crash(job: Job, error: str) -> CellRecord:
    """Record the failure of a cell whose process died; see `record_failure`.

    Args:
        job: the cell.
        error: what happened, and the next step; from `describe_exit` for a local process.
    """
    remove_leftovers(job)
    return record_failure(job, error)


def remove_leftovers(job: Job) -> None:
    """Remove the incomplete folders that a killed process left next to the cell's folders."""
    files.remove_leftovers(job.cell.folder(job.out))
    files.remove_leftovers(job.cell.maps_folder(job.out))


def describe_exit(exit_code: int) -> str:
    """The error of a cell whose process ended with an exit code; -9 means signal 9.

    >>> describe_exit(3).partition(";")[0]
    'a worker process died with exit code 3'
    """
    if exit_code >= 0:
        return (
            f"a worker process died with exit code {exit_code}; "
            "next step: look for calls of os._exit or abort in the method"
        )
    number = -exit_code
    try:
        name = f"signal {number} ({signal.Signals(number).name})"
    except ValueError:
        name = f"signal {number}"
    if number == signal.SIGKILL:
        return (
            f"a worker process died by {name}, most likely because memory ran out; next step: use "
            "fewer --workers, --preset fast, a smaller --size or a machine with more memory, and "
            "add --retry-failed"
        )
    return (
        f"a worker process died by {name}, which is a fault in compiled code; "
        "next step: run the cell with --set executor.workers=0 under a debugger"
    )
