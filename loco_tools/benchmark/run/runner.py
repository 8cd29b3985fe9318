"""Running a suite: finished cells are reused, and an executor runs the others."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Literal

from loco_tools import files
from loco_tools.benchmark.cell.cost import hardware, versions
from loco_tools.benchmark.cell.failures import record_failure
from loco_tools.benchmark.cell.record import Cell, CellRecord, has_maps, read_record
from loco_tools.benchmark.cell.work import Job, explain_missing_member
from loco_tools.benchmark.executor_settings import LocalSettings
from loco_tools.benchmark.executors import check_extras, open_executor
from loco_tools.benchmark.executors.base import remove_leftovers
from loco_tools.benchmark.run import planning, results_csv
from loco_tools.benchmark.run.planning import CellPlan, PreparedSuite
from loco_tools.benchmark.suite import Suite
from loco_tools.datasets.reading import available_cores
from loco_tools.datasets.sidecar import sidecar_path
from loco_tools.errors import BenchmarkError
from loco_tools.evaluation.metric_table import HEADLINES
from loco_tools.lock import held
from loco_tools.progress import SILENT, Advance, Progress
from loco_tools.schema import Schema, read_json
from loco_tools.wording import printable

RUN_FILE = "run.json"


class ClassInfo(Schema):
    """A class of the run.

    Attributes:
        name: its name.
        path: its folder.
        data_hash: the hash of its files.
        simulated: whether its sidecar file marks any image as simulated.
        data_errors: number of faults that change its metrics; the run was started in spite of them.
        data_warnings: number of other findings about what is read and what is not.
        findings: these findings, one line for each kind.
    """

    name: str
    path: str
    data_hash: str
    simulated: bool = False
    data_errors: int = 0
    data_warnings: int = 0
    findings: tuple[str, ...] = ()


class PlannedCell(Schema):
    """A cell of the run; it is finished when its record has this key."""

    method: str
    class_name: str
    seed: int
    key: str
    maps_error: str = ""
    """Why the maps of the finished cell could not be made, at the end of the run."""

    @property
    def cell(self) -> Cell:
        """Method, class and seed."""
        return Cell(self.method, self.class_name, self.seed)


class Run(Schema):
    """`run.json`: the command, the suite, the classes and the cells of a run."""

    schema_version: Literal[1] = 1
    command: str
    started: str
    finished: str = ""
    suite: Suite
    hardware: dict[str, str]
    versions: dict[str, str]
    classes: tuple[ClassInfo, ...]
    cells: tuple[PlannedCell, ...]

    def records(self, out: Path) -> list[CellRecord]:
        """The records of the cells that have ended so far, in the order of the run."""
        records = []
        for planned in self.cells:
            record = read_record(planned.cell, out)
            if record is None or record.key != planned.key:
                continue
            if planned.maps_error and not has_maps(planned.cell.maps_folder(out), planned.key):
                record = record.model_copy(update={"maps_error": planned.maps_error})
            records.append(record)
        return records


@dataclass(frozen=True)
class RunReport:
    """The outcome of a run.

    Attributes:
        out: the run's folder.
        records: one per cell, in the order of the run.
        reused: number of cells that an earlier run had finished.
        kept: cells that failed in an earlier run and were not repeated.
        classes: the classes of the run, with the findings about them.
    """

    out: Path
    records: tuple[CellRecord, ...]
    reused: int
    kept: frozenset[Cell] = frozenset()
    classes: tuple[ClassInfo, ...] = ()

    @property
    def failures(self) -> tuple[CellRecord, ...]:
        """The cells that failed."""
        return tuple(record for record in self.records if record.status == "failed")

    @property
    def failed(self) -> int:
        """Number of cells that failed."""
        return len(self.failures)

    @property
    def without_maps(self) -> tuple[CellRecord, ...]:
        """The finished cells whose maps were asked for and could not be made."""
        return tuple(record for record in self.records if record.maps_error)

    @property
    def results_csv(self) -> Path:
        """The path of `results.csv`, which has one row per cell."""
        return self.out / results_csv.RESULTS_FILE

    @property
    def exit_code(self) -> int:
        """0, or 1 when a cell failed or its maps are missing."""
        return 1 if self.failed or self.without_maps else 0


def run(
    suite: Suite,
    class_paths: Sequence[Path],
    out: Path,
    progress: Progress = SILENT,
    *,
    command: str = "",
    retry_failed: bool = False,
    despite_findings: bool = False,
) -> RunReport:
    """Run every cell of a suite that is not finished, and write `results.csv` after each.

    A finished cell whose key is unchanged is reused, and a failed one is left as it is. A cell that
    fails, or whose process dies, becomes a row with its error, and the run continues.

    Args:
        suite: what to compare, and where to run it.
        class_paths: folders of dataset classes; `suite.classes` selects among them by name.
        out: the run's folder; created when needed.
        progress: receives a message for every cell, and the progress inside cells.
        command: the command line, for the record.
        retry_failed: whether cells that failed in an earlier run are repeated.
        despite_findings: whether classes are benchmarked in spite of faults that change or prevent
            their metrics; `run.json` and the report then list these.

    Raises:
        LocoToolsError: an unknown class or method, a wrong setting, or a class with such faults;
            nothing has been fitted.
        MissingExtraError: the executor needs an extra that is not installed.
        BenchmarkError: the disk is full, the executor cannot go on, or another process is using
            the same folder.
        KeyboardInterrupt: passed on after `results.csv` has been written.
    """
    check_extras(suite.executor)
    prepared = planning.prepare(
        suite, class_paths, out, progress, despite_findings=despite_findings
    )
    with ExitStack() as stack:
        stack.enter_context(held(out, BenchmarkError, "name another folder with --out"))
        jobs = list(planning.jobs(prepared, progress))
        for job in jobs:  # those of cells that are reused too
            remove_leftovers(job)
        state = _start(prepared, jobs, command)
        for info in state.classes:
            for line in info.findings:
                progress.note(f"{printable(info.name)}: {line}")
        if crowded := planning.crowding(suite, available_cores()):
            progress.note(crowded)
        plans = [planning.plan_cell(job, retry_failed=retry_failed) for job in jobs]
        kept = {p.job.cell: p.record for p in plans if p.record and p.action in ("reuse", "failed")}
        schedule = Schedule([plan.job for plan in plans if plan.job.cell not in kept], kept)
        advance = stack.enter_context(progress.task("cells", len(jobs)))
        results = _Results(out, plans, progress, advance)
        if schedule.is_unfinished:
            executor = stack.enter_context(
                open_executor(suite.executor, device=prepared.device, out=out, progress=progress)
            )
        while schedule.is_unfinished:
            for record in schedule.fail_without_members():
                results.add(record)
            if ready := schedule.start(executor.at_once):
                executor.submit(ready)
            for record in executor.wait() if schedule.running else ():
                schedule.end(record)
                results.add(record)
        records = results.in_order()
        _finish(state, records, out)
    return RunReport(
        out=out,
        records=tuple(records),
        reused=sum(record.status == "ok" for record in kept.values()),
        kept=frozenset(cell for cell, record in kept.items() if record.status == "failed"),
        classes=state.classes,
    )


def read_run(out: Path) -> Run:
    """Read the `run.json` of a run's folder.

    Raises:
        BenchmarkError: the folder holds no run.
    """
    path = out / RUN_FILE
    if not path.is_file():
        raise BenchmarkError(
            f"{out}: expected the folder of a benchmark run, got a folder without {RUN_FILE}; "
            "next step: name the folder that loco-tools bench has written (--out)"
        )
    return read_json(Run, path)


class Schedule:
    """The order in which cells are run: an ensemble waits until its members are finished.

    Args:
        jobs: the cells to run.
        kept: records of cells that are not run again.
    """

    def __init__(self, jobs: Sequence[Job], kept: Mapping[Cell, CellRecord]) -> None:
        self._waiting = {job.cell: job for job in jobs}
        self._records = dict(kept)
        self.running = 0
        """Number of cells that have started and not ended."""

    @property
    def is_unfinished(self) -> bool:
        """Whether cells are waiting or running."""
        return bool(self._waiting or self.running)

    def start(self, at_once: int | None) -> list[Job]:
        """Take the cells that can start now, at most as many as `at_once` allows."""
        ready = [
            job
            for job in self._waiting.values()
            if all(need in self._records for need in job.needs)
        ]
        if at_once is not None:
            ready = ready[: at_once - self.running]
        for job in ready:
            del self._waiting[job.cell]
        self.running += len(ready)
        return ready

    def end(self, record: CellRecord) -> None:
        """Take the record of a cell that has ended."""
        self.running -= 1
        self._records[record.cell] = record

    def fail_without_members(self) -> list[CellRecord]:
        """Fail the waiting cells whose members have failed; their records are written."""
        records = []
        for job in list(self._waiting.values()):
            for need in job.needs:
                member = self._records.get(need)
                if member is not None and member.status == "failed":
                    del self._waiting[job.cell]
                    error = explain_missing_member(need, member)
                    records.append(record_failure(job, error))
                    break
        self._records |= {record.cell: record for record in records}
        return records


class _Results:
    """The records of a run; `results.csv` is written, and a message shown, for each that comes."""

    def __init__(
        self, out: Path, plans: Sequence[CellPlan], progress: Progress, advance: Advance
    ) -> None:
        self._out, self._progress, self._advance = out, progress, advance
        self._cells = [plan.job.cell for plan in plans]
        self._records = {plan.job.cell: plan.record for plan in plans if plan.record is not None}
        self._number = count(1)
        results_csv.write_results(out, self.in_order())
        for plan in plans:
            if plan.record is not None and plan.action == "failed":
                message = "failed before, not repeated without --retry-failed: "
                self._report(plan.record.cell, message + plan.record.error)
            elif plan.action == "reuse":
                self._report(plan.job.cell, "unchanged, reused")

    def in_order(self) -> list[CellRecord]:
        """The records so far, in the order of the run."""
        return [self._records[cell] for cell in self._cells if cell in self._records]

    def add(self, record: CellRecord) -> None:
        """Take the record of a cell that has ended."""
        self._records[record.cell] = record
        results_csv.write_results(self._out, self.in_order())
        if record.status == "failed":
            self._report(record.cell, f"failed: {record.error}")
            return
        if record.maps_error:
            self._report(record.cell, f"result kept, but its maps are missing: {record.maps_error}")
            return
        shown = [(metric.title, record.metric(metric.name)) for metric in HEADLINES]
        metrics = [f"{name} {value:.3f}" for name, value in shown if value is not None]
        self._report(record.cell, ", ".join(metrics) or "done")

    def _report(self, cell: Cell, outcome: str) -> None:
        self._progress.note(f"[{next(self._number)}/{len(self._cells)}] {cell}: {outcome}")
        self._advance(1)


def _start(prepared: PreparedSuite, jobs: Sequence[Job], command: str) -> Run:
    """Write `run.json` before the first cell runs."""
    stamps = [job.stamp for job in jobs]
    digests = {stamp.class_name: stamp.data_hash for stamp in stamps}
    executor = prepared.suite.executor
    if isinstance(executor, LocalSettings):
        machine = hardware(prepared.device)
    else:  # the nodes of a cluster are known when cells have run on them
        machine = {"system": f"{executor.kind} cluster", "device": prepared.device}
    state = Run(
        command=command,
        started=_now(),
        suite=prepared.suite,
        hardware=machine,
        versions=versions(),
        classes=tuple(
            ClassInfo(
                name=name,
                path=str(path.resolve()),
                data_hash=digests[name],
                simulated=_is_simulated(path),
                data_errors=len(prepared.findings[name].stopping),
                data_warnings=len(prepared.findings[name].notable)
                - len(prepared.findings[name].stopping),
                findings=tuple(prepared.findings[name].brief()),
            )
            for name, path in prepared.classes.items()
        ),
        cells=tuple(
            PlannedCell(method=s.method, class_name=s.class_name, seed=s.seed, key=s.key)
            for s in stamps
        ),
    )
    files.write_json(prepared.out / RUN_FILE, state.model_dump(mode="json", by_alias=True))
    return state


def _is_simulated(class_path: Path) -> bool:
    """Whether the sidecar file of a class marks any image as simulated."""
    sidecar = sidecar_path(class_path.resolve())
    if not sidecar.is_file():
        return False
    text = sidecar.read_text(encoding="utf-8", errors="replace")
    return '"simulated": true' in text or '"simulated":true' in text


def _finish(state: Run, records: Sequence[CellRecord], out: Path) -> None:
    """Complete `run.json` with the time, the hardware that was used, and the maps that failed."""
    values: dict[str, list[str]] = {}
    for record in records:
        for name, value in record.hardware.items():
            values.setdefault(name, []).append(value)
    used = {name: "; ".join(dict.fromkeys(values[name])) for name in values}
    maps_errors = {record.cell: record.maps_error for record in records}
    cells = tuple(
        planned.model_copy(update={"maps_error": maps_errors.get(planned.cell, "")})
        for planned in state.cells
    )
    ended = {"finished": _now(), "hardware": state.hardware | used, "cells": cells}
    content = state.model_copy(update=ended).model_dump(mode="json", by_alias=True)
    files.write_json(out / RUN_FILE, content)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
