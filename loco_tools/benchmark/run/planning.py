"""From a suite to the cells that it asks for, checked before anything is fitted."""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from loco_tools.benchmark.cell.backbone_source import (
    BackboneSource,
    resolve_backbones,
    weights_file,
)
from loco_tools.benchmark.cell.cost import versions
from loco_tools.benchmark.cell.hashes import code_behind
from loco_tools.benchmark.cell.record import CellRecord, Stamp
from loco_tools.benchmark.executor_settings import LocalSettings
from loco_tools.benchmark.run.class_faults import examine_classes, refuse_faulty
from loco_tools.benchmark.suite import MethodEntry, Suite
from loco_tools.datasets.data_hash import data_hash, sidecar_hash
from loco_tools.datasets.validation.findings import Findings
from loco_tools.ensembles import ENSEMBLES, create_ensemble
from loco_tools.errors import BenchmarkError, LocoToolsError, MethodError, did_you_mean
from loco_tools.progress import SILENT, Progress
from loco_tools.wording import plural

if TYPE_CHECKING:
    from loco_tools.benchmark.cell.work import Job
    from loco_tools.methods.backbones import Backbone
    from loco_tools.methods.detector import Detector

NO_BACKBONE = "none"
"""The backbone that results name for a method without one."""

DEFAULT_THREADS = 2
"""CPU threads of a cell: as many as small machines have, so that none becomes slower by it."""


MAX_SEED = 2**31
"""The largest seed; numpy takes 32 bits, and numbers are added to the seed of a cell."""


@dataclass(frozen=True)
class PreparedSuite:
    """A suite whose entries, classes, backbones and device have been resolved and checked.

    `backbones` are by entry name. Methods that need no backbone have none, and neither have
    ensembles, whose members have their own. `findings` are what is notable about each class.
    """

    suite: Suite
    entries: tuple[MethodEntry, ...]
    classes: Mapping[str, Path]
    backbones: Mapping[str, BackboneSource]
    device: str
    out: Path
    findings: Mapping[str, Findings]


def prepare(
    suite: Suite,
    class_paths: Sequence[Path],
    out: Path,
    progress: Progress = SILENT,
    *,
    elsewhere: bool = False,
    despite_findings: bool = False,
) -> PreparedSuite:
    """Resolve and check everything that a suite names; nothing is fitted or written.

    Args:
        suite: what to compare.
        class_paths: folders of dataset classes; `suite.classes` selects among them by name.
        out: the run's folder.
        progress: receives messages about replaced or downloaded backbones.
        elsewhere: whether the cells may run on another machine, so that this machine needs no GPU.
        despite_findings: whether faults of the classes are accepted.

    Raises:
        LocoToolsError: an unknown class or method, a wrong setting, or a class with faults.
    """
    classes = select_classes(suite, class_paths)
    entries = suite.entries()
    check_methods(entries)
    backbones = resolve_backbones(suite, entries, progress)
    device = cell_device(suite, elsewhere=elsewhere)
    _check_settings(suite, entries, backbones, device)
    _check_seeds(suite)
    findings = examine_classes(classes, progress)
    if not despite_findings:
        refuse_faulty(findings)
    weights = weights_file(suite)
    sources = {
        name: BackboneSource(backbone.tag, backbone.name, weights)
        for name, backbone in backbones.items()
    }
    return PreparedSuite(suite, entries, classes, sources, device, out, findings)


