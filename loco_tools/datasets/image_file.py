"""The one place that decides which image files a decoder may see, and how large they may be.

Files are not trusted. Only regular files of five formats are read, recognised by their first bytes;
the size that a header claims is checked before anything is decoded; and whatever a decoder raises
is reported as damage of the file.
"""

import io
import struct
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path
from typing import BinaryIO, NamedTuple

from PIL import (
    BmpImagePlugin,
    ExifTags,
    Image,
    ImageFile,
    JpegImagePlugin,
    WebPImagePlugin,
)

from loco_tools import files
from loco_tools.datasets import jpeg, tiff
from loco_tools.errors import DatasetError

MAX_PIXELS = 200_000_000
"""Images and maps that claim more pixels than this are refused before decoding."""

MAX_BYTES = 8 * MAX_PIXELS
"""Files that are longer than this are not read."""

FORMATS = {
    ".png": "PNG",
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".bmp": "BMP",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".webp": "WEBP",
}
"""The format of an image by the suffix of its name, in lower case."""

Size = tuple[int, int]
"""Height and width in pixels."""

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"

_SIGNATURES = {
    PNG_SIGNATURE: "PNG",
    b"\xff\xd8\xff": "JPEG",
    b"BM": "BMP",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
    b"II+\0": "TIFF",
    b"MM\0+": "TIFF",
}
_OTHERS = {
    b"DDS ": "a DDS file",
    b"GIF8": "a GIF file",
    b"%PDF": "a PDF file",
    b"8BPS": "a Photoshop file",
    b"v/1\x01": "an OpenEXR file",
    b"#?RADIANCE": "a Radiance HDR file",
    b"\0\0\0\x0cjP": "a JPEG 2000 file",
    b"\xff\x4f\xff\x51": "a JPEG 2000 file",
    b"\xff\x0a": "a JPEG XL file",
    b"\0\0\0\x0cJXL": "a JPEG XL file",
    b"\0\0\x01\0": "an icon file",
    b"PK\x03\x04": "a ZIP archive",
    b"\x1f\x8b": "a gzip archive",
    b"\x93NUMPY": "a NumPy array",
    b"<!DOCTYPE": "an HTML page",
    b"<!doctype": "an HTML page",
    b"<html": "an HTML page",
    b"<?xml": "an XML file",
    b"<svg": "an SVG drawing",
}
_BRANDS = {b"avif": "an AVIF file", b"avis": "an AVIF file", b"crx ": "a Canon raw file"}
_HEIF_BRANDS = {b"heic", b"heix", b"hevc", b"mif1", b"msf1", b"heim", b"heis"}

_LFS_POINTER = b"version https://git-lfs.github.com/spec/"

_PNG_COLOURS = {0: "grayscale", 2: "RGB", 3: "palette", 4: "grayscale + alpha", 6: "RGB + alpha"}
_PNG_SAMPLES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_BMP_MODES = {
    "1": "1-bit grayscale",
    "L": "8-bit grayscale",
    "P": "8-bit palette",
    "RGB": "8-bit RGB",
    "RGBA": "8-bit RGB + alpha",
}
_COLOURS = {1: "grayscale", 2: "grayscale + alpha", 3: "RGB", 4: "RGB + alpha"}


class Header(NamedTuple):
    """What the header of an image file states.

    Attributes:
        format: "PNG", "JPEG", "BMP", "TIFF" or "WEBP".
        size: (H, W).
        mode: depth and channels, for example "8-bit RGB", "16-bit grayscale" or "32-bit float".
        least_bytes: the fewest bytes that a file of this size can have; 0 if unknown.
        is_single: whether the file holds one image, rather than pages or an animation.
    """

    format: str
    size: Size
    mode: str
    least_bytes: int = 0
    is_single: bool = True

    @property
    def bits(self) -> int:
        """Bits per sample."""
        return int(self.mode.split("-")[0])

    @property
    def is_decodable(self) -> bool:
        """Whether the samples are unsigned integers of at most 16 bits, as pixels must be."""
        kinds = {"float", "signed", "complex", "undefined"}
        return self.bits <= 16 and not kinds & set(self.mode.split())


class TooLargeError(DatasetError):
    """An image file claims more pixels than `MAX_PIXELS`."""


class LfsPointerError(DatasetError):
    """A file of Git LFS stands in the place of the file that it points to."""


def read_header(path: Path) -> Header:
    """Read the header of an image file, without decoding anything.

    Raises:
        DatasetError: the file is missing, no regular file, of another format, damaged in its
            header, or claims too many pixels.
    """
    with opened(path, "image") as stream:
        return _header_of(path, stream)


def read_content(path: Path) -> tuple[Header, bytes]:
    """Read an image file whole, with its header; what `read_header` refuses is not read.

    Raises:
        DatasetError: as for `read_header`; or the file is damaged in a way that decoders miss.
    """
    with opened(path, "image") as stream:
        header = _header_of(path, stream)
        length = stream.seek(0, io.SEEK_END)
        stream.seek(0)
        content = stream.read(length)
    fault = None
    if len(content) < header.least_bytes:
        height, width = header.size
        fault = f"{len(content)} bytes cannot hold the {width} x {height} pixels that it claims"
    elif header.format == "PNG":
        fault = _png_fault(content)
    elif header.format == "JPEG":
        fault = jpeg.quick_fault(content, jpeg.read_frame(io.BytesIO(content)))
    if fault:
        raise damaged(path, fault)
    return header, content


