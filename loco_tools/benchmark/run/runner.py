"""Running a suite: which cells are finished, and the rest of them on an executor."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from loco_tools import files
from loco_tools.benchmark.cell.cost import hardware, versions
from loco_tools.benchmark.cell.record import Cell, CellRecord, read_record
from loco_tools.benchmark.executor_settings import LocalSettings
from loco_tools.benchmark.run import planning, results_csv
from loco_tools.benchmark.run.planning import Bench
from loco_tools.benchmark.run.scheduling import work_through
from loco_tools.benchmark.suite import Suite
from loco_tools.datasets.sidecar import sidecar_path
from loco_tools.errors import BenchmarkError
from loco_tools.evaluation.metric_table import HEADLINES
from loco_tools.lock import held
from loco_tools.progress import SILENT, Progress
from loco_tools.schema import Schema, read_json

if TYPE_CHECKING:
    from loco_tools.benchmark.cell.work import Job

RUN_FILE = "run.json"


class ClassInfo(Schema):
    """A class as the run found it; `simulated` when its sidecar says that of any image."""

    name: str
    path: str
    data_hash: str
    simulated: bool = False


class PlannedCell(Schema):
    """A cell of the run; it is finished when its record carries this key."""

    method: str
    class_name: str
    seed: int
    key: str

    @property
    def cell(self) -> Cell:
        """The cell itself."""
        return Cell(self.method, self.class_name, self.seed)


class Run(Schema):
    """`run.json`: what was asked for, on what, and which cells make up the run."""

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
        """The records of the cells that have been worked on so far, in the run's order."""
        found = [(planned, read_record(planned.cell, out)) for planned in self.cells]
        return [record for planned, record in found if record and record.key == planned.key]


@dataclass(frozen=True)
class RunReport:
    """How a run ended.

    `reused` counts the finished cells of earlier runs, `kept` names the failed ones, which were
    not repeated.
    """

    out: Path
    records: tuple[CellRecord, ...]
    reused: int
    kept: frozenset[Cell] = frozenset()

    @property
    def failures(self) -> tuple[CellRecord, ...]:
        """The cells that failed."""
        return tuple(record for record in self.records if record.status == "failed")

    @property
    def failed(self) -> int:
        """How many cells failed."""
        return len(self.failures)

    @property
    def results_csv(self) -> Path:
        """One row per cell."""
        return self.out / results_csv.RESULTS_FILE

    @property
    def exit_code(self) -> int:
        """0, or 1 when a cell failed."""
        return 1 if self.failed else 0


def run(
    suite: Suite,
    class_paths: Sequence[Path],
    out: Path,
    progress: Progress = SILENT,
    *,
    command: str = "",
    retry_failed: bool = False,
) -> RunReport:
    """Work on every cell of a suite that is not finished, and write `results.csv` after each.

    A finished cell whose key is unchanged is reused, and a failed one is left as it is. A cell that
    fails, or whose process dies, becomes a row with its error, and the run goes on.

    Args:
        suite: what to compare, and where.
        class_paths: folders of dataset classes; `suite.classes` selects among them by name.
        out: the run's folder; made when needed.
        progress: told about every cell.
        command: the command line, for the record.
        retry_failed: whether cells that have failed before are repeated.

    Raises:
        LocoToolsError: an unknown class or method, or a wrong setting; nothing has been fitted.
        MissingExtraError: the executor needs an extra that is not installed.
        BenchmarkError: the disk is full, the executor cannot go on, or another process is working
            in the same folder.
        KeyboardInterrupt: passed on after `results.csv` has been written.
    """
    from loco_tools.benchmark.executors.opening import check_extras

    check_extras(suite.executor)
    bench = planning.prepare(suite, class_paths, out, progress)
    with held(out, BenchmarkError, "name another folder with --out"):
        jobs = list(planning.jobs(bench, progress))
        state = _open(bench, jobs, command)
        report = _work(bench, jobs, progress, retry_failed=retry_failed)
        ended = {"finished": _now(), "hardware": state.hardware | _hardware_used(report.records)}
        files.write_json(out / RUN_FILE, state.model_copy(update=ended).model_dump(mode="json"))
    return report


