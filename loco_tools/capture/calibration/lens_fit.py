"""From photographs of the board to the lens and the pose of each board.

After Zhang, "A flexible new technique for camera calibration" (2000), as OpenCV has it, with radial
distortion k1, k2 and tangential p1, p2.
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
"""The focal length has to be known to this share of itself (one standard deviation)."""

_WORST_NAMED = 3

Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class Seen:
    """The corners of the board in one photograph; `view` when it lay in the part's plane."""

    name: str
    corners: Corners
    view: str | None = None


@dataclass(frozen=True)
class Pose:
    """From the board's coordinates to those of the camera: rotation vector and translation, mm."""

    rotation: Numbers
    translation_mm: Numbers

    def matrix(self) -> Numbers:
        """The rotation (3, 3)."""
        import cv2

        return np.asarray(cv2.Rodrigues(self.rotation)[0], dtype=np.float64)


@dataclass(frozen=True)
class Fit:
    """What the photographs say.

    Attributes:
        matrix: (3, 3) of the camera.
        distortion: (5,) k1, k2, p1, p2, k3; k3 is kept at 0.
        focal_std_px: standard deviation of the focal length.
        error_px: root mean square distance of all corners from where the fit has them.
        poses, errors_px: by photograph.
    """

    matrix: Numbers
    distortion: Numbers
    focal_std_px: float
    error_px: float
    poses: tuple[Pose, ...]
    errors_px: tuple[float, ...]


@dataclass(frozen=True)
class PlaneScale:
    """Scale at one place of a plane: see `loco_tools.capture.calibration.record`."""

    px_per_mm: float
    area_px2_per_mm2: float
    pixel: tuple[float, float]


def fit_lens(
    board: Board, frames: Sequence[Seen], *, printed_scale: float = 1.0, max_error_px: float = 1.0
) -> Fit:
    """Find the lens with which all photographs fit together.

    Args:
        board: the one they show.
        frames: at least `LEAST_FRAMES`, tilted differently.
        printed_scale: true length of the sheet's millimetre.
        max_error_px: the largest reprojection error that is accepted.

    Raises:
        CaptureError: too few photographs, poses too much alike, or they do not fit together.
    """
    if len(frames) < LEAST_FRAMES:
        raise CaptureError(
            f"expected at least {LEAST_FRAMES} usable photographs of the board, got {len(frames)}; "
            "next step: take more, tilted to different sides"
        )
    fit = _fitted(board, frames, printed_scale)
    if fit.error_px > max_error_px:
        raise _too_far_off(fit, frames, max_error_px)
    _refuse_alike(fit)
    return fit


def plane_scale(
    board: Board, fit: Fit, pose: Pose, *, plane_offset_mm: float = 0.0, printed_scale: float = 1.0
) -> PlaneScale:
    """The scale above the middle of a board, in a plane parallel to it.

    Args:
        board: that was seen.
        fit: the lens.
        pose: of the board.
        plane_offset_mm: how far the plane lies above the printed face, towards the camera.
        printed_scale: true length of the sheet's millimetre.
    """
    import cv2

    across, down = board.size_mm
    place = np.array([across / 2 * printed_scale, down / 2 * printed_scale, -plane_offset_mm])
    pixels, slopes = cv2.projectPoints(
        place[None], pose.rotation, pose.translation_mm, fit.matrix, fit.distortion
    )
    per_mm = np.asarray(slopes, dtype=np.float64)[
        :, 3:6
    ]  # (2, 3): pixels per mm of motion in camera coordinates
    in_plane = per_mm @ pose.matrix()[:, :2]
    square_on = abs(float(np.linalg.det(per_mm[:, :2])))
    x, y = np.asarray(pixels).ravel().tolist()
    return PlaneScale(float(np.sqrt(square_on)), abs(float(np.linalg.det(in_plane))), (x, y))


def _fitted(board: Board, frames: Sequence[Seen], printed_scale: float) -> Fit:
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
    return Fit(
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


def _too_far_off(fit: Fit, frames: Sequence[Seen], limit: float) -> CaptureError:
    worst = sorted(zip(fit.errors_px, frames, strict=True), key=lambda pair: -pair[0])
    named = ", ".join(f"{seen.name} {error:.2f}" for error, seen in worst[:_WORST_NAMED])
    return CaptureError(
        f"the photographs do not fit together: expected a reprojection error of at most {limit:g} "
        f"px, got {fit.error_px:.2f} px (worst: {named}); next step: lay the board on something "
        "flat, keep focus, zoom and camera as they are, and leave blurred photographs out"
    )


def _refuse_alike(fit: Fit) -> None:
    normals = np.stack([pose.matrix()[:, 2] for pose in fit.poses])
    turn = float(np.degrees(np.arccos(np.clip(normals @ normals.T, -1.0, 1.0).min())))
    share = fit.focal_std_px / float(fit.matrix[0, 0])
    if turn < _LEAST_TURN_DEG or not share <= _FOCAL_SHARE:
        raise CaptureError(
            f"the board's poses are too much alike: they differ by {turn:.0f} degrees and leave "
            f"the focal length open by {share:.1%}, expected at least {_LEAST_TURN_DEG:g} degrees "
            f"and at most {_FOCAL_SHARE:.0%}; next step: tilt the board by 20 to 40 degrees, to "
            "different sides"
        )
