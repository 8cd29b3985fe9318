"""Running a cell on a machine that shares no disk with the run.

The run packs the inputs of the cell (`InputPacker`), the other machine runs the cell with nothing
but these (`run_with_inputs`) and packs its outputs, and the run stores them (`store_outputs`).
"""

import io
import tarfile
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import BinaryIO, Generic, TypeVar, cast

from loco_tools import files
from loco_tools.benchmark.cell.backbone_source import BackboneSource
from loco_tools.benchmark.cell.record import CellRecord, read_record
from loco_tools.benchmark.cell.work import Job, run_cell, share_members
from loco_tools.datasets.sidecar import sidecar_path
from loco_tools.errors import BenchmarkError

Part = TypeVar("Part")
"""A part of an archive in the cluster's store, for example a reference to an object of Ray."""


@dataclass(frozen=True)
class CellInputs(Generic[Part]):
    """Everything that a cell needs, in parts.

    Attributes:
        data: the class folder and its sidecar file.
        cells: finished cells: those of the members, and the cell itself where only its maps are
            missing.
        weights: local files with weights of backbones.
    """

    data: tuple[Part, ...]
    cells: tuple[tuple[Part, ...], ...]
    weights: tuple[Part, ...]


@dataclass(frozen=True)
class CellOutputs:
    """What a cell has written, in parts.

    Attributes:
        cell: the cell's folder; empty for a finished cell whose maps were made.
        maps: the folder of its anomaly maps; empty where there are none.
        maps_error: as in `CellRecord`.
    """

    cell: tuple[bytes, ...]
    maps: tuple[bytes, ...]
    maps_error: str = ""


@dataclass
class InputPacker(Generic[Part]):
    """Packs the inputs of cells; each class, member and weights file once per run.

    `store` puts bytes into the cluster's store and returns the part.
    """

    store: Callable[[bytes], Part]
    _packed: dict[tuple[str, ...], tuple[Part, ...]] = field(default_factory=dict)

    def inputs_of(self, job: Job) -> CellInputs[Part]:
        """The inputs of a cell."""
        sidecar = sidecar_path(job.class_path)
        data = {job.class_path.name: job.class_path, sidecar.name: sidecar}
        cells = [] if job.reusable() is None else [job.cell]
        packed_cells = []
        for cell in (*job.needs, *cells):
            if (record := read_record(cell, job.out)) is not None:
                folder = cell.folder(job.out)
                inside = {folder.relative_to(job.out).as_posix(): folder}
                packed_cells.append(self._pack_once((record.key,), inside))
        sources = job.backbones.values()
        weights = {_file_name(s): s.weights for s in sources if s.weights is not None}
        return CellInputs(
            data=self._pack_once((job.stamp.data_hash,), data),
            cells=tuple(packed_cells),
            weights=self._pack_once(tuple(sorted(source.tag for source in sources)), weights),
        )

    def _pack_once(self, key: tuple[str, ...], contents: Mapping[str, Path]) -> tuple[Part, ...]:
        if not contents:
            return ()
        if key not in self._packed:
            self._packed[key] = tuple(self.store(part) for part in pack(contents))
        return self._packed[key]


def run_with_inputs(
    job: Job, inputs: CellInputs[Part], fetch: Callable[[Part], bytes]
) -> CellOutputs:
    """Run a cell in a temporary folder; `fetch` returns the bytes of a part.

    Raises:
        BenchmarkError: the disk is full.
    """
    with tempfile.TemporaryDirectory(prefix="loco-tools-") as name:
        root = Path(name)
        unpack(map(fetch, inputs.data), root / "data")
        for cell in inputs.cells:
            unpack(map(fetch, cell), root / "run")
        here = replace(
            job,
            class_path=root / "data" / job.class_path.name,
            out=root / "run",
            backbones=_store_weights(job.backbones, map(fetch, inputs.weights)),
        )
        only_maps = here.reusable() is not None
        record = run_cell(here)
        maps = here.cell.maps_folder(here.out)
        return CellOutputs(
            cell=() if only_maps else tuple(pack({".": here.cell.folder(here.out)})),
            maps=tuple(pack({".": maps})) if maps.is_dir() else (),
            maps_error=record.maps_error,
        )


