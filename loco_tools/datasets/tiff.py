"""The header of a TIFF file, and the samples of a page that needs no decoder.

TIFF 6.0 (Adobe 1992) and BigTIFF. Nothing here allocates more than the page's own size, which the
caller checks first, and every fault of a file is a `ValueError`.
"""

import io
import struct
import zlib
from io import BufferedReader
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import numpy.typing as npt

_SUBFILE = 254
_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC, _FILL_ORDER = 256, 257, 258, 259, 262, 266
_OFFSETS, _ORIENTATION, _SAMPLES, _ROWS_PER_STRIP = 273, 274, 277, 278
_BYTE_COUNTS, _PREDICTOR, _TILE_WIDTH, _SAMPLE_FORMAT = 279, 317, 322, 339

_INTEGER_TYPES = {1: "B", 3: "H", 4: "I", 13: "I", 16: "Q", 18: "Q"}
_MOST_PAGES = 10_000
_MOST_SAMPLES = 64
_SHORT = 1 << 16

UNCOMPRESSED, PALETTE = 1, 3
_DEFLATE = (8, 32946)
_DECODED_BY_OPENCV = (UNCOMPRESSED, 5, 32773, *_DEFLATE)

DEFLATE_RATIO = 1032
"""The most bytes that one byte of deflated data can stand for."""

_RATIOS = {UNCOMPRESSED: 1, 5: 2731, 8: DEFLATE_RATIO, 32773: 64, 32946: DEFLATE_RATIO}
_COMPRESSIONS = {
    1: "no compression", 2: "CCITT", 3: "CCITT", 4: "CCITT", 5: "LZW", 6: "JPEG", 7: "JPEG",
    8: "Deflate", 32773: "PackBits", 32946: "Deflate", 34712: "JPEG 2000", 34887: "LERC",
    34925: "LZMA", 50000: "Zstandard", 50001: "WebP",
}  # fmt: skip

_KIND_NAMES = {"u": "unsigned", "i": "signed", "f": "float", "c": "complex"}
_KINDS = {1: "u", 2: "i", 3: "f", 6: "c"}


class Page(NamedTuple):
    """The header of the first page of a TIFF file.

    Attributes:
        size: (H, W) as stored.
        bits: bits per sample.
        kind: "u" unsigned, "i" signed, "f" float or "c" complex, as in NumPy; "?" if undefined.
        samples: samples per pixel.
        photometric: how samples become colours: 1 for brightness, 3 for indices of a palette.
        compression: the number of its compression.
        orientation: how the image is turned, as in EXIF; 1 is upright.
        pages: number of pages in the file, without thumbnails and transparency masks.
        is_plain: whether `read_samples` can read it.
        order: byte order, "<" or ">".
        tags: the fields of the header by tag; those that are not integers are left out.
    """

    size: tuple[int, int]
    bits: int
    kind: str
    samples: int
    photometric: int
    compression: int
    orientation: int
    pages: int
    is_plain: bool
    order: str
    tags: dict[int, "_Field"]

    @property
    def dtype(self) -> np.dtype[Any] | None:
        """The type of the samples as NumPy has it, in the byte order of the file; None if none."""
        if self.bits == 1 and self.kind == "u":
            return np.dtype(bool)
        known = {"u": (8, 16, 32, 64), "i": (8, 16, 32, 64), "f": (16, 32, 64)}
        if self.bits not in known.get(self.kind, ()):
            return None
        return np.dtype(f"{self.order}{self.kind}{self.bits // 8}")

    @property
    def type_name(self) -> str:
        """The type of the samples in words, for example "32-bit float"."""
        return f"{self.bits}-bit {_KIND_NAMES.get(self.kind, 'undefined')}"

    @property
    def least_bytes(self) -> int:
        """The fewest bytes that a file with such a page can have; 0 if unknown."""
        bits = self.size[0] * self.size[1] * self.samples * self.bits
        return bits // 8 // _RATIOS[self.compression] if self.compression in _RATIOS else 0

    @property
    def is_exact_in_opencv(self) -> bool:
        """Whether OpenCV decodes these samples, and without a change of any value."""
        types = ("u1", "u2", "i2", "i4", "f4", "f8")
        return (
            self.dtype is not None
            and self.dtype.str[1:] in types
            and self.compression in _DECODED_BY_OPENCV
            and self.photometric == self.orientation == 1
            and self.samples == 1
        )

    @property
    def compression_name(self) -> str:
        """The name of its compression, or its number."""
        return _COMPRESSIONS.get(self.compression, f"number {self.compression}")


