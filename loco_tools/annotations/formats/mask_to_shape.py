"""Turn a mask into the geometry that a person would draw for it: the inverse of `shapes`.

Lengths are percentages of the image's width or height, as Label Studio writes them.
"""

import math
from typing import Any

import cv2
import numpy as np

from loco_tools.annotations.formats import brush_rle
from loco_tools.annotations.formats.shapes import Mask, rasterise

Drawn = dict[str, Any]

_FINE = 4
"""Outlines are traced on a grid this many times finer than the pixels."""

_DIGITS = 10


def brush(mask: Mask) -> Drawn:
    """The mask as brush strokes, exact to the pixel."""
    return {"format": "rle", "rle": brush_rle.encode(mask.astype(np.uint8) * 255)}


def polygon(mask: Mask, *, tolerance_px: float = 0.75) -> Drawn | None:
    """The outline of the mask's largest piece as a polygon; None when it has no outline.

    Args:
        mask: (H, W) bool.
        tolerance_px: how far corners may be cut to save points.
    """
    height, width = mask.shape
    top, left, bottom, right = bounding_box(mask)
    cut = mask[top:bottom, left:right].astype(np.uint8)
    fine = cv2.resize(cut, None, fx=_FINE, fy=_FINE, interpolation=cv2.INTER_NEAREST)
    outlines, _ = cv2.findContours(fine, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    outline = max(outlines, key=cv2.contourArea)
    corners = cv2.approxPolyDP(outline, tolerance_px * _FINE, closed=True).reshape(-1, 2)
    if len(corners) < 3:
        return None
    # OpenCV names the centres of the fine pixels; pixel edges are where the image begins at 0
    points = (corners + 0.5) / _FINE + (left, top)
    percent = points * 100 / (width, height)
    return {"points": percent.round(_DIGITS).tolist(), "closed": True}


def ellipse(mask: Mask) -> Drawn:
    """The ellipse with the mask's centre and second moments."""
    height, width = mask.shape
    rows, columns = np.nonzero(mask)
    x, y = columns + 0.5, rows + 0.5
    covariance = np.cov(np.stack((x, y)), bias=True) + np.eye(2) / 12  # 1/12: a pixel's own extent
    variances, directions = np.linalg.eigh(covariance)
    minor, major = 2 * np.sqrt(variances)
    angle = math.degrees(math.atan2(directions[1, 1], directions[0, 1]))
    drawn = {
        "x": float(x.mean()) * 100 / width,
        "y": float(y.mean()) * 100 / height,
        "radiusX": float(major) * 100 / width,
        "radiusY": float(minor) * 100 / height,
        "rotation": angle % 180,
    }
    return {key: round(length, _DIGITS) for key, length in drawn.items()}


def overlap(shape: str, drawn: Drawn, mask: Mask) -> float:
    """Intersection over union of a drawn geometry and a mask, 0-1."""
    height, width = mask.shape
    other = rasterise(shape, drawn, height=height, width=width)
    union = np.count_nonzero(other | mask)
    return np.count_nonzero(other & mask) / union if union else 0.0


def blobs(mask: Mask) -> list[Mask]:
    """The 8-connected components of a mask, from the top left."""
    count, labels = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)
    return [labels == number for number in range(1, count)]


def bounding_box(mask: Mask) -> tuple[int, int, int, int]:
    """Top, left, bottom, right of a mask that is not empty; bottom and right are exclusive."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return int(rows[0]), int(columns[0]), int(rows[-1]) + 1, int(columns[-1]) + 1
