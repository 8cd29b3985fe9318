import cv2
import numpy as np
import pytest
from session_builders import draw_part

from loco_tools.capture.checks import comparison
from loco_tools.capture.checks.quality import PartRegion, find_part, to_grey


def part_in(image: np.ndarray) -> PartRegion:
    part = find_part(to_grey(image))
    assert part is not None
    return part


def lies(image: np.ndarray, reference: np.ndarray, *, by_face: bool = True):
    return comparison.displacement(part_in(image), part_in(reference), by_face=by_face)


@pytest.mark.parametrize(("right", "down", "turn"), [(0, 0, 0), (12, -7, 5), (-20, 15, -11)])
def test_a_known_displacement_is_measured(right: float, down: float, turn: float) -> None:
    found = lies(draw_part(1, right=right, down=down, turn=turn), draw_part(0))
    assert found.angle_deg == pytest.approx(turn, abs=0.7)
    # the drawing turns about another point than the middle of its area
    middle, angle = np.array([-13.6, -9.1]), np.deg2rad(turn)
    turned = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) @ middle
    expected = np.array([right, down]) + turned - middle
    assert (found.right_px, found.down_px) == pytest.approx(tuple(expected), abs=1)


def test_the_displacement_is_in_pixels_of_the_frame_whatever_its_size() -> None:
    moved, reference = draw_part(1, right=12, down=-7, scale=4), draw_part(0, scale=4)
    found = lies(moved, reference)
    assert (found.right_px, found.down_px) == pytest.approx((48, -28), abs=6)


@pytest.mark.parametrize("turn", [90, 180, -120])
def test_an_outline_that_fits_one_way_only_tells_how_it_lies(turn: float) -> None:
    found = lies(draw_part(1, turn=turn), draw_part(0), by_face=False)
    assert abs((found.angle_deg - turn + 180) % 360 - 180) < 1


def test_a_rectangle_the_other_way_round_is_recognised_by_its_face_alone() -> None:
    turned, reference = draw_part(1, turn=180, rectangle=True), draw_part(0, rectangle=True)
    assert abs(lies(turned, reference).angle_deg) == pytest.approx(180, abs=1)
    assert lies(turned, reference, by_face=False).angle_deg == pytest.approx(0, abs=1)
    same_way = draw_part(1, turn=4, rectangle=True)
    assert lies(same_way, reference).angle_deg == pytest.approx(4, abs=1)


def test_a_lost_corner_hardly_moves_the_part() -> None:
    image = draw_part(1, right=5)
    image[:100, 210:] = 30
    found = lies(image, draw_part(0), by_face=False)
    assert found.right_px == pytest.approx(5, abs=3)
    assert found.down_px == pytest.approx(0, abs=3)
    assert found.angle_deg == pytest.approx(0, abs=3)


@pytest.mark.parametrize("noise", [0.0, 2.0, 6.0])
@pytest.mark.parametrize("moved", [0.0, 0.5, 1.0, 4.0])
def test_motion_is_measured_below_a_pixel_and_noise_does_not_count(
    noise: float, moved: float
) -> None:
    still = to_grey(draw_part(0, noise=noise, noise_seed=1))
    shift = np.array([[1.0, 0.0, moved], [0.0, 1.0, 0.0]])
    clean = cv2.warpAffine(draw_part(0, noise=0), shift, (320, 240), borderMode=cv2.BORDER_REFLECT)
    sensor = np.random.default_rng(2).normal(0, noise, clean.shape)
    later = to_grey(np.clip(clean + sensor, 0, 255).astype(np.uint8))
    found = comparison.motion_px(still, later, find_part(still))
    assert found == pytest.approx(moved, abs=0.25)


def test_two_pictures_with_nothing_in_them_do_not_move() -> None:
    blank = np.full((240, 320), 255, np.uint8)
    assert comparison.motion_px(blank, blank, None) == 0.0


def test_the_noise_is_estimated_and_edges_do_not_count() -> None:
    for noise in (1.5, 4.0):
        grey = to_grey(draw_part(noise=noise, noise_seed=3))
        # grey mixes three channels of independent noise
        sigma = noise * np.linalg.norm([0.299, 0.587, 0.114])
        assert comparison.noise_levels(grey) == pytest.approx(sigma, rel=0.35)


def difference(image: np.ndarray, *earlier: np.ndarray) -> list[float]:
    grey = to_grey(image)
    known = np.stack([comparison.thumbnail(to_grey(old)) for old in earlier])
    noise = comparison.thumbnail_noise(comparison.noise_levels(grey), grey)
    found = comparison.thumbnail_differences(comparison.thumbnail(grey), known)
    return [float(value) / noise for value in found]


def test_the_same_part_photographed_again_differs_by_the_noise_and_another_by_more() -> None:
    image = draw_part(0, noise_seed=1)
    again = draw_part(0, noise_seed=2)
    brighter = draw_part(0, noise_seed=3, light=1.05)
    others = [draw_part(number, noise_seed=4) for number in range(1, 6)]
    same, same_brighter, *different = difference(image, again, brighter, *others)
    assert same < 1.5
    assert same_brighter < 1.5
    assert min(different) > 4


def test_the_same_part_in_another_place_is_not_called_the_same_photograph() -> None:
    assert difference(draw_part(0), draw_part(0, right=3, noise_seed=9))[0] > 2
