"""Looking at a frame with the session's earlier photographs in mind."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from loco_tools.capture.checks import comparison, quality
from loco_tools.capture.checks.comparison import Floats
from loco_tools.capture.checks.gates import Verdict, judge
from loco_tools.capture.checks.quality import Part
from loco_tools.capture.session import JOURNAL, Session, Shot
from loco_tools.datasets.images import Pixels, read_image
from loco_tools.errors import CaptureError, DatasetError
from loco_tools.plan import PlannedShot


@dataclass(frozen=True)
class _Reference:
    part: Part | None
    sharpness: float


class Inspector:
    """Measures the frames of one session and judges them by the plan's gates.

    It keeps a thumbnail of each photograph, and reads those of an earlier run from the disk when
    it first needs them.
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
        """Measurements and verdicts of a frame.

        Args:
            shot: what the frame is of.
            image: (H, W, 3) uint8 RGB.
            second: a frame taken right after it, or None.
            taken: the photographs of the session that count, in the order they were taken.

        Returns:
            The figures of `quality.measure`, and those of these that apply: sharpness_ratio,
            right_mm, down_mm, offset_mm, angle_deg (against the view's reference; millimetres in
            the picture, by the plan's scale when it was not measured), motion_px,
            duplicate_difference (in multiples of the noise). Then the gates' verdicts.

        Raises:
            CaptureError: an earlier photograph is damaged or gone.
        """
        grey = quality.to_grey(image)
        part = quality.find_part(grey)
        measured = quality.figures(image, grey, part)
        if part is not None:
            measured |= self._against_reference(shot, part, measured["sharpness"], taken)
        if second is not None:
            measured["motion_px"] = comparison.motion_px(grey, quality.to_grey(second), part)
        resembles, difference = self._nearest(shot, grey, taken)
        if resembles:
            measured["duplicate_difference"] = difference
        rounded = {name: round(value, 4) for name, value in measured.items()}
        return rounded, judge(self._record.plan.gates, rounded, resembles=resembles)

    def _against_reference(
        self, shot: PlannedShot, part: Part, sharpness: float, taken: Sequence[Shot]
    ) -> dict[str, float]:
        reference = self._reference(reference_of(shot.view, taken))
        if reference is None or reference.part is None:
            return {}
        lies = comparison.displacement(part, reference.part, by_face=shot.kind == "good")
        scale = self._px_per_mm(shot.view)
        right, down = lies.right_px / scale, lies.down_px / scale
        return {
            "sharpness_ratio": sharpness / max(reference.sharpness, 1e-6),
            "right_mm": right,
            "down_mm": down,
            "offset_mm": math.hypot(right, down),
            "angle_deg": lies.angle_deg,
        }

    def _reference(self, shot: Shot | None) -> _Reference | None:
        if shot is None:
            return None
        if shot.sha256 not in self._references:
            grey = self._read(shot)
            part = quality.find_part(grey)
            sharpness = quality.sharpness(grey, part) if part is not None else 0.0
            self._references[shot.sha256] = _Reference(part, sharpness)
        return self._references[shot.sha256]

    def _px_per_mm(self, view: str) -> float:
        camera = self._record.plan.camera
        return self._record.px_per_mm.get(view, camera.width_px / camera.field_mm)

    def _nearest(self, shot: PlannedShot, grey: Pixels, taken: Sequence[Shot]) -> tuple[str, float]:
        """The photograph of another part, in the same view, that is most like the frame.

        Returns:
            Its name, and the difference in multiples of the noise; no name when there is none.
        """
        others = [old for old in taken if old.view == shot.view and old.part != shot.part]
        if not others:
            return "", 0.0
        earlier = np.stack([self._thumbnail(old) for old in others])
        differences = comparison.thumbnail_differences(comparison.thumbnail(grey), earlier)
        nearest = int(differences.argmin())
        noise = comparison.thumbnail_noise(comparison.noise_levels(grey), grey)
        return others[nearest].shot, float(differences[nearest]) / noise

    def _thumbnail(self, shot: Shot) -> Floats:
        if shot.sha256 not in self._thumbnails:
            self._thumbnails[shot.sha256] = comparison.thumbnail(self._read(shot))
        return self._thumbnails[shot.sha256]

    def _read(self, shot: Shot) -> Pixels:
        try:
            return quality.to_grey(read_image(self._folder / shot.file))
        except DatasetError as error:
            raise CaptureError(
                f"{error}; it is needed to judge new photographs; next step: restore it from a "
                f"copy, or remove its line from {self._folder / JOURNAL} to take it again"
            ) from error


def reference_of(view: str, taken: Sequence[Shot]) -> Shot | None:
    """The photograph that a view's others are compared with: its first good one that passed.

    While every good one was kept in spite of a gate, it is the first of those.
    """
    good = [shot for shot in taken if shot.view == view and shot.kind == "good"]
    return next((shot for shot in good if not shot.overridden), good[0] if good else None)
