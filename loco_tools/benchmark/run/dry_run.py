"""Planning a run without running it: its cells, and estimates of their time and memory."""

import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from loco_tools.benchmark.cell.record import Cell
from loco_tools.benchmark.executor_settings import LocalSettings
from loco_tools.benchmark.run import planning
from loco_tools.benchmark.run.class_faults import describe_faults
from loco_tools.benchmark.run.estimates import (
    Estimate,
    Workloads,
    estimate,
    estimate_maps,
    finished_cells,
)
from loco_tools.benchmark.run.planning import CellPlan
from loco_tools.benchmark.suite import Suite
from loco_tools.errors import MethodError
from loco_tools.progress import SILENT, Progress
from loco_tools.wording import printable

VERBS = {
    "run": "would run",
    "maps": "would be predicted again for its maps",
    "reuse": "would be reused",
    "failed": "failed before",
}


@dataclass(frozen=True)
class CellForecast:
    """The plan for a cell, and its estimate; None if the cell would not run."""

    plan: CellPlan
    estimate: Estimate | None

    @property
    def cell(self) -> Cell:
        """Method, class and seed."""
        return self.plan.job.cell

    @property
    def error(self) -> str:
        """The error of a cell that failed before, otherwise empty."""
        return self.plan.record.error if self.plan.record is not None else ""

    def describe(self) -> str:
        """A line for a person, without the cell's name."""
        verb = VERBS[self.plan.action]
        if self.estimate is None:
            return f"{verb}: {self.error}" if self.plan.action == "failed" else verb
        if self.estimate.total_s is None or self.estimate.peak_mb is None:
            return f"{verb}, {self.estimate.source}"
        took, memory_gb = duration(self.estimate.total_s), self.estimate.peak_mb / 1000
        return f"{verb}, about {took}, {memory_gb:.1f} GB ({self.estimate.source})"

    def as_record(self) -> dict[str, Any]:
        """The same as plain data."""
        record: dict[str, Any] = {
            "method": self.cell.method,
            "class": self.cell.class_name,
            "seed": self.cell.seed,
            "fate": self.plan.action,
            "key": self.plan.job.stamp.key,
        }
        if self.plan.action == "failed":
            record["error"] = self.error
        if self.estimate is not None:
            total_s, peak_mb, source = self.estimate
            record["estimate"] = {
                "total_s": None if total_s is None else round(total_s, 1),
                "peak_mb": None if peak_mb is None else round(peak_mb),
                "source": source,
            }
        return record


@dataclass(frozen=True)
class DryRun:
    """The output of `loco-tools bench --dry-run`.

    `at_once` is the number of cells that run at the same time; None: as many as a cluster has room
    for. `faults` says which classes a run would refuse; their cells are not among `forecasts`.
    `notes` are other findings about the classes and this machine.
    """

    out: Path
    executor: str
    device: str
    at_once: int | None
    forecasts: tuple[CellForecast, ...]
    faults: str = ""
    notes: tuple[str, ...] = ()

    @property
    def work_s(self) -> float:
        """The total time of the cells that would run, as far as it is known."""
        return sum(e.total_s or 0 for e in self._estimates)

    @property
    def elapsed_s(self) -> float:
        """The time until the last cell has ended, with members before their ensembles."""
        return elapsed(self.forecasts, self.at_once)

    @property
    def peak_mb(self) -> float:
        """The memory of the largest cells that may run at the same time on one machine."""
        peaks = sorted((e.peak_mb or 0 for e in self._estimates), reverse=True)
        together = self.at_once or 1 if self.executor == "local" else 1
        return sum(peaks[:together])

    @property
    def unknown(self) -> int:
        """Number of cells that would run and have no estimate."""
        return sum(e.total_s is None for e in self._estimates)

    def describe(self) -> str:
        """A line per cell, and the totals."""
        width = max((len(str(one.cell)) for one in self.forecasts), default=0)
        lines = [f"{one.cell!s:<{width}}  {one.describe()}" for one in self.forecasts]
        number = {
            action: sum(one.plan.action == action for one in self.forecasts) for action in VERBS
        }
        maps = f"{number['maps']} would be predicted again for maps, " if number["maps"] else ""
        lines.append(
            f"{_cells(number['run'])} would run, {maps}{number['reuse']} would be reused, "
            f"{number['failed']} failed before; nothing was written"
        )
        if number["failed"]:
            lines.append("next step: add --retry-failed to repeat the cells that failed")
        if number["run"] or number["maps"]:
            lines.append(self._describe_total())
        if self.unknown:
            lines.append(f"the total leaves out {_cells(self.unknown)} without an estimate")
        lines += self.notes
        if self.faults:
            lines.append(f"the run would not start: {self.faults}")
        return "\n".join(lines)

    def as_record(self) -> dict[str, Any]:
        """The same as plain data."""
        return {
            "out": str(self.out),
            "executor": self.executor,
            "device": self.device,
            "at_once": self.at_once,
            "cells": [one.as_record() for one in self.forecasts],
            "work_s": round(self.work_s, 1),
            "elapsed_s": round(self.elapsed_s, 1),
            "peak_mb": round(self.peak_mb),
            "cells_without_estimate": self.unknown,
            "faults": self.faults,
            "notes": list(self.notes),
        }

    @property
    def _estimates(self) -> list[Estimate]:
        return [one.estimate for one in self.forecasts if one.estimate is not None]

    def _describe_total(self) -> str:
        if self.at_once is None:
            together = "all ready cells at once"
        else:
            together = (
                "one cell at a time" if self.at_once == 1 else f"{self.at_once} cells at once"
            )
        memory = "GPU memory" if self.device.startswith("cuda") else "memory"
        where = "together" if self.executor == "local" and (self.at_once or 1) > 1 else "per cell"
        return (
            f"estimate: about {duration(self.elapsed_s)} on executor {self.executor}, {together} "
            f"({duration(self.work_s)} of work), and up to {self.peak_mb / 1000:.1f} GB of "
            f"{memory} {where}"
        )


