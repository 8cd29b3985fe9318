"""From a suite to the cells that it asks for, checked before anything is fitted."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from loco_tools.benchmark.cell.backbone_source import (
    BackboneSource,
    resolved_backbones,
    weights_file,
)
from loco_tools.benchmark.cell.cost import versions
from loco_tools.benchmark.cell.hashes import code_behind
from loco_tools.benchmark.cell.record import Cell, CellRecord, Stamp
from loco_tools.benchmark.executor_settings import LocalSettings
from loco_tools.benchmark.suite import MethodEntry, Suite
from loco_tools.datasets.data_hash import data_hash
from loco_tools.ensembles import ENSEMBLES, create_ensemble
from loco_tools.errors import BenchmarkError, LocoToolsError, MethodError, did_you_mean
from loco_tools.progress import SILENT, Progress

if TYPE_CHECKING:
    from loco_tools.benchmark.cell.work import Job
    from loco_tools.methods.backbones import Backbone
    from loco_tools.methods.detector import Detector

NO_BACKBONE = "none"
"""What results say of a method that learns from pixels alone."""


@dataclass(frozen=True)
class Bench:
    """A suite made ready to run: its lines, classes, backbones and device.

    `backbones` are by method title; lines that name the same one share it. A method that learns
    from pixels alone has none, and neither has an ensemble: its members bring theirs.
    """

    suite: Suite
    entries: tuple[MethodEntry, ...]
    classes: Mapping[str, Path]
    backbones: Mapping[str, BackboneSource]
    device: str
    out: Path

    def preset(self, entry: MethodEntry) -> str:
        """The preset of a line: its own, the suite's, or the one made for the device."""
        return _preset(self.suite, entry, self.device)


def prepare(
    suite: Suite,
    class_paths: Sequence[Path],
    out: Path,
    progress: Progress = SILENT,
    *,
    elsewhere: bool = False,
) -> Bench:
    """Find and check everything that a suite names; nothing is fitted or written.

    Args:
        suite: what to compare.
        class_paths: folders of dataset classes; `suite.classes` selects among them by name.
        out: the run's folder.
        progress: told when a backbone had to be replaced or is downloaded.
        elsewhere: whether the cells may run on another machine, so that a GPU need not be here.

    Raises:
        LocoToolsError: an unknown class or method, or a wrong setting.
    """
    classes = select_classes(suite, class_paths)
    entries = suite.entries()
    check_methods(entries)
    found = resolved_backbones(suite, entries, progress)
    device = cell_device(suite, elsewhere=elsewhere)
    _check_settings(suite, entries, found, device)
    weights = weights_file(suite)
    sources = {
        title: BackboneSource(backbone.tag, backbone.name, weights)
        for title, backbone in found.items()
    }
    return Bench(suite, entries, classes, sources, device, out)


def jobs(bench: Bench, progress: Progress = SILENT, *, remember: bool = True) -> Iterator["Job"]:
    """Every cell, class by class, members before their ensembles.

    Args:
        bench: from `prepare`.
        progress: told about hashing the classes.
        remember: whether hashes of the data are kept in the run's folder for the next time.
    """
    from loco_tools.benchmark.cell.work import Job

    names = {entry.title: entry.name for entry in bench.entries}
    codes = {entry.title: code_behind(entry.name) for entry in bench.entries}
    for class_name, path in bench.classes.items():
        cache = bench.out / "data_hashes.json"
        digest = data_hash(path, cache, progress, remember=remember)
        for seed in bench.suite.seeds:
            keys: dict[str, str] = {}
            for entry in bench.entries:
                stamp = _stamp(bench, entry, Cell(entry.title, class_name, seed), keys).model_copy(
                    update={"data_hash": digest, "code_hash": codes[entry.title]}
                )
                keys[entry.title] = stamp.key
                yield Job(
                    stamp=stamp,
                    method=entry.name,
                    members={member: names[member] for member in entry.members},
                    class_path=path.resolve(),
                    out=bench.out.resolve(),
                    keep_maps=bench.suite.maps,
                    backbones=_of_line(bench, entry),
                )


@dataclass(frozen=True)
class Prospect:
    """What a run will do with a cell: "run" it, "reuse" it, or leave it "failed" as it is.

    `record` is what an earlier run left of it, under the same key.
    """

    job: "Job"
    fate: Literal["run", "reuse", "failed"]
    record: CellRecord | None


