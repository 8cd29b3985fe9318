import base64
import io
import os
import struct
import tracemalloc
import zlib

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image

from loco_tools.datasets.image_file import exif_orientation, read_header
from loco_tools.datasets.images import MaskModeError, data_url, read_image, read_mask, write_png
from loco_tools.datasets.validation.file_inspection import inspect_file
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


def test_a_mask_of_equal_channels_is_read_as_one(tmp_path):
    path, mask = tmp_path / "mask.png", np.zeros((8, 9, 3), np.uint8)
    mask[2:4] = 250
    for stored in (mask, np.dstack([mask, np.full((8, 9), 255, np.uint8)])):
        cv2.imwrite(str(path), stored)
        assert np.array_equal(read_mask(path), mask[..., 0])


def test_masks_in_colour_are_read_only_on_request(tmp_path):
    path, mask = tmp_path / "mask.png", np.zeros((8, 9, 3), np.uint8)
    mask[2:4] = (0, 0, 250)
    cv2.imwrite(str(path), mask)
    assert np.array_equal(read_mask(path, in_colour=True), mask[..., 2])
    with pytest.raises(MaskModeError, match="expected an 8-bit mask with 1 channel, got 8-bit RGB"):
        read_mask(path)


def test_a_mask_with_equal_channels_but_alpha_or_a_palette_is_refused(tmp_path):
    path, mask = tmp_path / "mask.png", np.zeros((8, 9, 4), np.uint8)
    cv2.imwrite(str(path), mask)
    with pytest.raises(MaskModeError, match=r"got 8-bit RGB \+ alpha"):
        read_mask(path)
    Image.fromarray(mask[..., 0]).convert("P").save(path)
    with pytest.raises(MaskModeError, match="got 8-bit palette"):
        read_mask(path)


def test_a_mask_of_another_size_than_its_image_is_refused_before_decoding(tmp_path):
    image, mask = tmp_path / "image.png", tmp_path / "mask.png"
    write_png(image, np.zeros((30, 40, 3), np.uint8))
    write_png(mask, np.zeros((10_000, 10_000), np.uint8))
    tracemalloc.start()
    try:
        with pytest.raises(DatasetError, match=r"a mask of \(30, 40\) .* got \(10000, 10000"):
            read_mask(mask, like=image)
        assert tracemalloc.get_traced_memory()[1] < 10_000_000
    finally:
        tracemalloc.stop()


def test_a_mask_of_another_size_is_inspected_without_decoding_it(tmp_path):
    image, mask = tmp_path / "image.png", tmp_path / "mask.png"
    write_png(image, np.zeros((30, 40, 3), np.uint8))
    write_png(mask, np.full((20, 40), 255, np.uint8))
    assert inspect_file(mask, is_mask=True).area_px == 800
    inspection = inspect_file(mask, is_mask=True, like=image)
    assert (inspection.size, inspection.packed, inspection.fault) == ((20, 40), None, None)


PIXELS = np.random.default_rng(0).integers(0, 255, (40, 60, 3)).astype(np.uint8)


@pytest.mark.parametrize(
    ("suffix", "format_"),
    [("png", "PNG"), ("jpg", "JPEG"), ("bmp", "BMP"), ("tiff", "TIFF"), ("webp", "WEBP")],
)
def test_the_header_tells_what_decoding_gives(tmp_path, suffix, format_):
    path = tmp_path / f"image.{suffix}"
    for pixels, mode in ((PIXELS, "8-bit RGB"), (PIXELS[..., 0], "8-bit grayscale")):
        cv2.imwrite(str(path), pixels)
        header = read_header(path)
        expected = "8-bit RGB" if suffix == "webp" else mode
        assert (header.format, header.size, header.mode) == (format_, (40, 60), expected)
        assert read_image(path).shape == (40, 60, 3)


@pytest.mark.parametrize("options", [{"lossless": True}, {}, {"exif": b"Exif\0\0MM\0*\0\0\0\x08"}])
def test_every_kind_of_webp_header_is_read(tmp_path, options):
    rgba = np.dstack([PIXELS, PIXELS[..., :1]])
    Image.fromarray(rgba).save(tmp_path / "a.webp", **options)
    assert read_header(tmp_path / "a.webp")[:3] == ("WEBP", (40, 60), "8-bit RGB + alpha")


@pytest.mark.parametrize(
    ("format_", "found"),
    [("DDS", "a DDS file"), ("AVIF", "an AVIF file"), ("GIF", "a GIF file"), ("ICO", "an icon")],
)
@pytest.mark.parametrize("name", ["image.png", "image.jpg"])
def test_other_formats_under_the_name_of_an_image_are_named(tmp_path, format_, found, name):
    Image.fromarray(PIXELS).save(tmp_path / name, format=format_)
    for read in (read_image, read_mask, read_header):
        with pytest.raises(DatasetError, match=rf"{name}: expected an image as PNG.* got {found}"):
            read(tmp_path / name)


@pytest.mark.parametrize("content", [b"", b"hello", b"<html>", bytes(100), b"\x89PNG\r\n\x1a\n"])
def test_what_is_no_image_is_an_error_with_the_name_of_the_file(tmp_path, content):
    (tmp_path / "image.png").write_bytes(content)
    for read in (read_image, read_mask, read_header):
        with pytest.raises(DatasetError, match=r"image\.png: .*(damaged|got an HTML page)"):
            read(tmp_path / "image.png")


