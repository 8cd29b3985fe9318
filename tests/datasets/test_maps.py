import contextlib
import os
import struct
import tracemalloc
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile

import loco_tools
from loco_tools.datasets.images import write_png
from loco_tools.datasets.maps import find_maps, map_path, read_map, write_map
from loco_tools.errors import DatasetError

MAP = np.linspace(-1, 1, 12, dtype=np.float32).reshape(3, 4)


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_a_written_map_reads_back(tmp_path, dtype):
    path = tmp_path / "a" / "000.tiff"
    write_map(path, MAP, dtype)
    assert tifffile.imread(path).dtype == dtype
    assert read_map(path).dtype == np.float32
    np.testing.assert_array_equal(read_map(path), MAP.astype(dtype))
    assert [p.name for p in path.parent.iterdir()] == ["000.tiff"]


@pytest.mark.parametrize("dtype", ["uint8", "int32", "float64", "float16", "bool"])
@pytest.mark.parametrize("name", ["000.tif", "000.npy"])
def test_every_real_type_is_read(tmp_path, dtype, name):
    path, stored = tmp_path / name, (MAP > 0).astype(dtype)
    np.save(path, stored) if name.endswith("npy") else tifffile.imwrite(path, stored)
    np.testing.assert_array_equal(read_map(path), MAP > 0)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("dtype", ["u1", "i2", "u4", "i8", "f2", "f4", "f8"])
@pytest.mark.parametrize(
    "options", [{}, {"bigtiff": True}, {"compression": "zlib"}, {"rowsperstrip": 7}]
)
def test_a_tiff_of_any_type_reads_as_tifffile_reads_it(tmp_path, order, dtype, options):
    stored = np.random.default_rng(0).integers(0, 99, (23, 31)).astype(f"{order}{dtype}")
    tifffile.imwrite(tmp_path / "000.tiff", stored, byteorder=order, metadata=None, **options)
    np.testing.assert_array_equal(
        read_map(tmp_path / "000.tiff"), tifffile.imread(tmp_path / "000.tiff")
    )


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "int32", "float32", "float64"])
@pytest.mark.parametrize("compression", [1, 5, 8, 32946])
def test_a_map_written_by_opencv_is_read_to_the_bit(tmp_path, dtype, compression):
    stored = (np.random.default_rng(0).normal(size=(40, 50)) * 100).astype(dtype)
    options = [cv2.IMWRITE_TIFF_COMPRESSION, compression]
    assert cv2.imwrite(str(tmp_path / "000.tiff"), stored, options)
    read = read_map(tmp_path / "000.tiff")
    np.testing.assert_array_equal(read, stored)
    assert read.dtype == (np.float64 if dtype == "float64" else np.float32)


def test_a_map_compressed_otherwise_is_refused_by_the_name_of_its_compression(tmp_path):
    (tmp_path / "000.tiff").write_bytes(tiff_of(3, 4, bytes(48), f259=34925))
    with pytest.raises(DatasetError, match=r"got float32 with LZMA; next step: write it without"):
        read_map(tmp_path / "000.tiff")


def test_a_map_keeps_what_float32_cannot_hold(tmp_path):
    exact, wide = MAP.astype(np.float64), 1e7 + np.arange(12.0).reshape(3, 4) / 7
    for stored, dtype in ((exact.astype("f4").astype("f8"), np.float32), (wide, np.float64)):
        np.save(tmp_path / "000.npy", stored)
        assert read_map(tmp_path / "000.npy").dtype == dtype
        np.testing.assert_array_equal(read_map(tmp_path / "000.npy"), stored)


@contextlib.contextmanager
def little_memory():
    """What runs inside takes less than 10 MB of memory."""
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < 10_000_000
    finally:
        tracemalloc.stop()


def tiff_of(height, width, content=b"", **changes):
    """A TIFF of one uncompressed float32 strip, with fields of its header changed or added."""
    fields = {
        256: width, 257: height, 258: 32, 259: 1, 262: 1, 273: 200, 277: 1, 278: height,
        279: len(content), 339: 3, **{int(tag[1:]): value for tag, value in changes.items()},
    }  # fmt: skip
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, v) for tag, v in sorted(fields.items()))
    head = b"II*\0" + struct.pack("<IH", 8, len(fields)) + entries + bytes(4)
    return head.ljust(200, b"\0") + content