class _Field(NamedTuple):
    code: str  # of struct
    number: int  # of values
    at: int  # position of the first value in the file


def read_page(stream: BinaryIO) -> Page:
    """Read the header of the first page.

    Raises:
        ValueError: it is truncated or contradicts itself.
    """
    order = {b"II": "<", b"MM": ">"}[_read(stream, 0, 2)]
    (version,) = struct.unpack(f"{order}H", _read(stream, 2, 2))
    is_big = version == 43
    at, code = (8, "Q") if is_big else (4, "I")
    (first,) = struct.unpack(f"{order}{code}", _read(stream, at, 8 if is_big else 4))
    tags, following = _read_directory(stream, order, first, is_big=is_big)

    def value(tag: int, default: int | None = None) -> int:
        if tag not in tags:
            if default is None:
                raise ValueError(f"its header has no field {tag}")
            return default
        return _values(stream, order, tags[tag], limit=_MOST_SAMPLES)[0]

    seen, pages = {first}, 1
    while following and following not in seen:
        seen.add(following)
        if len(seen) > _MOST_PAGES:
            raise ValueError(f"more than {_MOST_PAGES} pages")
        others, following = _read_directory(stream, order, following, is_big=is_big)
        role = _values(stream, order, others[_SUBFILE], limit=1)[0] if _SUBFILE in others else 0
        pages += not role & 0b101  # of lower resolution, or a transparency mask
    for tag in (_BITS, _SAMPLE_FORMAT):
        if tag in tags and len(set(_values(stream, order, tags[tag], limit=_MOST_SAMPLES))) > 1:
            raise ValueError("its samples have different types")
    compression, samples = value(_COMPRESSION, UNCOMPRESSED), value(_SAMPLES, 1)
    is_predicted = compression != UNCOMPRESSED and value(_PREDICTOR, 1) != 1
    size = value(_HEIGHT), value(_WIDTH)
    if 0 in size or not samples:
        raise ValueError(f"claims {size[1]} x {size[0]} pixels of {samples} samples")
    return Page(
        size=size,
        bits=value(_BITS, 1),
        kind=_KINDS.get(value(_SAMPLE_FORMAT, 1), "?"),
        samples=samples,
        photometric=value(_PHOTOMETRIC, 1),
        compression=compression,
        orientation=value(_ORIENTATION, 1),
        pages=pages,
        is_plain=compression in (UNCOMPRESSED, *_DEFLATE)
        and samples == 1
        and value(_FILL_ORDER, 1) == 1
        and not is_predicted
        and _TILE_WIDTH not in tags,
        order=order,
        tags=tags,
    )


