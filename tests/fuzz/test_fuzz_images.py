"""Images and masks that are damaged or lie about themselves."""

import io
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from fuzzing import damaged, fuzz, within_bounds
from hypothesis import strategies as st
from PIL import Image

from loco_tools.datasets.image_file import read_header
from loco_tools.datasets.images import read_image, read_mask, read_upright
from loco_tools.datasets.validation.file_inspection import inspect_file

PIXELS = np.random.default_rng(0).integers(0, 255, (24, 31, 3)).astype(np.uint8)
ROTATED = Image.Exif()
ROTATED[0x0112] = 6


def saved(pixels: np.ndarray, format_: str, **options: object) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, format_, **options)
    return stream.getvalue()


def encoded(suffix: str, pixels: np.ndarray) -> bytes:
    return cv2.imencode(suffix, pixels)[1].tobytes()


CORPUS = [
    *(saved(PIXELS, kind, exif=ROTATED) for kind in ("PNG", "JPEG", "WEBP")),
    saved(PIXELS, "JPEG", progressive=True),
    saved(PIXELS, "JPEG", restart_marker_blocks=3),
    saved(PIXELS, "WEBP", lossless=True),
    *(saved(PIXELS[..., 0], kind) for kind in ("PNG", "JPEG", "BMP", "TIFF")),
    *(encoded(suffix, PIXELS) for suffix in (".bmp", ".tiff")),
    *(encoded(suffix, PIXELS.astype(np.uint16) * 200) for suffix in (".png", ".tiff")),
    encoded(".tiff", PIXELS[..., 0].astype(np.float32)),
    *(saved(PIXELS, kind) for kind in ("DDS", "GIF", "TIFF", "AVIF")),
]
NAMES = st.sampled_from(["image.png", "image.jpg", "image.bmp", "image.tiff", "image.webp"])


def repaired(content: bytes) -> bytes:
    """A PNG with the checksums of its chunks made right, so that damage reaches the decoder."""
    if not content.startswith(b"\x89PNG\r\n\x1a\n"):
        return content
    fixed, at = bytearray(content), 8
    while at + 12 <= len(fixed):
        end = at + 8 + int.from_bytes(fixed[at : at + 4], "big")
        if end + 4 > len(fixed):
            break
        fixed[end : end + 4] = struct.pack(">I", zlib.crc32(fixed[at + 4 : end]))
        at = end + 4
    return bytes(fixed)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fuzz")


@fuzz(content=damaged(CORPUS), name=NAMES, is_repaired=st.booleans())
def test_a_damaged_image_is_read_or_refused(
    folder: Path, content: bytes, name: str, is_repaired: bool
) -> None:
    path = folder / name
    path.write_bytes(repaired(content) if is_repaired else content)
    with within_bounds():
        read_upright(path)
    with within_bounds():
        header = read_header(path)
        assert read_image(path).shape == (*header.size, 3)
    with within_bounds():
        inspection = inspect_file(path, is_mask=False)
        assert inspection.fault is None or inspection.fault[1]


MASK = np.zeros((24, 31), np.uint8)
MASK[3:9, 4:20] = 255
MASKS = [
    saved(MASK, "PNG"),
    saved(MASK, "BMP"),
    saved(MASK, "PNG", optimize=True),
    saved(np.dstack([MASK] * 3), "PNG"),
    saved(np.dstack([MASK] * 4), "PNG"),
    encoded(".png", MASK.astype(np.uint16)),
    encoded(".tiff", MASK),
]


@fuzz(content=damaged(MASKS), in_colour=st.booleans(), is_repaired=st.booleans())
def test_a_damaged_mask_is_read_or_refused(
    folder: Path, content: bytes, in_colour: bool, is_repaired: bool
) -> None:
    image, path = folder / "image_of_mask.png", folder / "mask.png"
    if not image.exists():
        image.write_bytes(saved(PIXELS, "PNG"))
    path.write_bytes(repaired(content) if is_repaired else content)
    with within_bounds():
        mask = read_mask(path, in_colour=in_colour, like=image)
        assert (mask.shape, mask.dtype) == ((24, 31), np.uint8)
    with within_bounds():
        inspect_file(path, is_mask=True, in_colour=in_colour, like=image)
