from pathlib import Path

import numpy as np
import pytest
import tifffile

import loco_tools
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
        with pytest.raises(DatasetError, match=rf"{name}: expected a "):
            read_map(tmp_path / name)


def test_a_truncated_tiff_is_refused(tmp_path):
    path = tmp_path / "000.tiff"
    write_map(path, np.ones((40, 40), np.float32))
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(DatasetError, match=r"000\.tiff: expected a readable TIFF"):
        read_map(path)


def test_a_pickle_is_not_opened(tmp_path):
    np.save(tmp_path / "000.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(DatasetError, match="expected a NumPy array"):
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
