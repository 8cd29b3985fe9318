"""Inspecting one image or mask file without trusting it: first the header, then the pixels."""

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from PIL import ExifTags, Image

from loco_tools import files
from loco_tools.datasets.images import image_size, read_image, read_mask
from loco_tools.datasets.masks import PackedMask, positive_values
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
    "I;16B": "16-bit grayscale",
    "I": "32-bit integer",
    "F": "32-bit float",
}
UNREADABLE_MODES = ("32-bit float", "32-bit integer")
"""Modes of images that have no defined brightness in 8 bits."""

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
        packed: the pixels of a mask; None if its mode is not one that masks may have.
        peak: the largest value of a 16-bit image.
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
    packed: PackedMask | None = None
    peak: int | None = None

    @property
    def area_px(self) -> int:
        """Number of positive pixels of a mask."""
        return self.packed.area_px if self.packed else 0


def inspect_file(
    path: Path, *, is_mask: bool, in_colour: bool = False, decode: bool = True
) -> Inspection:
    """Inspect an image or a mask. Never raises, whatever is in the file.

    Args:
        path: the file.
        is_mask: whether it is a mask.
        in_colour: whether masks in colour are read by the largest of their channels, as in AutoVI;
            otherwise their channels must be equal.
        decode: whether an image is decoded; otherwise only its header is read.
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
            whole = decode or is_mask or file_format != "PNG"  # a PNG is decoded for its EXIF
            exif = image.getexif() if whole or "exif" in image.info else {}
            orientation = int(exif.get(ExifTags.Base.Orientation, 1))
            if mode in UNREADABLE_MODES:
                return Inspection(fault=("image_depth", mode))
            if file_format != "PNG" and (decode or is_mask):
                image.load()  # OpenCV decodes truncated JPEG files without an error
        inspection = Inspection(
            size=size,
            mode=mode,
            format=file_format,
            expected_format=_SUFFIXES[path.suffix.lower()],
            orientation=orientation,
        )
        if is_mask:
            return _with_mask(path, inspection, in_colour=in_colour)
        if not decode:
            return inspection
        pixels = read_image(path)
        hashed = hashlib.sha256(repr(pixels.shape).encode())
        hashed.update(np.ascontiguousarray(pixels).data)
        return replace(
            inspection,
            digest=hashed.hexdigest(),
            sha256=files.sha256_of(path),
            peak=read_peak(path) if mode.startswith("16-bit") else None,
        )
    # A hostile file can make a decoder raise any exception; each becomes a finding.
    except Exception as error:
        return Inspection(fault=("damaged", _shorten(path, error)))


def _with_mask(path: Path, inspection: Inspection, *, in_colour: bool) -> Inspection:
    """The inspection with the values and pixels of a mask, if its mode is one that is read."""
    palette = inspection.mode.endswith("palette") or "16-bit" in inspection.mode
    if palette or (inspection.mode.endswith("alpha") and not in_colour):
        read_image(path)  # whatever its mode, a damaged file is reported
        return inspection
    if not in_colour and not inspection.mode.endswith("grayscale"):
        pixels = read_image(path)
        if (pixels != pixels[..., :1]).any():
            return inspection
    mask = read_mask(path, in_colour=in_colour)
    return replace(inspection, values=positive_values(mask), packed=PackedMask.pack(mask))


def read_peak(path: Path) -> int:
    """The largest value of an image with more than 8 bits.

    Raises:
        DatasetError: the file is damaged.
    """
    image_size(path)
    content = np.frombuffer(files.read_bytes(path), np.uint8)
    decoded = cv2.imdecode(content, cv2.IMREAD_UNCHANGED)
    if decoded is None:
        raise DatasetError(f"{path}: damaged, it cannot be decoded")
    return int(decoded.max())


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
    text = text.removeprefix("refused, ").removeprefix("expected an image, got ")
    return text or type(error).__name__
