"""`data/<class>.audit.html`: every region over its image, with its outcome and the reason.

The page is one file without scripts or links, which any browser opens. Its images are small JPEGs
inside the file. Their number is bounded; further images are listed without a picture.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np
from PIL import ImageColor

from loco_tools.annotations.counted_annotations import ImageInstances
from loco_tools.annotations.formats.mask_to_shape import bounding_box
from loco_tools.annotations.formats.regions import Skipped
from loco_tools.annotations.formats.shapes import Mask
from loco_tools.annotations.orientation import stored_image
from loco_tools.annotations.session_images import SessionImage
from loco_tools.annotations.taxonomy import Taxonomy
from loco_tools.datasets.images import Pixels, data_url, read_image
from loco_tools.errors import AnnotationError
from loco_tools.templates import load_templates

MOST_PICTURES = 400
MOST_CLOSE_UPS = 6
MOST_ROWS = 2000
"""Bounds of the page: images with a picture, close-ups per image, rows of the last table."""

_PICTURE_PX = 690
_CLOSE_UP_PX = 220
_DENSITY = 1.5
"""Pixels of a picture per pixel of the page."""
_LEAST_PX = 40
_JPEG_QUALITY = 84
_NOT_COUNTED_COLOUR = (150, 150, 150)

_Colour = tuple[int, ...]


@dataclass(frozen=True)
class Picture:
    """A picture of the page: its data URL, its size on the page in pixels, and its caption."""

    source: str
    width: int
    height: int
    caption: str


@dataclass(frozen=True)
class MaskedRow:
    """A row for a region that became a mask."""

    number: int
    colour: str
    defect: str
    type: str
    region: str | None
    task: int | str
    mask: str
    area_px: int


@dataclass(frozen=True)
class UnmaskedRow:
    """A row for a region that became no mask; `outcome` is "skipped" or "left out"."""

    outcome: str
    task: int | str
    type: str | None
    region: str | None
    reason: str


@dataclass(frozen=True)
class Card:
    """One image of the class; `whole` is None for an image without a picture."""

    name: str
    shot: str
    masked: list[MaskedRow]
    without_mask: list[UnmaskedRow]
    whole: Picture | None
    close_ups: list[Picture]


@dataclass
class AuditPage:
    """The page while the class is built, with a card for every annotated image."""

    taxonomy: Taxonomy
    cards: list[Card] = field(default_factory=list)
    simulated: bool = False

    def add(
        self, image: SessionImage, name: str, outcome: ImageInstances, masks: Sequence[str]
    ) -> None:
        """Add an annotated image.

        Args:
            image: the image.
            name: its path in the class folder.
            outcome: its instances and its other regions.
            masks: path of the mask file of each instance.
        """
        self.simulated |= image.record.simulated
        masked = [
            MaskedRow(
                number=number,
                colour=instance.defect.colour,
                defect=instance.defect.name,
                type=region.type,
                region=region.id,
                task=region.task,
                mask=mask,
                area_px=instance.area_px,
            )
            for number, (instance, mask) in enumerate(
                zip(outcome.instances, masks, strict=True), start=1
            )
            for region in instance.regions
        ]
        left_out = [Skipped(r.task, r.id, r.type, reason) for r, reason in outcome.left_out]
        left_out += outcome.unread
        rows = _unmasked_rows(outcome.skipped, left_out)
        whole: Picture | None = None
        close_ups: list[Picture] = []
        if len(self.cards) < MOST_PICTURES:
            whole, close_ups = _draw_pictures(image, outcome)
        self.cards.append(Card(name, str(image), masked, rows, whole, close_ups))

    def html(self, summary: str, skipped: Sequence[Skipped], left_out: Sequence[Skipped]) -> str:
        """The whole page.

        Args:
            summary: the conversion's report as text.
            skipped: every region that could not become a mask.
            left_out: every region that did not count.
        """
        templates = load_templates("loco_tools.annotations", keep_trailing_newline=True)
        rows = _unmasked_rows(skipped, left_out)
        return templates.get_template("audit.html").render(
            taxonomy=self.taxonomy,
            simulated=self.simulated,
            summary=summary,
            cards=self.cards,
            without_mask=rows[:MOST_ROWS],
            not_listed=max(0, len(rows) - MOST_ROWS),
        )


def _unmasked_rows(skipped: Iterable[Skipped], left_out: Iterable[Skipped]) -> list[UnmaskedRow]:
    return [
        UnmaskedRow(outcome, region.task, region.type, region.region, region.reason)
        for outcome, regions in (("skipped", skipped), ("left out", left_out))
        for region in regions
    ]


def _draw_pictures(image: SessionImage, outcome: ImageInstances) -> tuple[Picture, list[Picture]]:
    """The whole image with the outline of every region, and a close-up of the first defects."""
    pixels = read_image(image.path)
    outlines = [(i.mask, ImageColor.getrgb(i.defect.colour)) for i in outcome.instances]
    close_ups = []
    for number, (mask, colour) in enumerate(outlines[:MOST_CLOSE_UPS], start=1):
        top, left, bottom, right = bounding_box(mask)
        half = max(bottom - top, right - left, _LEAST_PX) * 3 // 4  # of the side, with a margin
        y, x = (top + bottom) // 2, (left + right) // 2
        cut = slice(max(y - half, 0), y + half), slice(max(x - half, 0), x + half)
        close_ups.append(
            _draw_outlines(pixels[cut], [(mask[cut], colour)], _CLOSE_UP_PX, caption=f"{number}")
        )
    pixel_grid = stored_image(image.path)
    for region, _ in outcome.left_out:
        try:
            outlines.append((pixel_grid.mask_of(region), _NOT_COUNTED_COLOUR))
        except AnnotationError:
            continue  # the region is listed in the table
    caption = f"{image} with its regions"
    return _draw_outlines(pixels, outlines, _PICTURE_PX, caption=caption), close_ups


def _draw_outlines(
    pixels: Pixels, masks: Sequence[tuple[Mask, _Colour]], longest_px: int, *, caption: str
) -> Picture:
    """The image resized to `longest_px` on its longer side, with the outline of each mask."""
    height, width = pixels.shape[:2]
    scale = longest_px / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    resized = cv2.resize(pixels, size, interpolation=interpolation)
    picture = np.ascontiguousarray(resized, dtype=np.uint8)
    interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_NEAREST
    for mask, colour in masks:
        grey = cv2.resize(mask.astype(np.uint8) * 255, size, interpolation=interpolation)
        contours, _ = cv2.findContours(
            (grey >= 32).astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE
        )
        cv2.drawContours(picture, contours, -1, (0, 0, 0), 4)
        cv2.drawContours(picture, contours, -1, colour, 2)
    return Picture(
        source=data_url(picture, "jpeg", quality=_JPEG_QUALITY),
        width=round(picture.shape[1] / _DENSITY),
        height=round(picture.shape[0] / _DENSITY),
        caption=caption,
    )