def jobs(
    prepared: PreparedSuite, progress: Progress = SILENT, *, remember: bool = True
) -> Iterator["Job"]:
    """Every cell, class by class, members before their ensembles.

    Args:
        prepared: from `prepare`.
        progress: receives progress of hashing the classes.
        remember: whether the hashes of data files are cached in the run's folder.
    """
    from loco_tools.benchmark.cell.work import Job

    suite, entries = prepared.suite, prepared.entries
    implementations = {entry.name: entry.implementation for entry in entries}
    codes = {entry.name: code_behind(entry.implementation) for entry in entries}
    resizes = {entry.name: suite.resize_of(entry) for entry in entries}
    installed, threads = versions(), cell_threads(suite)
    for class_name, path in prepared.classes.items():
        cache = prepared.out / "data_hashes.json"
        digest = data_hash(path, cache, progress, remember=remember)
        parts = sidecar_hash(path)
        for seed in suite.seeds:
            keys: dict[str, str] = {}
            for entry in entries:
                backbones = {
                    name: prepared.backbones[name]
                    for name in (entry.name, *entry.members)
                    if name in prepared.backbones
                }
                tags = {source.tag for source in backbones.values()}
                inputs = {resizes[name] for name in entry.members or (entry.name,)}
                stamp = Stamp(
                    method=entry.name,
                    class_name=class_name,
                    seed=seed,
                    overrides=entry.settings,
                    members={member: keys[member] for member in entry.members},
                    backbone="+".join(sorted(tags)) or NO_BACKBONE,
                    preset=suite.preset_of(entry, prepared.device),
                    input_size_px=suite.size_of(entry),
                    resize="+".join(sorted(inputs)),
                    device=prepared.device,
                    threads=threads,
                    data_hash=digest,
                    sidecar_hash=parts,
                    code_hash=codes[entry.name],
                    versions=installed,
                )
                keys[entry.name] = stamp.key
                yield Job(
                    stamp=stamp,
                    method=entry.implementation,
                    members={member: implementations[member] for member in entry.members},
                    class_path=path.resolve(),
                    out=prepared.out.resolve(),
                    keep_maps=suite.maps,
                    backbones=backbones,
                )


@dataclass(frozen=True)
class CellPlan:
    """The decision of a run about a cell.

    Attributes:
        job: the cell.
        action: "run" it, make only the "maps" of the finished cell, "reuse" its finished record, or
            leave it "failed" as it is.
        record: what an earlier run left under the same key.
    """

    job: "Job"
    action: Literal["run", "maps", "reuse", "failed"]
    record: CellRecord | None


def plan_cell(job: "Job", *, retry_failed: bool) -> CellPlan:
    """Decide what a run does with a cell."""
    record = job.previous()
    if record is None or (record.status == "failed" and retry_failed):
        return CellPlan(job, "run", record)
    if record.status == "failed":
        return CellPlan(job, "failed", record)
    return CellPlan(job, "maps" if job.maps_missing else "reuse", record)


def select_classes(suite: Suite, class_paths: Sequence[Path]) -> dict[str, Path]:
    """The classes of a suite by name, in the order of the suite.

    Raises:
        BenchmarkError: there is no class, one is unknown, or two have the same name.
    """
    paths: dict[str, Path] = {}
    for path in class_paths:
        name = path.resolve().name
        if name in paths:
            raise BenchmarkError(
                f'two classes are named "{name}": {paths[name]} and {path}; '
                "next step: rename one folder, or run them into two --out folders"
            )
        paths[name] = path
    if not paths:
        raise BenchmarkError(
            "no dataset class; expected folders in MVTec AD or MVTec LOCO AD layout; next step: "
            "name one with --data, or make some with loco-tools demo"
        )
    missing = [name for name in suite.classes if name not in paths]
    if missing:
        names = ", ".join(f'"{name}"' for name in missing)
        raise BenchmarkError(
            f"unknown class {names}; {did_you_mean(missing[0], paths)}; next step: name the folder "
            "of all classes with --data, or select some classes with --class NAME"
        )
    return {name: paths[name] for name in suite.classes or paths}


def check_methods(entries: Sequence[MethodEntry]) -> None:
    """Raise a MethodError that names the nearest method when one is unknown."""
    from loco_tools.methods import METHODS

    for entry in entries:
        method = entry.implementation
        if method not in METHODS and ":" not in method and not entry.is_ensemble:
            raise MethodError(
                f'unknown method "{method}"; {did_you_mean(method, [*METHODS, *ENSEMBLES])}'
            )


