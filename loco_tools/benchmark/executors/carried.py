"""A cell on a machine that shares no disk with the run: what it needs comes, its folder goes back.

Both ends are here: `Luggage` is packed by the run, `work_carried` uses it on the other machine, and
`take_in` puts the cell's folder that came back into the run's.
"""

import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Generic, TypeVar

from loco_tools import files
from loco_tools.benchmark.cell.attempt import attempt
from loco_tools.benchmark.cell.backbone_source import BackboneSource
from loco_tools.benchmark.cell.record import CellRecord, read_record
from loco_tools.benchmark.cell.work import Job, share_members
from loco_tools.benchmark.executors.parcel import pack, unpack
from loco_tools.datasets.sidecar import sidecar_path
from loco_tools.errors import BenchmarkError

Part = TypeVar("Part")
Fetch = Callable[[Part], bytes]


@dataclass(frozen=True)
class Luggage(Generic[Part]):
    """What a cell needs, in parts; a part is whatever the cluster's store gives for bytes.

    `cells` are finished ones: the members', and its own where only maps are to be made.
    """

    data: tuple[Part, ...]
    cells: tuple[tuple[Part, ...], ...]
    weights: tuple[Part, ...]


@dataclass(frozen=True)
class CarriedBack:
    """The cell's folder, and that of its anomaly maps where they are kept, in parts."""

    cell: tuple[bytes, ...]
    maps: tuple[bytes, ...]


@dataclass
class Packing(Generic[Part]):
    """Packs luggage, the same contents once: `store` turns bytes into a part."""

    store: Callable[[bytes], Part]
    _packed: dict[tuple[str, ...], tuple[Part, ...]] = field(default_factory=dict)

    def luggage(self, job: Job) -> Luggage[Part]:
        """What a cell needs."""
        return Luggage(
            data=self._parts((job.stamp.data_hash,), _data(job)),
            cells=tuple(self._parts((key,), contents) for key, contents in _cells(job).items()),
            weights=self._parts(
                tuple(sorted(source.tag for source in job.backbones.values())), _weights(job)
            ),
        )

    def _parts(self, name: tuple[str, ...], contents: Mapping[str, Path]) -> tuple[Part, ...]:
        if not contents:
            return ()
        if name not in self._packed:
            self._packed[name] = tuple(self.store(part) for part in pack(contents))
        return self._packed[name]


def work_carried(job: Job, luggage: Luggage[Part], fetch: Fetch[Part]) -> CarriedBack:
    """Work on a cell with nothing but its luggage; `fetch` turns a part into its bytes.

    Raises:
        BenchmarkError: the disk is full.
    """
    with tempfile.TemporaryDirectory(prefix="loco-tools-") as name:
        root = Path(name)
        unpack(map(fetch, luggage.data), root / "data")
        for cell in luggage.cells:
            unpack(map(fetch, cell), root / "run")
        here = replace(
            job,
            class_path=root / "data" / job.class_path.name,
            out=root / "run",
            backbones=_with_weights(job.backbones, map(fetch, luggage.weights)),
        )
        attempt(here)
        return CarriedBack(
            cell=tuple(pack({".": here.cell.folder(here.out)})),
            maps=tuple(pack({".": here.cell.maps_folder(here.out)})) if job.keep_maps else (),
        )


def take_in(job: Job, back: CarriedBack) -> CellRecord:
    """Swap what came back into the run's folder.

    Raises:
        BenchmarkError: it holds no record of the cell.
    """
    if back.maps:
        with files.folder_swapped_in(job.cell.maps_folder(job.out)) as folder:
            unpack(back.maps, folder)
    with files.folder_swapped_in(job.cell.folder(job.out)) as folder:
        unpack(back.cell, folder)
        share_members(job, folder / "model")
    record = read_record(job.cell, job.out)
    if record is None:
        raise BenchmarkError(f"{job.cell}: expected its record from the cluster, got none")
    return record


def _data(job: Job) -> dict[str, Path]:
    """The class, and what lies beside it."""
    sidecar = sidecar_path(job.class_path)
    return {job.class_path.name: job.class_path, sidecar.name: sidecar}


def _cells(job: Job) -> dict[str, dict[str, Path]]:
    """The finished cells that are needed, by key: where each lies in a run's folder."""
    found = {}
    own = job.reusable()
    cells = [*job.needs, *([job.cell] if own is not None else [])]
    for cell in cells:
        record = read_record(cell, job.out)
        if record is not None:
            folder = cell.folder(job.out)
            found[record.key] = {folder.relative_to(job.out).as_posix(): folder}
    return found


def _weights(job: Job) -> dict[str, Path]:
    """Local files of weights, each under its backbone's tag."""
    return {
        _place(source): source.weights
        for source in job.backbones.values()
        if source.weights is not None
    }


def _with_weights(
    backbones: Mapping[str, BackboneSource], parts: Iterable[bytes]
) -> dict[str, BackboneSource]:
    """The backbones with their weights on this machine, kept there for the cells to come.

    A file that lies there already is taken: its hash is part of the tag, which loading checks.
    """
    store = Path(tempfile.gettempdir()) / "loco-tools-weights"
    wanted = {_place(s) for s in backbones.values() if s.weights is not None}
    if any(not (store / place).is_file() for place in wanted):
        with tempfile.TemporaryDirectory(prefix="loco-tools-") as name:
            unpack(parts, Path(name))
            for place in wanted:
                files.write_bytes(store / place, (Path(name) / place).read_bytes())
    return {
        title: source if source.weights is None else replace(source, weights=store / _place(source))
        for title, source in backbones.items()
    }


def _place(source: BackboneSource) -> str:
    suffix = "" if source.weights is None else source.weights.suffix
    return source.tag.replace(":", "-") + suffix