def npy_of(header, content=b""):
    return b"\x93NUMPY\x01\0" + struct.pack("<H", len(header)) + header.encode() + content


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("000.tiff", tiff_of(60_000, 60_000)),
        ("000.npy", npy_of("{'descr': '<f4', 'fortran_order': False, 'shape': (60000, 60000), }")),
    ],
)
def test_a_map_that_claims_too_much_is_refused_before_memory_is_taken(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DatasetError, match="refused, the anomaly map claims 60000 x 60000"):
        read_map(tmp_path / name)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("000.tiff", tiff_of(10_000, 10_000, bytes(200_000), f259=5)),
        ("000.npy", npy_of("{'descr': '<f4', 'fortran_order': False, 'shape': (10000, 10000)}")),
    ],
)
def test_a_map_of_another_size_than_its_image_is_refused_before_decoding(tmp_path, name, content):
    write_png(tmp_path / "image.png", np.zeros((30, 40), np.uint8))
    (tmp_path / name).write_bytes(content)
    with (
        little_memory(),
        pytest.raises(DatasetError, match=r"expected a map of \(30, 40\) .* got \(10000, 10000"),
    ):
        read_map(tmp_path / name, like=tmp_path / "image.png")


def test_deflated_data_that_swell_beyond_the_map_are_refused(tmp_path):
    content = zlib.compress(bytes(300_000_000))
    (tmp_path / "000.tiff").write_bytes(tiff_of(30, 40, content, f259=8))
    with (
        little_memory(),
        pytest.raises(DatasetError, match=r"damaged .*expected a strip of 4800 bytes, got more"),
    ):
        read_map(tmp_path / "000.tiff")


def test_a_field_that_readers_would_take_differently_is_refused(tmp_path):
    (tmp_path / "000.tiff").write_bytes(tiff_of(3, 4, bytes(48)))
    assert read_map(tmp_path / "000.tiff").shape == (3, 4)
    once, twice = (struct.pack("<HHII", tag, 4, 1, 9) for tag in (255, 256))
    (tmp_path / "000.tiff").write_bytes(tiff_of(3, 4, bytes(48), f255=9).replace(once, twice))
    with pytest.raises(DatasetError, match=r"damaged .*field 256 twice"):
        read_map(tmp_path / "000.tiff")


@pytest.mark.parametrize(
    "header",
    [
        "(" * 5000,
        "'" * 3,
        "{'descr': '<f4', 'fortran_order': False, 'shape': " + "(" * 3000,
        "{'descr': '<f4', 'fortran_order': False, 'shape': (3, " + "4" * 5000 + "), }",
        "{'descr': '<f9', 'fortran_order': False, 'shape': (3, 4), }",
        "{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (3, 4), }",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }",
    ],
)
def test_a_hostile_header_of_an_array_is_one_clear_error(tmp_path, header):
    (tmp_path / "000.npy").write_bytes(npy_of(header))
    with pytest.raises(DatasetError, match=r"000\.npy: damaged \("):
        read_map(tmp_path / "000.npy")


@pytest.mark.parametrize("name", ["000.tiff", "000.npy"])
def test_a_pointer_of_git_lfs_in_place_of_a_map_is_named(tmp_path, name):
    (tmp_path / name).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\n")
    with pytest.raises(
        DatasetError, match="a Git LFS pointer, not the anomaly map; next step: git lfs pull"
    ):
        read_map(tmp_path / name)


@pytest.mark.parametrize("name", ["000.tiff", "000.npy"])
def test_a_named_pipe_in_place_of_a_map_is_refused_without_waiting(tmp_path, name):
    os.mkfifo(tmp_path / name)
    with pytest.raises(DatasetError, match=rf"{name}: .*a named pipe"):
        read_map(tmp_path / name)


def test_a_compressed_tiff_is_read(tmp_path):
    tifffile.imwrite(tmp_path / "000.tiff", MAP, compression="zlib")
    np.testing.assert_array_equal(read_map(tmp_path / "000.tiff"), MAP)


@pytest.mark.parametrize(("value", "count"), [(np.nan, 2), (np.inf, 1), (-np.inf, 3)])
def test_scores_that_are_not_finite_are_counted(tmp_path, value, count):
    spoilt = MAP.copy()
    spoilt.flat[:count] = value
    np.save(tmp_path / "000.npy", spoilt)
    with pytest.raises(DatasetError, match=rf"000\.npy: expected finite .* got {count} of 12"):
        read_map(tmp_path / "000.npy")
    with pytest.raises(DatasetError, match=f"with {count} that are not"):
        write_map(tmp_path / "000.tiff", spoilt)
    assert not (tmp_path / "000.tiff").exists()


