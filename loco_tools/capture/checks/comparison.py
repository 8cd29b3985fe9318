"""Measurements between frames: how a part lies, what moves, and which photographs are alike.

Shapes are compared in small pictures (`quality.SMALL_PX`), motion at full size, and photographs as
thumbnails.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import cv2
import numpy as np
import numpy.typing as npt

from loco_tools.capture.checks.quality import Part
from loco_tools.datasets.images import Pixels

Floats = npt.NDArray[np.float32]

THUMBNAIL_PX = 96
"""Width of the thumbnails by which a photograph is recognised."""

_MOTION_WINDOW_PX = 512

_LEAST_NOISE = 0.15
"""Least noise of a thumbnail in grey levels: rounding, and what the lamp's wandering leaves."""

_REACH = 0.08
"""How far, in picture widths, the middle of a damaged part may be from its centroid's place."""

_SAME_SHAPE = 0.04
"""Two ways to lay one outline on another are equally good when their overlaps differ by less."""

_OTHER_WAY = 0.25
"""How much better (in correlation) a photograph has to fit another way round to be called so."""


@dataclass(frozen=True)
class Displacement:
    """How a part lies, compared with another of its kind: pixels of the frame, degrees.

    A positive angle is clockwise in the picture.
    """

    right_px: float
    down_px: float
    angle_deg: float

    @property
    def offset_px(self) -> float:
        """How far its middle is off."""
        return math.hypot(self.right_px, self.down_px)


def displacement(part: Part, reference: Part, *, by_face: bool) -> Displacement:
    """How the part lies compared with the reference, by laying one outline on the other.

    Defects hardly change an outline, so this works for damaged parts too. Outlines that fit in
    several ways (a rectangle fits either way round) say nothing of which: the smallest turn is
    given then, unless `by_face` is set and the picture within them fits another way clearly better.

    Args:
        part: of the frame.
        reference: that of another frame of the same size.
        by_face: look at what is within the outlines too; for parts without defects, since swapped
            pieces look like a part the other way round.
    """
    turns = list(_fitting_turns(part, reference))
    best = min(turns, key=abs)
    if by_face:
        fits = {turn: _likeness(part, reference, turn) for turn in turns}
        other = max(turns, key=lambda turn: fits[turn])
        best = other if fits[other] > fits[best] + _OTHER_WAY else best
    (x, y), (from_x, from_y) = part.centre(), reference.centre()
    more_x, more_y = _shift(part, reference, best)
    return Displacement(
        (x - from_x + more_x) / part.scale, (y - from_y + more_y) / part.scale, best
    )


def _fitting_turns(part: Part, reference: Part) -> Iterator[float]:
    """Angles in degrees at which the reference's outline covers the part's about best."""
    coarse = [float(turn) for turn in range(-180, 180, 5)]
    tiny, tiny_reference = _shrunk(part), _shrunk(reference)
    overlaps = np.array([_overlap(tiny, tiny_reference, turn) for turn in coarse])
    limit = overlaps.max() - _SAME_SHAPE
    peaks = (overlaps >= np.roll(overlaps, 1)) & (overlaps >= np.roll(overlaps, -1))
    for index in np.flatnonzero(peaks & (overlaps >= limit)):
        yield _refined(part, reference, coarse[index])


def _refined(part: Part, reference: Part, turn: float) -> float:
    for step in (2.5, 1.25):
        around = (turn - step, turn, turn + step)
        overlaps = [_overlap(part, reference, angle) for angle in around]
        turn = around[int(np.argmax(overlaps))]
    peak = _peak_of_parabola(*(_overlap(part, reference, turn + d) for d in (-1.5, 0.0, 1.5)))
    return (turn + 1.5 * peak + 180.0) % 360.0 - 180.0


def _peak_of_parabola(before: float, at: float, after: float) -> float:
    """Where the parabola through three values at -1, 0 and 1 is highest, in -1 to 1."""
    bend = before - 2 * at + after
    return float(np.clip((before - after) / (2 * bend), -1.0, 1.0)) if bend < 0 else 0.0