def read_run(out: Path) -> Run:
    """Read `run.json`.

    Raises:
        BenchmarkError: the folder holds no run.
    """
    path = out / RUN_FILE
    if not path.is_file():
        raise BenchmarkError(
            f"{out}: expected the folder of a benchmark run with {RUN_FILE} in it, got none; "
            "next step: name the folder that loco-tools bench wrote (--out)"
        )
    return read_json(Run, path)


def _work(
    bench: Bench, jobs: "Sequence[Job]", progress: Progress, *, retry_failed: bool
) -> RunReport:
    """Bring every job to its end; those that need no work are said so first."""
    from loco_tools.benchmark.executors.opening import open_executor

    prospects = [planning.prospect(job, retry_failed=retry_failed) for job in jobs]
    records = {p.job.cell: p.record for p in prospects if p.record is not None}
    kept = {p.job.cell: p.record for p in prospects if p.record is not None and p.fate != "run"}
    todo = [p.job for p in prospects if p.fate == "run"]
    results_csv.write_results(bench.out, _in_order(jobs, records))
    with progress.task("cells", len(jobs)) as advance:
        numbers = count(1)

        def tell(cell: Cell, outcome: str) -> None:
            progress.note(f"[{next(numbers)}/{len(jobs)}] {cell}: {outcome}")
            advance(1)

        def ended(record: CellRecord) -> None:
            records[record.cell] = record
            results_csv.write_results(bench.out, _in_order(jobs, records))
            tell(record.cell, _summary(record))

        for cell, record in kept.items():
            tell(cell, _kept(record))
        if todo:
            with open_executor(
                bench.suite.executor, device=bench.device, out=bench.out, progress=progress
            ) as executor:
                work_through(todo, kept, executor, ended)
    return RunReport(
        out=bench.out,
        records=tuple(_in_order(jobs, records)),
        reused=sum(record.status == "ok" for record in kept.values()),
        kept=frozenset(cell for cell, record in kept.items() if record.status == "failed"),
    )


def _in_order(jobs: "Sequence[Job]", records: Mapping[Cell, CellRecord]) -> list[CellRecord]:
    """The records that there are, in the order of the run."""
    return [records[job.cell] for job in jobs if job.cell in records]


def _open(bench: Bench, jobs: "Sequence[Job]", command: str) -> Run:
    """Write down what is about to be run."""
    stamps = [job.stamp for job in jobs]
    digests = {stamp.class_name: stamp.data_hash for stamp in stamps}
    state = Run(
        command=command,
        started=_now(),
        suite=bench.suite,
        hardware=_hardware(bench),
        versions=versions(),
        classes=tuple(
            ClassInfo(
                name=name,
                path=str(path.resolve()),
                data_hash=digests[name],
                simulated=_simulated(path),
            )
            for name, path in bench.classes.items()
        ),
        cells=tuple(
            PlannedCell(method=s.method, class_name=s.class_name, seed=s.seed, key=s.key)
            for s in stamps
        ),
    )
    files.write_json(bench.out / RUN_FILE, state.model_dump(mode="json"))
    return state


def _hardware(bench: Bench) -> dict[str, str]:
    """What the cells will run on; of a cluster no more than its kind is known before they have."""
    if isinstance(bench.suite.executor, LocalSettings):
        return hardware(bench.device)
    return {"system": f"{bench.suite.executor.kind} cluster", "device": bench.device}


def _hardware_used(records: Sequence[CellRecord]) -> dict[str, str]:
    """What the cells have run on, every different value of each item."""
    found: dict[str, list[str]] = {}
    for record in records:
        for name, value in record.hardware.items():
            found.setdefault(name, []).append(value)
    return {name: "; ".join(dict.fromkeys(values)) for name, values in found.items()}


def _simulated(class_path: Path) -> bool:
    """Whether the lines beside the class folder call an image simulated."""
    sidecar = sidecar_path(class_path.resolve())
    if not sidecar.is_file():
        return False
    text = sidecar.read_text(encoding="utf-8", errors="replace")
    return '"simulated": true' in text or '"simulated":true' in text


def _summary(record: CellRecord) -> str:
    if record.status == "failed":
        return f"failed: {record.error}"
    shown = [(metric.title, record.metric(metric.name)) for metric in HEADLINES]
    parts = [f"{name} {value:.3f}" for name, value in shown if value is not None]
    return ", ".join(parts) or "done"


def _kept(record: CellRecord) -> str:
    if record.status == "failed":
        return f"failed before, not repeated without --retry-failed: {record.error}"
    return "unchanged, reused"


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
