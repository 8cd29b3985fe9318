"""What every executor is, and what becomes of a cell whose process has died."""

import signal
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Self

from loco_tools import files
from loco_tools.benchmark.cell.record import CellRecord, write_failure
from loco_tools.benchmark.cell.work import Job


class Executor(ABC):
    """Works on cells somewhere. To be used in a `with` block, which stops it at the end.

    Attributes:
        at_once: how many cells it is to be given at a time; None: all that are ready.
    """

    at_once: int | None = None

    @abstractmethod
    def submit(self, jobs: Sequence[Job]) -> None:
        """Begin, or queue, cells whose members are finished."""

    @abstractmethod
    def wait(self) -> list[CellRecord]:
        """The records of the cells that have ended since; blocks until there is one.

        Each cell's folder is complete and in the run's folder when its record is given. A cell
        whose process died has a failed record.

        Raises:
            BenchmarkError: the disk is full, or the executor cannot go on.
        """

    @abstractmethod
    def stop(self) -> None:
        """Give up the cells that are being worked on; nothing of them is left half-written."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def crashed(job: Job, how: str) -> CellRecord:
    """The failed record of a cell whose process died in the middle of it.

    Args:
        job: the cell.
        how: a sentence for the person at the keyboard, from `ending` say.
    """
    tidy(job)
    return write_failure(job.stamp, how, "", job.out)


def tidy(job: Job) -> None:
    """Remove what a process that was killed left beside the cell's folders."""
    files.remove_leftovers(job.cell.folder(job.out))
    files.remove_leftovers(job.cell.maps_folder(job.out))


def ending(exit_code: int) -> str:
    """How a process ended in the middle of a cell, from its exit code (-9: by signal 9).

    >>> ending(3).partition(";")[0]
    'the process ended with exit code 3 in the middle of the cell'
    """
    if exit_code >= 0:
        return (
            f"the process ended with exit code {exit_code} in the middle of the cell; "
            "next step: look for what the method calls os._exit or abort"
        )
    number = -exit_code
    try:
        name = f"signal {number} ({signal.Signals(number).name})"
    except ValueError:
        name = f"signal {number}"
    if number == signal.SIGKILL:
        return (
            f"the process ended by {name}, most likely for want of memory; next step: fewer "
            "--workers, --preset fast, a smaller --size, or a machine with more memory, and "
            "--retry-failed"
        )
    return (
        f"the process ended by {name} in the middle of the cell, a fault in compiled code; "
        "next step: run it with --set executor.workers=0 under a debugger"
    )
