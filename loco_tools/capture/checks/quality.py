"""Measurements of one frame: where its part is, how sharp and how well exposed.

The part is what stands out brightly from a dark cloth.
"""

import math
from dataclasses import dataclass, replace

import cv2
import numpy as np
import numpy.typing as npt

from loco_tools.datasets.images import Pixels

SMALL_PX = 320
"""Widest picture in which the part is looked for and compared."""

_LIGHTER = 1.25
"""A part is lighter than the cloth by this factor: a lens's vignetting explains less."""

_BLURS_PX = (1.0, 3.0)
_EDGE_SHARE = 0.02
"""Share of the part's pixels that is taken for its edges."""


@dataclass(frozen=True)
class Part:
    """Where the part is in a frame.

    Attributes:
        silhouette: (h, w) uint8, 255 inside the part's outline, holes included.
        grey: (h, w) uint8, the frame at that size.
        scale: size of that picture over that of the frame.
        contrast: by how many grey levels the part is lighter than what surrounds it.
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
    """Figures of one frame alone.

    Args:
        image: (H, W, 3) uint8 RGB.

    Returns:
        mean_level: mean grey level of the picture, 0-255;
        contrast: by how many grey levels the part is lighter than the cloth, 0 without a part;
        sharpness: of the part's edges, see `sharpness`, 0 without a part;
        saturated_share, black_share: see `clipped_shares`.
    """
    grey = to_grey(image)
    return figures(image, grey, find_part(grey))


def figures(image: Pixels, grey: Pixels, part: Part | None) -> dict[str, float]:
    """What `measure` returns, for a frame whose part has been looked for."""
    saturated, black = clipped_shares(image, part)
    return {
        "mean_level": float(grey.mean()),
        "contrast": part.contrast if part is not None else 0.0,
        "sharpness": sharpness(grey, part) if part is not None else 0.0,
        "saturated_share": saturated,
        "black_share": black,
    }


def find_part(grey: Pixels) -> Part | None:
    """The largest thing that is lighter than the cloth; None when nothing is.

    The border of the frame tells what the cloth looks like; a part may reach into less than half
    of it.
    """
    scale = min(1.0, SMALL_PX / grey.shape[1])
    size = (max(1, round(grey.shape[1] * scale)), max(1, round(grey.shape[0] * scale)))
    small = np.asarray(cv2.resize(grey, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
    silhouette = _largest_outline(_lighter_than_cloth(cv2.medianBlur(small, 5)))
    inside = silhouette > 0
    if not inside.any() or inside.all():
        return None
    contrast = float(small[inside].mean()) - float(np.median(small[~inside]))
    return Part(silhouette, small, scale, contrast)


def _lighter_than_cloth(small: npt.NDArray[np.generic]) -> Pixels:
    rows, columns = (max(1, round(0.04 * length)) for length in small.shape)
    border = np.concatenate(
        [
            strip.ravel()
            for strip in (small[:rows], small[-rows:], small[:, :columns], small[:, -columns:])
        ]
    ).astype(np.float64)
    level = float(np.median(border))
    spread = 1.4826 * float(np.median(np.abs(border - level)))  # as of a normal distribution
    surely, perhaps = (max(level + by * spread, _LIGHTER * level) + 2 for by in (6, 3))
    grey = small.astype(np.float64)
    # a face that the lamps hardly reach counts where it hangs together with one that they do
    _, pieces = cv2.connectedComponents((grey > perhaps).astype(np.uint8))
    bright = np.unique(pieces[grey > surely])
    light = np.isin(pieces, bright[bright > 0]).astype(np.uint8) * 255
    return np.asarray(cv2.morphologyEx(light, cv2.MORPH_CLOSE, np.ones((5, 5), np.uint8)), np.uint8)


def _largest_outline(light: Pixels) -> Pixels:
    outlines, _ = cv2.findContours(light, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    filled = np.zeros_like(light)
    if outlines:
        cv2.drawContours(filled, [max(outlines, key=cv2.contourArea)], -1, 255, cv2.FILLED)
    return filled


def sharpness(grey: Pixels, part: Part) -> float:
    """How steep the part's edges are: 1 is a wide ramp; a camera in focus gives about 2.5.

    Steepness of the strongest edges after a light blur, which takes the sensor's noise, over that
    after a strong one. The quotient is free of contrast and exposure: it depends on the width of
    the edges alone, so that parts can be compared.
    """
    window = _bounds(part, grey.shape)
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


def _bounds(part: Part, shape: tuple[int, ...]) -> tuple[slice, slice]:
    """The rectangle of the frame (rows, columns) that holds the part and some cloth about it."""
    x, y, width, height = cv2.boundingRect(part.silhouette)
    margin = 4
    rows, columns = (
        slice(max(0, math.floor((start - margin) / part.scale)), math.ceil(end / part.scale))
        for start, end in ((y, y + height + margin), (x, x + width + margin))
    )
    return slice(rows.start, min(rows.stop, shape[0])), slice(
        columns.start, min(columns.stop, shape[1])
    )


def clipped_shares(image: Pixels, part: Part | None) -> tuple[float, float]:
    """Shares of the part's pixels at 255, and at 0, in any channel; of all without a part.

    The cloth does not count: it is meant to be black.
    """
    red, green, blue = cv2.split(image)
    lightest, darkest = (extreme(extreme(red, green), blue) for extreme in (cv2.max, cv2.min))
    inside = part.mask(image.shape) if part is not None else np.ones(image.shape[:2], dtype=bool)
    count = np.count_nonzero(inside)
    saturated = np.count_nonzero((lightest == 255) & inside)
    black = np.count_nonzero((darkest == 0) & inside)
    return saturated / count, black / count
