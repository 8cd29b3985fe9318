import numpy as np

from loco_tools.plan import CameraSettings
from loco_tools.twin.sensor import develop, white_balance


def make_camera(**changes: float) -> CameraSettings:
    settings = {"width_px": 64, "height_px": 48, "field_mm": 100.0, "exposure_us": 12000.0}
    return CameraSettings.model_validate(settings | changes)


def grey(level: float) -> np.ndarray:
    return np.full((48, 64, 3), level)


def test_noise_is_that_of_photons_and_brighter_scenes_come_out_brighter() -> None:
    dark, bright = (
        develop(grey(level), make_camera(), np.random.default_rng(1)) for level in (0.02, 0.4)
    )
    assert dark.mean() < 60
    assert 140 < bright.mean() < 200
    assert 0.3 < bright[20:28, 28:36, 0].std() < 6


def test_half_the_exposure_and_double_the_gain_keep_the_level_and_raise_the_noise() -> None:
    usual = develop(grey(0.3), make_camera(), np.random.default_rng(1)).astype(float)
    settings = make_camera(exposure_us=3000.0, gain_db=12.04)
    amplified = develop(grey(0.3), settings, np.random.default_rng(1)).astype(float)
    middle = (slice(16, 32), slice(24, 40))
    assert abs(usual[middle].mean() - amplified[middle].mean()) < 2
    assert amplified[middle].std() > 1.3 * usual[middle].std()


def test_the_corners_are_darker_than_the_middle() -> None:
    image = develop(grey(0.4), make_camera(), np.random.default_rng(3)).astype(float)
    assert image[:6, :6].mean() < image[20:28, 28:36].mean() - 3


def test_the_same_stream_gives_the_same_bytes() -> None:
    first, second = (develop(grey(0.3), make_camera(), np.random.default_rng(7)) for _ in "ab")
    assert (first == second).all()


def test_a_balance_shifts_the_colour_of_grey_and_nothing_else() -> None:
    warm = np.array([1.05, 1.0, 0.95])
    red, green, blue = (
        develop(grey(0.3), make_camera(), np.random.default_rng(1), warm)[20:28, 28:36, k].mean()
        for k in range(3)
    )
    assert red > green + 2 > blue + 4
    neutral = develop(grey(0.3), make_camera(), np.random.default_rng(1))
    assert abs(neutral[20:28, 28:36, 1].mean() - green) < 0.01


def test_balances_are_warm_or_cold_by_a_few_percent() -> None:
    drawn = np.array([white_balance(np.random.default_rng(seed)) for seed in range(200)])
    np.testing.assert_allclose(drawn.mean(axis=0), 1.0, atol=0.006)
    assert 0.012 < drawn[:, 0].std() < 0.03
    assert np.corrcoef(drawn[:, 0], drawn[:, 2])[0, 1] < -0.99