def prospect(job: "Job", *, retry_failed: bool) -> Prospect:
    """What a run will do with a cell; a finished one without the maps asked for is predicted."""
    record = job.previous()
    if record is None or (record.status == "failed" and retry_failed):
        return Prospect(job, "run", record)
    if record.status == "failed":
        return Prospect(job, "failed", record)
    return Prospect(job, "run" if job.maps_missing else "reuse", record)


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
    missing = [name for name in suite.classes if name not in found]
    if missing:
        named = ", ".join(f'"{name}"' for name in missing)
        raise BenchmarkError(
            f"unknown class {named}; {did_you_mean(missing[0], found)}; next step: give --data "
            "their folder, or compare on some of the classes alone with --class NAME"
        )
    return {name: found[name] for name in suite.classes or found}


def check_methods(entries: Sequence[MethodEntry]) -> None:
    """Raise a MethodError that names the nearest method when one is unknown."""
    from loco_tools.methods import METHODS

    for entry in entries:
        if entry.name not in METHODS and ":" not in entry.name and not entry.is_ensemble:
            known = [*METHODS, *ENSEMBLES]
            raise MethodError(f'unknown method "{entry.name}"; {did_you_mean(entry.name, known)}')


def cell_device(suite: Suite, *, elsewhere: bool = False) -> str:
    """The device of the cells: on a cluster what a cell is given there, not what this machine has.

    Args:
        suite: its executor and device.
        elsewhere: whether a CUDA device may be named that is not here.

    Raises:
        MethodError: an unknown device, or one that this machine does not have.
        BenchmarkError: a GPU is asked for, and the executor gives its cells none.
    """
    if isinstance(suite.executor, LocalSettings):
        if elsewhere and suite.device.partition(":")[0] == "cuda":
            return suite.device
        from loco_tools.methods.detector import choose_device

        return str(choose_device(suite.device))
    given = "cuda" if suite.executor.gpus else "cpu"
    if suite.device not in {"auto", given}:
        raise BenchmarkError(
            f'device "{suite.device}" was asked for, but executor "{suite.executor.kind}" gives '
            f'each cell {suite.executor.gpus:g} GPUs, that is "{given}"; '
            "next step: leave --device out and say --set executor.gpus=N"
        )
    return given


def _preset(suite: Suite, entry: MethodEntry, device: str) -> str:
    by_device = "paper" if device.startswith("cuda") else "fast"
    return entry.preset or suite.preset or by_device


def _check_settings(
    suite: Suite,
    entries: Sequence[MethodEntry],
    backbones: "Mapping[str, Backbone]",
    device: str,
) -> None:
    """Build every line once, so that what does not fit shows before anything is fitted.

    On the CPU: a GPU belongs to the cells, and the machine that starts a cluster's run may have
    none.
    """
    from loco_tools.methods import create

    singles: dict[str, Detector] = {}
    for entry in entries:  # members before their ensembles
        preset = _preset(suite, entry, device)
        if entry.is_ensemble:
            _check_ensemble(entry, preset, singles)
            continue
        singles[entry.title] = create(
            entry.name,
            backbone=backbones.get(entry.title),
            preset=preset,
            overrides=entry.overrides,
            input_size_px=suite.size_of(entry),
            resize=suite.resize_of(entry),
            device="cpu",
        )


def _check_ensemble(entry: MethodEntry, preset: str, singles: "Mapping[str, Detector]") -> None:
    """Build an ensemble over members that are not fitted yet."""
    members = {label: singles[label] for label in entry.members}
    try:
        create_ensemble(members, entry.name, preset=preset, overrides=entry.overrides, device="cpu")
    except LocoToolsError as error:
        raise MethodError(f'ensemble "{entry.title}": {error}') from error


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
        input_size_px=bench.suite.size_of(entry),
        resize=_resize(bench, entry),
        device=bench.device,
        data_hash="",
        code_hash="",
        versions=versions(),
    )


def _resize(bench: Bench, entry: MethodEntry) -> str:
    """As results show it: of an ensemble, those of its members."""
    lines = [one for one in bench.entries if one.title in (entry.members or (entry.title,))]
    return "+".join(sorted({bench.suite.resize_of(one) for one in lines}))


def _backbone_tag(bench: Bench, entry: MethodEntry) -> str:
    """As results show it: of an ensemble, those of its members."""
    tags = {source.tag for source in _of_line(bench, entry).values()}
    return "+".join(sorted(tags)) or NO_BACKBONE


def _of_line(bench: Bench, entry: MethodEntry) -> dict[str, BackboneSource]:
    """The backbones of a line and of its members."""
    titles = (entry.title, *entry.members)
    return {title: bench.backbones[title] for title in titles if title in bench.backbones}
