"""What a run would do, and about what it would take, before anything is fitted or written."""

import heapq
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loco_tools.benchmark.cell.record import Cell
from loco_tools.benchmark.executor_settings import LocalSettings
from loco_tools.benchmark.run import planning
from loco_tools.benchmark.run.estimates import Estimate, earlier_cells, estimate
from loco_tools.benchmark.run.planning import Bench, Prospect
from loco_tools.benchmark.run.workload import Classes
from loco_tools.benchmark.suite import Suite
from loco_tools.progress import SILENT, Progress

VERBS = {"run": "would run", "reuse": "would be reused", "failed": "failed before"}


@dataclass(frozen=True)
class Outlook:
    """A cell, what a run would do with it, and about what that takes."""

    prospect: Prospect
    estimate: Estimate | None
    """Of cells that would run."""

    @property
    def cell(self) -> Cell:
        """The cell itself."""
        return self.prospect.job.cell

    @property
    def error(self) -> str:
        """Why it failed before; empty when it did not."""
        return self.prospect.record.error if self.prospect.record is not None else ""


@dataclass(frozen=True)
class DryRun:
    """What `loco-tools bench --dry-run` prints.

    `at_once` is how many cells are worked on at a time; None: as many as a cluster has room for.
    """

    out: Path
    executor: str
    device: str
    at_once: int | None
    outlooks: tuple[Outlook, ...]

    @property
    def work_s(self) -> float:
        """The time of all cells that would run, one after the other, as far as it is known."""
        return sum(e.total_s or 0 for e in self._estimates)

    @property
    def elapsed_s(self) -> float:
        """The time until the last cell has ended, members before their ensembles."""
        return elapsed(self.outlooks, self.at_once)

    @property
    def peak_mb(self) -> float:
        """The memory of the largest cells that may be worked on at once on one machine."""
        peaks = sorted((e.peak_mb or 0 for e in self._estimates), reverse=True)
        together = self.at_once or 1 if self.executor == "local" else 1
        return sum(peaks[:together])

    @property
    def unknown(self) -> int:
        """Cells that would run and of which nothing is known."""
        return sum(e.total_s is None for e in self._estimates)

    def describe(self) -> str:
        """A line per cell, and what they come to."""
        width = max((len(str(one.cell)) for one in self.outlooks), default=0)
        lines = [f"{one.cell!s:<{width}}  {_told(one)}" for one in self.outlooks]
        return "\n".join([*lines, *self._totals()])

    def as_record(self) -> dict[str, Any]:
        """The same as plain data."""
        return {
            "out": str(self.out),
            "executor": self.executor,
            "device": self.device,
            "at_once": self.at_once,
            "cells": [_plain(one) for one in self.outlooks],
            "work_s": round(self.work_s, 1),
            "elapsed_s": round(self.elapsed_s, 1),
            "peak_mb": round(self.peak_mb),
            "cells_without_estimate": self.unknown,
        }

    @property
    def _estimates(self) -> list[Estimate]:
        return [one.estimate for one in self.outlooks if one.estimate is not None]

    def _totals(self) -> list[str]:
        count = {fate: sum(o.prospect.fate == fate for o in self.outlooks) for fate in VERBS}
        lines = [
            f"{count['run']} cells would run, {count['reuse']} be reused, "
            f"{count['failed']} failed before; nothing was written"
        ]
        if count["failed"]:
            lines.append("next step: --retry-failed repeats those that failed")
        if count["run"]:
            lines.append(self._in_total())
        if self.unknown:
            lines.append(f"of {self.unknown} cells nothing is known, they are not in the total")
        return lines

    def _in_total(self) -> str:
        if self.at_once is None:
            together = "with all that are ready at once"
        else:
            together = "one after the other" if self.at_once == 1 else f"{self.at_once} at once"
        memory = "GPU memory" if self.device.startswith("cuda") else "memory"
        where = "together" if self.executor == "local" and (self.at_once or 1) > 1 else "per cell"
        return (
            f"about {duration(self.elapsed_s)} on executor {self.executor}, {together} "
            f"({duration(self.work_s)} of work), and up to {self.peak_mb / 1000:.1f} GB of "
            f"{memory} {where}: an estimate"
        )


