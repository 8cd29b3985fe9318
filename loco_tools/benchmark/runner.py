"""Running a suite: which cells there are, which are finished, and the rest of them in order."""

import errno
import gc
import sys
import traceback
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from loco_tools import files
from loco_tools.benchmark import results
from loco_tools.benchmark.cells import Cell, CellRecord, Stamp, read_record, write_failure
from loco_tools.benchmark.fingerprint import code_hash, data_hash
from loco_tools.benchmark.measure import hardware, versions
from loco_tools.benchmark.suite import MethodEntry, Suite
from loco_tools.datasets.sidecar import sidecar_path
from loco_tools.ensembles import ENSEMBLES, create_ensemble, ensemble_place
from loco_tools.errors import BenchmarkError, LocoToolsError, MethodError, did_you_mean
from loco_tools.progress import SILENT, Progress
from loco_tools.schema import Schema, read_json

if TYPE_CHECKING:
    from loco_tools.benchmark.execution import Job
    from loco_tools.methods.backbones import Backbone
    from loco_tools.methods.detector import Detector

RUN_FILE = "run.json"
NO_BACKBONE = "none"
"""What results say of a method that learns from pixels alone."""


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
class Bench:
    """A suite made ready to run here: its lines, classes, backbones and device.

    `backbones` are by method title; lines that name the same one share it. A method that learns
    from pixels alone has none, and neither has an ensemble: its members bring theirs.
    """

    suite: Suite
    entries: tuple[MethodEntry, ...]
    classes: Mapping[str, Path]
    backbones: Mapping[str, "Backbone"]
    device: str
    out: Path

    def preset(self, entry: MethodEntry) -> str:
        """The preset of a line: its own, the suite's, or the one made for the device."""
        by_device = "paper" if self.device.startswith("cuda") else "fast"
        return entry.preset or self.suite.preset or by_device


@dataclass(frozen=True)
class RunReport:
    """How a run ended."""

    out: Path
    records: tuple[CellRecord, ...]
    reused: int

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
        return self.out / results.RESULTS_FILE

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
) -> RunReport:
    """Work on every cell of a suite that is not finished, and write `results.csv` after each.

    A finished cell whose key is unchanged is reused; a failed one is repeated. A cell that fails
    becomes a row with its error, and the run goes on.

    Args:
        suite: what to compare.
        class_paths: folders of dataset classes; `suite.classes` selects among them by name.
        out: the run's folder; made when needed.
        progress: told about every cell.
        command: the command line, for the record.

    Raises:
        LocoToolsError: an unknown class or method, or a wrong setting; nothing has been fitted.
        BenchmarkError: the disk is full.
        KeyboardInterrupt: passed on after `results.csv` has been written.
    """
    classes = select_classes(suite, class_paths)
    entries = suite.entries()
    check_methods(entries)
    bench = Bench(suite, entries, classes, _backbones(suite, progress), _device(suite), out)
    _check_settings(bench)
    jobs = list(_jobs(bench, progress))
    state = _open(bench, jobs, command)
    records, reused = _work(bench, jobs, state, progress)
    finished = state.model_copy(update={"finished": _now()})
    files.write_json(out / RUN_FILE, finished.model_dump(mode="json"))
    return RunReport(out, tuple(records), reused)


def select_classes(suite: Suite, class_paths: Sequence[Path]) -> dict[str, Path]:
    """The classes of a suite by name, in the order asked for.

    Raises:
        BenchmarkError: there is none, one is unknown, or two have the same name.
    """
    found: dict[str, Path] = {}
    for path in class_paths:
        name = path.resolve().name
        if name in found:
            raise BenchmarkError(
                f'two classes are named "{name}": {found[name]} and {path}; '
                "next step: rename one folder, or run them into two --out folders"
            )
        found[name] = path
    if not found:
        raise BenchmarkError(
            "no class to compare on; expected folders in MVTec AD or MVTec LOCO AD layout; "
            "next step: name one with --data, or make some with loco-tools demo"
        )
    for name in suite.classes:
        if name not in found:
            raise BenchmarkError(f'unknown class "{name}"; {did_you_mean(name, found)}')
    return {name: found[name] for name in suite.classes or found}


