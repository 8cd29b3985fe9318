"""Decoded masks in a packed form of a few kilobytes, and the pixel values that occur in a mask."""

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from loco_tools.datasets.images import Pixels


def positive_values(mask: Pixels) -> tuple[int, ...]:
    """The positive pixel values of an (H, W) uint8 mask, in ascending order.

    >>> positive_values(np.array([[0, 7], [255, 7]], np.uint8))
    (7, 255)
    """
    counts = cv2.calcHist([mask], [0], None, [256], [0, 256]).ravel()
    return tuple(int(value) for value in np.flatnonzero(counts) if value > 0)


@dataclass(frozen=True)
class PackedMask:
    """A mask stored as the bits of its bounding box; `unpack` is the inverse of `pack`.

    Attributes:
        size: (H, W) of the whole mask.
        box: (y, x, height, width) of the bounding box; height and width are 0 for an empty mask.
        area_px: number of pixels of the mask.
        bits: the mask within the box, eight pixels per byte.
    """

    size: tuple[int, int]
    box: tuple[int, int, int, int]
    area_px: int
    bits: bytes

    @staticmethod
    def pack(mask: Pixels) -> "PackedMask":
        """Pack (H, W) uint8, where every positive value belongs to the mask."""
        x, y, width, height = cv2.boundingRect(mask)
        inside = mask[y : y + height, x : x + width] > 0
        return PackedMask(
            size=(mask.shape[0], mask.shape[1]),
            box=(y, x, height, width),
            area_px=int(np.count_nonzero(inside)),
            bits=np.packbits(inside).tobytes(),
        )

    def unpack(self) -> npt.NDArray[np.bool_]:
        """The whole mask, (H, W) bool."""
        y, x, height, width = self.box
        bits = np.frombuffer(self.bits, np.uint8)
        inside = np.unpackbits(bits, count=height * width).reshape(height, width)
        mask = np.zeros(self.size, dtype=bool)
        mask[y : y + height, x : x + width] = inside
        return mask
