"""Calibrating a camera at its rig with photographs of the board."""

import datetime
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import numpy as np

from loco_tools.capture.calibration import board_photographs
from loco_tools.capture.calibration.board import Board, BoardError, check_enough, find
from loco_tools.capture.calibration.board_photographs import Ask, Photograph
from loco_tools.capture.calibration.lens_fit import Fit, Pose, Seen, fit_lens, plane_scale
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
"""Corners have to move by this share of the picture's width from one photograph to another."""


DEFAULT_SHEET = Sheet()
"""The default board, printed at true scale, and the part's plane where the sheet lay."""


def calibrate(
    plan: Plan,
    *,
    camera: str = "twin",
    sheet: Sheet = DEFAULT_SHEET,
    images: Path | None = None,
    tilted: int = 12,
    max_error_px: float = 1.0,
    keep: Path | None = None,
    ask: Ask | None = None,
    seed: int = 0,
    progress: Progress = SILENT,
) -> CameraCalibration:
    """Find a camera's lens, and the scale in the part's plane of every view.

    The camera is connected in any case, to know which one it is. Nothing is written but `keep`.

    Args:
        plan: gives the views and the camera's settings.
        camera: as `--camera` takes it; a `folder:` of images needs nothing else.
        sheet: the board as it is printed.
        images: photographs that the camera has taken before; `<view>.png` shows the board flat.
        tilted: how many photographs of the tilted board to take.
        max_error_px: the largest reprojection error that is accepted.
        keep: an empty or new folder for the photographs, to be given as `images` another time.
        ask: the operator; needed to take photographs.
        seed: of light and noise, for the twin.
        progress: where to report to.

    Raises:
        CaptureError: the camera cannot be used, no operator is there, or the photographs show
            another board, too few corners, too few poses, or do not fit together.
    """
    with open_camera(camera, plan, seed=seed) as device:
        gathered = _Gathered(plan, sheet.board, keep)
        if images is None and device.identity.startswith("folder:"):
            images = Path(device.identity.removeprefix("folder:").rpartition("#")[0])
        if images is not None:
            _use_all(board_photographs.in_folder(images, plan), gathered, progress)
        elif device.simulated:
            _use_all(
                board_photographs.rendered(plan, sheet.board, tilted, seed), gathered, progress
            )
        elif ask is not None:
            board_photographs.take(device, plan, tilted, gathered.add, ask)
        else:
            raise CaptureError(
                f"camera {device.identity}: somebody has to show it the board; next step: run this "
                "in a terminal, or give photographs of the board with --images"
            )
        fit = fit_lens(
            sheet.board, gathered.seen, printed_scale=sheet.printed_scale, max_error_px=max_error_px
        )
        return _calibration(plan, device, sheet, gathered.seen, fit)


class _Gathered:
    """The usable photographs so far."""

    def __init__(self, plan: Plan, board: Board, keep: Path | None) -> None:
        if keep is not None and keep.exists() and (not keep.is_dir() or any(keep.iterdir())):
            raise CaptureError(
                f"{keep}: expected an empty or new folder; next step: another --keep"
            )
        self.seen: list[Seen] = []
        self._plan = plan
        self._board = board
        self._keep = keep

    def add(self, photograph: Photograph) -> None:
        """Take a photograph in.

        Raises:
            BoardError: it is of no use.
            CaptureError: it has another size than the plan's.
        """
        camera = self._plan.camera
        height, width = photograph.image.shape[:2]
        if (height, width) != (camera.height_px, camera.width_px):
            raise CaptureError(
                f"{photograph.name}: expected a picture of {camera.width_px} x {camera.height_px} "
                f"px, as the plan has it, got {width} x {height}; next step: set the camera's size"
            )
        corners = find(self._board, photograph.image)
        check_enough(self._board, photograph.image, corners)
        seen = Seen(photograph.name, corners, photograph.view)
        self._refuse_same_pose(seen)
        if self._keep is not None:
            write_png(self._keep / f"{Path(photograph.name).stem}.png", photograph.image)
        self.seen.append(seen)

    def _refuse_same_pose(self, new: Seen) -> None:
        """Flat boards may lie alike: two views may differ by a turn of the part alone."""
        for old in self.seen:
            if new.view is None and _shift(old, new) < _LEAST_SHIFT * new.corners.size[1]:
                raise BoardError(
                    f"the board is held as in {old.name}; next step: tilt it to another side"
                )


def _shift(old: Seen, new: Seen) -> float:
    """Median distance in pixels between the corners that two photographs share."""
    _, here, there = np.intersect1d(old.corners.ids, new.corners.ids, return_indices=True)
    if len(here) == 0:
        return float("inf")
    moved = old.corners.pixels[here] - new.corners.pixels[there]
    return float(np.median(np.linalg.norm(moved, axis=1)))


def _use_all(found: Iterator[Photograph], gathered: _Gathered, progress: Progress) -> None:
    """Leave out what is of no use, but insist on the flat boards."""
    with progress.task("photographs of the board") as advance:
        for photograph in found:
            try:
                gathered.add(photograph)
            except BoardError as error:
                if photograph.view is not None:
                    raise CaptureError(f"{photograph.name}: {error}") from error
                progress.note(f"{photograph.name} is left out: {error}")
            advance(1)


def _calibration(
    plan: Plan, device: Camera, sheet: Sheet, seen: list[Seen], fit: Fit
) -> CameraCalibration:
    matrix = fit.matrix
    flat = {frame.view: pose for frame, pose in zip(seen, fit.poses, strict=True) if frame.view}
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
            for frame, error in zip(seen, fit.errors_px, strict=True)
        ),
        views=tuple(_view_scale(plan, view, flat[view.name], sheet, fit) for view in plan.views),
    )


def _view_scale(plan: Plan, view: View, pose: Pose, sheet: Sheet, fit: Fit) -> ViewScale:
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
            f"view {view.name}: the middle of the board is outside the picture, at x {x:.0f}, "
            f"y {y:.0f}; next step: lay the middle of the board where the part lies"
        )
    return ViewScale(
        view=view,
        rotation_vector=tuple(pose.rotation.tolist()),
        translation_mm=tuple(pose.translation_mm.tolist()),
        px_per_mm=scale.px_per_mm,
        area_px2_per_mm2=scale.area_px2_per_mm2,
    )