def test_a_png_that_cannot_hold_what_it_claims_is_refused_before_decoding(tmp_path):
    write_png(tmp_path / "a.png", np.zeros((10, 10), np.uint8))
    content = bytearray((tmp_path / "a.png").read_bytes())
    content[16:24] = struct.pack(">II", 14_000, 14_000)
    content[29:33] = struct.pack(">I", zlib.crc32(content[12:29]))
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(DatasetError, match="bytes cannot hold the 14000 x 14000 pixels"):
        read_image(tmp_path / "a.png")


def test_a_pointer_of_git_lfs_in_place_of_an_image_is_named(tmp_path):
    (tmp_path / "a.png").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\n")
    message = r"a\.png: a Git LFS pointer, not the image; next step: git lfs pull"
    for read in (read_image, read_mask, read_header):
        with pytest.raises(DatasetError, match=message):
            read(tmp_path / "a.png")
    inspection = inspect_file(tmp_path / "a.png", is_mask=False)
    assert inspection.fault == ("damaged", "a Git LFS pointer, not the image")


def test_named_pipes_and_devices_are_refused_without_waiting(tmp_path):
    os.mkfifo(tmp_path / "a.png")
    (tmp_path / "b.png").symlink_to("/dev/zero")
    for name, found in (("a.png", "a named pipe"), ("b.png", "a device")):
        for read in (read_image, read_mask, read_header):
            with pytest.raises(DatasetError, match=rf"{name}: .*{found}"):
                read(tmp_path / name)
        fault = inspect_file(tmp_path / name, is_mask=False).fault
        assert fault is not None
        assert found in fault[1]


@pytest.mark.parametrize(
    ("dtype", "found"),
    [("f4", "32-bit float"), ("f8", "64-bit float"), ("i4", "32-bit signed"), ("i2", "16-bit sig")],
)
def test_images_of_other_numbers_are_named_and_not_called_damaged(tmp_path, dtype, found):
    path = tmp_path / "image.tiff"
    tifffile.imwrite(path, PIXELS[..., 0].astype(dtype))
    with pytest.raises(DatasetError, match=f"expected an image of 8 or 16 bits, got {found}"):
        read_image(path)
    code, mode = inspect_file(path, is_mask=False).fault
    assert code == "image_depth"
    assert mode.startswith(found)


@pytest.mark.parametrize("suffix", ["png", "tiff"])
@pytest.mark.parametrize("channels", [1, 3])
def test_the_largest_value_of_an_image_of_16_bits_is_known(tmp_path, suffix, channels):
    path = tmp_path / f"image.{suffix}"
    pixels = PIXELS[..., :channels].squeeze().astype(np.uint16) * 10
    cv2.imwrite(str(path), pixels)
    inspection = inspect_file(path, is_mask=False)
    assert inspection.mode.startswith("16-bit")
    assert inspection.peak == pixels.max()
    upper = (pixels >> 8).reshape(40, 60, -1)[..., ::-1]  # OpenCV writes BGR
    np.testing.assert_allclose(read_image(path), np.broadcast_to(upper, (40, 60, 3)), atol=1)


def test_an_rgb_mask_of_equal_channels_is_told_apart(tmp_path):
    mask = np.zeros((8, 9, 3), np.uint8)
    mask[2:4] = 250
    for stored, is_rgb, values in ((mask, True, (250,)), (mask[..., 0], False, (250,))):
        cv2.imwrite(str(tmp_path / "mask.png"), stored)
        inspection = inspect_file(tmp_path / "mask.png", is_mask=True)
        assert (inspection.mode == "8-bit RGB", inspection.values) == (is_rgb, values)
    mask[2:4, :, 0] = 0
    cv2.imwrite(str(tmp_path / "mask.png"), mask)
    inspection = inspect_file(tmp_path / "mask.png", is_mask=True)
    assert (inspection.packed, inspection.values, inspection.fault) == (None, (), None)


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_orientation_is_read_from_any_format(tmp_path, suffix, orientation):
    path, exif = tmp_path / f"image.{suffix}", Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(PIXELS).save(path, exif=exif)
    assert exif_orientation(path) == orientation


@pytest.mark.parametrize("value", [0, 9, 65535])
def test_a_meaningless_orientation_counts_as_upright(tmp_path, value):
    exif = Image.Exif()
    exif[0x0112] = value
    Image.fromarray(PIXELS).save(tmp_path / "image.jpg", exif=exif)
    assert exif_orientation(tmp_path / "image.jpg") == 1


@pytest.mark.parametrize("name", ["pages.tiff", "animation.png", "animation.webp"])
def test_a_file_of_several_images_is_refused(tmp_path, name):
    first, second = (Image.new("L", (8, 6), value) for value in (10, 200))
    first.save(tmp_path / name, save_all=True, append_images=[second])
    with pytest.raises(DatasetError, match=f"{name}: expected one image, got a .* of several"):
        read_image(tmp_path / name)
    first.save(tmp_path / name)
    assert read_image(tmp_path / name).shape == (6, 8, 3)


def test_the_thumbnail_of_a_tiff_is_no_second_image(tmp_path):
    path = tmp_path / "with_thumbnail.tiff"
    with tifffile.TiffWriter(path) as writer:
        writer.write(np.full((6, 8), 10, np.uint8))
        writer.write(np.full((3, 4), 10, np.uint8), subfiletype=1)
    assert read_image(path).shape == (6, 8, 3)
