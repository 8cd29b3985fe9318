"""The header of a JPEG file, and damage that decoders pass over in silence.

A JPEG file has no checksum. Decoders fill what is missing with grey and skip what is left over, and
OpenCV and Pillow report neither. `jpeg_fault` therefore decodes a file a second time, at an eighth
of its size, and compares how many bytes its pixels need with how many there are.
"""

import io
import re
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

import numpy as np
from PIL import JpegImagePlugin

_SCAN, _END, _RESTART_INTERVAL = 0xDA, 0xD9, 0xDD
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # start of frame, by coding process
_SEQUENTIAL, _PROGRESSIVE = (0xC0, 0xC1), 0xC2
_NEEDED = frozenset({0xC4, 0xDB, _RESTART_INTERVAL, _SCAN}) | _FRAMES  # segments for decoding
_SKIPPED = frozenset({*range(0xE0, 0xF0), 0xFE})  # applications' data and comments

_MARKER = re.compile(rb"\xff+[^\x00\xff\xd0-\xd7]")
_RESTART = re.compile(rb"\xff+[\xd0-\xd7]")

_SLACK_BYTES = 2
"""A sound stretch of pixels needs these last bytes; if it does not, some are left over."""

_PADDING = bytes([0x55]) * 16
"""Offered after the last byte, since decoders read up to 8 bytes ahead."""

_MOST_SCANS = 100
_WIDEST_PX = 65_500

TRUNCATED = "truncated, its end is missing"


class Frame(NamedTuple):
    """The start of a frame.

    Attributes:
        size: (H, W).
        bits: bits per sample.
        samples: samples per pixel.
        process: the marker, which states the coding process.
        at: position of the marker's segment in the file.
    """

    size: tuple[int, int]
    bits: int
    samples: int
    process: int
    at: int


def read_frame(stream: BinaryIO) -> Frame:
    """Read the size of a JPEG file from its header.

    Raises:
        ValueError: it is truncated or has no frame.
    """
    stream.seek(2)
    while True:
        byte = stream.read(1)
        if byte and byte != b"\xff":
            raise ValueError("no marker where its header must have one")
        while byte == b"\xff":
            byte = stream.read(1)
        length = int.from_bytes(stream.read(2), "big")
        if not byte or length < 2:
            raise ValueError("truncated in its header")
        if byte[0] == _SCAN:
            raise ValueError("its header states no size")
        if byte[0] not in _FRAMES:
            stream.seek(length - 2, io.SEEK_CUR)
            continue
        at = stream.tell()
        head = stream.read(6)
        if len(head) < 6:
            raise ValueError("truncated in its header")
        size = int.from_bytes(head[1:3], "big"), int.from_bytes(head[3:5], "big")
        if 0 in size:
            raise ValueError(f"claims {size[1]} x {size[0]} pixels")
        return Frame(size, head[0], head[5], byte[0], at)


def quick_fault(content: bytes, frame: Frame) -> str | None:
    """What can be found in microseconds: a missing end, or more scans than any encoder writes."""
    if content.rfind(b"\xff\xd9") < frame.at:
        return TRUNCATED
    if frame.process == _PROGRESSIVE and content.count(b"\xff\xda") > _MOST_SCANS:
        return f"more than {_MOST_SCANS} scans"
    return None


def jpeg_fault(content: bytes) -> str | None:
    """The fault of a JPEG file that is truncated or damaged in the middle; None if none is found.

    A sequential file (nearly all are) is damaged when its pixels need about ten bytes more than
    there are, or fewer; between restart markers, each stretch on its own. A progressive file is
    damaged when its pixels need more. Damage that changes values but not the number of bits gives
    another valid picture, and nothing can find it.
    """
    try:
        frame = read_frame(io.BytesIO(content))
        if fault := quick_fault(content, frame):
            return fault
        segments = list(_segments(content))
    except ValueError as error:
        return str(error)
    scans = sum(segment.marker == _SCAN for segment in segments)
    if frame.process in _SEQUENTIAL and scans == 1:
        return _sequential_fault(segments)
    if frame.process in (*_SEQUENTIAL, _PROGRESSIVE):
        return _fault_by_padding(segments)
    return None


class _Segment(NamedTuple):
    marker: int
    head: bytes  # the marker and its parameters
    pixels: bytes = b""  # the entropy-coded data behind a start of scan


