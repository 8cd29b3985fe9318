"""Looking into one image or mask file without trusting it: header first, then the pixels."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from PIL import ExifTags, Image

from loco_tools import files
from loco_tools.datasets.images import image_size, read_image, read_mask
from loco_tools.errors import DatasetError

GRAY = "8-bit grayscale"
RGB = "8-bit RGB"

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PNG_COLOURS = {0: "grayscale", 2: "RGB", 3: "palette", 4: "grayscale + alpha", 6: "RGB + alpha"}
_MODES = {
    "L": GRAY,
    "RGB": RGB,
    "P": "8-bit palette",
    "1": "1-bit grayscale",
    "LA": "8-bit grayscale + alpha",
    "RGBA": "8-bit RGB + alpha",
    "I;16": "16-bit grayscale",
}
_SUFFIXES = {
    ".png": "PNG",
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".bmp": "BMP",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".webp": "WEBP",
}


@dataclass(frozen=True)
class Inspection:
    """What was seen in one file.

    `fault` is a code and what was found, or None; without a header the other fields say nothing.
    `size` is (H, W); `mode` is what the header states ("8-bit palette"); `format` is what the
    content is, `expected_format` what the suffix promises. `digest` is of the decoded pixels and
    their shape, `sha256` of the file. `values` are the positive values of a mask, `area_px` the
    number of its positive pixels.
    """

    fault: tuple[str, str] | None = None
    size: tuple[int, int] | None = None
    mode: str = ""
    format: str = ""
    expected_format: str = ""
    orientation: int = 1
    digest: str = ""
    sha256: str = ""
    values: tuple[int, ...] = ()
    area_px: int = 0


def inspect_image(path: Path) -> Inspection:
    """Look into an image. Never raises on what is in the file."""
    return _guarded(path, mask=False, in_colour=False)


def inspect_mask(path: Path, *, in_colour: bool = False) -> Inspection:
    """Look into a mask; its pixels only where the header says 8-bit grayscale (or `in_colour`)."""
    return _guarded(path, mask=True, in_colour=in_colour)


def _guarded(path: Path, *, mask: bool, in_colour: bool) -> Inspection:
    try:
        image_size(path)
    except DatasetError as error:
        bomb = "too many pixels" in str(error) or "at most" in str(error)
        return Inspection(fault=("image_bomb" if bomb else "damaged", _without(path, error)))
    try:
        return _inspect(path, mask=mask, in_colour=in_colour)
    # A hostile file can make a decoder raise anything at all; whatever it is becomes a finding.
    except Exception as error:
        return Inspection(fault=("damaged", _without(path, error)))


def _inspect(path: Path, *, mask: bool, in_colour: bool) -> Inspection:
    with Image.open(path) as image:
        size, mode, kind = (image.height, image.width), _mode_of(path, image.mode), image.format
        orientation = int(image.getexif().get(ExifTags.Base.Orientation, 1))
        if kind != "PNG":
            image.load()  # OpenCV decodes truncated JPEG files without a word
    values: tuple[int, ...] = ()
    area_px, digest = 0, ""
    if not mask:
        digest = _digest(read_image(path))
    elif in_colour or mode == GRAY:
        values, area_px = _values(read_mask(path, in_colour=in_colour))
    else:
        read_image(path)  # whatever its mode, say if it is damaged
    return Inspection(
        size=size,
        mode=mode,
        format=kind or "",
        expected_format=_SUFFIXES[path.suffix.lower()],
        orientation=orientation,
        digest=digest,
        sha256="" if mask else files.sha256_of(path),
        values=values,
        area_px=area_px,
    )


def _mode_of(path: Path, pillow_mode: str) -> str:
    """Depth and colours; from the bytes of a PNG header, because Pillow hides 2, 4 and 16 bits."""
    with path.open("rb") as stream:
        head = stream.read(26)
    if head.startswith(_PNG_SIGNATURE):
        return f"{head[24]}-bit {_PNG_COLOURS.get(head[25], 'unknown colours')}"
    return _MODES.get(pillow_mode, pillow_mode)


def _values(mask: "np.ndarray[tuple[int, ...], np.dtype[np.uint8]]") -> tuple[tuple[int, ...], int]:
    counts = cv2.calcHist([mask], [0], None, [256], [0, 256]).ravel()
    values = tuple(int(value) for value in np.flatnonzero(counts) if value > 0)
    return values, int(np.count_nonzero(mask))


def _digest(pixels: "np.ndarray[tuple[int, ...], np.dtype[np.uint8]]") -> str:
    digest = hashlib.sha256(repr(pixels.shape).encode())
    digest.update(np.ascontiguousarray(pixels).data)
    return digest.hexdigest()


def _without(path: Path, error: Exception) -> str:
    """A message without the path and the next step, which a finding states itself."""
    text = str(error).removeprefix(f"{path}: ").split("; next step")[0].replace(str(path), "it")
    return text.removeprefix("refused, ") or type(error).__name__
