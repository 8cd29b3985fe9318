"""In which order cells are worked on: members before their ensembles, on every executor."""

from collections.abc import Callable, Mapping, Sequence

from loco_tools.benchmark.cell.record import Cell, CellRecord, write_failure
from loco_tools.benchmark.cell.work import Job, member_missing
from loco_tools.benchmark.executors.base import Executor


def work_through(
    jobs: Sequence[Job],
    known: Mapping[Cell, CellRecord],
    executor: Executor,
    ended: Callable[[CellRecord], None],
) -> None:
    """Give an executor every cell as soon as its members are finished, until all have ended.

    A cell with a member that failed fails too, without being sent anywhere.

    Args:
        jobs: the cells to work on, members before their ensembles.
        known: records of cells that are not to be worked on again.
        executor: where they are worked on.
        ended: called once with the record of every cell of `jobs`, in the order of their ends.

    Raises:
        BenchmarkError: see `Executor.wait`.
    """
    records = dict(known)
    waiting = {job.cell: job for job in jobs}
    at_work = 0
    while waiting or at_work:
        for job in _hopeless(waiting, records):
            records[job.cell] = _without_member(waiting.pop(job.cell), records)
            ended(records[job.cell])
        ready = _ready(waiting, records)
        if executor.at_once is not None:
            ready = ready[: executor.at_once - at_work]
        for job in ready:
            del waiting[job.cell]
        if ready:
            executor.submit(ready)
            at_work += len(ready)
        if at_work:
            for record in executor.wait():
                at_work -= 1
                records[record.cell] = record
                ended(record)


def _ready(waiting: Mapping[Cell, Job], records: Mapping[Cell, CellRecord]) -> list[Job]:
    """The cells whose members are all finished."""
    return [
        job
        for job in waiting.values()
        if all(need in records and records[need].status == "ok" for need in job.needs)
    ]


def _hopeless(waiting: Mapping[Cell, Job], records: Mapping[Cell, CellRecord]) -> list[Job]:
    """The cells that a member has failed."""
    return [
        job
        for job in waiting.values()
        if any(need in records and records[need].status == "failed" for need in job.needs)
    ]


def _without_member(job: Job, records: Mapping[Cell, CellRecord]) -> CellRecord:
    failed = next(need for need in job.needs if need in records and records[need].status != "ok")
    return write_failure(job.stamp, member_missing(failed, records[failed]), "", job.out)
