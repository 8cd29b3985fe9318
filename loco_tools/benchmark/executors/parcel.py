"""Folders as parts of bytes, for machines that share no disk."""

import io
import tarfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import BinaryIO, cast

from loco_tools.errors import BenchmarkError

PART_BYTES = 1 << 26
"""Of one part: 64 MiB, so that neither end holds a whole class in memory."""


def pack(contents: Mapping[str, Path], part_bytes: int = PART_BYTES) -> Iterator[bytes]:
    """Files and folders as an uncompressed archive in parts: images are compressed already.

    Args:
        contents: name in the archive -> file or folder; what does not exist is left out.
        part_bytes: size of a part; the last one is shorter.
    """
    parts = _Parts(part_bytes)
    with tarfile.open(fileobj=cast(BinaryIO, parts), mode="w|", bufsize=1 << 20) as archive:
        for name, path in contents.items():
            for source in _files(path):
                inside = Path(name) / source.relative_to(path)
                archive.add(source, inside.as_posix(), recursive=False)
                yield from parts.full()
    yield from parts.rest()


def unpack(parts: Iterable[bytes], folder: Path) -> None:
    """Write what `pack` gave into `folder`, which is made when needed.

    Raises:
        BenchmarkError: the parts are no archive, or not all of one.
    """
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with tarfile.open(fileobj=cast(BinaryIO, _Joined(parts)), mode="r|") as archive:
            archive.extractall(folder, filter="data")
    except tarfile.TarError as error:
        raise BenchmarkError(
            f"expected the parts of a folder from another machine, got a damaged archive: {error}"
        ) from error


def _files(path: Path) -> list[Path]:
    """A file itself, or every file and folder of a folder, itself first."""
    if path.is_dir():
        return [path, *sorted(path.rglob("*"))]
    return [path] if path.exists() else []


class _Parts:
    """A writable stream that cuts what is written into parts."""

    def __init__(self, part_bytes: int) -> None:
        self._part_bytes = part_bytes
        self._held = bytearray()

    def write(self, content: bytes) -> int:
        self._held += content
        return len(content)

    def full(self) -> Iterator[bytes]:
        """The parts that are complete."""
        while len(self._held) >= self._part_bytes:
            yield bytes(self._held[: self._part_bytes])
            del self._held[: self._part_bytes]

    def rest(self) -> Iterator[bytes]:
        """All that is left."""
        yield from self.full()
        if self._held:
            yield bytes(self._held)


class _Joined(io.RawIOBase):
    """A readable stream over parts."""

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
