"""Calibrating a camera at its rig, with photographs of the board."""

import datetime
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import numpy as np

from loco_tools.capture.calibration import board_photographs
from loco_tools.capture.calibration.board import Board, BoardError, check_enough, find_corners
from loco_tools.capture.calibration.board_photographs import AskOperator, BoardPhotograph
from loco_tools.capture.calibration.lens_fit import (
    DetectedBoard,
    LensFit,
    Pose,
    fit_lens,
    plane_scale,
)
from loco_tools.capture.calibration.record import (
    CameraCalibration,
    Lens,
    Sheet,
    UsedFrame,
    ViewScale,
)
from loco_tools.capture.cameras import Camera, open_camera
from loco_tools.datasets.images import write_png
from loco_tools.errors import CaptureError
from loco_tools.plan import Plan, View
from loco_tools.progress import SILENT, Progress

_LEAST_SHIFT = 0.02
"""Corners have to move by this share of the picture's width between two photographs."""

DEFAULT_SHEET = Sheet()
"""The default board, printed at true scale, with the part's plane at the sheet."""


def calibrate(
    plan: Plan,
    *,
    camera: str = "twin",
    sheet: Sheet = DEFAULT_SHEET,
    images: Path | None = None,
    tilted: int = 12,
    max_error_px: float = 1.0,
    keep: Path | None = None,
    ask: AskOperator | None = None,
    seed: int = 0,
    progress: Progress = SILENT,
) -> CameraCalibration:
    """Measure a camera's lens, and the scale in the part's plane for every view.

    The camera is always connected, to record its identity. Only the folder `keep` is written.

    Args:
        plan: has the views and the camera's settings.
        camera: the camera, in the form that `--camera` takes; a `folder:` is used as `images`.
        sheet: the board as it is printed.
        images: a folder of photographs that the camera has taken before; `<view>.png` shows the
            board flat.
        tilted: number of photographs of the tilted board to take.
        max_error_px: the largest reprojection error that is accepted.
        keep: an empty or new folder for the photographs, to be used as `images` later.
        ask: asks the operator; required to take photographs.
        seed: random seed of light and noise, for the twin.
        progress: receives progress and notes.

    Raises:
        CaptureError: the camera cannot be used, there is no operator, or the photographs show
            another board, too few corners or too similar poses, or do not fit together.
    """
    with open_camera(camera, plan, seed=seed) as device:
        photographs = _UsablePhotographs(plan, sheet.board, keep)
        if images is None and device.identity.startswith("folder:"):
            images = Path(device.identity.removeprefix("folder:").rpartition("#")[0])
        if images is not None:
            _use_all(board_photographs.read_photographs(images, plan), photographs, progress)
        elif device.simulated:
            _use_all(
                board_photographs.render_photographs(plan, sheet.board, tilted, seed),
                photographs,
                progress,
            )
        elif ask is not None:
            board_photographs.photograph_board(device, plan, tilted, photographs.add, ask)
        else:
            raise CaptureError(
                f"camera {device.identity}: expected an operator who shows it the board, got no "
                "terminal; next step: run this in a terminal, or give photographs of the board "
                "with --images"
            )
        fit = fit_lens(
            sheet.board,
            photographs.detected,
            printed_scale=sheet.printed_scale,
            max_error_px=max_error_px,
        )
        return _make_record(plan, device, sheet, photographs.detected, fit)


