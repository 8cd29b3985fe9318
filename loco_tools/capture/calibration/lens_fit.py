"""Fitting the lens, and the pose of each board, to photographs of the board.

The method is that of Zhang, "A flexible new technique for camera calibration" (2000), in OpenCV's
implementation, with radial distortion k1, k2 and tangential distortion p1, p2.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from loco_tools.capture.calibration.board import Board, Corners, corners_mm
from loco_tools.errors import CaptureError

LEAST_FRAMES = 6
_LEAST_TURN_DEG = 10.0
_FOCAL_SHARE = 0.02
"""Largest relative standard deviation of the focal length."""

_WORST_NAMED = 3

Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class DetectedBoard:
    """The corners of the board in one photograph; `view` is set if it lay in the part's plane."""

    name: str
    corners: Corners
    view: str | None = None


@dataclass(frozen=True)
class Pose:
    """The pose of a board in camera coordinates: rotation vector, and translation in mm."""

    rotation: Numbers
    translation_mm: Numbers

    def matrix(self) -> Numbers:
        """The rotation matrix (3, 3)."""
        import cv2

        return np.asarray(cv2.Rodrigues(self.rotation)[0], dtype=np.float64)


@dataclass(frozen=True)
class LensFit:
    """The lens and the poses that fit the photographs best.

    Attributes:
        matrix: camera matrix (3, 3).
        distortion: (5,) k1, k2, p1, p2, k3; k3 is fixed at 0.
        focal_std_px: standard deviation of the focal length.
        error_px: reprojection error, root mean square over all corners.
        poses: one for each photograph.
        errors_px: reprojection error of each photograph.
    """

    matrix: Numbers
    distortion: Numbers
    focal_std_px: float
    error_px: float
    poses: tuple[Pose, ...]
    errors_px: tuple[float, ...]


@dataclass(frozen=True)
class PlaneScale:
    """Scale at one position in a plane: see `loco_tools.capture.calibration.record`."""

    px_per_mm: float
    area_px2_per_mm2: float
    pixel: tuple[float, float]


def fit_lens(
    board: Board,
    frames: Sequence[DetectedBoard],
    *,
    printed_scale: float = 1.0,
    max_error_px: float = 1.0,
) -> LensFit:
    """Fit the lens to photographs of the board.

    Args:
        board: the board in the photographs.
        frames: at least `LEAST_FRAMES`, tilted differently.
        printed_scale: true length of a millimetre on the sheet.
        max_error_px: the largest reprojection error that is accepted.

    Raises:
        CaptureError: there are too few photographs, their poses are too similar, or they do not
            fit together.
    """
    if len(frames) < LEAST_FRAMES:
        raise CaptureError(
            f"expected at least {LEAST_FRAMES} usable photographs of the board, got {len(frames)}; "
            "next step: take more, tilted to different sides"
        )
    fit = _calibrate(board, frames, printed_scale)
    if fit.error_px > max_error_px:
        worst = sorted(zip(fit.errors_px, frames, strict=True), key=lambda pair: -pair[0])
        named = ", ".join(f"{frame.name} {error:.2f}" for error, frame in worst[:_WORST_NAMED])
        raise CaptureError(
            "the photographs do not fit together: expected a reprojection error of at most "
            f"{max_error_px:g} px, got {fit.error_px:.2f} px (worst: {named}); next step: lay the "
            "board on something flat, do not change focus, zoom and camera, and leave out blurred "
            "photographs"
        )
    normals = np.stack([pose.matrix()[:, 2] for pose in fit.poses])
    turn = float(np.degrees(np.arccos(np.clip(normals @ normals.T, -1.0, 1.0).min())))
    share = fit.focal_std_px / float(fit.matrix[0, 0])
    if turn < _LEAST_TURN_DEG or not share <= _FOCAL_SHARE:
        raise CaptureError(
            f"the poses of the board are too similar: expected differences of at least "
            f"{_LEAST_TURN_DEG:g} degrees and a focal length known to {_FOCAL_SHARE:.0%}, got "
            f"{turn:.0f} degrees and {share:.1%}; next step: tilt the board by 20 to 40 degrees, "
            "to different sides"
        )
    return fit


def plane_scale(
    board: Board,
    fit: LensFit,
    pose: Pose,
    *,
    plane_offset_mm: float = 0.0,
    printed_scale: float = 1.0,
) -> PlaneScale:
    """The scale above the middle of a board, in a plane parallel to it.

    Args:
        board: in the photograph.
        fit: the lens.
        pose: of the board.
        plane_offset_mm: height of the plane above the printed face, towards the camera.
        printed_scale: true length of a millimetre on the sheet.
    """
    import cv2

    across, down = board.size_mm
    place = np.array([across / 2 * printed_scale, down / 2 * printed_scale, -plane_offset_mm])
    pixels, slopes = cv2.projectPoints(
        place[None], pose.rotation, pose.translation_mm, fit.matrix, fit.distortion
    )
    per_mm = np.asarray(slopes, dtype=np.float64)[:, 3:6]  # (2, 3): pixels per mm, camera axes
    in_plane = per_mm @ pose.matrix()[:, :2]
    square_on = abs(float(np.linalg.det(per_mm[:, :2])))
    x, y = np.asarray(pixels).ravel().tolist()
    return PlaneScale(float(np.sqrt(square_on)), abs(float(np.linalg.det(in_plane))), (x, y))


def _calibrate(board: Board, frames: Sequence[DetectedBoard], printed_scale: float) -> LensFit:
    import cv2

    places = [corners_mm(board, seen.corners.ids) * printed_scale for seen in frames]
    height, width = frames[0].corners.size
    error, matrix, distortion, turns, shifts, deviations, _, errors = cv2.calibrateCameraExtended(
        [place.astype(np.float32) for place in places],
        [seen.corners.pixels.astype(np.float32) for seen in frames],
        (width, height),
        np.eye(3),
        np.zeros(5),
        flags=cv2.CALIB_FIX_K3,
    )
    return LensFit(
        matrix=np.asarray(matrix, dtype=np.float64),
        distortion=np.asarray(distortion, dtype=np.float64).ravel()[:5],
        focal_std_px=float(np.asarray(deviations).ravel()[:2].max()),
        error_px=float(error),
        poses=tuple(
            Pose(
                np.asarray(turn, dtype=np.float64).ravel(),
                np.asarray(shift, dtype=np.float64).ravel(),
            )
            for turn, shift in zip(turns, shifts, strict=True)
        ),
        errors_px=tuple(np.asarray(errors).ravel().tolist()),
    )
