"""What a threshold makes of a small anomaly map: the segmentation, and how much of each defect.

Small maps have 256 levels (see `thumbnails`); a pixel is lit when its level is at least that of the
threshold. Masks are made as small as the maps, so figures are close to those of the full size and
not equal to them: defects that are a few small pixels wide suffer most.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from loco_tools.datasets.images import Pixels
from loco_tools.datasets.sample import Sample

TOP_LEVEL = 255


@dataclass(frozen=True)
class SmallDefect:
    """A defect at the size of a small map; `mask` (h, w) bool is never empty."""

    name: str
    kind: str
    mask: npt.NDArray[np.bool_]
    saturation_px: int


def small_defects(sample: Sample, size: tuple[int, int]) -> list[SmallDefect]:
    """The defects of an image at the size (h, w) of its small map.

    A small pixel belongs to a defect when at least half of it does; where none does, the one with
    the most of it. The saturation area keeps its share of the defect's area.
    """
    found = []
    for defect in sample.defects:
        cover = cv2.resize(
            defect.mask.astype(np.float32), (size[1], size[0]), interpolation=cv2.INTER_AREA
        )
        mask = cover >= min(0.5, float(cover.max()))
        area = int(np.count_nonzero(mask))
        share = defect.saturation_px / defect.area_px
        saturation = min(area, max(1, round(share * area)))
        found.append(SmallDefect(defect.name, defect.kind, mask, saturation))
    return found


def level_of(threshold: float, scale: tuple[float, float]) -> int:
    """The lowest level, from 1 to 255, that an anomaly score above the threshold can have.

    Args:
        threshold: an anomaly score.
        scale: the scores that level 0 and 255 stand for.

    >>> level_of(0.5, (0.0, 1.0))
    128
    """
    low, high = scale
    return min(TOP_LEVEL, max(1, math.ceil(TOP_LEVEL * (threshold - low) / (high - low))))


def spro(levels: Pixels, defects: Sequence[SmallDefect], level: int) -> float | None:
    """The mean over defects of min(lit pixels / saturation area, 1); None without defects.

    Args:
        levels: (h, w) small map.
        defects: of the same size.
        level: lit is what reaches it.
    """
    if not defects:
        return None
    lit = levels >= level
    shares = [
        min(1.0, np.count_nonzero(lit & defect.mask) / defect.saturation_px) for defect in defects
    ]
    return float(np.mean(shares))


def false_share(levels: Pixels, defects: Sequence[SmallDefect], level: int) -> float:
    """The share of the pixels without a defect that are lit; 0 where there is no such pixel."""
    free = np.ones(levels.shape, dtype=bool)
    for defect in defects:
        free &= ~defect.mask
    return float(np.count_nonzero((levels >= level) & free) / max(1, np.count_nonzero(free)))