class _UsablePhotographs:
    """Collects the photographs that can be used."""

    def __init__(self, plan: Plan, board: Board, keep: Path | None) -> None:
        if keep is not None and keep.exists() and (not keep.is_dir() or any(keep.iterdir())):
            raise CaptureError(
                f"{keep}: expected an empty or new folder; next step: another --keep"
            )
        self.detected: list[DetectedBoard] = []
        self._plan = plan
        self._board = board
        self._keep = keep

    def add(self, photograph: BoardPhotograph) -> None:
        """Find the board in a photograph and add it.

        Raises:
            BoardError: it cannot be used.
            CaptureError: its size is not that of the plan.
        """
        camera = self._plan.camera
        height, width = photograph.image.shape[:2]
        if (height, width) != (camera.height_px, camera.width_px):
            raise CaptureError(
                f"{photograph.name}: expected a picture of {camera.width_px} x {camera.height_px} "
                f"px as in the plan, got {width} x {height}; next step: set the camera's picture "
                "size"
            )
        corners = find_corners(self._board, photograph.image)
        check_enough(self._board, photograph.image, corners)
        # Flat boards may have the same pose: two views may differ by a turn of the part alone.
        for earlier in self.detected if photograph.view is None else ():
            _, here, there = np.intersect1d(earlier.corners.ids, corners.ids, return_indices=True)
            moved = earlier.corners.pixels[here] - corners.pixels[there]
            shift_px = np.median(np.linalg.norm(moved, axis=1)) if len(here) else np.inf
            if shift_px < _LEAST_SHIFT * width:
                raise BoardError(
                    f"the board is held as in {earlier.name}; next step: tilt it to another side"
                )
        if self._keep is not None:
            write_png(self._keep / f"{Path(photograph.name).stem}.png", photograph.image)
        self.detected.append(DetectedBoard(photograph.name, corners, photograph.view))


def _use_all(
    candidates: Iterator[BoardPhotograph], photographs: _UsablePhotographs, progress: Progress
) -> None:
    """Add the photographs that can be used; those of flat boards have to be usable."""
    with progress.task("photographs of the board") as advance:
        for photograph in candidates:
            try:
                photographs.add(photograph)
            except BoardError as error:
                if photograph.view is not None:
                    raise CaptureError(f"{photograph.name}: {error}") from error
                progress.note(f"{photograph.name} is left out: {error}")
            advance(1)


def _make_record(
    plan: Plan, device: Camera, sheet: Sheet, detected: list[DetectedBoard], fit: LensFit
) -> CameraCalibration:
    matrix = fit.matrix
    flat = {frame.view: pose for frame, pose in zip(detected, fit.poses, strict=True) if frame.view}
    return CameraCalibration(
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        loco_tools=version("loco-tools"),
        class_name=plan.name,
        camera=device.identity,
        simulated=device.simulated,
        settings=device.settings(),
        width_px=plan.camera.width_px,
        height_px=plan.camera.height_px,
        sheet=sheet,
        lens=Lens(
            focal_px=(float(matrix[0, 0]), float(matrix[1, 1])),
            principal_point_px=(float(matrix[0, 2]), float(matrix[1, 2])),
            distortion=tuple(fit.distortion.tolist()),
            focal_std_px=fit.focal_std_px,
        ),
        reprojection_error_px=fit.error_px,
        frames=tuple(
            UsedFrame(frame=frame.name, corners=len(frame.corners), error_px=error)
            for frame, error in zip(detected, fit.errors_px, strict=True)
        ),
        views=tuple(_view_scale(plan, view, flat[view.name], sheet, fit) for view in plan.views),
    )


def _view_scale(plan: Plan, view: View, pose: Pose, sheet: Sheet, fit: LensFit) -> ViewScale:
    scale = plane_scale(
        sheet.board,
        fit,
        pose,
        plane_offset_mm=sheet.plane_offset_mm,
        printed_scale=sheet.printed_scale,
    )
    x, y = scale.pixel
    if not (0 <= x < plan.camera.width_px and 0 <= y < plan.camera.height_px):
        raise CaptureError(
            f"view {view.name}: expected the middle of the board in the picture, got x {x:.0f}, "
            f"y {y:.0f}; next step: lay the middle of the board where the part lies"
        )
    return ViewScale(
        view=view,
        rotation_vector=tuple(pose.rotation.tolist()),
        translation_mm=tuple(pose.translation_mm.tolist()),
        px_per_mm=scale.px_per_mm,
        area_px2_per_mm2=scale.area_px2_per_mm2,
    )
