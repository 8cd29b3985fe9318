"""Reading and writing images and masks; `image_file` decides what may be decoded at all."""

import base64
import io
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

from loco_tools import files
from loco_tools.datasets.image_file import (
    MAX_PIXELS,
    Header,
    Size,
    check_same_size,
    damaged,
    exif_orientation,
    read_content,
    read_header,
)
from loco_tools.errors import DatasetError, MethodError

__all__ = ["MAX_PIXELS", "Size", "exif_orientation"]

Pixels = npt.NDArray[np.uint8]

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

if "OPENCV_LOG_LEVEL" not in os.environ:
    cv2.setLogLevel(0)  # OpenCV prints why it cannot decode a file; our errors name the file


class MaskModeError(DatasetError):
    """A mask is a sound image, but not one of 8 bits and one channel."""


def image_size(path: Path) -> Size:
    """Height and width of an image from its header, without decoding it.

    Raises:
        DatasetError: the file is missing, is not an image, or claims too many pixels.
    """
    return read_header(path).size


def read_image(path: Path) -> Pixels:
    """Decode an image as RGB.

    Returns:
        (H, W, 3) uint8; grayscale is repeated over the channels, alpha is dropped, and of 16 bits
        the upper eight are kept. The pixels are as stored: EXIF orientation is not applied.

    Raises:
        DatasetError: the file is missing, damaged, not an image, claims too many pixels, or has
            values that are not unsigned integers of at most 16 bits.
    """
    header, content = read_content(path)
    if not header.is_decodable:
        raise DatasetError(
            f"{path}: expected an image of 8 or 16 bits, got {header.mode}; next step: scale its "
            "values to 0 to 255 and store it as 8-bit PNG"
        )
    flags = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION
    return _decode(path, header, content, flags).astype(np.uint8, copy=False)


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


def largest_value(path: Path) -> int:
    """The largest value of any channel of an image, as it is stored.

    Raises:
        DatasetError: as for `read_image`.
    """
    header, content = read_content(path)
    return int(_decode(path, header, content, cv2.IMREAD_UNCHANGED).max())


def read_mask(path: Path, *, in_colour: bool = False, like: Path | None = None) -> Pixels:
    """Decode a mask with the pixel values of the file.

    A mask stored as RGB is read if its three channels are equal (and alpha, if any, is opaque).

    Args:
        path: the file.
        in_colour: whether channels may differ, as in AutoVI; the value of a pixel is then the
            largest of its three colours, and alpha is ignored.
        like: the image that the mask belongs to; their sizes are compared before decoding.

    Returns:
        (H, W) uint8.

    Raises:
        MaskModeError: it is not an 8-bit single-channel image.
        DatasetError: the file is missing, damaged, or differs from `like` in size.
    """
    header, content = read_content(path)
    if like is not None:
        check_same_size(path, header.size, like, "a mask")
    mask = _decode(path, header, content, cv2.IMREAD_UNCHANGED | cv2.IMREAD_IGNORE_ORIENTATION)
    if mask.ndim == 3 and (in_colour or _has_equal_channels(header, mask)):
        mask = mask[..., :3].max(axis=2) if in_colour else mask[..., 0]
    if mask.ndim != 2 or mask.dtype != np.uint8:
        raise MaskModeError(
            f"{path}: expected an 8-bit mask with 1 channel, got {header.mode}; next step: write "
            "the pixel values in one 8-bit channel, without a palette"
        )
    return np.ascontiguousarray(mask, dtype=np.uint8)


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


def _decode(path: Path, header: Header, content: bytes, flags: int) -> npt.NDArray[Any]:
    try:
        decoded = cv2.imdecode(np.frombuffer(content, dtype=np.uint8), flags)
    # A hostile file can make a decoder raise any exception; each means that it is damaged.
    except Exception as error:
        raise damaged(path, "it cannot be decoded") from error
    if decoded is None:
        raise damaged(path, "it cannot be decoded")
    if decoded.shape[:2] != header.size:
        raise damaged(path, "its pixels do not have the size that its header states")
    return decoded


def _has_equal_channels(header: Header, mask: npt.NDArray[np.generic]) -> bool:
    """Whether the colours of an 8-bit RGB image are equal, and its alpha, if any, opaque."""
    is_rgb = header.mode.startswith("8-bit RGB")
    is_opaque = mask.shape[2] < 4 or bool((mask[..., 3] == 255).all())
    return is_rgb and is_opaque and all((mask[..., 0] == mask[..., i]).all() for i in (1, 2))


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
