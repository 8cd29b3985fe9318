"""Reading and writing images and masks.

Files are not trusted: the size that a header claims is checked before anything is decoded.
"""

import base64
import io
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image, UnidentifiedImageError

from loco_tools import files
from loco_tools.errors import DatasetError, MethodError

MAX_PIXELS = 200_000_000
"""Images that claim more pixels than this are refused before decoding."""

Pixels = npt.NDArray[np.uint8]

Size = tuple[int, int]
"""Height and width in pixels."""

SIDEWAYS = (5, 6, 7, 8)
"""EXIF orientations whose upright image has height and width exchanged."""

# EXIF 2.32, section 4.6.4, tag 274: from the stored (H, W, 3) image to the upright one
_TO_UPRIGHT: Mapping[int, Callable[[Pixels], Pixels]] = {
    1: lambda stored: stored,
    2: lambda stored: stored[:, ::-1],
    3: lambda stored: stored[::-1, ::-1],
    4: lambda stored: stored[::-1],
    5: lambda stored: stored.swapaxes(0, 1),
    6: lambda stored: np.rot90(stored, -1),
    7: lambda stored: stored[::-1, ::-1].swapaxes(0, 1),
    8: np.rot90,
}

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"


def image_size(path: Path) -> tuple[int, int]:
    """Height and width of an image from its header, without decoding it.

    Raises:
        DatasetError: the file is missing, is not an image, or claims too many pixels.
    """
    try:
        with Image.open(path) as image:
            width, height = image.size
    except FileNotFoundError as error:
        raise DatasetError(f"{path}: no such image") from error
    except Image.DecompressionBombError as error:
        raise DatasetError(f"{path}: refused, claims too many pixels ({error})") from error
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError) as error:
        raise DatasetError(
            f"{path}: expected an image, got {str(error).strip() or type(error).__name__}"
        ) from error
    if width * height > MAX_PIXELS:
        raise DatasetError(
            f"{path}: refused, claims {width} x {height} pixels; expected at most {MAX_PIXELS}"
        )
    return height, width


def read_image(path: Path) -> Pixels:
    """Decode an image as RGB.

    Returns:
        (H, W, 3) uint8; grayscale is repeated over the channels, alpha is dropped. The pixels are
        as stored: EXIF orientation is not applied.

    Raises:
        DatasetError: the file is missing, damaged, not an image, or claims too many pixels.
    """
    decoded = _decode(path, cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION)
    return decoded.astype(np.uint8, copy=False)


def read_upright(path: Path) -> Pixels:
    """Decode an image as RGB, turned and mirrored as its EXIF orientation asks.

    Returns:
        (H, W, 3) uint8, as viewers display the file.

    Raises:
        DatasetError: see `read_image`.
    """
    return np.ascontiguousarray(_TO_UPRIGHT[exif_orientation(path)](read_image(path)))


def upright_size(path: Path) -> Size:
    """Height and width of the image that `read_upright` gives, from the header.

    Raises:
        DatasetError: see `image_size`.
    """
    height, width = image_size(path)
    return (width, height) if exif_orientation(path) in SIDEWAYS else (height, width)


def exif_orientation(path: Path) -> int:
    """The EXIF orientation of an image that `read_image` does not apply, 1 (upright) to 8.

    A missing or meaningless orientation counts as 1. So does that of a TIFF, because image readers
    apply it themselves.
    """
    try:
        with Image.open(path) as image:
            # Pillow decodes a PNG's pixels to look for an EXIF block behind them
            known = "exif" in image.info if image.format == "PNG" else image.format != "TIFF"
            value = image.getexif().get(ExifTags.Base.Orientation, 1) if known else 1
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError):
        return 1
    return value if isinstance(value, int) and value in _TO_UPRIGHT else 1


def read_mask(path: Path, *, in_colour: bool = False) -> Pixels:
    """Decode a mask with the pixel values of the file.

    Args:
        path: the file.
        in_colour: whether masks may be stored as RGB or RGBA, as in AutoVI; the value of a pixel is
            then the largest of its three colours, and alpha is ignored. Otherwise RGB is only read
            if its three channels are equal.

    Returns:
        (H, W) uint8.

    Raises:
        DatasetError: the file is missing, damaged, or not an 8-bit single-channel image.
    """
    mask = _decode(path, cv2.IMREAD_UNCHANGED)
    if mask.ndim == 3 and (in_colour or (mask.shape[2] == 3 and (mask == mask[..., :1]).all())):
        mask = mask[..., :3].max(axis=2)
    if mask.ndim != 2 or mask.dtype != np.uint8:
        channels = 1 if mask.ndim == 2 else mask.shape[2]
        raise DatasetError(
            f"{path}: expected an 8-bit mask with 1 channel, got {mask.dtype} with {channels}"
        )
    return mask.astype(np.uint8, copy=False)


