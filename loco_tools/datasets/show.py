"""The contact sheet of a class: good examples, and each defect with its mask outlined."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from loco_tools import files
from loco_tools.datasets.images import Pixels, encode_png
from loco_tools.datasets.sample import DatasetClass, Defect, Sample
from loco_tools.datasets.summary import Summary, saturation_text, summarise
from loco_tools.wording import plural, printable

COLOURS = {"structural": (255, 140, 0), "logical": (0, 190, 255)}
"""RGB of outlines by kind; chosen to differ for colour-blind eyes, and from grey metal."""

Item = TypeVar("Item")

_TILE = 220  # px, the longer side of a picture on the sheet
_GAP = 12
_LABEL = 230  # px, width of the row labels
_CAPTION = 22
_TOP = 74
_BLACK, _GRAY, _PAPER = (20, 20, 20), (95, 95, 95), (255, 255, 255)


@dataclass(frozen=True)
class Tile:
    """One picture, (H, W, 3) uint8 of at most 220 px, with what stands below it."""

    pixels: Pixels
    caption: str
    alt: str


@dataclass(frozen=True)
class Row:
    """One line of the sheet: a title, what is to know about it, and its pictures."""

    title: str
    kind: str
    details: tuple[str, ...]
    tiles: tuple[Tile, ...]


def rows_of(dataset: DatasetClass, *, examples: int = 3) -> Iterator[Row]:
    """The rows of the sheet one after the other: good images by split, then a row per defect.

    An example of a defect is two tiles, the whole image and a close-up. Only the chosen images are
    decoded, one at a time.

    Args:
        dataset: the class.
        examples: images per defect; good rows have twice as many.

    Raises:
        DatasetError: an image cannot be decoded.
    """
    good_test = tuple(sample for sample in dataset.test if sample.kind == "good")
    splits = {"train": dataset.train, "validation": dataset.validation, "test": good_test}
    for split, samples in splits.items():
        if samples:
            by_view = sorted(samples, key=lambda sample: sample.view or "")
            tiles = tuple(_whole(sample, None) for sample in _spread(by_view, 2 * examples))
            yield Row(f"good, {split}", "good", (plural(len(samples), "image"),), tiles)
    found: dict[tuple[str, str], dict[Path, tuple[Sample, Defect]]] = {}
    masks: dict[tuple[str, str], int] = {}
    for sample in dataset:
        for defect in sample.defects:
            key = (defect.kind, defect.name)
            found.setdefault(key, {}).setdefault(sample.image_path, (sample, defect))
            masks[key] = masks.get(key, 0) + 1
    for kind, name in sorted(found):
        pairs = list(found[kind, name].values())
        details = (
            f"{kind} defect",
            f"{plural(len(pairs), 'image')}, {plural(masks[kind, name], 'mask')}",
            f"saturates at {saturation_text(pairs[0][1])}".replace("at whole", "at the whole"),
        )
        chosen = _spread(pairs, examples)
        tiles = tuple(t for s, d in chosen for t in (_whole(s, d), _close_up(s, d)))
        yield Row(printable(name), kind, details, tiles)


def contact_sheet(dataset: DatasetClass, *, examples: int = 3) -> Pixels:
    """The contact sheet as one picture.

    Returns:
        (H, W, 3) uint8 RGB.

    Raises:
        DatasetError: an image cannot be decoded.
    """
    return compose(summarise(dataset), list(rows_of(dataset, examples=examples)), examples)


def write_contact_sheet(
    dataset: DatasetClass, png: Path, html: Path, *, examples: int = 3
) -> Summary:
    """Write the contact sheet as a picture and as a page that needs nothing beside it.

    Raises:
        DatasetError: an image cannot be decoded.
    """
    from loco_tools.datasets.show_page import page

    summary = summarise(dataset)
    rows = list(rows_of(dataset, examples=examples))
    files.write_bytes(png, encode_png(compose(summary, rows, examples)))
    files.write_text(html, page(summary, rows))
    return summary


def compose(summary: Summary, rows: Sequence[Row], examples: int) -> Pixels:
    """Draw the rows below a heading; (H, W, 3) uint8 RGB."""
    width = _LABEL + 2 * examples * (_TILE + _GAP) + _GAP
    heights = [_height(row) for row in rows]
    sheet = Image.new("RGB", (width, _TOP + sum(heights) + _GAP), _PAPER)
    draw = ImageDraw.Draw(sheet)
    images = ", ".join(f"{folder} {count}" for folder, count in summary.images.items())
    _write(
        draw,
        (_GAP, 10),
        f"{printable(summary.name)} ({summary.origin})",
        size=24,
        colour=_BLACK,
        width=width,
    )
    line = f"{images}; {plural(len(summary.defects), 'defect type')}, "
    _write(
        draw,
        (_GAP, 44),
        line + plural(summary.masks, "mask"),
        size=14,
        colour=_GRAY,
        width=width - 2 * _GAP,
    )
    top = _TOP
    for row, height in zip(rows, heights, strict=True):
        draw.line((_GAP, top, width - _GAP, top), fill=(215, 215, 215))
        _draw_row(sheet, draw, row, top + _GAP)
        top += height
    return np.asarray(sheet)


def _draw_row(sheet: Image.Image, draw: ImageDraw.ImageDraw, row: Row, top: int) -> None:
    if colour := COLOURS.get(row.kind):
        draw.rectangle((_GAP, top + 2, _GAP + 6, top + 78), fill=colour)
    left = _GAP + 14
    _write(draw, (left, top), row.title, size=17, colour=_BLACK, width=_LABEL - left)
    for number, text in enumerate(row.details):
        _write(
            draw, (left, top + 24 + 18 * number), text, size=13, colour=_GRAY, width=_LABEL - left
        )
    for number, tile in enumerate(row.tiles):
        x = _LABEL + number * (_TILE + _GAP)
        sheet.paste(Image.fromarray(tile.pixels), (x, top))
        _write(
            draw,
            (x, top + tile.pixels.shape[0] + 3),
            tile.caption,
            size=12,
            colour=_GRAY,
            width=_TILE,
        )


def _height(row: Row) -> int:
    tallest = max((tile.pixels.shape[0] for tile in row.tiles), default=0)
    return max(tallest + _CAPTION, 80) + 2 * _GAP


def _write(
    draw: ImageDraw.ImageDraw,
    place: tuple[int, int],
    text: str,
    *,
    size: int,
    colour: tuple[int, int, int],
    width: int,
) -> None:
    """Write a line, cut to a width in pixels."""
    font = ImageFont.load_default(size)
    if draw.textlength(text, font) > width:
        while text and draw.textlength(f"{text}...", font) > width:
            text = text[:-1]
        text = f"{text}..."
    draw.text(place, text, font=font, fill=colour)


def _whole(sample: Sample, defect: Defect | None) -> Tile:
    image = sample.image()
    scale = _TILE / max(image.shape[:2])
    pixels = _resized(image, scale)
    if defect:
        _outline(pixels, defect.mask, COLOURS[defect.kind])
    where = f"{sample.kind_folder}/{sample.id}" if defect else f"{sample.split}/good/{sample.id}"
    view = f", view {sample.view}" if sample.view else ""
    what = f"{defect.name} outlined" if defect else "good"
    return Tile(
        pixels,
        printable(where + (f" ({sample.view})" if sample.view else "")),
        printable(f"image {sample.split}/{sample.kind_folder}/{sample.id}{view}: {what}"),
    )


def _close_up(sample: Sample, defect: Defect) -> Tile:
    """The surroundings of a defect, square, at least 48 px and 1.6 times its size."""
    image, mask = sample.image(), defect.mask
    height, width = mask.shape
    x, y, w, h = cv2.boundingRect(mask.view(np.uint8))
    side = min(max(48, int(1.6 * max(w, h))), max(height, width))
    top = min(max(0, y + h // 2 - side // 2), max(0, height - side))
    left = min(max(0, x + w // 2 - side // 2), max(0, width - side))
    box = np.s_[top : top + side, left : left + side]
    scale = _TILE / max(image[box].shape[:2])
    pixels = _resized(image[box], scale)
    _outline(pixels, mask[box], COLOURS[defect.kind])
    caption = f"close-up, {defect.area_px} px"
    return Tile(pixels, caption, printable(f"close-up of {defect.name}, {defect.area_px} px"))


def _resized(image: Pixels, scale: float) -> Pixels:
    """Scaled up by whole pixels or down by areas; both sides at least 1."""
    height, width = (max(1, round(scale * side)) for side in image.shape[:2])
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_NEAREST
    return cv2.resize(np.ascontiguousarray(image), (width, height), interpolation=how).astype(
        np.uint8, copy=False
    )


def _outline(
    pixels: Pixels,
    mask: "np.ndarray[tuple[int, ...], np.dtype[np.bool_]]",
    colour: tuple[int, int, int],
) -> None:
    """Draw a line around the mask, outside of it, so that what it marks stays visible."""
    height, width = pixels.shape[:2]
    found = cv2.resize(mask.astype(np.float32), (width, height), interpolation=cv2.INTER_AREA)
    grown = cv2.dilate((found > 0).astype(np.uint8), np.ones((7, 7), np.uint8))
    contours, _ = cv2.findContours(grown, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(pixels, contours, -1, (0, 0, 0), 4)
    cv2.drawContours(pixels, contours, -1, colour, 2)


def _spread(items: Sequence[Item], count: int) -> list[Item]:
    """At most `count` items, evenly over the sequence."""
    if len(items) <= count:
        return list(items)
    return [items[round(n * (len(items) - 1) / max(1, count - 1))] for n in range(count)]
