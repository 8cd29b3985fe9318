"""Drawing contact sheets: outlined masks, lines of text, and pictures in grids.

All functions are pure: they take and return pictures, (H, W, 3) uint8 RGB. Every contact sheet of
loco-tools is drawn with them.
"""

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from loco_tools.datasets.images import Pixels

Colour = tuple[int, int, int]
"""RGB."""

BLACK: Colour = (20, 20, 20)
GRAY: Colour = (95, 95, 95)


def scaled(picture: Pixels, scale: float) -> Pixels:
    """The picture enlarged by repeating pixels or reduced by area averaging; both sides >= 1 px."""
    height, width = (max(1, round(scale * side)) for side in picture.shape[:2])
    interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_NEAREST
    resized = cv2.resize(
        np.ascontiguousarray(picture), (width, height), interpolation=interpolation
    )
    return resized.astype(np.uint8, copy=False)


def outlined(picture: Pixels, mask: npt.NDArray[np.bool_], colour: Colour) -> Pixels:
    """The picture with a line around a mask, outside of it, so that the defect stays visible.

    Args:
        picture: (H, W, 3) uint8 RGB.
        mask: of any size; it is scaled to the picture, and no defect is too small for an outline.
        colour: of the line, which has a thin black border.
    """
    height, width = picture.shape[:2]
    covered = cv2.resize(mask.astype(np.float32), (width, height), interpolation=cv2.INTER_AREA)
    grown = cv2.dilate((covered > 0).astype(np.uint8), np.ones((7, 7), np.uint8))
    contours, _ = cv2.findContours(grown, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    drawn = picture.copy()
    cv2.drawContours(drawn, contours, -1, (0, 0, 0), 4)
    cv2.drawContours(drawn, contours, -1, colour, 2)
    return drawn


def text_line(
    text: str, *, height: int, width: int, size: int, colour: Colour = BLACK, top: int = 3
) -> Pixels:
    """A line of text on white, `height` x `width` px; text that is too long ends in "..."."""
    font = ImageFont.load_default(size)
    line = Image.new("RGB", (width, height), "white")
    draw = ImageDraw.Draw(line)
    shown = text
    while text and draw.textlength(shown, font) > width:
        text = text[:-1]
        shown = f"{text}..."
    draw.text((0, top), shown, font=font, fill=colour)
    return np.array(line)


def padded(
    picture: Pixels, *, left: int = 0, top: int = 0, height: int = 0, width: int = 0
) -> Pixels:
    """The picture on white with a margin, and at least `height` x `width` px large in all."""
    bottom = max(0, height - top - picture.shape[0])
    right = max(0, width - left - picture.shape[1])
    return np.pad(picture, ((top, bottom), (left, right), (0, 0)), constant_values=255)


def stacked(pictures: Sequence[Pixels]) -> Pixels:
    """Pictures below each other, aligned to the left."""
    width = max(picture.shape[1] for picture in pictures)
    return np.concatenate([padded(picture, width=width) for picture in pictures])


def grid(pictures: Sequence[Pixels], columns: int, gap: int) -> Pixels:
    """Pictures in rows of `columns` cells of one size, with a white gap after and below each.

    >>> grid([np.zeros((2, 3, 3), np.uint8)] * 3, columns=2, gap=1).shape
    (6, 8, 3)
    """
    height = gap + max(picture.shape[0] for picture in pictures)
    width = gap + max(picture.shape[1] for picture in pictures)
    cells = [padded(picture, height=height, width=width) for picture in pictures]
    rows = [np.concatenate(cells[n : n + columns], axis=1) for n in range(0, len(cells), columns)]
    return padded(stacked(rows), width=columns * width)
