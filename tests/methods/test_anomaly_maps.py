import numpy as np
import torch
from scipy.ndimage import gaussian_filter

from loco_tools.methods.anomaly_maps import anomaly_maps, smooth


def test_smoothing_equals_scipys() -> None:
    noise = np.random.default_rng(0).random((20, 90)).astype(np.float32)
    np.testing.assert_allclose(smooth(noise), gaussian_filter(noise, 4.0, truncate=4), atol=1e-5)


def test_smoothing_a_map_smaller_than_the_kernel_equals_scipys() -> None:
    noise = np.random.default_rng(0).random((7, 5)).astype(np.float32)
    np.testing.assert_allclose(smooth(noise), gaussian_filter(noise, 4.0, truncate=4), atol=1e-5)


def test_coordinates_come_back_at_their_place_in_a_map_of_another_size() -> None:
    # Each patch scores the relative position of its centre, so each map pixel must say its own.
    h, w = 24, 40
    rows = ((torch.arange(h) + 0.5) / h)[:, None].expand(h, w)
    columns = ((torch.arange(w) + 0.5) / w)[None].expand(h, w)
    for grid, axis in ((rows, 0), (columns, 1)):
        (found,) = anomaly_maps(grid[None], (h * 8, w * 8), [(300, 170)])
        expected = (np.arange(found.shape[axis]) + 0.5) / found.shape[axis]
        inner = slice(len(expected) // 6, -len(expected) // 6)
        profile = found.mean(axis=1 - axis)
        np.testing.assert_allclose(profile[inner], expected[inner], atol=0.002)
        assert found.std(axis=1 - axis).max() < 1e-5
