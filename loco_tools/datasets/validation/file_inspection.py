"""Inspecting one image or mask file without trusting it: first the header, then the pixels."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image

from loco_tools import files
from loco_tools.datasets.images import image_size, read_image, read_mask
from loco_tools.datasets.masks import positive_values
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
    """The result of inspecting one file.

    Attributes:
        fault: the code and the description of a fault, or None. If the header cannot be read, the
            other fields have no meaning.
        size: (H, W).
        mode: depth and channels by the header, for example "8-bit palette".
        format: the format of the content.
        expected_format: the format by the file's suffix.
        orientation: EXIF orientation; 1 is upright.
        digest: SHA-256 of an image's decoded pixels and their shape.
        sha256: SHA-256 of an image's file.
        values: the positive values of a mask.
        area_px: number of positive pixels of a mask.
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


def inspect_file(path: Path, *, is_mask: bool, in_colour: bool = False) -> Inspection:
    """Inspect an image or a mask. Never raises, whatever is in the file.

    Args:
        path: the file.
        is_mask: whether it is a mask; its values are only read if the header states 8-bit
            grayscale.
        in_colour: whether values are read from masks in colour too, as in AutoVI.
    """
    try:
        image_size(path)
    except DatasetError as error:
        bomb = "too many pixels" in str(error) or "at most" in str(error)
        return Inspection(fault=("image_bomb" if bomb else "damaged", _shorten(path, error)))
    try:
        with Image.open(path) as image:
            size, file_format = (image.height, image.width), image.format or ""
            mode = _read_mode(path, image.mode)
            orientation = int(image.getexif().get(ExifTags.Base.Orientation, 1))
            if file_format != "PNG":
                image.load()  # OpenCV decodes truncated JPEG files without an error
        values: tuple[int, ...] = ()
        area_px, digest, sha256 = 0, "", ""
        if not is_mask:
            pixels = read_image(path)
            hashed = hashlib.sha256(repr(pixels.shape).encode())
            hashed.update(np.ascontiguousarray(pixels).data)
            digest, sha256 = hashed.hexdigest(), files.sha256_of(path)
        elif in_colour or mode == GRAY:
            mask = read_mask(path, in_colour=in_colour)
            values, area_px = positive_values(mask), int(np.count_nonzero(mask))
        else:
            read_image(path)  # whatever its mode, a damaged file is reported
    # A hostile file can make a decoder raise any exception; each becomes a finding.
    except Exception as error:
        return Inspection(fault=("damaged", _shorten(path, error)))
    return Inspection(
        size=size,
        mode=mode,
        format=file_format,
        expected_format=_SUFFIXES[path.suffix.lower()],
        orientation=orientation,
        digest=digest,
        sha256=sha256,
        values=values,
        area_px=area_px,
    )


def _read_mode(path: Path, pillow_mode: str) -> str:
    """Depth and channels; from the bytes of a PNG header, because Pillow hides 2, 4 and 16 bits."""
    with path.open("rb") as stream:
        head = stream.read(26)
    if head.startswith(_PNG_SIGNATURE):
        return f"{head[24]}-bit {_PNG_COLOURS.get(head[25], 'unknown colours')}"
    return _MODES.get(pillow_mode, pillow_mode)


def _shorten(path: Path, error: Exception) -> str:
    """A message without the path and the next step, which are fields of a finding."""
    text = str(error).removeprefix(f"{path}: ").split("; next step")[0].replace(str(path), "it")
    return text.removeprefix("refused, ") or type(error).__name__