def exif_orientation(path: Path) -> int:
    """The EXIF orientation of an image that `read_image` does not apply, 1 (upright) to 8.

    A missing or meaningless orientation counts as 1. So does that of a TIFF, because image readers
    apply it themselves.
    """
    try:
        header = read_header(path)
        with opened(path, "image") as stream:
            if header.format == "PNG":  # Pillow would decode its pixels, to look behind them
                exif = Image.Exif()
                exif.load(_find_png_chunk(stream.read(), b"eXIf"))
            elif header.format == "TIFF":
                return 1
            else:
                exif = _PILLOW[header.format](stream).getexif()
            value = exif.get(ExifTags.Base.Orientation, 1)
    # A hostile block can make Pillow raise any exception; such an image states no orientation.
    except Exception:
        return 1
    return value if isinstance(value, int) and value in range(1, 9) else 1


@contextmanager
def opened(path: Path, what: str) -> Iterator[BufferedReader]:
    """A regular file, opened for reading.

    Args:
        path: the file.
        what: what it should be, for messages: "image" or "anomaly map".

    Raises:
        DatasetError: it is missing, cannot be opened, is no regular file, is empty or too long, or
            is a pointer of Git LFS.
    """
    try:
        stream = files.open_regular(path)
    except FileNotFoundError as error:
        raise DatasetError(f"{path}: no such {what}") from error
    except (OSError, ValueError) as error:  # ValueError: a null character in the name
        reason = getattr(error, "strerror", None) or error
        raise DatasetError(f"{path}: cannot be read as {what} ({reason})") from error
    with stream:
        if (length := stream.seek(0, io.SEEK_END)) > MAX_BYTES:
            raise TooLargeError(
                f"{path}: refused, {length} bytes long; expected at most {MAX_BYTES}"
            )
        if not length:
            raise damaged(path, "the file is empty")
        stream.seek(0)
        if stream.read(len(_LFS_POINTER)) == _LFS_POINTER:
            raise LfsPointerError(
                f"{path}: a Git LFS pointer, not the {what}; next step: git lfs pull"
            )
        stream.seek(0)
        yield stream


def check_size(path: Path, size: Size, what: str = "image") -> None:
    """Refuse a size that a header claims if it has more than `MAX_PIXELS` pixels.

    Raises:
        DatasetError: it has.
    """
    height, width = size
    if height * width > MAX_PIXELS:
        raise TooLargeError(
            f"{path}: refused, the {what} claims {width} x {height} pixels; expected at most "
            f"{MAX_PIXELS}"
        )


def check_same_size(path: Path, size: Size, like: Path, what: str) -> None:
    """Refuse a mask or an anomaly map whose size is not that of its image.

    Raises:
        DatasetError: they differ, or the header of the image cannot be read.
    """
    if size != (expected := read_header(like).size):
        raise DatasetError(
            f"{path}: expected {what} of {expected} (height, width) like {like}, got {size}"
        )


def damaged(path: Path, fault: object) -> DatasetError:
    """The error that reports a damaged file."""
    return DatasetError(f"{path}: damaged ({fault}); next step: copy it again from its source")


def describe(error: BaseException) -> str:
    """What a decoder says about a file, or the type of its error if it says nothing."""
    return " ".join(str(error).split())[:200] or type(error).__name__


def _header_of(path: Path, stream: BinaryIO) -> Header:
    format_ = _recognise(path, stream)
    stream.seek(0)
    try:
        header = _READERS[format_](stream)
    # A hostile file can make a decoder raise any exception; each means that it is damaged.
    except Exception as error:
        raise damaged(path, describe(error)) from error
    check_size(path, header.size)
    if not header.is_single:
        raise DatasetError(
            f"{path}: expected one image, got a {header.format} file of several (pages, or an "
            "animation); next step: store each as a file of its own"
        )
    return header


def _recognise(path: Path, stream: BinaryIO) -> str:
    """The format by the first bytes of a file.

    Raises:
        DatasetError: it is none of the five; the message names what it is.
    """
    head = stream.read(32)
    for signature, format_ in _SIGNATURES.items():
        if head.startswith(signature):
            return format_
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WEBP"
    found = next((name for start, name in _OTHERS.items() if head.startswith(start)), None)
    if head[4:8] == b"ftyp":
        brand = head[8:12]
        found = "a HEIC file" if brand in _HEIF_BRANDS else _BRANDS.get(brand, "a video")
    if found is None:
        named = FORMATS.get(path.suffix.lower())
        raise damaged(
            path, f"its first bytes are not those of a {named}" if named else "not an image"
        )
    raise DatasetError(
        f"{path}: expected an image as PNG, JPEG, BMP, TIFF or WebP, got {found}; next step: "
        "store it as PNG"
    )


