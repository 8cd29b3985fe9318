"""Inspecting one image or mask file without trusting it: first the header, then the pixels."""

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from loco_tools import files
from loco_tools.datasets.image_file import (
    FORMATS,
    Size,
    TooLargeError,
    damaged,
    exif_orientation,
    read_content,
    read_header,
)
from loco_tools.datasets.images import MaskModeError, largest_value, read_image, read_mask
from loco_tools.datasets.jpeg import jpeg_fault
from loco_tools.datasets.masks import PackedMask, positive_values
from loco_tools.errors import DatasetError

GRAY = "8-bit grayscale"
RGB = "8-bit RGB"


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
    path: Path,
    *,
    is_mask: bool,
    in_colour: bool = False,
    decode: bool = True,
    find_damage: bool = True,
    like: Path | None = None,
) -> Inspection:
    """Inspect an image or a mask. Never raises, whatever is in the file.

    Args:
        path: the file.
        is_mask: whether it is a mask.
        in_colour: whether masks in colour are read by the largest of their channels, as in AutoVI;
            otherwise their channels must be equal.
        decode: whether an image is decoded; otherwise only its header is read.
        find_damage: whether a JPEG is also searched for damage in its middle, which takes about as
            long as decoding it.
        like: the image of a mask; a mask of another size is not decoded.
    """
    try:
        header = read_header(path)
        if not header.is_decodable:
            return Inspection(fault=("image_depth", header.mode))
        searched = header.format == "JPEG" and (find_damage or is_mask)
        if searched and (fault := jpeg_fault(read_content(path)[1])):
            raise damaged(path, fault)
        inspection = Inspection(
            size=header.size,
            mode=header.mode,
            format=header.format,
            expected_format=FORMATS.get(path.suffix.lower(), header.format),
            orientation=exif_orientation(path),
        )
        if is_mask:
            if like is not None and _size_of(like) not in (header.size, None):
                return inspection
            return _with_mask(path, inspection, in_colour=in_colour)
        if not decode:
            return inspection
        return replace(
            inspection,
            digest=hash_of_pixels(path),
            sha256=files.sha256_of(path),
            peak=largest_value(path) if header.bits == 16 else None,
        )
    # A hostile file can make a decoder raise any exception; each becomes a finding.
    except Exception as error:
        code = "image_bomb" if isinstance(error, TooLargeError) else "damaged"
        return Inspection(fault=(code, _shorten(path, error)))


def hash_of_pixels(path: Path) -> str:
    """The SHA-256 of the decoded pixels of an image and of their shape.

    Raises:
        DatasetError: it cannot be decoded.
    """
    pixels = read_image(path)
    hashed = hashlib.sha256(repr(pixels.shape).encode())
    hashed.update(np.ascontiguousarray(pixels).data)
    return hashed.hexdigest()


def _size_of(image: Path) -> Size | None:
    try:
        return read_header(image).size
    except DatasetError:
        return None  # the image has a finding of its own


def _with_mask(path: Path, inspection: Inspection, *, in_colour: bool) -> Inspection:
    """The inspection with the values and pixels of a mask, if its mode is one that is read."""
    try:
        mask = read_mask(path, in_colour=in_colour)
    except MaskModeError:
        return inspection
    return replace(inspection, values=positive_values(mask), packed=PackedMask.pack(mask))


def _shorten(path: Path, error: Exception) -> str:
    """A message without the path and the next step, which are fields of a finding."""
    text = str(error).removeprefix(f"{path}: ").split("; next step")[0].replace(str(path), "it")
    text = text.removeprefix("refused, ")
    return text or type(error).__name__
