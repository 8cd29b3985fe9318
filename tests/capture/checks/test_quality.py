import cv2
import numpy as np
import pytest
from session_builders import draw_part

from loco_tools.capture.checks import quality


def sharpness_of(image: np.ndarray) -> float:
    return quality.measure(image)["sharpness"]


def test_blur_lowers_the_sharpness_and_noise_hardly_raises_it() -> None:
    image = draw_part(noise=0)
    sharp = sharpness_of(image)

    blurred = [sharpness_of(cv2.GaussianBlur(image, (0, 0), sigma)) for sigma in (1.0, 1.5, 2.5)]
    assert sharp > blurred[0] > blurred[1] > blurred[2]
    assert blurred[1] < 0.85 * sharp
    for noise in (2.0, 6.0):
        assert sharpness_of(draw_part(noise=noise)) == pytest.approx(sharp, rel=0.04)
    blurred_and_noisy = cv2.GaussianBlur(image, (0, 0), 2.5) + draw_noise(6.0, image.shape)
    assert sharpness_of(np.clip(blurred_and_noisy, 0, 255).astype(np.uint8)) < 0.8 * sharp


def draw_noise(sigma: float, shape: tuple[int, ...]) -> np.ndarray:
    return np.random.default_rng(1).normal(0, sigma, shape)


def test_parts_of_other_brightness_and_surface_are_equally_sharp() -> None:
    sharp = sharpness_of(draw_part(0))
    for number in range(1, 5):
        image = draw_part(number, light=0.6 + 0.1 * number, right=4 * number, turn=2 * number)
        assert sharpness_of(image) == pytest.approx(sharp, rel=0.08)


def test_clipped_pixels_count_on_the_part_and_not_on_the_cloth() -> None:
    image = draw_part(noise=0)
    part = quality.find_part(quality.to_grey(image))
    assert part is not None
    inside = part.mask(image.shape)
    cloth_black = np.where(inside[..., None], image, 0).astype(np.uint8)
    assert quality.measure(cloth_black)["black_share"] < 0.02

    half = inside & (np.arange(image.shape[1]) < image.shape[1] / 2)
    burnt = np.where(half[..., None], 255, image).astype(np.uint8)
    share = half.sum() / inside.sum()
    assert quality.measure(burnt)["saturated_share"] == pytest.approx(share, abs=0.03)
    assert quality.measure(image)["saturated_share"] == 0.0


def test_one_channel_that_is_saturated_is_enough() -> None:
    image = draw_part(noise=0)
    image[..., 0] = np.where(image[..., 0] > 100, 255, image[..., 0])
    assert quality.measure(image)["saturated_share"] > 0.3


def test_a_face_that_is_hardly_lighter_than_the_cloth_is_part_of_the_part() -> None:
    rng = np.random.default_rng(0)
    down, right = np.mgrid[:240, :320]
    picture = 33 + 3 * np.sin((down + right) / 8)  # a cloth with a coarse weave
    picture[60:180, 80:160] = 130  # the lit leg
    picture[60:180, 160:240] = 49  # the leg that faces away from the lamps
    picture[20:40, 270:300] = 49  # a fold of the cloth, for itself
    noisy = picture + rng.normal(0, 2, picture.shape)
    part = quality.find_part(np.clip(np.round(noisy), 0, 255).astype(np.uint8))
    assert part is not None
    assert cv2.boundingRect(part.silhouette) == pytest.approx((80, 60, 160, 120), abs=4)


def test_an_empty_cloth_has_no_contrast() -> None:
    rng = np.random.default_rng(0)
    cloth = (30 + 5 * np.sin(np.arange(320) / 50) + rng.normal(0, 2, (240, 320)))[..., None]
    cloth = np.repeat(np.clip(cloth, 0, 255).astype(np.uint8), 3, axis=2)
    assert quality.measure(cloth)["contrast"] < 10
    assert quality.measure(np.zeros((240, 320, 3), np.uint8))["contrast"] == 0.0
    assert quality.measure(draw_part())["contrast"] > 50


@pytest.mark.parametrize("size", [(1, 1), (3, 5), (24, 32)])
def test_tiny_and_strange_frames_are_measured_without_an_error(size: tuple[int, int]) -> None:
    for fill in (0, 128, 255):
        figures = quality.measure(np.full((*size, 3), fill, np.uint8))
        assert all(np.isfinite(value) for value in figures.values())
    noise = np.random.default_rng(0).integers(0, 255, (*size, 3), dtype=np.uint8)
    assert all(np.isfinite(value) for value in quality.measure(noise).values())
