import cv2
import numpy as np
import pytest

from loco_tools.capture.calibration.board import Board, Corners, corners_mm
from loco_tools.capture.calibration.lens_fit import (
    DetectedBoard,
    LensFit,
    Pose,
    fit_lens,
    plane_scale,
)
from loco_tools.errors import CaptureError

WIDTH, HEIGHT = 640, 480
MATRIX = np.array([[1500.0, 0.0, 330.0], [0.0, 1490.0, 236.0], [0.0, 0.0, 1.0]])
DISTORTION = np.array([-0.25, 0.4, 0.001, -0.0015, 0.0])
DISTANCE_MM = 400.0
TILTS = [(0, 0), (30, 0), (-30, 0), (0, 30), (0, -30), (25, 25), (-25, 20), (20, -25)]


def pose_of(tilt_x_deg: float, tilt_y_deg: float, distance_mm: float = DISTANCE_MM) -> Pose:
    """The board with its middle on the optical axis."""
    turn = cv2.Rodrigues(np.radians([tilt_x_deg, 0.0, 0.0]))[0]
    turn = turn @ cv2.Rodrigues(np.radians([0.0, tilt_y_deg, 0.0]))[0]
    middle = np.array([*Board().size_mm, 0.0]) / 2
    shift = np.array([0.0, 0.0, distance_mm]) - turn @ middle
    return Pose(cv2.Rodrigues(turn)[0].ravel(), shift)


def seen(pose: Pose, name: str, *, noise_px: float = 0.05, stretch: float = 1.0) -> DetectedBoard:
    """What a camera sees of the default board whose sheet is printed `stretch` times as large."""
    places = corners_mm(Board(), np.arange(160)) * stretch
    pixels = cv2.projectPoints(places, pose.rotation, pose.translation_mm, MATRIX, DISTORTION)[0][
        :, 0
    ]
    pixels += np.random.default_rng(len(name)).normal(0, noise_px, pixels.shape)
    inside = ((pixels > 8) & (pixels < [WIDTH - 8, HEIGHT - 8])).all(axis=1)
    return DetectedBoard(name, Corners(np.arange(160)[inside], pixels[inside], (HEIGHT, WIDTH)))


def frames(**changes: float) -> list[DetectedBoard]:
    return [seen(pose_of(*tilt), "x" * (n + 1), **changes) for n, tilt in enumerate(TILTS)]


def true_lens() -> LensFit:
    return LensFit(MATRIX, DISTORTION, 1.0, 0.0, (), ())


def test_lens_and_distortion_are_recovered() -> None:
    fit = fit_lens(Board(), frames())
    np.testing.assert_allclose(fit.matrix[[0, 1], [0, 1]], [1500, 1490], rtol=0.003)
    np.testing.assert_allclose(fit.matrix[:2, 2], [330, 236], atol=3)
    assert fit.distortion[0] == pytest.approx(-0.25, abs=0.02)
    assert fit.error_px == pytest.approx(0.05 * np.sqrt(2), rel=0.1)
    assert fit.focal_std_px < 5


def test_straight_down_the_scale_is_focal_length_over_distance() -> None:
    scale = plane_scale(Board(), true_lens(), pose_of(0, 0))
    assert scale.px_per_mm == pytest.approx(np.sqrt(1500 * 1490) / DISTANCE_MM, rel=1e-4)
    assert scale.area_px2_per_mm2 == pytest.approx(scale.px_per_mm**2, rel=1e-6)
    assert scale.pixel == pytest.approx((330, 236), abs=1e-3)


def test_in_an_oblique_view_the_scale_stays_and_the_plane_is_foreshortened() -> None:
    straight = plane_scale(Board(), true_lens(), pose_of(0, 0))
    oblique = plane_scale(Board(), true_lens(), pose_of(60, 0))
    assert oblique.px_per_mm == pytest.approx(straight.px_per_mm, rel=1e-6)
    assert oblique.area_px2_per_mm2 == pytest.approx(straight.area_px2_per_mm2 / 2, rel=1e-4)


def test_a_plane_above_the_sheet_is_nearer_to_the_camera() -> None:
    scale = plane_scale(Board(), true_lens(), pose_of(0, 0), plane_offset_mm=10.0)
    nearer = np.sqrt(1500 * 1490) / (DISTANCE_MM - 10)
    assert scale.px_per_mm == pytest.approx(nearer, rel=1e-4)


def test_a_sheet_that_was_printed_too_small_is_allowed_for() -> None:
    fit = fit_lens(Board(), frames(stretch=0.98), printed_scale=0.98)
    scale = plane_scale(Board(), fit, fit.poses[0], printed_scale=0.98)
    assert scale.px_per_mm == pytest.approx(np.sqrt(1500 * 1490) / DISTANCE_MM, rel=0.002)


def test_too_few_photographs_are_refused() -> None:
    with pytest.raises(CaptureError, match=r"at least 6 usable photographs .*, got 5; next step"):
        fit_lens(Board(), frames()[:5])


def test_boards_that_are_all_held_alike_are_refused() -> None:
    alike = [seen(pose_of(n, 0, 400 + 5 * n), "x" * (n + 1)) for n in range(8)]
    with pytest.raises(
        CaptureError, match=r"poses of the board are too similar.*next step: tilt the board by 20"
    ):
        fit_lens(Board(), alike)


def test_photographs_that_do_not_fit_together_are_refused_with_the_worst() -> None:
    bent = frames()
    corners = bent[3].corners
    moved = corners.pixels + 6 * np.sin(corners.pixels / 40)
    bent[3] = DetectedBoard("bent", Corners(corners.ids, moved, corners.size))
    with pytest.raises(CaptureError, match=r"at most 1 px, got \d\.\d+ px \(worst: bent \d"):
        fit_lens(Board(), bent)