def _check_seeds(suite: Suite) -> None:
    wrong = [str(seed) for seed in suite.seeds if not 0 <= seed <= MAX_SEED]
    if wrong:
        raise BenchmarkError(
            f"seeds: expected whole numbers from 0 to {MAX_SEED}, got {', '.join(wrong)}; "
            "next step: choose others with --seeds"
        )


def cell_device(suite: Suite, *, elsewhere: bool = False) -> str:
    """The device of the cells; on a cluster it follows from the GPUs that a cell gets there.

    Args:
        suite: its executor and device count.
        elsewhere: whether a CUDA device that this machine lacks is accepted.

    Raises:
        MethodError: an unknown device, or one that this machine does not have.
        BenchmarkError: the suite asks for another device than the executor gives its cells.
    """
    if isinstance(suite.executor, LocalSettings):
        if elsewhere and suite.device.partition(":")[0] == "cuda":
            return suite.device
        from loco_tools.methods.detector import choose_device

        return str(choose_device(suite.device))
    given = "cuda" if suite.executor.gpus else "cpu"
    if suite.device not in {"auto", given}:
        raise BenchmarkError(
            f'device "{suite.device}": executor "{suite.executor.kind}" gives each cell '
            f'{suite.executor.gpus:g} GPUs, so expected "{given}"; '
            "next step: leave out --device and set the GPUs of a cell with --set executor.gpus=N"
        )
    return given


def cell_threads(suite: Suite, environment: Mapping[str, str] = os.environ) -> int:
    """The CPU threads of a cell, see `Suite.threads`.

    >>> cell_threads(Suite(methods=["patchcore"]), {"OMP_NUM_THREADS": "8"})
    8
    """
    limit = environment.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    return suite.threads or (int(limit) if limit.isdecimal() and int(limit) else DEFAULT_THREADS)


def crowding(suite: Suite, cores: int) -> str:
    """A remark that the local workers have more CPU threads than the machine has cores, or "".

    >>> suite = Suite(methods=["patchcore"], threads=2, executor={"kind": "local", "workers": 4})
    >>> crowding(suite, cores=4)
    '4 workers with 2 CPU threads each on 4 cores slow each other down; use fewer, or threads = 1'
    """
    executor, threads = suite.executor, cell_threads(suite)
    workers = (isinstance(executor, LocalSettings) and executor.workers) or 1
    if workers == 1 or workers * threads <= cores:
        return ""
    each = plural(threads, "CPU thread")
    return (
        f"{workers} workers with {each} each on {plural(cores, 'core')} slow each other "
        "down; use fewer, or threads = 1"
    )


def _check_settings(
    suite: Suite,
    entries: Sequence[MethodEntry],
    backbones: "Mapping[str, Backbone]",
    device: str,
) -> None:
    """Build every detector once, so that wrong settings are reported before anything is fitted.

    This happens on the CPU: the cells need the GPU, and the machine that starts a run on a cluster
    may have none.
    """
    from loco_tools.methods import create

    detectors: dict[str, Detector] = {}
    for entry in entries:  # members before their ensembles
        preset = suite.preset_of(entry, device)
        if not entry.is_ensemble:
            detectors[entry.name] = create(
                entry.implementation,
                backbone=backbones.get(entry.name),
                preset=preset,
                overrides=entry.overrides,
                input_size_px=suite.size_of(entry),
                resize=suite.resize_of(entry),
                device="cpu",
            )
            continue
        members = {name: detectors[name] for name in entry.members}
        try:
            create_ensemble(members, entry.implementation, preset=preset, overrides=entry.overrides)
        except LocoToolsError as error:
            raise MethodError(f'ensemble "{entry.name}": {error}') from error
