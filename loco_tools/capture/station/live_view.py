"""The live picture: one JPEG for all viewers, and what it measures."""

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


class Look(Schema):
    """What a live frame measures.

    `sharpness` is None when no part is in the frame; `reference` is that of the view's reference,
    None when there is none; `peak` the best sharpness since the shot became the current one.
    `histogram` has the shares of `BINS` brightness ranges, dark to bright, the largest being 1, on
    a square-root scale. `saturated` and `black` are shares of the part's pixels.
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
    """A JPEG to show. `number` grows with each."""

    number: int
    jpeg: bytes


def look_at(image: Pixels, shot: str, *, before: Look | None, reference: float | None) -> Look:
    """Measure a live frame (H, W, 3) uint8 RGB.

    Args:
        image: the frame.
        shot: the current one.
        before: what the frame before measured; holds the peak.
        reference: sharpness of the view's reference.
    """
    grey = to_grey(image)
    part = find_part(grey)
    now = None if part is None else sharpness(grey, part)
    held = before.peak if before is not None and before.shot == shot else None
    known = [value for value in (now, held) if value is not None]
    saturated, black = clipped_shares(image, part)
    return Look(
        shot=shot,
        sharpness=now,
        peak=max(known, default=None),
        reference=reference,
        histogram=_histogram(grey),
        saturated=saturated,
        black=black,
    )


def sharpness_of(path: Path) -> float | None:
    """Sharpness of the photograph in a file; None when it shows no part."""
    grey = to_grey(read_image(path))
    part = find_part(grey)
    return None if part is None else sharpness(grey, part)


def to_jpeg(image: Pixels, *, widest_px: int = _WIDEST_PX) -> bytes:
    """(H, W, 3) uint8 RGB as JPEG, shrunk to that width when it is wider."""
    height, width = image.shape[:2]
    if width > widest_px:
        size = (widest_px, max(1, round(height * widest_px / width)))
        image = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
    bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    _, encoded = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
    return encoded.tobytes()


def _histogram(grey: Pixels) -> tuple[float, ...]:
    counts = np.bincount(grey.ravel() // (256 // BINS), minlength=BINS)
    largest = max(1, int(counts.max()))
    return tuple(round(math.sqrt(count / largest), 3) for count in counts)
