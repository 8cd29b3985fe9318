"""The calibration of a camera at its rig: its lens, and the scale of each view.

`loco-tools calibrate camera` writes it as a JSON file, `loco-tools capture --calibration FILE` adds
it to the session, and the conversion uses it to turn areas in mm2 into pixels.

Scale: `px_per_mm` is the scale at the part's position, for lengths parallel to the sensor. In an
oblique view, lengths in the part's plane look shorter; `area_px2_per_mm2` is the number of pixels
that one mm2 of that plane covers. Both include the distortion of the lens at that position, since
photographs are not undistorted. The scale of the digital twin has the same meaning.
"""

from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field, PositiveFloat, PositiveInt

from loco_tools import files
from loco_tools.capture.calibration.board import Board
from loco_tools.errors import CaptureError
from loco_tools.plan import Plan, View
from loco_tools.schema import Schema, read_json

Vector = Annotated[tuple[float, ...], Field(min_length=3, max_length=3)]


class Sheet(Schema):
    """The board as it is printed and as it lies in the views.

    Attributes:
        printed_scale: true length of a millimetre on the sheet, from its line of 100 mm.
        plane_offset_mm: height of the part's plane above the flat sheet; negative if the plane is
            below the sheet, such as the table under a thick board.
    """

    board: Board = Board()
    printed_scale: PositiveFloat = 1.0
    plane_offset_mm: float = 0.0


class Lens(Schema):
    """Camera matrix and distortion in OpenCV's convention: (0, 0) is the centre of a pixel.

    `focal_std_px` is the standard deviation of the fitted focal length.
    """

    focal_px: tuple[PositiveFloat, PositiveFloat]
    principal_point_px: tuple[float, float]
    distortion: Annotated[tuple[float, ...], Field(min_length=5, max_length=5)]
    """k1, k2, p1, p2, k3."""

    focal_std_px: PositiveFloat


class ViewScale(Schema):
    """The part's plane in one view.

    The pose maps points of the board (x right and y down the sheet from the corner of its first
    square, z into it, in mm) to the coordinates of the camera.
    """

    view: View
    rotation_vector: Vector
    translation_mm: Vector
    px_per_mm: PositiveFloat
    area_px2_per_mm2: PositiveFloat

    def describe(self) -> str:
        """The scale in one line, with the measured and the planned elevation of the view."""
        return (
            f"{self.view.name}: {self.px_per_mm:.4f} px per mm, the board seen from an elevation "
            f"of {self.elevation_deg():.0f} degrees (plan: {self.view.elevation_deg:.0f})"
        )

    def elevation_deg(self) -> float:
        """Elevation of the camera above the plane of the board; 90 is straight down."""
        import cv2

        rotation = cv2.Rodrigues(np.array(self.rotation_vector))[0]
        return float(np.degrees(np.arcsin(abs(rotation[2, 2]))))


class UsedFrame(Schema):
    """A photograph of the board: the number of corners found, and its reprojection error."""

    frame: str
    corners: PositiveInt
    error_px: float


class CameraCalibration(Schema):
    """The content of `calibration.json`.

    Attributes:
        camera: identity, in the form that `--camera` takes.
        settings: read back from the camera; empty if it was not connected.
        reprojection_error_px: root mean square over all corners of all frames.
    """

    schema_version: Literal[1] = 1
    created: str
    loco_tools: str
    class_name: str
    camera: str
    simulated: bool
    settings: dict[str, float | str]
    width_px: PositiveInt
    height_px: PositiveInt
    sheet: Sheet
    lens: Lens
    reprojection_error_px: float
    frames: tuple[UsedFrame, ...] = Field(min_length=1)
    views: tuple[ViewScale, ...] = Field(min_length=1)

    def px_per_mm(self) -> dict[str, float]:
        """The scale of each view by its name."""
        return {scale.view.name: scale.px_per_mm for scale in self.views}

    def describe(self) -> str:
        """The calibration in a few lines of text."""
        simulated = " (SIMULATED)" if self.simulated else ""
        focal = " x ".join(f"{focal:.1f}" for focal in self.lens.focal_px)
        return "\n".join(
            [
                f"{self.camera}{simulated}: {len(self.frames)} photographs of the board",
                f"  reprojection error {self.reprojection_error_px:.3f} px",
                f"  focal length {focal} px, known to {self.lens.focal_std_px:.1f} px",
                *(f"  {scale.describe()}" for scale in self.views),
            ]
        )

    def as_record(self) -> dict[str, Any]:
        """The calibration as plain data for JSON."""
        return self.model_dump(mode="json")

    def check_fits(self, plan: Plan, camera: str) -> None:
        """Check that it is for this camera, this picture size and these views.

        Args:
            plan: what is to be photographed.
            camera: identity of the camera.

        Raises:
            CaptureError: it is not.
        """
        size = (self.width_px, self.height_px)
        wanted = (plan.camera.width_px, plan.camera.height_px)
        if self.camera != camera:
            raise _unfit(f"is for camera {self.camera!r}, the session uses {camera!r}")
        if size != wanted:
            raise _unfit(f"is for {_by(size)} px, the plan's pictures have {_by(wanted)} px")
        known = {scale.view.name: scale.view for scale in self.views}
        changed = [view.name for view in plan.views if known.get(view.name) != view]
        if changed:
            raise _unfit(f"lacks the plan's view {', '.join(changed)} in its present form")


def read_calibration(path: Path) -> CameraCalibration:
    """Read a file that `loco-tools calibrate camera` wrote.

    Raises:
        CaptureError: there is no such file.
        DefinitionError: the file is damaged.
    """
    if not path.is_file():
        raise CaptureError(
            f"{path}: no such calibration; next step: loco-tools calibrate camera --class NAME "
            f"--out {path}"
        )
    return read_json(CameraCalibration, path)


def write_calibration(path: Path, calibration: CameraCalibration) -> None:
    """Write a calibration, atomically."""
    files.write_text(path, calibration.model_dump_json(indent=2) + "\n")


def _by(size: tuple[int, int]) -> str:
    return f"{size[0]} x {size[1]}"


def _unfit(why: str) -> CaptureError:
    return CaptureError(
        f"the calibration {why}; next step: calibrate this camera with loco-tools calibrate camera"
    )
