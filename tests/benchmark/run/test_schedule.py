from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from loco_tools.benchmark.cell.record import CellRecord, write_failure
from loco_tools.benchmark.cell.work import Job
from loco_tools.benchmark.executors.base import Executor
from loco_tools.benchmark.run import planning
from loco_tools.benchmark.run.runner import Schedule
from loco_tools.benchmark.suite import Suite

Make = Callable[..., Path]
MakeSuite = Callable[..., Suite]


class FakeExecutor(Executor):
    """Ends the last cell first, some of them as failed, without running any."""

    def __init__(self, failing: Sequence[str] = (), at_once: int | None = None) -> None:
        self.at_once, self._failing = at_once, failing
        self.batches: list[list[str]] = []
        self._queue: deque[Job] = deque()
        self.most = 0

    def submit(self, jobs: Sequence[Job]) -> None:
        self.batches.append([str(job.cell) for job in jobs])
        self._queue.extend(jobs)
        self.most = max(self.most, len(self._queue))

    def wait(self) -> list[CellRecord]:
        job = self._queue.pop()
        if job.cell.method in self._failing:
            return [write_failure(job.stamp, "boom", "", job.out)]
        return [CellRecord(key=job.stamp.key, stamp=job.stamp, status="ok")]

    def stop(self) -> None:
        self._queue.clear()


@pytest.fixture
def jobs(tmp_path: Path, make_loco_class: Make, make_suite: MakeSuite) -> list[Job]:
    """The cells of an ensemble of a and b, and of an ensemble of b alone, with two seeds."""
    suite = Suite(
        methods=[
            {"name": "ensemble-mean"},
            {"name": "ensemble-max", "members": ["b"]},
            *make_suite("a", "b").methods,
        ],
        backbone="scattering",
        seeds=[0, 1],
    )
    return list(planning.jobs(planning.prepare(suite, [make_loco_class()], tmp_path / "out")))


def ends(jobs: Sequence[Job], executor: Executor, known: Sequence[CellRecord] = ()) -> list[str]:
    """The cells in the order of their ends, when a run submits what its schedule starts."""
    schedule = Schedule(jobs, {record.cell: record for record in known})
    ended: list[CellRecord] = []
    while schedule.is_unfinished:
        ended += schedule.fail_without_members()
        if ready := schedule.start(executor.at_once):
            executor.submit(ready)
        for record in executor.wait() if schedule.running else ():
            schedule.end(record)
            ended.append(record)
    return [f"{r.stamp.method} {r.stamp.seed}{' failed' * (r.status == 'failed')}" for r in ended]


def test_all_members_are_submitted_together_and_ensembles_as_soon_as_theirs_are_finished(
    jobs: list[Job],
) -> None:
    executor = FakeExecutor()
    assert len(ends(jobs, executor)) == 8
    assert executor.batches[0] == [f"{m} on plate, seed {s}" for s in (0, 1) for m in ("a", "b")]
    assert executor.batches[1] == ["ensemble-max on plate, seed 1"], "b has ended, a has not"


def test_no_more_are_submitted_than_the_executor_takes_at_once(jobs: list[Job]) -> None:
    executor = FakeExecutor(at_once=2)
    assert len(ends(jobs, executor)) == 8
    assert executor.most == 2


def test_a_member_that_fails_fails_its_ensembles_and_nothing_else(jobs: list[Job]) -> None:
    executor = FakeExecutor(failing=["a"])
    assert sorted(ends(jobs, executor)) == [
        *("a 0 failed", "a 1 failed", "b 0", "b 1", "ensemble-max 0", "ensemble-max 1"),
        *("ensemble-mean 0 failed", "ensemble-mean 1 failed"),
    ]
    assert not any("ensemble-mean" in cell for batch in executor.batches for cell in batch)
    record = next(job for job in jobs if job.cell.method == "ensemble-mean").previous()
    assert record is not None
    assert record.error == "member a on plate, seed 0 is not available: boom"


def test_members_of_an_earlier_run_count_whether_they_are_finished_or_failed(
    jobs: list[Job],
) -> None:
    ensembles = [job for job in jobs if job.members and job.stamp.seed == 0]
    by_method = {job.cell.method: job for job in jobs if job.stamp.seed == 0}
    known = [
        CellRecord(key="", stamp=by_method["b"].stamp, status="ok"),
        CellRecord(key="", stamp=by_method["a"].stamp, status="failed", error="boom"),
    ]
    assert ends(ensembles, FakeExecutor(), known) == ["ensemble-mean 0 failed", "ensemble-max 0"]
