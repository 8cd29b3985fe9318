import numpy as np
import pytest

from loco_tools.errors import MethodError
from loco_tools.synthesis.draem import augmented, with_anomaly, without_anomaly
from loco_tools.synthesis.perlin import perlin_mask, perlin_noise
from loco_tools.synthesis.textures import FAMILIES, ProceduralTextures

SIZE = (48, 80)


def good_image() -> np.ndarray:
    return np.random.default_rng(9).integers(60, 120, (*SIZE, 3), dtype=np.uint8)


def test_masks_cover_as_much_as_the_published_ones() -> None:
    rng = np.random.default_rng(0)
    shares = np.array([perlin_mask((256, 256), rng).mean() for _ in range(600)])
    standard_error = shares.std() / len(shares) ** 0.5
    assert shares.mean() == pytest.approx(0.048, abs=0.002 + 2 * standard_error)
    assert (shares == 0).mean() == pytest.approx(0.05, abs=0.02)


def test_noise_vanishes_on_its_lattice() -> None:
    noise = perlin_noise((64, 64), (8, 4), np.random.default_rng(2))
    assert noise.shape == (64, 64)
    assert abs(noise[::8, ::16]).max() < 1e-6
    assert noise.std() > 0.1


@pytest.mark.parametrize("family", FAMILIES)
def test_textures_depend_on_their_seed_alone_and_have_contrast(family: str) -> None:
    draw = ProceduralTextures((family,))
    first, again = (draw(SIZE, np.random.default_rng(3)) for _ in range(2))
    other = draw(SIZE, np.random.default_rng(4))
    np.testing.assert_array_equal(first, again)
    assert first.shape == (*SIZE, 3)
    assert first.dtype == np.uint8
    assert (first != other).any()
    assert first.std() > 5


def test_an_unknown_family_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(MethodError, match='unknown texture family "cell"; did you mean "cells"'):
        ProceduralTextures(("cell",))


def test_an_anomaly_changes_only_the_pixels_of_its_mask() -> None:
    image = good_image()
    found = 0
    for seed in range(12):
        example = with_anomaly(image, ProceduralTextures(), np.random.default_rng(seed))
        changed = (example.image != example.good).any(axis=2)
        assert not (changed & ~example.mask).any()
        found += int(changed.any())
        assert 0 <= example.image.min() <= example.image.max() <= 1
    assert found >= 8


def test_without_an_anomaly_the_image_stays_as_it_is() -> None:
    example = without_anomaly(good_image())
    np.testing.assert_array_equal(example.pixels, good_image())
    assert not example.mask.any()


def test_operations_keep_size_and_type() -> None:
    texture = good_image()
    for seed in range(20):
        result = augmented(texture, np.random.default_rng(seed))
        assert (result.shape, result.dtype) == (texture.shape, np.uint8)
