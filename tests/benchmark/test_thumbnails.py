from pathlib import Path

import numpy as np
import pytest

from loco_tools.benchmark.thumbnails import read_maps, shrink, thumbnail_size, write_maps
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


def test_shrinking_keeps_geometry() -> None:
    rows, columns = np.mgrid[0:600, 0:300].astype(np.float32)
    small = shrink(np.stack([rows, columns, columns], axis=-1))
    assert small.shape == (288, 144, 3)
    assert np.allclose(small[:, 0, 0], (np.arange(288) + 0.5) * 600 / 288 - 0.5, atol=0.6)
    assert thumbnail_size((10, 20)) == (10, 20)
