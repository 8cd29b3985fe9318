"""A good image in which anomalies are made: where its part lies, and which components it has."""

import cv2
import numpy as np
import numpy.typing as npt

from loco_tools.datasets.images import Pixels
from loco_tools.synthesis.perlin import Mask

Box = tuple[int, int, int, int]
"""y, x, height and width, in pixels."""


class Scene:
    """A good image with the properties that all families of anomalies need; computed only once.

    Attributes:
        image: (H, W, 3) uint8.
        size: (H, W).
    """

    def __init__(self, image: Pixels) -> None:
        self.image = image
        self.size = (image.shape[0], image.shape[1])
        self._part = foreground(image)
        self._part_pixels = np.flatnonzero(self._part)
        self._components: dict[int, list[Box]] = {}

    def random_pixel(self, rng: np.random.Generator) -> tuple[int, int]:
        """A pixel (y, x) of the part."""
        y, x = divmod(int(rng.choice(self._part_pixels)), self.size[1])
        return y, x

    def random_component(self, rng: np.random.Generator) -> Box | None:
        """A component that differs from its surroundings, for instance a hole or a screw.

        It is one of three sizes drawn at random; None when there is no component of that size.
        """
        reach = int(min(self.size) * rng.choice([0.08, 0.14, 0.22])) | 1
        if reach not in self._components:
            self._components[reach] = _find_components(self.image, self._part, reach)
        boxes = self._components[reach]
        return boxes[int(rng.integers(len(boxes)))] if boxes else None


def foreground(image: Pixels) -> Mask:
    """The pixels (H, W) of the part by Otsu's threshold; all pixels when it separates little.

    The part is the side of the threshold that touches the border of the image less.
    """
    grey = cv2.GaussianBlur(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), (0, 0), 2)
    level, _ = cv2.threshold(grey, 0, 255, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
    light = grey > level
    border = np.concatenate([light[0], light[-1], light[:, 0], light[:, -1]])
    part = ~light if border.mean() > 0.5 else light
    on_border = border.mean() if border.mean() <= 0.5 else 1 - border.mean()
    if on_border > 0.1 or not 0.05 < part.mean() < 0.95:
        return np.ones(image.shape[:2], np.bool_)
    return part.astype(np.bool_)


def to_bytes(values: npt.NDArray[np.floating]) -> Pixels:
    """Grey levels rounded to uint8, clipped to 0..255."""
    return np.clip(values, 0, 255).round().astype(np.uint8)


def _find_components(image: Pixels, part: Mask, reach: int) -> list[Box]:
    """Boxes, with a margin, of connected components that a median filter of `reach` px removes."""
    height, width = image.shape[:2]
    side = min(height, width)
    scale = min(1.0, 160 / side)
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    grey = cv2.resize(grey, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    smooth = cv2.medianBlur(grey, max(3, int(reach * scale) | 1))
    difference = cv2.absdiff(grey, smooth)
    level, _ = cv2.threshold(difference, 0, 255, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
    if level < 8:
        return []
    binary = (difference > level).astype(np.uint8)
    _, _, stats, centres = cv2.connectedComponentsWithStats(binary)
    boxes = []
    for (x, y, w, h, area), centre in zip(stats[1:].tolist(), centres[1:], strict=True):
        fits = 0.02 * side <= max(w, h) / scale <= 1.5 * reach and area >= 0.3 * w * h
        inside = x > 0 and y > 0 and x + w < grey.shape[1] and y + h < grey.shape[0]
        if not (fits and inside):
            continue
        row = min(int(centre[1] / scale), height - 1)
        column = min(int(centre[0] / scale), width - 1)
        near = part[max(0, row - reach) : row + reach, max(0, column - reach) : column + reach]
        if near.mean() <= 0.5:
            continue
        margin = max(2, int(0.2 * max(w, h) / scale))
        top, left = max(0, int(y / scale) - margin), max(0, int(x / scale) - margin)
        bottom = min(height, int((y + h) / scale) + margin)
        right = min(width, int((x + w) / scale) + margin)
        boxes.append((top, left, bottom - top, right - left))
    return boxes