def _shrunk(part: Part) -> Part:
    """The same part in a picture half the size, for a coarse search."""
    size = (max(1, part.grey.shape[1] // 2), max(1, part.grey.shape[0] // 2))
    silhouette = cv2.resize(part.silhouette, size, interpolation=cv2.INTER_NEAREST)
    return replace(part, silhouette=np.asarray(silhouette, dtype=np.uint8))


def _overlap(part: Part, reference: Part, turn: float) -> float:
    """Intersection over union of the outlines, the reference turned, centroid on centroid."""
    turned = _moved(reference, reference.silhouette, part, turn)
    both = cv2.countNonZero(cv2.bitwise_and(turned, part.silhouette))
    either = cv2.countNonZero(cv2.bitwise_or(turned, part.silhouette))
    return both / either


def _shift(part: Part, reference: Part, turn: float) -> tuple[int, int]:
    """Pixels right and down from centroid on centroid to where the outlines overlap most.

    The centroid of a part with a bent leg or a lost corner is not where the rest of it lies.
    """
    reach = max(1, round(_REACH * part.silhouette.shape[1]))
    turned = _moved(reference, reference.silhouette, part, turn).astype(np.float32)
    edges = (reach, reach, reach, reach)
    room = cv2.copyMakeBorder(part.silhouette, *edges, cv2.BORDER_CONSTANT).astype(np.float32)
    _, _, _, (x, y) = cv2.minMaxLoc(cv2.matchTemplate(room, turned, cv2.TM_CCORR))
    return x - reach, y - reach


def _likeness(part: Part, reference: Part, turn: float) -> float:
    """Correlation of the two pictures within the part's outline."""
    moved = cv2.GaussianBlur(_moved(reference, reference.grey, part, turn), (0, 0), 2.0)
    inside = part.silhouette > 0
    here = cv2.GaussianBlur(part.grey, (0, 0), 2.0)[inside].astype(np.float64)
    there = moved[inside].astype(np.float64)
    spread = here.std() * there.std()
    if spread == 0:
        return 0.0
    return float(((here - here.mean()) * (there - there.mean())).mean() / spread)


def _moved(reference: Part, picture: Pixels, part: Part, turn: float) -> Pixels:
    """A picture of the reference, turned clockwise and laid on the part's centroid."""
    x, y = part.centre()
    from_x, from_y = reference.centre()
    matrix = np.asarray(cv2.getRotationMatrix2D((from_x, from_y), -turn, 1.0), dtype=np.float64)
    matrix[:, 2] += (x - from_x, y - from_y)
    size = (part.silhouette.shape[1], part.silhouette.shape[0])
    return np.asarray(cv2.warpAffine(picture, matrix, size), dtype=np.uint8)


def motion_px(first: Pixels, second: Pixels, part: Part | None) -> float:
    """How far the picture moved between two grey frames (H, W) of one size, in pixels.

    Phase correlation of a window about the part.
    """
    window = _window(first.shape, part)
    a, b = (frame[window].astype(np.float32) for frame in (first, second))
    if not (np.ptp(a) and np.ptp(b)):
        return 0.0  # phase correlation makes up a shift where there is nothing to see
    hann = cv2.createHanningWindow((a.shape[1], a.shape[0]), cv2.CV_32F)
    (dx, dy), _ = cv2.phaseCorrelate(a - a.mean(), b - b.mean(), hann)
    return math.hypot(dx, dy)


def _window(shape: tuple[int, ...], part: Part | None) -> tuple[slice, slice]:
    height, width = shape[:2]
    x, y = (width / 2, height / 2)
    if part is not None:
        x, y = (value / part.scale for value in part.centre())
    return _span(y, height), _span(x, width)


def _span(middle: float, size: int) -> slice:
    length = min(size, _MOTION_WINDOW_PX)
    start = min(max(0, round(middle - length / 2)), size - length)
    return slice(start, start + length)


def noise_levels(grey: Pixels) -> float:
    """Standard deviation of the sensor's noise in grey levels, from one frame (H, W).

    Immerkaer's mask (Computer Vision and Image Understanding 64(2), 1996), which smooth shading
    and straight edges leave at zero. Deviation: the median in place of the mean, so that texture
    and corners count less. A fine weave of the cloth is still taken for noise.
    """
    mask = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], dtype=np.float32)
    rough = np.abs(cv2.filter2D(grey[::2], cv2.CV_32F, mask))
    return float(np.median(rough)) * 1.4826 / 6


def thumbnail(grey: Pixels) -> Floats:
    """(h, w) float32, at most `THUMBNAIL_PX` wide, by which a photograph is recognised."""
    ratio = min(1.0, THUMBNAIL_PX / grey.shape[1])
    size = (max(1, round(grey.shape[1] * ratio)), max(1, round(grey.shape[0] * ratio)))
    small = cv2.resize(grey.astype(np.float32), size, interpolation=cv2.INTER_AREA)
    return np.asarray(small, dtype=np.float32)


def thumbnail_differences(now: Floats, earlier: Floats) -> Floats:
    """Root mean square difference (N,) in grey levels of a thumbnail (h, w) to each of (N, h, w).

    Each earlier one is brought to the brightness and contrast of the present one first: the lamp
    of a rig wanders, and the same part under it is still the same part.
    """
    centred = now - now.mean()
    others = earlier - earlier.mean(axis=(1, 2), keepdims=True)
    power = np.einsum("nij,nij->n", others, others)
    gain = np.einsum("ij,nij->n", centred, others) / np.maximum(power, 1e-6)
    left = float((centred**2).sum()) - gain**2 * power
    return np.asarray(np.sqrt(np.maximum(left, 0.0) / now.size), dtype=np.float32)


def thumbnail_noise(noise: float, grey: Pixels) -> float:
    """What two photographs of one still scene differ by, as thumbnails: root mean square levels."""
    averaged = max(1.0, grey.shape[1] / THUMBNAIL_PX) ** 2  # pixels per pixel of the thumbnail
    return max(noise * math.sqrt(2 / averaged), _LEAST_NOISE)