def dry_run(
    suite: Suite,
    class_paths: Sequence[Path],
    out: Path,
    progress: Progress = SILENT,
    *,
    retry_failed: bool = False,
    despite_findings: bool = False,
) -> DryRun:
    """Determine what `loco_tools.benchmark.run.runner.run` would do; arguments and errors as there.

    This machine needs no GPU, even if the suite names one (`--device cuda`).
    """
    prepared = planning.prepare(
        suite, class_paths, out, progress, elsewhere=True, despite_findings=True
    )
    refused = {
        name
        for name, found in prepared.findings.items()
        if found.refused or (found.stopping and not despite_findings)
    }
    classes = {name: path for name, path in prepared.classes.items() if name not in refused}
    prepared = replace(prepared, classes=classes)
    jobs = list(planning.jobs(prepared, progress, remember=False))
    workloads, finished = Workloads(), finished_cells(out)
    by_cell = {job.cell: job for job in jobs}
    forecasts = []
    for job in jobs:
        plan = planning.plan_cell(job, retry_failed=retry_failed)
        guess = None
        if plan.action == "run":
            members = [by_cell[need] for need in job.needs]
            guess = estimate(job, workloads.of(job, members), finished)
        elif plan.action == "maps" and plan.record is not None:
            guess = estimate_maps(plan.record)
        forecasts.append(CellForecast(plan, guess))
    executor = suite.executor
    at_once = executor.workers
    if isinstance(executor, LocalSettings):
        from loco_tools.benchmark.executors.local import slots

        at_once = 1 if executor.workers == 0 else len(slots(prepared.device, executor.workers))
    faulty = {} if despite_findings else prepared.findings
    return DryRun(
        out,
        executor.kind,
        prepared.device,
        at_once,
        tuple(forecasts),
        faults=describe_faults(faulty),
        notes=tuple(_notes(prepared, local=isinstance(executor, LocalSettings))),
    )


def _notes(prepared: planning.PreparedSuite, *, local: bool) -> Iterator[str]:
    """Findings that do not stop a run, and a device that this machine does not have."""
    for name, found in prepared.findings.items():
        others = [finding for finding in found.notable if name in prepared.classes]
        yield from (f"{printable(name)}: {line}" for line in found.brief(others))
    if local:
        try:
            planning.cell_device(prepared.suite)
        except MethodError as error:
            yield f"on this machine the run would not start: {error}"


def elapsed(forecasts: Sequence[CellForecast], at_once: int | None) -> float:
    """Seconds until all cells have ended, if each starts as soon as its members and `at_once` let.

    This simulates the executor: `running` is a heap of the cells by the time of their end.
    """
    waiting = [one for one in forecasts if one.estimate is not None]
    running: list[tuple[float, int, Cell]] = []
    ended = {one.cell for one in forecasts if one.estimate is None}
    now, number = 0.0, 0
    while waiting or running:
        for one in [w for w in waiting if set(w.plan.job.needs) <= ended]:
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
    """A duration in a unit that suits it.

    >>> duration(42), duration(600), duration(9000), duration(400_000)
    ('42 s', '10 min', '2.5 h', '4.6 days')
    """
    for limit, size, unit in ((90, 1, "s"), (5400, 60, "min"), (172_800, 3600, "h")):
        if seconds < limit:
            digits = 1 if unit == "h" else 0
            return f"{seconds / size:.{digits}f} {unit}"
    return f"{seconds / 86_400:.1f} days"


def _cells(number: int) -> str:
    return f"{number} cell" if number == 1 else f"{number} cells"
