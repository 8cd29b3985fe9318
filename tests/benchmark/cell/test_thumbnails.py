import zipfile
from pathlib import Path

import numpy as np
import pytest

from loco_tools.benchmark.cell.thumbnails import (
    read_maps,
    read_scale,
    shrink,
    thumbnail_size,
    write_maps,
)
from loco_tools.datasets.sample import Sample
from loco_tools.errors import BenchmarkError


def make_sample(name: str) -> Sample:
    return Sample(name, "plate", "test", "good", "good", Path(f"{name}.png"))


def test_maps_are_kept_small_and_on_one_scale(tmp_path: Path) -> None:
    low, high = np.zeros((100, 600), np.float32), np.full((300, 50), 8.0, np.float32)
    maps = {"a": low, "b": high}
    write_maps(tmp_path / "t.npz", [make_sample("a"), make_sample("b")], lambda s: maps[s.id])
    found = read_maps(tmp_path / "t.npz", [1, 0])
    assert {index: one.shape for index, one in found.items()} == {1: (288, 48), 0: (48, 288)}
    assert found[0].max() == 0
    assert found[1].min() == 255


def test_equal_maps_everywhere_are_no_fault(tmp_path: Path) -> None:
    write_maps(tmp_path / "t.npz", [make_sample("a")], lambda _s: np.ones((5, 5), np.float32))
    assert read_maps(tmp_path / "t.npz", [0])[0].max() == 0


def test_a_damaged_file_is_named_with_the_next_step(tmp_path: Path) -> None:
    (tmp_path / "t.npz").write_bytes(b"x")
    with pytest.raises(BenchmarkError, match=r"t\.npz.*next step: remove the cell's folder"):
        read_maps(tmp_path / "t.npz", [0])


def test_a_hostile_archive_is_refused_before_its_arrays_are_read(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "t.npz", map0=np.zeros((20_000, 20_000), np.uint8))
    with pytest.raises(BenchmarkError, match="larger than a thumbnail"):
        read_maps(tmp_path / "t.npz", [0])
    with zipfile.ZipFile(tmp_path / "t.npz", "w") as archive:
        archive.writestr("map0.npy", b"\x93NUMPY\x01\0\x88\x13" + b"(" * 5000)
    with pytest.raises(BenchmarkError, match=r"t\.npz.*next step: remove the cell's folder"):
        read_maps(tmp_path / "t.npz", [0])


def test_the_scale_converts_levels_to_scores(tmp_path: Path) -> None:
    ramp = np.linspace(-3, 7, 10_000, dtype=np.float32).reshape(100, 100)
    write_maps(tmp_path / "t.npz", [make_sample("a")], lambda _s: ramp)
    scale = read_scale(tmp_path / "t.npz")
    assert scale == pytest.approx((2.0, 6.99), abs=1e-2)
    levels = read_maps(tmp_path / "t.npz", [0])[0].astype(float)
    inside = (ramp > scale[0]) & (ramp < scale[1])
    said = scale[0] + levels / 255 * (scale[1] - scale[0])
    assert np.abs(said - ramp)[inside].max() <= (scale[1] - scale[0]) / 255 / 2 + 1e-5
    np.savez(tmp_path / "old.npz", map0=np.zeros((2, 2), np.uint8))
    assert read_scale(tmp_path / "old.npz") is None


@pytest.mark.parametrize("stored", [np.zeros((2, 2)), np.zeros((2, 2, 3), np.uint8)])
def test_maps_of_another_kind_are_refused(tmp_path: Path, stored: np.ndarray) -> None:
    np.savez(tmp_path / "t.npz", map0=stored)
    with pytest.raises(BenchmarkError, match="expected the thumbnails of a finished cell"):
        read_maps(tmp_path / "t.npz", [0])


def test_shrinking_keeps_geometry() -> None:
    rows, columns = np.mgrid[0:600, 0:300].astype(np.float32)
    small = shrink(np.stack([rows, columns, columns], axis=-1))
    assert small.shape == (288, 144, 3)
    assert np.allclose(small[:, 0, 0], (np.arange(288) + 0.5) * 600 / 288 - 0.5, atol=0.6)
    assert thumbnail_size((10, 20)) == (10, 20)