def dry_run(
    suite: Suite,
    class_paths: Sequence[Path],
    out: Path,
    progress: Progress = SILENT,
    *,
    retry_failed: bool = False,
) -> DryRun:
    """Find out what `loco_tools.benchmark.run.runner.run` would do; arguments and errors as there.

    A GPU that is named (`--device cuda`) need not be in this machine.
    """
    bench = planning.prepare(suite, class_paths, out, progress, elsewhere=True)
    jobs = list(planning.jobs(bench, progress, remember=False))
    classes, earlier = Classes(), earlier_cells(out)
    by_cell = {job.cell: job for job in jobs}
    outlooks = []
    for job in jobs:
        prospect = planning.prospect(job, retry_failed=retry_failed)
        guess = None
        if prospect.fate == "run":
            members = {need.method: by_cell[need] for need in job.needs}
            guess = estimate(job, classes.workload(job, members), earlier)
        outlooks.append(Outlook(prospect, guess))
    return DryRun(out, suite.executor.kind, bench.device, _at_once(bench), tuple(outlooks))


def elapsed(outlooks: Sequence[Outlook], at_once: int | None) -> float:
    """Seconds until all have ended: every cell begins as soon as its members and a place allow."""
    waiting = [one for one in outlooks if one.estimate is not None]
    running: list[tuple[float, int, Cell]] = []
    ended = {one.cell for one in outlooks if one.estimate is None}
    now, number = 0.0, 0
    while waiting or running:
        for one in [w for w in waiting if set(w.prospect.job.needs) <= ended]:
            if at_once is not None and len(running) >= at_once:
                break
            waiting.remove(one)
            number += 1
            took_s = (one.estimate.total_s if one.estimate else None) or 0.0
            heapq.heappush(running, (now + took_s, number, one.cell))
        now, _, cell = heapq.heappop(running)
        ended.add(cell)
    return now


def duration(seconds: float) -> str:
    """A time as people say it.

    >>> duration(42), duration(600), duration(9000), duration(400_000)
    ('42 s', '10 min', '2.5 h', '4.6 days')
    """
    for limit, size, unit in ((90, 1, "s"), (5400, 60, "min"), (172_800, 3600, "h")):
        if seconds < limit:
            digits = 1 if unit == "h" else 0
            return f"{seconds / size:.{digits}f} {unit}"
    return f"{seconds / 86_400:.1f} days"


def _at_once(bench: Bench) -> int | None:
    executor = bench.suite.executor
    if not isinstance(executor, LocalSettings):
        return executor.workers
    if executor.workers == 0:
        return 1
    from loco_tools.benchmark.executors.slots import slots

    return len(slots(bench.device, executor.workers))


def _told(one: Outlook) -> str:
    verb = VERBS[one.prospect.fate]
    if one.estimate is None:
        return f"{verb}: {one.error}" if one.prospect.fate == "failed" else verb
    if one.estimate.total_s is None or one.estimate.peak_mb is None:
        return f"{verb}, {one.estimate.source}"
    took, memory = duration(one.estimate.total_s), one.estimate.peak_mb / 1000
    return f"{verb}, about {took}, {memory:.1f} GB ({one.estimate.source})"


def _plain(one: Outlook) -> dict[str, Any]:
    found: dict[str, Any] = {
        "method": one.cell.method,
        "class": one.cell.class_name,
        "seed": one.cell.seed,
        "fate": one.prospect.fate,
        "key": one.prospect.job.stamp.key,
    }
    if one.prospect.fate == "failed":
        found["error"] = one.error
    if one.estimate is not None:
        found["estimate"] = _rounded(one.estimate)
    return found


def _rounded(guess: Estimate) -> Mapping[str, Any]:
    return {
        "total_s": None if guess.total_s is None else round(guess.total_s, 1),
        "peak_mb": None if guess.peak_mb is None else round(guess.peak_mb),
        "source": guess.source,
    }
