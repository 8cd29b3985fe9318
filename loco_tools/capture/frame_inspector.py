"""Measuring a frame and comparing it with the earlier photographs of its session."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from loco_tools.capture.checks import comparison, quality
from loco_tools.capture.checks.comparison import Floats
from loco_tools.capture.checks.gates import Verdict, judge
from loco_tools.capture.checks.quality import PartRegion
from loco_tools.capture.session import JOURNAL, Session, Shot
from loco_tools.datasets.images import Pixels, read_image
from loco_tools.errors import CaptureError, DatasetError
from loco_tools.plan import PlannedShot


@dataclass(frozen=True)
class _Reference:
    part: PartRegion | None
    sharpness: float


class Inspector:
    """Measures the frames of one session and checks them against the plan's quality gates.

    It keeps a thumbnail of each photograph. Photographs of an earlier run are read from the disk
    when they are first needed.
    """

    def __init__(self, folder: Path, record: Session) -> None:
        self._folder = folder
        self._record = record
        self._references: dict[str, _Reference] = {}
        self._thumbnails: dict[str, Floats] = {}

    def inspect(
        self,
        shot: PlannedShot,
        image: Pixels,
        second: Pixels | None,
        taken: Sequence[Shot],
    ) -> tuple[dict[str, float], tuple[Verdict, ...]]:
        """Measure and check a frame.

        Args:
            shot: the shot that the frame shows.
            image: (H, W, 3) uint8 RGB.
            second: a frame taken right after it, or None.
            taken: the photographs of the session, in the order they were taken.

        Returns:
            The measurements and the verdicts of the gates. The measurements are those of
            `quality.measure` and, if they apply: sharpness_ratio, right_mm, down_mm, offset_mm and
            angle_deg against the view's reference (in millimetres of the picture; with the plan's
            scale if it was not measured), motion_px, and duplicate_difference (in multiples of the
            noise).

        Raises:
            CaptureError: an earlier photograph is damaged or missing.
        """
        grey = quality.to_grey(image)
        part = quality.find_part(grey)
        measured = quality.measure_part(image, grey, part)
        if part is not None:
            measured |= self._compare_with_reference(shot, part, measured["sharpness"], taken)
        if second is not None:
            measured["motion_px"] = comparison.motion_px(grey, quality.to_grey(second), part)
        others = [old for old in taken if old.view == shot.view and old.part != shot.part]
        resembles = ""
        if others:
            for old in others:
                if old.sha256 not in self._thumbnails:
                    self._thumbnails[old.sha256] = comparison.thumbnail(self._read(old))
            earlier = np.stack([self._thumbnails[old.sha256] for old in others])
            differences = comparison.thumbnail_differences(comparison.thumbnail(grey), earlier)
            most_similar = int(differences.argmin())
            noise = comparison.thumbnail_noise(comparison.noise_levels(grey), grey)
            resembles = others[most_similar].shot
            measured["duplicate_difference"] = float(differences[most_similar]) / noise
        rounded = {name: round(value, 4) for name, value in measured.items()}
        return rounded, judge(self._record.plan.gates, rounded, resembles=resembles)

    def _compare_with_reference(
        self, shot: PlannedShot, part: PartRegion, sharpness: float, taken: Sequence[Shot]
    ) -> dict[str, float]:
        """Relative sharpness and displacement; empty without a reference that shows a part."""
        first = reference_of(shot.view, taken)
        if first is None:
            return {}
        if first.sha256 not in self._references:
            grey = self._read(first)
            region = quality.find_part(grey)
            level = quality.sharpness(grey, region) if region is not None else 0.0
            self._references[first.sha256] = _Reference(region, level)
        reference = self._references[first.sha256]
        if reference.part is None:
            return {}
        lies = comparison.displacement(part, reference.part, by_face=shot.kind == "good")
        camera = self._record.plan.camera
        scale = self._record.px_per_mm.get(shot.view, camera.width_px / camera.field_mm)
        right, down = lies.right_px / scale, lies.down_px / scale
        return {
            "sharpness_ratio": sharpness / max(reference.sharpness, 1e-6),
            "right_mm": right,
            "down_mm": down,
            "offset_mm": math.hypot(right, down),
            "angle_deg": lies.angle_deg,
        }

    def _read(self, shot: Shot) -> Pixels:
        try:
            return quality.to_grey(read_image(self._folder / shot.file))
        except DatasetError as error:
            raise CaptureError(
                f"{error}; it is needed to check new photographs; next step: restore it from a "
                f"copy, or remove its line from {self._folder / JOURNAL} to take it again"
            ) from error


def reference_of(view: str, taken: Sequence[Shot]) -> Shot | None:
    """The photograph that the others of a view are compared with: its first good one that passed.

    If every good one was kept in spite of a failed gate, it is the first of them.
    """
    good = [shot for shot in taken if shot.view == view and shot.kind == "good"]
    return next((shot for shot in good if not shot.overridden), good[0] if good else None)
