"""The run's own process as an executor: for debuggers, and for tests that look inside a cell."""

from collections import deque
from collections.abc import Sequence

from loco_tools.benchmark.cell.attempt import attempt
from loco_tools.benchmark.cell.record import CellRecord
from loco_tools.benchmark.cell.work import Job
from loco_tools.benchmark.executors.base import Executor
from loco_tools.progress import SILENT, Progress


class InProcess(Executor):
    """Works on one cell after the other, here; whatever kills a cell kills the run."""

    at_once = 1

    def __init__(self, progress: Progress = SILENT) -> None:
        self._progress = progress
        self._queue: deque[Job] = deque()

    def submit(self, jobs: Sequence[Job]) -> None:
        """See `Executor.submit`."""
        self._queue.extend(jobs)

    def wait(self) -> list[CellRecord]:
        """See `Executor.wait`."""
        return [attempt(self._queue.popleft(), self._progress)]

    def stop(self) -> None:
        """See `Executor.stop`."""
        self._queue.clear()