def test_scores_beyond_the_type_are_refused(tmp_path):
    np.save(tmp_path / "000.npy", MAP.astype(np.float64) * 1e300)
    with pytest.raises(DatasetError, match="infinite"):
        read_map(tmp_path / "000.npy")
    with pytest.raises(DatasetError, match="finite as float16"):
        write_map(tmp_path / "000.tiff", MAP * 1e6, "float16")


def test_a_tiff_of_several_pages_is_refused(tmp_path):
    tifffile.imwrite(
        tmp_path / "000.tiff", np.zeros((2, 8, 9), np.float32), photometric="minisblack"
    )
    with pytest.raises(DatasetError, match="expected a TIFF of one page, got 2 pages"):
        read_map(tmp_path / "000.tiff")


@pytest.mark.parametrize(
    "stored", [np.zeros((3, 4, 3), np.float32), np.zeros((3, 4), np.complex64), np.zeros((0, 4))]
)
def test_an_array_that_is_not_a_real_valued_2d_map_is_an_error(tmp_path, stored):
    np.save(tmp_path / "000.npy", stored)
    with pytest.raises(DatasetError, match="expected one real-valued anomaly map of shape"):
        read_map(tmp_path / "000.npy")


def test_damaged_and_missing_files_are_named(tmp_path):
    for name in ("000.tiff", "000.npy"):
        with pytest.raises(DatasetError, match=rf"{name}: "):
            read_map(tmp_path / name)
        (tmp_path / name).write_bytes(b"II*\0 not a map")
        with pytest.raises(DatasetError, match=rf"{name}: (damaged|expected a NumPy array)"):
            read_map(tmp_path / name)


def test_a_truncated_tiff_is_refused(tmp_path):
    path = tmp_path / "000.tiff"
    write_map(path, np.ones((40, 40), np.float32))
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(DatasetError, match=r"000\.tiff: damaged \(truncated"):
        read_map(path)


def test_a_pickle_is_not_opened(tmp_path):
    np.save(tmp_path / "000.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(DatasetError, match=r"expected one real-valued anomaly map .* got object"):
        read_map(tmp_path / "000.npy")


def test_maps_lie_in_the_official_layout(make_loco_class):
    sample = loco_tools.load(make_loco_class()).test[-1]
    expected = Path("maps/plate/test/structural_anomalies/001.tiff")
    assert map_path(Path("maps/plate"), sample) == expected


@pytest.mark.parametrize("suffix", [".tiff", ".tif", ".TIF", ".TIFF", ".npy"])
def test_maps_are_found_with_any_supported_suffix(make_loco_class, tmp_path, suffix):
    sample = loco_tools.load(make_loco_class()).test[-1]
    path = (tmp_path / "test/structural_anomalies/001").with_suffix(suffix)
    path.parent.mkdir(parents=True)
    path.touch()
    assert find_maps(tmp_path, [sample]) == {sample: path}


def test_two_maps_of_one_image_are_refused(make_loco_class, tmp_path):
    sample = loco_tools.load(make_loco_class()).test[0]
    for name in ("000.tif", "000.tiff"):
        write_map(tmp_path / "test/good" / name, MAP)
    with pytest.raises(DatasetError, match=r"000\.tiff: expected one map per image, got 000\.tif"):
        find_maps(tmp_path, [sample])


def test_missing_maps_are_all_named_at_once(make_loco_class, tmp_path):
    test = loco_tools.load(make_loco_class(good=12)).test
    write_map(map_path(tmp_path / "plate", test[0]), MAP)
    with pytest.raises(DatasetError, match="each of 16 test images") as caught:
        find_maps(tmp_path / "plate", test)
    assert "got none for 15: good/001, good/002, " in str(caught.value)
    assert "good/011, logical_anomalies/000" in str(caught.value)


def test_surplus_maps_are_named(make_loco_class, tmp_path):
    test = loco_tools.load(make_loco_class()).test
    for sample in test:
        write_map(map_path(tmp_path / "plate", sample), MAP)
    folder = tmp_path / "plate/test"
    write_map(folder / "good/777.tiff", MAP)
    write_map(folder / "crack/000.tiff", MAP)
    with pytest.raises(DatasetError, match="got 2 maps without an image: ") as caught:
        find_maps(tmp_path / "plate", test)
    assert "good/777.tiff, crack/" in str(caught.value)