def write_png(path: Path, pixels: Pixels) -> None:
    """Write (H, W) or RGB (H, W, 3) uint8 as PNG, atomically."""
    files.write_bytes(path, encode_png(pixels))


def encode_png(pixels: Pixels) -> bytes:
    """(H, W) or RGB (H, W, 3) uint8 as the bytes of a PNG."""
    return _encode(pixels, "png")


def data_url(
    pixels: Pixels, kind: Literal["png", "jpeg", "webp"] = "png", *, quality: int = 90
) -> str:
    """An image as a data URL, which an HTML page shows without another file.

    Args:
        pixels: (H, W), RGB (H, W, 3) or RGBA (H, W, 4) uint8; JPEG has no alpha.
        kind: the format; PNG is lossless.
        quality: quality of JPEG and WebP from 1 to 100; WebP with 101 is lossless.
    """
    content = base64.b64encode(_encode(pixels, kind, quality)).decode("ascii")
    return f"data:image/{kind};base64,{content}"


def webp_data_url(pixels: Pixels, *, quality: int, alpha_quality: int) -> str:
    """RGBA (H, W, 4) uint8 as a WebP data URL; a low `alpha_quality` saves most of its size."""
    stream = io.BytesIO()
    Image.fromarray(pixels).save(
        stream, "WEBP", quality=quality, alpha_quality=alpha_quality, method=2
    )
    return f"data:image/webp;base64,{base64.b64encode(stream.getvalue()).decode('ascii')}"


def _encode(pixels: Pixels, kind: str, quality: int | None = None) -> bytes:
    order = {3: cv2.COLOR_RGB2BGR, 4: cv2.COLOR_RGBA2BGRA}
    ordered = cv2.cvtColor(pixels, order[pixels.shape[2]]) if pixels.ndim == 3 else pixels
    options = {"jpeg": cv2.IMWRITE_JPEG_QUALITY, "webp": cv2.IMWRITE_WEBP_QUALITY}
    chosen = [options[kind], quality] if kind in options and quality is not None else []
    done, encoded = cv2.imencode(f".{kind}", ordered, chosen)
    if not done:
        raise DatasetError(f"cannot encode an array of shape {pixels.shape} as {kind.upper()}")
    return encoded.tobytes()


def _decode(path: Path, flags: int) -> npt.NDArray[np.generic]:
    image_size(path)
    content = path.read_bytes()
    if content.startswith(_PNG_SIGNATURE) and (fault := _png_fault(content)):
        raise DatasetError(f"{path}: damaged ({fault}); next step: copy it again from its source")
    decoded = cv2.imdecode(np.frombuffer(content, dtype=np.uint8), flags)
    if decoded is None:
        raise DatasetError(
            f"{path}: damaged, it cannot be decoded; next step: copy it again from its source"
        )
    return decoded


def _png_fault(content: bytes) -> str | None:
    """The fault of a truncated or corrupted PNG file, which OpenCV decodes without an error.

    A PNG file is a signature and chunks of length (4 bytes), name (4), data and CRC-32 (4, over
    name and data). The last chunk is IEND; bytes after it do not belong to the image.
    """
    view = memoryview(content)
    start = len(_PNG_SIGNATURE)
    while start + 12 <= len(view):
        end = start + 8 + int.from_bytes(view[start : start + 4], "big")  # of the data
        name = bytes(view[start + 4 : start + 8])
        if end + 4 > len(view):
            return f"truncated in its chunk {name.decode('ascii', 'replace')}"
        if zlib.crc32(view[start + 4 : end]) != int.from_bytes(view[end : end + 4], "big"):
            return f"wrong checksum of its chunk {name.decode('ascii', 'replace')}"
        if name == b"IEND":
            return None
        start = end + 4
    return "truncated, its end is missing"


def resize_image(image: Pixels, size: Size) -> Pixels:
    """Resize (H, W, 3) uint8 to (h, w), by area averaging where it shrinks, else bilinearly.

    Raises:
        MethodError: the array is not an RGB image.
    """
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or 0 in image.shape:
        raise MethodError(
            f"expected an RGB image (H, W, 3) uint8, got shape {image.shape} {image.dtype}; "
            "next step: read images with loco_tools.datasets.images.read_image"
        )
    height, width = size
    shrunk = (min(height, image.shape[0]), min(width, image.shape[1]))
    if image.shape[:2] != shrunk:
        image = cv2.resize(image, shrunk[::-1], interpolation=cv2.INTER_AREA).astype(np.uint8)
    if shrunk != size:
        image = cv2.resize(image, size[::-1], interpolation=cv2.INTER_LINEAR).astype(np.uint8)
    return image
