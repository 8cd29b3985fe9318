import numpy as np
import pytest

from loco_tools.twin import surface_textures


@pytest.mark.parametrize(
    "finish",
    [
        surface_textures.zinc,
        surface_textures.brushed,
        surface_textures.yellow_zinc,
        surface_textures.bare_steel,
        surface_textures.screw_zinc,
        surface_textures.zinc_spray,
    ],
)
def test_reflectances_lie_in_0_to_1_and_textures_tile_without_a_seam(finish: object) -> None:
    assert callable(finish)
    maps = finish(128, 16.0, np.random.default_rng(1))
    assert maps.reflectance.shape == (128, 128, 3)
    assert 0.02 <= maps.reflectance.min() <= maps.reflectance.max() <= 0.95
    assert 0.08 <= maps.roughness.min() <= maps.roughness.max() <= 0.6
    inner = np.abs(np.diff(maps.roughness, axis=1)).mean()
    seam = np.abs(maps.roughness[:, 0] - maps.roughness[:, -1]).mean()
    assert seam < 3 * inner + 1e-6


def test_brushing_runs_along_x() -> None:
    maps = surface_textures.brushed(128, 16.0, np.random.default_rng(1))
    level = maps.reflectance[..., 0]
    assert np.abs(np.diff(level, axis=0)).mean() > 4 * np.abs(np.diff(level, axis=1)).mean()


def test_brushing_is_grey_and_of_hairlines_not_of_bands_as_in_wood() -> None:
    px_per_mm = 8
    maps = surface_textures.brushed(px_per_mm * 32, 32.0, np.random.default_rng(1))
    colours = maps.reflectance.reshape(-1, 3).mean(axis=0)
    assert colours.max() / colours.min() < 1.025
    across = maps.reflectance[..., 1].mean(axis=1)
    bands = across.reshape(-1, 2 * px_per_mm).mean(axis=1)
    assert bands.std() < 0.5 * across.std()


def test_a_flat_relief_is_the_neutral_normal_map() -> None:
    flat = surface_textures.normals(np.zeros((4, 4, 2), dtype=np.float32))
    np.testing.assert_allclose(flat, np.broadcast_to([0.5, 0.5, 1.0], (4, 4, 3)))
