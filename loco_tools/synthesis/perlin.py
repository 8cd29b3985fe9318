"""Perlin noise, and masks of blobs where it is above a threshold.

Perlin 2002, "Improving noise": unit gradients on a grid, interpolated by a quintic.
"""

import math
from typing import TypeVar

import cv2
import numpy as np
import numpy.typing as npt

from loco_tools.datasets.images import Size

Field = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]
Number = TypeVar("Number", np.float32, np.uint8)

_MOST_DOUBLINGS = 5


def perlin_noise(size: Size, cells: tuple[int, int], rng: np.random.Generator) -> Field:
    """Smooth noise (H, W) around 0, within -1 and 1.

    Args:
        size: height and width in pixels.
        cells: number of cells of the gradient grid along height and width.
        rng: draws the directions of the gradients.
    """
    rows, row_share = _cell_coordinates(size[0], cells[0])
    columns, column_share = _cell_coordinates(size[1], cells[1])
    dy, dx = row_share[:, None], column_share[None]
    angles = rng.uniform(0, 2 * math.pi, (cells[0] + 1, cells[1] + 1)).astype(np.float32)
    towards_y, towards_x = np.sin(angles), np.cos(angles)

    def corner(down: int, right: int) -> Field:
        nodes = np.ix_(rows + down, columns + right)
        field = towards_y[nodes] * (dy - down) + towards_x[nodes] * (dx - right)
        return field.astype(np.float32, copy=False)

    fade_x = _fade(dx)
    top = corner(0, 0) + fade_x * (corner(0, 1) - corner(0, 0))
    bottom = corner(1, 0) + fade_x * (corner(1, 1) - corner(1, 0))
    blended = math.sqrt(2) * (top + _fade(dy) * (bottom - top))
    return blended.astype(np.float32, copy=False)


def perlin_mask(size: Size, rng: np.random.Generator, *, threshold: float = 0.5) -> Mask:
    """A mask (H, W) of random blobs, where rotated noise is above a threshold; it may be empty.

    As in DRAEM, the noise has 1, 2, 4, ... or 32 cells along each axis with equal probability, and
    is rotated by -90 to 90 degrees about the centre with zeros from outside. At 256 x 256 px and
    threshold 0.5 the blobs cover 4.8 % on average, and 5 % of the masks are empty.
    """
    down, right = (2 ** rng.integers(0, _MOST_DOUBLINGS + 1, 2)).tolist()
    noise = perlin_noise(size, (down, right), rng)
    mask: Mask = turned(noise, rng.uniform(-90, 90)) > threshold
    return mask


def turned(field: npt.NDArray[Number], angle_deg: float) -> npt.NDArray[Number]:
    """Rotate (H, W) or (H, W, C) about its centre, bilinearly, with zeros from outside."""
    height, width = field.shape[:2]
    turn = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), angle_deg, 1.0)
    return cv2.warpAffine(field, turn, (width, height)).astype(field.dtype, copy=False)


def _cell_coordinates(length: int, cells: int) -> tuple[npt.NDArray[np.intp], Field]:
    """The cell of each pixel and its relative position (0 to 1) in the cell."""
    position = np.arange(length) * (cells / length)
    cell = np.minimum(position.astype(np.intp), cells - 1)
    return cell, (position - cell).astype(np.float32)


def _fade(share: Field) -> Field:
    """6 t^5 - 15 t^4 + 10 t^3."""
    faded: Field = share**3 * (share * (share * 6 - 15) + 10)
    return faded