def read_samples(stream: BufferedReader, page: Page) -> npt.NDArray[Any]:
    """The samples (H, W) of a page that `is_plain`.

    Raises:
        ValueError: its data are truncated or damaged, or have more or fewer bytes than its size.
    """
    if page.dtype is None or not page.is_plain:
        raise ValueError(f"{page.bits}-bit samples cannot be read")
    height, width = page.size
    row = (width * page.bits + 7) // 8  # bytes
    rows = height
    if _ROWS_PER_STRIP in page.tags:
        rows = min(height, *_values(stream, page.order, page.tags[_ROWS_PER_STRIP], limit=1))
    strips = -(-height // max(rows, 1))
    if _OFFSETS not in page.tags or rows < 1:
        raise ValueError("its header does not say where its pixels are")
    offsets = _values(stream, page.order, page.tags[_OFFSETS], limit=strips)
    counts = None
    if page.compression in _DEFLATE:
        if _BYTE_COUNTS not in page.tags:
            raise ValueError("its header does not say how long its compressed pixels are")
        counts = _values(stream, page.order, page.tags[_BYTE_COUNTS], limit=strips)
    if len(offsets) != strips or (counts is not None and len(counts) != strips):
        raise ValueError(f"expected {strips} strips of pixels, got {len(offsets)}")
    content = np.empty(height * row, np.uint8)
    for index, offset in enumerate(offsets):
        strip = content[index * rows * row :][: rows * row]
        if counts is None:
            _seek(stream, offset, strip.size)
            if stream.readinto(strip.data) != strip.size:
                raise ValueError("truncated")
        else:
            stored = _read(stream, offset, counts[index])
            strip[:] = np.frombuffer(_inflate(stored, strip.size), np.uint8)
    if page.dtype == bool:
        bits = content.reshape(height, row)
        return np.unpackbits(bits, axis=1, count=width).astype(bool)
    return content.view(page.dtype).reshape(height, width)


def _inflate(stored: bytes, expected: int) -> bytes:
    """Decompress a strip to the bytes that it must have, and to no more than one byte beyond."""
    try:
        content = zlib.decompressobj().decompress(stored, expected + 1)
    except zlib.error as error:
        raise ValueError(str(error)) from error
    if len(content) != expected:
        raise ValueError(f"expected a strip of {expected} bytes, got more or fewer")
    return content


def _read_directory(
    stream: BinaryIO, order: str, at: int, *, is_big: bool
) -> tuple[dict[int, _Field], int]:
    """The fields of a page, and the position of the next page; 0 if there is none."""
    head, entry, inline = ("Q", "HHQ", 8) if is_big else ("H", "HHI", 4)
    head_size, entry_size = struct.calcsize(head), struct.calcsize(f"<{entry}") + inline
    (count,) = struct.unpack(f"{order}{head}", _read(stream, at, head_size))
    if not 0 < count <= 0xFFFF:
        raise ValueError(f"a header of {count} fields")
    start = at + head_size
    content = _read(stream, start, count * entry_size + inline)
    tags: dict[int, _Field] = {}
    seen: set[int] = set()
    for index in range(count):
        tag, type_, values = struct.unpack_from(f"{order}{entry}", content, index * entry_size)
        if tag in seen:  # readers differ in which of the two they take
            raise ValueError(f"its header has field {tag} twice")
        seen.add(tag)
        if type_ not in _INTEGER_TYPES or not values:
            continue
        code = _INTEGER_TYPES[type_]
        position = start + (index + 1) * entry_size - inline
        if values * struct.calcsize(f"<{code}") > inline:
            (position,) = struct.unpack(
                f"{order}{'Q' if is_big else 'I'}", _read(stream, position, inline)
            )
        tags[tag] = _Field(code, values, position)
    (following,) = struct.unpack_from(
        f"{order}{'Q' if is_big else 'I'}", content, count * entry_size
    )
    return tags, following


def _values(stream: BinaryIO, order: str, field: _Field, *, limit: int) -> tuple[int, ...]:
    if field.number > limit:
        raise ValueError(f"a header field of {field.number} values, expected at most {limit}")
    length = field.number * struct.calcsize(f"<{field.code}")
    return struct.unpack(f"{order}{field.number}{field.code}", _read(stream, field.at, length))


def _read(stream: BinaryIO, at: int, length: int) -> bytes:
    _seek(stream, at, length)
    content = stream.read(length)
    if len(content) != length:
        raise ValueError("truncated")
    return content


def _seek(stream: BinaryIO, at: int, length: int) -> None:
    """Go to a position; a length that the file cannot have is refused before memory is taken."""
    try:
        if length > _SHORT and at + length > stream.seek(0, io.SEEK_END):
            raise ValueError("truncated")
        stream.seek(at)
    except (OverflowError, OSError) as error:
        raise ValueError("truncated") from error
