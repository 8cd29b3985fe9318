"""The live view: one JPEG for all viewers, and its measurements."""

import math
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from loco_tools.capture.checks.quality import clipped_shares, find_part, sharpness, to_grey
from loco_tools.datasets.images import Pixels, read_image
from loco_tools.schema import Schema

BINS = 64
_WIDEST_PX = 1280
_QUALITY = 85


class LiveMeasurements(Schema):
    """The measurements of a live frame.

    Attributes:
        shot: the current shot.
        sharpness: of the part; None if no part was found.
        peak: the highest sharpness since the shot became the current one.
        reference: sharpness of the view's reference; None if there is none.
        histogram: square roots of the counts of `BINS` brightness ranges, from dark to bright,
            divided by the largest.
        saturated, black: shares of the part's pixels at 255 and at 0.
    """

    shot: str
    sharpness: float | None
    peak: float | None
    reference: float | None
    histogram: tuple[float, ...]
    saturated: float
    black: float


@dataclass(frozen=True)
class LiveFrame:
    """A JPEG to show, with a number that increases with each frame."""

    number: int
    jpeg: bytes


def measure_live_frame(
    image: Pixels, shot: str, *, before: LiveMeasurements | None, reference: float | None
) -> LiveMeasurements:
    """Measure a live frame (H, W, 3) uint8 RGB.

    Args:
        image: the frame.
        shot: the current shot.
        before: the measurements of the previous frame, which hold the peak.
        reference: sharpness of the view's reference.
    """
    grey = to_grey(image)
    part = find_part(grey)
    now = None if part is None else sharpness(grey, part)
    held = before.peak if before is not None and before.shot == shot else None
    known = [value for value in (now, held) if value is not None]
    saturated, black = clipped_shares(image, part)
    counts = np.bincount(grey.ravel() // (256 // BINS), minlength=BINS)
    largest = max(1, int(counts.max()))
    return LiveMeasurements(
        shot=shot,
        sharpness=now,
        peak=max(known, default=None),
        reference=reference,
        histogram=tuple(round(math.sqrt(count / largest), 3) for count in counts),
        saturated=saturated,
        black=black,
    )


def read_sharpness(path: Path) -> float | None:
    """Sharpness of the photograph in a file; None if no part was found in it."""
    grey = to_grey(read_image(path))
    part = find_part(grey)
    return None if part is None else sharpness(grey, part)


def to_jpeg(image: Pixels, *, widest_px: int = _WIDEST_PX) -> bytes:
    """Encode (H, W, 3) uint8 RGB as JPEG, reduced to `widest_px` if it is wider."""
    height, width = image.shape[:2]
    if width > widest_px:
        size = (widest_px, max(1, round(height * widest_px / width)))
        image = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
    bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    _, encoded = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
    return encoded.tobytes()