def _read_png(stream: BinaryIO) -> Header:
    head = stream.read(4096)
    if len(head) < 33 or head[8:16] != b"\0\0\0\rIHDR":
        raise ValueError("truncated in its header, or another chunk is first")
    width, height, bits, colour = struct.unpack(">IIBB", head[16:26])
    if not width or not height or colour not in _PNG_COLOURS:
        raise ValueError(f"claims {width} x {height} pixels of colour type {colour}")
    row = 1 + (width * bits * _PNG_SAMPLES[colour] + 7) // 8
    is_interlaced = head[28]
    least = 0 if is_interlaced else row * height // tiff.DEFLATE_RATIO
    before_pixels = head[33:].partition(b"IDAT")[0]
    frames = before_pixels.partition(b"acTL")[2][:4]  # only animations have this chunk
    return Header(
        "PNG",
        (height, width),
        f"{bits}-bit {_PNG_COLOURS[colour]}",
        least,
        is_single=int.from_bytes(frames, "big") < 2,
    )


def _read_jpeg(stream: BinaryIO) -> Header:
    frame = jpeg.read_frame(stream)
    colours = "CMYK" if frame.samples == 4 else _COLOURS.get(frame.samples, "unknown colours")
    return Header("JPEG", frame.size, f"{frame.bits}-bit {colours}")


def _read_tiff(stream: BinaryIO) -> Header:
    page = tiff.read_page(stream)
    colours = (
        "palette"
        if page.photometric == tiff.PALETTE
        else _COLOURS.get(page.samples, f"{page.samples} channels")
    )
    mode = f"{page.bits}-bit {colours}"
    if page.kind != "u":
        mode = page.type_name if page.samples == 1 else f"{page.type_name} {colours}"
    turned = page.orientation in (5, 6, 7, 8)  # decoders turn a TIFF upright
    size = page.size[::-1] if turned else page.size
    return Header("TIFF", size, mode, page.least_bytes, is_single=page.pages == 1)


def _read_webp(stream: BinaryIO) -> Header:
    head = stream.read(30)
    if len(head) < 30:
        raise ValueError("truncated in its header")
    if (chunk := head[12:16]) == b"VP8X":
        width, height = (1 + int.from_bytes(head[at : at + 3], "little") for at in (24, 27))
        has_alpha = bool(head[20] & 0x10)
    elif chunk == b"VP8L":
        bits = int.from_bytes(head[21:25], "little")
        width, height = 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
        has_alpha = bool(bits >> 28 & 1)
    elif chunk == b"VP8 ":
        width, height = (int.from_bytes(head[at : at + 2], "little") & 0x3FFF for at in (26, 28))
        has_alpha = False
    else:
        raise ValueError("its header states no size")
    is_animated = chunk == b"VP8X" and bool(head[20] & 0x02)
    mode = f"8-bit {_COLOURS[4 if has_alpha else 3]}"
    return Header("WEBP", (height, width), mode, is_single=not is_animated)


def _read_bmp(stream: BinaryIO) -> Header:
    image = BmpImagePlugin.BmpImageFile(stream)
    return Header("BMP", (image.height, image.width), _BMP_MODES.get(image.mode, image.mode))


_READERS: Mapping[str, Callable[[BinaryIO], Header]] = {
    "PNG": _read_png,
    "JPEG": _read_jpeg,
    "TIFF": _read_tiff,
    "BMP": _read_bmp,
    "WEBP": _read_webp,
}
_PILLOW: Mapping[str, type[ImageFile.ImageFile]] = {  # `Image.open` would take other formats too
    "JPEG": JpegImagePlugin.JpegImageFile,
    "BMP": BmpImagePlugin.BmpImageFile,
    "WEBP": WebPImagePlugin.WebPImageFile,
}


def _png_fault(content: bytes) -> str | None:
    """The fault of a truncated or corrupted PNG file, which OpenCV decodes without an error."""
    view = memoryview(content)
    for name, start, end in _png_chunks(view):
        if end + 4 > len(view):
            return f"truncated in its chunk {name.decode('ascii', 'replace')}"
        if zlib.crc32(view[start - 4 : end]) != int.from_bytes(view[end : end + 4], "big"):
            return f"wrong checksum of its chunk {name.decode('ascii', 'replace')}"
        if name == b"IEND":
            return None
    return "truncated, its end is missing"


def _find_png_chunk(content: bytes, wanted: bytes) -> bytes:
    """The data of a chunk of a PNG file; empty if it has none."""
    chunks = _png_chunks(memoryview(content))
    return next((content[start:end] for name, start, end in chunks if name == wanted), b"")


def _png_chunks(view: memoryview) -> Iterator[tuple[bytes, int, int]]:
    """The name of each chunk of a PNG file, and where its data start and end.

    A PNG file is a signature and chunks of length (4 bytes), name (4), data and CRC-32 (4, over
    name and data). The last chunk is IEND; bytes after it do not belong to the image.
    """
    at = len(PNG_SIGNATURE)
    while at + 12 <= len(view):
        end = at + 8 + int.from_bytes(view[at : at + 4], "big")
        yield bytes(view[at + 4 : at + 8]), at + 8, end
        at = end + 4
