import base64
import io

import cv2
import numpy as np
import pytest
from PIL import Image

from loco_tools.datasets.images import data_url, read_image, read_mask, write_png
from loco_tools.errors import DatasetError


@pytest.fixture
def png(tmp_path):
    path = tmp_path / "image.png"
    write_png(path, np.random.default_rng(0).integers(0, 255, (40, 60, 3)).astype(np.uint8))
    return path


@pytest.mark.parametrize("cut", [4, 12, 20, 1000])
def test_a_truncated_png_is_refused(png, cut):
    png.write_bytes(png.read_bytes()[:-cut])
    with pytest.raises(DatasetError, match=r"image\.png: damaged \(truncated"):
        read_image(png)


def test_a_flipped_bit_is_found(png):
    content = bytearray(png.read_bytes())
    content[len(content) // 2] ^= 1
    png.write_bytes(content)
    with pytest.raises(DatasetError, match="wrong checksum of its chunk IDAT"):
        read_image(png)


def test_bytes_after_the_end_of_a_png_are_ignored(png):
    expected = read_image(png)
    png.write_bytes(png.read_bytes() + b"trailing")
    assert np.array_equal(read_image(png), expected)


def test_pillow_decodes_the_same_pixels(png):
    assert np.array_equal(read_image(png), np.asarray(Image.open(png)))


@pytest.mark.parametrize(
    ("kind", "channels", "furthest"),
    [("png", 3, 0), ("png", 4, 0), ("jpeg", 3, 12), ("webp", 4, 12)],
)
def test_a_data_url_contains_the_picture(kind, channels, furthest):
    pixels = np.full((40, 60, channels), 128, np.uint8)
    pixels[..., :3] = (200, 40, 90)
    head, content = data_url(pixels, kind).split(",")
    assert head == f"data:image/{kind};base64"
    shown = Image.open(io.BytesIO(base64.b64decode(content)))
    assert shown.format == kind.upper()
    assert np.abs(np.asarray(shown).astype(int) - pixels).max() <= furthest


def test_masks_in_colour_are_read_on_request_or_if_their_channels_are_equal(tmp_path):
    path = tmp_path / "mask.png"
    mask = np.zeros((8, 9, 3), np.uint8)
    mask[2:4] = 250
    cv2.imwrite(str(path), mask)
    assert np.array_equal(read_mask(path), mask[..., 0])
    mask[2:4, :, 1] = 0
    cv2.imwrite(str(path), mask)
    assert np.array_equal(read_mask(path, in_colour=True), mask[..., 0])
    with pytest.raises(DatasetError, match="expected an 8-bit mask with 1 channel, got uint8"):
        read_mask(path)