def check_methods(entries: Sequence[MethodEntry]) -> None:
    """Raise a MethodError that names the nearest method when one is unknown."""
    from loco_tools.methods import METHODS

    for entry in entries:
        if entry.name not in METHODS and ":" not in entry.name and not entry.is_ensemble:
            known = [*METHODS, *ENSEMBLES]
            raise MethodError(f'unknown method "{entry.name}"; {did_you_mean(entry.name, known)}')


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


def _device(suite: Suite) -> str:
    from loco_tools.methods.detector import choose_device

    return str(choose_device(suite.device))


def _backbones(suite: Suite, progress: Progress) -> dict[str, "Backbone"]:
    """The backbone of every line that needs one: the suite's, or the method's published one."""
    from loco_tools.methods import method_class
    from loco_tools.methods.backbones import resolve_backbone

    weights = None if suite.weights is None else Path(suite.weights)
    by_default: dict[str | None, Backbone] = {}
    found: dict[str, Backbone] = {}
    for entry in suite.entries():
        if entry.is_ensemble:
            continue
        method = method_class(entry.name)
        if not method.needs_backbone:
            continue
        default = None if suite.backbone or weights else method.default_backbone
        if default not in by_default:
            by_default[default] = resolve_backbone(
                suite.backbone, weights, progress, default=default
            )
        found[entry.title] = by_default[default]
    return found


def _check_settings(bench: Bench) -> None:
    """Build every line once, so that what does not fit shows before anything is fitted."""
    from loco_tools.methods import create

    singles: dict[str, Detector] = {}
    for entry in bench.entries:  # members before their ensembles
        if entry.is_ensemble:
            _check_ensemble(bench, entry, singles)
            continue
        singles[entry.title] = create(
            entry.name,
            backbone=bench.backbones.get(entry.title),
            preset=bench.preset(entry),
            overrides=entry.overrides,
            input_size_px=bench.suite.input_size_px,
            resize=bench.suite.resize,
            device=bench.device,
        )


def _check_ensemble(bench: Bench, entry: MethodEntry, singles: "Mapping[str, Detector]") -> None:
    """Build an ensemble over members that are not fitted yet."""
    members = {label: singles[label] for label in entry.members}
    try:
        create_ensemble(
            members,
            entry.name,
            preset=bench.preset(entry),
            overrides=entry.overrides,
            device=bench.device,
        )
    except LocoToolsError as error:
        raise MethodError(f'ensemble "{entry.title}": {error}') from error


def _jobs(bench: Bench, progress: Progress) -> Iterator["Job"]:
    """Every cell, class by class, members before their ensembles."""
    from loco_tools.benchmark.execution import Job

    names = {entry.title: entry.name for entry in bench.entries}
    codes = {entry.title: _code(entry) for entry in bench.entries}
    for class_name, path in bench.classes.items():
        digest = data_hash(path, bench.out / "data_hashes.json", progress)
        for seed in bench.suite.seeds:
            keys: dict[str, str] = {}
            for entry in bench.entries:
                stamp = _stamp(bench, entry, Cell(entry.title, class_name, seed), keys).model_copy(
                    update={"data_hash": digest, "code_hash": codes[entry.title]}
                )
                keys[entry.title] = stamp.key
                members = {member: names[member] for member in entry.members}
                yield Job(stamp, entry.name, members, path, bench.out, bench.suite.maps)


def _stamp(bench: Bench, entry: MethodEntry, cell: Cell, keys: Mapping[str, str]) -> Stamp:
    """The stamp of a cell, its hashes still to come."""
    return Stamp(
        method=cell.method,
        class_name=cell.class_name,
        seed=cell.seed,
        overrides=entry.settings,
        members={member: keys[member] for member in entry.members},
        backbone=_backbone_tag(bench, entry),
        preset=bench.preset(entry),
        input_size_px=bench.suite.input_size_px,
        resize=bench.suite.resize,
        device=bench.device,
        data_hash="",
        code_hash="",
        versions=versions(),
    )


