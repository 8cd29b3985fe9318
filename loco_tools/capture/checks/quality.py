"""Measurements of one frame: the region of its part, its sharpness and its exposure.

The part is the largest bright region on a dark cloth.
"""

import math
from dataclasses import dataclass, replace

import cv2
import numpy as np
import numpy.typing as npt

from loco_tools.datasets.images import Pixels

SMALL_PX = 320
"""Largest width of the reduced picture in which the part is searched for and compared."""

_LIGHTER = 1.25
"""A part is lighter than the cloth by at least this factor; vignetting of a lens causes less."""

_BLURS_PX = (1.0, 3.0)
_MARGIN_PX = 4
"""Margin around the part, in the reduced picture, in which its edges are searched for."""

_EDGE_SHARE = 0.02
"""Share of the part's pixels that count as its edges."""


@dataclass(frozen=True)
class PartRegion:
    """The region of the part in a frame.

    Attributes:
        silhouette: (h, w) uint8, 255 inside the part's outline, holes included.
        grey: (h, w) uint8, the frame at that size.
        scale: width of that picture divided by the width of the frame.
        contrast: by how many grey levels the part is lighter than its surroundings.
    """

    silhouette: Pixels
    grey: Pixels
    scale: float
    contrast: float

    def mask(self, shape: tuple[int, ...]) -> npt.NDArray[np.bool_]:
        """The silhouette as (H, W) bool at the frame's own size."""
        size = (shape[1], shape[0])
        return cv2.resize(self.silhouette, size, interpolation=cv2.INTER_NEAREST) > 0

    def centre(self) -> tuple[float, float]:
        """Centroid (x, y) of the silhouette in its own pixels."""
        moments = cv2.moments(self.silhouette, binaryImage=True)
        area = moments["m00"]
        return moments["m10"] / area, moments["m01"] / area


def to_grey(image: Pixels) -> Pixels:
    """(H, W, 3) uint8 RGB as (H, W) uint8."""
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), dtype=np.uint8)


def measure(image: Pixels) -> dict[str, float]:
    """Measure one frame.

    Args:
        image: (H, W, 3) uint8 RGB.

    Returns:
        mean_level: mean grey level of the picture, 0-255;
        contrast: by how many grey levels the part is lighter than the cloth, 0 without a part;
        sharpness: of the part's edges, see `sharpness`, 0 without a part;
        saturated_share, black_share: see `clipped_shares`.
    """
    grey = to_grey(image)
    return measure_part(image, grey, find_part(grey))


def measure_part(image: Pixels, grey: Pixels, part: PartRegion | None) -> dict[str, float]:
    """The measurements of `measure`, for a frame whose part was searched for already."""
    saturated, black = clipped_shares(image, part)
    return {
        "mean_level": float(grey.mean()),
        "contrast": part.contrast if part is not None else 0.0,
        "sharpness": sharpness(grey, part) if part is not None else 0.0,
        "saturated_share": saturated,
        "black_share": black,
    }


def find_part(grey: Pixels) -> PartRegion | None:
    """Find the largest region that is lighter than the cloth; None if there is none.

    The brightness of the cloth is estimated at the border of the frame, so the part may cover less
    than half of the border.
    """
    scale = min(1.0, SMALL_PX / grey.shape[1])
    size = (max(1, round(grey.shape[1] * scale)), max(1, round(grey.shape[0] * scale)))
    small = np.asarray(cv2.resize(grey, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
    bright = _segment_bright(cv2.medianBlur(small, 5))
    outlines, _ = cv2.findContours(bright, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    silhouette = np.zeros_like(bright)
    if outlines:
        largest = max(outlines, key=cv2.contourArea)
        cv2.drawContours(silhouette, [largest], -1, 255, cv2.FILLED)
    inside = silhouette > 0
    if not inside.any() or inside.all():
        return None
    contrast = float(small[inside].mean()) - float(np.median(small[~inside]))
    return PartRegion(silhouette, small, scale, contrast)


def _segment_bright(small: npt.NDArray[np.generic]) -> Pixels:
    """The pixels that are lighter than the cloth as 255, else 0."""
    rows, columns = (max(1, round(0.04 * length)) for length in small.shape)
    border = np.concatenate(
        [
            strip.ravel()
            for strip in (small[:rows], small[-rows:], small[:, :columns], small[:, -columns:])
        ]
    ).astype(np.float64)
    level = float(np.median(border))
    spread = 1.4826 * float(np.median(np.abs(border - level)))  # of a normal distribution
    surely, perhaps = (max(level + by * spread, _LIGHTER * level) + 2 for by in (6, 3))
    grey = small.astype(np.float64)
    # A face that the lamps hardly reach counts if it is connected with one that they reach.
    _, pieces = cv2.connectedComponents((grey > perhaps).astype(np.uint8))
    bright = np.unique(pieces[grey > surely])
    light = np.isin(pieces, bright[bright > 0]).astype(np.uint8) * 255
    return np.asarray(cv2.morphologyEx(light, cv2.MORPH_CLOSE, np.ones((5, 5), np.uint8)), np.uint8)


def sharpness(grey: Pixels, part: PartRegion) -> float:
    """Steepness of the part's edges: 1 for wide ramps, about 2.5 for a camera in focus.

    It is the gradient of the steepest edges after a light blur, which removes the sensor's noise,
    divided by that after a strong blur. The quotient does not depend on contrast and exposure, but
    only on the width of the edges, so that parts can be compared.
    """
    x, y, width, height = cv2.boundingRect(part.silhouette)
    rows, columns = (
        slice(
            max(0, math.floor((start - _MARGIN_PX) / part.scale)),
            min(math.ceil((end + _MARGIN_PX) / part.scale), length),
        )
        for start, end, length in ((y, y + height, grey.shape[0]), (x, x + width, grey.shape[1]))
    )
    window = rows, columns
    near = cv2.dilate(part.silhouette, np.ones((5, 5), np.uint8))
    inside = replace(part, silhouette=np.asarray(near, np.uint8)).mask(grey.shape)[window]
    picture = grey[window].astype(np.float32)
    light, strong = (_edge_steepness(picture, inside, sigma) for sigma in _BLURS_PX)
    return light / max(strong, 1e-6)


def _edge_steepness(
    picture: npt.NDArray[np.float32], inside: npt.NDArray[np.bool_], sigma: float
) -> float:
    """Mean gradient, in levels per pixel, of the steepest `_EDGE_SHARE` of the pixels inside."""
    smooth = cv2.GaussianBlur(picture, (0, 0), sigma)
    across = cv2.Sobel(smooth, cv2.CV_32F, 1, 0, scale=1 / 8)
    along = cv2.Sobel(smooth, cv2.CV_32F, 0, 1, scale=1 / 8)
    steepness = cv2.magnitude(across, along)[inside]
    count = max(1, round(_EDGE_SHARE * steepness.size))
    return float(np.partition(steepness, steepness.size - count)[-count:].mean())


def clipped_shares(image: Pixels, part: PartRegion | None) -> tuple[float, float]:
    """Shares of the part's pixels at 255 and at 0 in any channel; of all pixels without a part.

    The cloth does not count, since it should be black.
    """
    red, green, blue = cv2.split(image)
    lightest, darkest = (extreme(extreme(red, green), blue) for extreme in (cv2.max, cv2.min))
    inside = part.mask(image.shape) if part is not None else np.ones(image.shape[:2], dtype=bool)
    count = np.count_nonzero(inside)
    saturated = np.count_nonzero((lightest == 255) & inside)
    black = np.count_nonzero((darkest == 0) & inside)
    return saturated / count, black / count