def store_outputs(job: Job, outputs: CellOutputs) -> CellRecord:
    """Put the outputs of a cell into the run's folder.

    Raises:
        BenchmarkError: they contain no record of the cell.
    """
    if outputs.maps:
        with files.folder_swapped_in(job.cell.maps_folder(job.out)) as folder:
            unpack(outputs.maps, folder)
    if outputs.cell:
        with files.folder_swapped_in(job.cell.folder(job.out)) as folder:
            unpack(outputs.cell, folder)
            share_members(job, folder / "model")
    record = read_record(job.cell, job.out)
    if record is None:
        raise BenchmarkError(f"{job.cell}: expected its record from the cluster, got none")
    return record.model_copy(update={"maps_error": outputs.maps_error})


def _store_weights(
    backbones: Mapping[str, BackboneSource], parts: Iterable[bytes]
) -> dict[str, BackboneSource]:
    """The backbones with their weights on this machine, where they stay for further cells.

    An existing file is used: its hash is part of the tag, which is checked on loading.
    """
    folder = Path(tempfile.gettempdir()) / "loco-tools-weights"
    names = {_file_name(s) for s in backbones.values() if s.weights is not None}
    if any(not (folder / name).is_file() for name in names):
        with tempfile.TemporaryDirectory(prefix="loco-tools-") as unpacked:
            unpack(parts, Path(unpacked))
            for name in names:
                files.write_bytes(folder / name, (Path(unpacked) / name).read_bytes())
    return {
        name: source
        if source.weights is None
        else replace(source, weights=folder / _file_name(source))
        for name, source in backbones.items()
    }


def _file_name(source: BackboneSource) -> str:
    suffix = "" if source.weights is None else source.weights.suffix
    return source.tag.replace(":", "-") + suffix


PART_BYTES = 1 << 26
"""Size of a part: 64 MiB, so that no machine holds a whole class in memory."""


def pack(contents: Mapping[str, Path], part_bytes: int = PART_BYTES) -> Iterator[bytes]:
    """Pack files and folders into a tar archive, in parts; images are compressed already.

    Args:
        contents: name in the archive -> file or folder; a missing file is left out.
        part_bytes: size of a part; the last one is shorter.
    """
    parts = _PartWriter(part_bytes)
    with tarfile.open(fileobj=cast(BinaryIO, parts), mode="w|", bufsize=1 << 20) as archive:
        for name, path in contents.items():
            inside = sorted(path.rglob("*")) if path.is_dir() else []
            for source in [path, *inside] if path.exists() else []:
                target = Path(name) / source.relative_to(path)
                archive.add(source, target.as_posix(), recursive=False)
                yield from parts.complete()
    yield from parts.rest()


def unpack(parts: Iterable[bytes], folder: Path) -> None:
    """Unpack the parts of `pack` into `folder`, which is created when needed.

    Raises:
        BenchmarkError: the parts are no archive, or incomplete.
    """
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with tarfile.open(fileobj=cast(BinaryIO, _PartReader(parts)), mode="r|") as archive:
            archive.extractall(folder, filter="data")
    except tarfile.TarError as error:
        raise BenchmarkError(
            f"expected a folder from another machine, got a damaged archive: {error}; next step: "
            "run the command again"
        ) from error


class _PartWriter:
    """A writable stream that divides its content into parts."""

    def __init__(self, part_bytes: int) -> None:
        self._part_bytes = part_bytes
        self._held = bytearray()

    def write(self, content: bytes) -> int:
        self._held += content
        return len(content)

    def complete(self) -> Iterator[bytes]:
        """Yield and forget the complete parts."""
        while len(self._held) >= self._part_bytes:
            yield bytes(self._held[: self._part_bytes])
            del self._held[: self._part_bytes]

    def rest(self) -> Iterator[bytes]:
        """Yield and forget all parts, the incomplete one too."""
        yield from self.complete()
        if self._held:
            yield bytes(self._held)


class _PartReader(io.RawIOBase):
    """A readable stream of parts."""

    def __init__(self, parts: Iterable[bytes]) -> None:
        self._parts = iter(parts)
        self._part = io.BytesIO()

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        while not (taken := self._part.read(size)):
            part = next(self._parts, None)
            if part is None:
                return b""
            self._part = io.BytesIO(part)
        return taken
