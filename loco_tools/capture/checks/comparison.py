"""Measurements between frames: displacement of the part, motion, and duplicate photographs.

Outlines are compared in reduced pictures (`quality.SMALL_PX`), motion is measured at full size,
and photographs are compared as thumbnails.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import cv2
import numpy as np
import numpy.typing as npt

from loco_tools.capture.checks.quality import PartRegion
from loco_tools.datasets.images import Pixels

Floats = npt.NDArray[np.float32]

THUMBNAIL_PX = 96
"""Width of the thumbnails that are compared to find duplicate photographs."""

_MOTION_WINDOW_PX = 512

_LEAST_NOISE = 0.15
"""Lower bound of a thumbnail's noise in grey levels: rounding, and drift of the lamp."""

_REACH = 0.08
"""Largest shift, in picture widths, between the centroids of a damaged part and a good one."""

_SAME_SHAPE = 0.04
"""Two rotations fit equally well if their overlaps differ by less."""

_OTHER_WAY = 0.25
"""By how much the correlation of another rotation has to be higher for it to be chosen."""


@dataclass(frozen=True)
class Displacement:
    """Displacement of a part against a reference: pixels of the frame, and degrees.

    A positive angle is clockwise in the picture.
    """

    right_px: float
    down_px: float
    angle_deg: float

    @property
    def offset_px(self) -> float:
        """Distance of the two positions."""
        return math.hypot(self.right_px, self.down_px)


def displacement(part: PartRegion, reference: PartRegion, *, by_face: bool) -> Displacement:
    """Measure the displacement of a part by registering its outline with the reference's.

    Defects hardly change an outline, so this works for damaged parts too. If outlines fit in
    several rotations (a rectangle fits after half a turn), the smallest angle is returned, unless
    `by_face` is set and the pictures within them fit clearly better at another one.

    Args:
        part: of the frame.
        reference: of another frame of the same size.
        by_face: also compare the pictures within the outlines; only for parts without defects,
            since swapped pieces look like a part that was turned around.
    """
    turns = list(_fitting_turns(part, reference))
    best = min(turns, key=abs)
    if by_face:
        fits = {turn: _correlation(part, reference, turn) for turn in turns}
        other = max(turns, key=lambda turn: fits[turn])
        best = other if fits[other] > fits[best] + _OTHER_WAY else best
    (x, y), (from_x, from_y) = part.centre(), reference.centre()
    # The centroid of a part with a bent leg or a lost corner is shifted against that of a good
    # one, so the shift at which the outlines overlap most is added.
    reach = max(1, round(_REACH * part.silhouette.shape[1]))
    turned = _move(reference, reference.silhouette, part, best).astype(np.float32)
    edges = (reach, reach, reach, reach)
    padded = cv2.copyMakeBorder(part.silhouette, *edges, cv2.BORDER_CONSTANT).astype(np.float32)
    _, _, _, peak = cv2.minMaxLoc(cv2.matchTemplate(padded, turned, cv2.TM_CCORR))
    right, down = x - from_x + peak[0] - reach, y - from_y + peak[1] - reach
    return Displacement(right / part.scale, down / part.scale, best)


def _fitting_turns(part: PartRegion, reference: PartRegion) -> Iterator[float]:
    """Angles in degrees at which the outlines overlap best, or nearly as well."""
    coarse = [float(turn) for turn in range(-180, 180, 5)]
    tiny, tiny_reference = _halve(part), _halve(reference)
    overlaps = np.array([_overlap(tiny, tiny_reference, turn) for turn in coarse])
    limit = overlaps.max() - _SAME_SHAPE
    peaks = (overlaps >= np.roll(overlaps, 1)) & (overlaps >= np.roll(overlaps, -1))
    for index in np.flatnonzero(peaks & (overlaps >= limit)):
        yield _refine_turn(part, reference, coarse[index])


def _refine_turn(part: PartRegion, reference: PartRegion, turn: float) -> float:
    """Refine an angle in two steps of bisection and with a parabola through three overlaps."""
    for step in (2.5, 1.25):
        around = (turn - step, turn, turn + step)
        overlaps = [_overlap(part, reference, angle) for angle in around]
        turn = around[int(np.argmax(overlaps))]
    before, at, after = (_overlap(part, reference, turn + step) for step in (-1.5, 0.0, 1.5))
    bend = before - 2 * at + after
    peak = float(np.clip((before - after) / (2 * bend), -1.0, 1.0)) if bend < 0 else 0.0
    return (turn + 1.5 * peak + 180.0) % 360.0 - 180.0