def _segments(content: bytes) -> Iterator[_Segment]:
    """The segments that a decoder needs, in the order of the file.

    Raises:
        ValueError: the file is truncated, or has something else where a marker must be.
    """
    at = 2
    while True:
        found = _MARKER.match(content, at)
        if found is None:
            raise ValueError(TRUNCATED if at >= len(content) else "no marker where one must be")
        marker, at = found.group()[-1], found.end()
        if marker == _END:
            return
        if marker not in _NEEDED | _SKIPPED:
            raise ValueError(f"the unknown marker {marker:#04x}")
        start, at = at, at + int.from_bytes(content[at : at + 2], "big")
        if at < start + 2 or at > len(content):
            raise ValueError(TRUNCATED)
        head = bytes([0xFF, marker]) + content[start:at]
        if marker == _SCAN:
            following = _MARKER.search(content, at)
            if following is None:
                raise ValueError(TRUNCATED)
            yield _Segment(marker, head, content[at : following.start()])
            at = following.start()
        elif marker in _NEEDED:
            yield _Segment(marker, head)


def _sequential_fault(segments: list[_Segment]) -> str | None:
    header = b"\xff\xd8" + b"".join(segment.head for segment in segments)
    pixels = next(segment.pixels for segment in segments if segment.marker == _SCAN)
    interval = 0
    for segment in segments:
        if segment.marker == _RESTART_INTERVAL:
            interval = int.from_bytes(segment.head[4:6], "big")
    restarts = [found.group()[-1] for found in _RESTART.finditer(pixels)]
    if not interval:
        return "a restart marker within its pixels" if restarts else _stretch_fault(header, pixels)
    units, unit = _units(header)
    if restarts != [0xD0 + index % 8 for index in range(-(-units // interval) - 1)]:
        return "a restart marker is missing"
    for index, stretch in enumerate(_RESTART.split(pixels)):
        count = min(interval, units - index * interval)
        if count * unit[1] > _WIDEST_PX:
            return None
        if fault := _stretch_fault(_resized(header, unit[0], count * unit[1]), stretch):
            return fault
    return None


def _units(header: bytes) -> tuple[int, tuple[int, int]]:
    """The number of coding units (MCU) of a single scan, and the (h, w) of one in pixels."""
    frame = read_frame(io.BytesIO(header))
    factors = [header[frame.at + 7 + 3 * index] for index in range(frame.samples)]
    if frame.samples == 1:
        factors = [0x11]  # a scan of one component has units of one block
    height = 8 * max(1, *(factor & 15 for factor in factors), 1)
    width = 8 * max(1, *(factor >> 4 for factor in factors), 1)
    count = -(-frame.size[0] // height) * -(-frame.size[1] // width)
    return count, (height, width)


def _resized(header: bytes, height: int, width: int) -> bytes:
    """The same header for a picture of another size."""
    at = read_frame(io.BytesIO(header)).at + 1
    return header[:at] + height.to_bytes(2, "big") + width.to_bytes(2, "big") + header[at + 4 :]


class _Watched(io.BytesIO):
    """A file that stops once before its last bytes, and knows whether more were asked for."""

    def __init__(self, content: bytes, stop: int) -> None:
        super().__init__(content)
        self._stop = stop
        self.is_exhausted = False

    def read(self, size: int | None = -1) -> bytes:
        left = self._stop - self.tell()
        if left > 0:
            size = left if size is None or size < 0 else min(size, left)
        content = super().read(size)
        self.is_exhausted |= not content
        return content


def _stretch_fault(header: bytes, pixels: bytes) -> str | None:
    """The fault of pixels that need more bytes than there are, or fewer."""
    stop = len(header) + len(pixels) - _SLACK_BYTES
    stream = _Watched(header + pixels + _PADDING, stop)
    image = JpegImagePlugin.JpegImageFile(stream)
    image.draft("L", (1, 1))
    try:
        image.load()
    except OSError as error:
        return "its pixels end too early" if stream.is_exhausted else str(error)
    if stream.is_exhausted:
        return "its pixels end too early"
    return "bytes are left over after its last pixel" if stream.tell() <= stop else None


def _fault_by_padding(segments: list[_Segment]) -> str | None:
    """The fault of a file whose scans read on into whatever follows them."""
    decoded = []
    for byte in (0x00, 0x55):
        padding = bytes([byte]) * len(_PADDING)
        parts = [s.head + (s.pixels + padding if s.pixels else b"") for s in segments]
        stream = io.BytesIO(b"\xff\xd8" + b"".join(parts) + b"\xff\xd9")
        try:
            decoded.append(np.asarray(JpegImagePlugin.JpegImageFile(stream)))
        except OSError as error:
            return str(error)
    return None if np.array_equal(decoded[0], decoded[1]) else "its pixels end too early"