def _backbone_tag(bench: Bench, entry: MethodEntry) -> str:
    """As results show it: of an ensemble, those of its members."""
    titles = entry.members or (entry.title,)
    tags = {bench.backbones[title].tag for title in titles if title in bench.backbones}
    return "+".join(sorted(tags)) or NO_BACKBONE


def _code(entry: MethodEntry) -> str:
    """The hash of the code behind a line: its method, what that imports, and the evaluation."""
    from loco_tools.methods import method_place

    place = ensemble_place(entry.name).place if entry.is_ensemble else method_place(entry.name)
    module = place.partition(":")[0]
    package = module.partition(".")[0] if not module.startswith("loco_tools.") else module
    modules = [module, "loco_tools.ensembles.synthetic"]  # held-out images are judged by it
    modules += ["loco_tools.evaluation", "loco_tools.benchmark.execution"]
    within = ["loco_tools.methods", "loco_tools.metrics", "loco_tools.evaluation", package]
    # What ensembles are made of is not behind a single method, which need not be fitted again.
    return code_hash(modules, [*within, *(["loco_tools.ensembles"] * entry.is_ensemble)])


def _open(bench: Bench, jobs: Sequence["Job"], command: str) -> Run:
    """Write down what is about to be run."""
    stamps = [job.stamp for job in jobs]
    digests = {stamp.class_name: stamp.data_hash for stamp in stamps}
    state = Run(
        command=command,
        started=_now(),
        suite=bench.suite,
        hardware=hardware(bench.device),
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


def _simulated(class_path: Path) -> bool:
    """Whether the lines beside the class folder call an image simulated."""
    sidecar = sidecar_path(class_path.resolve())
    if not sidecar.is_file():
        return False
    text = sidecar.read_text(encoding="utf-8", errors="replace")
    return '"simulated": true' in text or '"simulated":true' in text


def _work(
    bench: Bench, jobs: Sequence["Job"], state: Run, progress: Progress
) -> tuple[list[CellRecord], int]:
    """The record of every job in order, and how many of them were finished before."""
    reused = 0
    results.write_results(bench.out, state.records(bench.out))
    with progress.task("cells", len(jobs)) as advance:
        for number, job in enumerate(jobs, start=1):
            record = None if job.maps_missing else job.reusable()
            outcome = "unchanged, reused"
            if record is None:
                outcome = _summary(_attempt(job, bench.backbones, progress))
            else:
                reused += 1
            progress.note(f"[{number}/{len(jobs)}] {job.cell}: {outcome}")
            results.write_results(bench.out, state.records(bench.out))
            advance(1)
    return state.records(bench.out), reused


def _attempt(job: "Job", backbones: Mapping[str, "Backbone"], progress: Progress) -> CellRecord:
    """Work on one cell; every fault but a full disk becomes its failed record."""
    from loco_tools.benchmark.execution import execute

    try:
        return execute(job, backbones, progress)
    except Exception as error:
        if disk_is_full(error):
            raise BenchmarkError(
                f"{job.out}: the disk is full ({job.cell}); finished cells are kept and nothing "
                "is half-written; next step: make room and run the command again"
            ) from error
        known = isinstance(error, LocoToolsError)
        message = str(error) if known else f"{type(error).__name__}: {error}"
        trace = "" if known else traceback.format_exc()
        return write_failure(job.stamp, message, trace, job.out)
    finally:
        _free_memory()


def disk_is_full(error: BaseException) -> bool:
    """Whether an error, or one that it was raised from, says that there is no room left."""
    chain: BaseException | None = error
    while chain is not None:
        if isinstance(chain, OSError) and chain.errno in {errno.ENOSPC, errno.EDQUOT}:
            return True
        if "No space left on device" in str(chain):
            return True
        chain = chain.__cause__ or chain.__context__
    return False


def _summary(record: CellRecord) -> str:
    if record.status == "failed":
        return f"failed: {record.error}"
    shown = [
        ("image AUROC", record.figures.image_auroc_mean),
        ("AU-sPRO 0.05", record.figures.au_spro),
        ("AU-PRO 0.3", record.figures.au_pro),
    ]
    parts = [f"{name} {value:.3f}" for name, value in shown if value is not None]
    return ", ".join(parts) or "done"


def _free_memory() -> None:
    gc.collect()
    torch: Any = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