def _halve(part: PartRegion) -> PartRegion:
    """The same part in a picture of half the size, for a coarse search."""
    size = (max(1, part.grey.shape[1] // 2), max(1, part.grey.shape[0] // 2))
    silhouette = cv2.resize(part.silhouette, size, interpolation=cv2.INTER_NEAREST)
    return replace(part, silhouette=np.asarray(silhouette, dtype=np.uint8))


def _overlap(part: PartRegion, reference: PartRegion, turn: float) -> float:
    """Intersection over union of the outlines after turning the reference onto the part."""
    turned = _move(reference, reference.silhouette, part, turn)
    both = cv2.countNonZero(cv2.bitwise_and(turned, part.silhouette))
    either = cv2.countNonZero(cv2.bitwise_or(turned, part.silhouette))
    return both / either


def _correlation(part: PartRegion, reference: PartRegion, turn: float) -> float:
    """Correlation of the two pictures within the part's outline."""
    moved = cv2.GaussianBlur(_move(reference, reference.grey, part, turn), (0, 0), 2.0)
    inside = part.silhouette > 0
    here = cv2.GaussianBlur(part.grey, (0, 0), 2.0)[inside].astype(np.float64)
    there = moved[inside].astype(np.float64)
    deviations = here.std() * there.std()
    if deviations == 0:
        return 0.0
    return float(((here - here.mean()) * (there - there.mean())).mean() / deviations)


def _move(reference: PartRegion, picture: Pixels, part: PartRegion, turn: float) -> Pixels:
    """A picture of the reference, turned clockwise and moved to the part's centroid."""
    x, y = part.centre()
    from_x, from_y = reference.centre()
    matrix = np.asarray(cv2.getRotationMatrix2D((from_x, from_y), -turn, 1.0), dtype=np.float64)
    matrix[:, 2] += (x - from_x, y - from_y)
    size = (part.silhouette.shape[1], part.silhouette.shape[0])
    return np.asarray(cv2.warpAffine(picture, matrix, size), dtype=np.uint8)


def motion_px(first: Pixels, second: Pixels, part: PartRegion | None) -> float:
    """How far the picture moved between two grey frames (H, W) of one size, in pixels.

    It is measured by phase correlation of a window around the part.
    """
    height, width = first.shape
    x, y = (width / 2, height / 2)
    if part is not None:
        x, y = (value / part.scale for value in part.centre())
    window = _span(y, height), _span(x, width)
    a, b = (frame[window].astype(np.float32) for frame in (first, second))
    if not (np.ptp(a) and np.ptp(b)):
        return 0.0  # Phase correlation finds a random shift in a picture without content.
    hann = cv2.createHanningWindow((a.shape[1], a.shape[0]), cv2.CV_32F)
    (dx, dy), _ = cv2.phaseCorrelate(a - a.mean(), b - b.mean(), hann)
    return math.hypot(dx, dy)


def _span(middle: float, size: int) -> slice:
    length = min(size, _MOTION_WINDOW_PX)
    start = min(max(0, round(middle - length / 2)), size - length)
    return slice(start, start + length)


def noise_levels(grey: Pixels) -> float:
    """Standard deviation of the sensor's noise in grey levels, from one frame (H, W).

    The mask of Immerkaer (Computer Vision and Image Understanding 64(2), 1996) is zero on smooth
    shading and straight edges. Deviation: the median replaces the mean, so that texture and corners
    count less. A fine weave of the cloth still counts as noise.
    """
    mask = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], dtype=np.float32)
    rough = np.abs(cv2.filter2D(grey[::2], cv2.CV_32F, mask))
    return float(np.median(rough)) * 1.4826 / 6


def thumbnail(grey: Pixels) -> Floats:
    """Reduce a grey frame to (h, w) float32, at most `THUMBNAIL_PX` wide, for comparison."""
    ratio = min(1.0, THUMBNAIL_PX / grey.shape[1])
    size = (max(1, round(grey.shape[1] * ratio)), max(1, round(grey.shape[0] * ratio)))
    small = cv2.resize(grey.astype(np.float32), size, interpolation=cv2.INTER_AREA)
    return np.asarray(small, dtype=np.float32)


def thumbnail_differences(now: Floats, earlier: Floats) -> Floats:
    """Root mean square difference (N,) in grey levels of a thumbnail (h, w) to each of (N, h, w).

    Each earlier thumbnail is first adjusted to the brightness and contrast of the present one, so
    that a drift of the lamp does not count as a difference.
    """
    centred = now - now.mean()
    others = earlier - earlier.mean(axis=(1, 2), keepdims=True)
    power = np.einsum("nij,nij->n", others, others)
    gain = np.einsum("ij,nij->n", centred, others) / np.maximum(power, 1e-6)
    left = float((centred**2).sum()) - gain**2 * power
    return np.asarray(np.sqrt(np.maximum(left, 0.0) / now.size), dtype=np.float32)


def thumbnail_noise(noise: float, grey: Pixels) -> float:
    """Expected root mean square difference in grey levels of two thumbnails of one still scene."""
    averaged = max(1.0, grey.shape[1] / THUMBNAIL_PX) ** 2  # pixels per pixel of the thumbnail
    return max(noise * math.sqrt(2 / averaged), _LEAST_NOISE)
