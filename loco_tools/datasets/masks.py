"""Keeping a decoded mask in a few kilobytes."""

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from loco_tools.datasets.images import Pixels


@dataclass(frozen=True)
class PackedMask:
    """A mask as the bits of its bounding box: `pack` and `unpack` are inverse to each other.

    `size` is (H, W) of the whole mask; `box` is (y, x, height, width), empty for an empty mask.
    """

    size: tuple[int, int]
    box: tuple[int, int, int, int]
    area_px: int
    bits: bytes

    @staticmethod
    def pack(mask: Pixels) -> "PackedMask":
        """Pack (H, W) uint8, where any positive value belongs to the mask."""
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
