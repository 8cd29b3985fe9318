"""The contact sheet of a class: good examples, and examples of each defect with outlined masks."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import cv2
import numpy as np

from loco_tools import files
from loco_tools.datasets.images import Pixels, data_url, encode_png
from loco_tools.datasets.sample import DatasetClass, Defect, Sample
from loco_tools.datasets.sheet_drawing import (
    GRAY,
    Colour,
    grid,
    outlined,
    padded,
    scaled,
    stacked,
    text_line,
)
from loco_tools.datasets.summary import DEFECT_COLUMNS, Summary, saturation_text, summarise
from loco_tools.templates import load_templates
from loco_tools.wording import plural, printable

COLOURS: dict[str, Colour] = {"structural": (255, 140, 0), "logical": (0, 190, 255)}
"""Outline colour by kind; distinguishable with colour blindness, and from grey metal."""

Item = TypeVar("Item")

_TILE = 220  # px, the longer side of a picture on the sheet
_GAP = 12
_LABEL = 230  # px, width of the row labels
_LINE: Colour = (215, 215, 215)


@dataclass(frozen=True)
class Tile:
    """One picture of the sheet.

    Attributes:
        pixels: (H, W, 3) uint8 RGB of at most 220 px.
        caption: the text below the picture.
        alt: a description of the picture for the HTML page.
    """

    pixels: Pixels
    caption: str
    alt: str


@dataclass(frozen=True)
class Row:
    """One row of the sheet: a title, details, and pictures. `kind` is that of the images."""

    title: str
    kind: str
    details: tuple[str, ...]
    tiles: tuple[Tile, ...]


def rows_of(dataset: DatasetClass, *, examples: int = 3) -> Iterator[Row]:
    """The rows of the sheet: good images by split, then one row per defect.

    An example of a defect is two tiles, the whole image and a close-up. Only the images that are
    shown are decoded, one at a time.

    Args:
        dataset: the class.
        examples: images per defect; rows of good images have twice as many.

    Raises:
        DatasetError: an image cannot be decoded.
    """
    good_test = tuple(sample for sample in dataset.test if sample.kind == "good")
    splits = {"train": dataset.train, "validation": dataset.validation, "test": good_test}
    for split, samples in splits.items():
        if samples:
            by_view = sorted(samples, key=lambda sample: sample.view or "")
            tiles = tuple(_whole_image(sample, None) for sample in _spread(by_view, 2 * examples))
            yield Row(f"good, {split}", "good", (plural(len(samples), "image"),), tiles)
    first_masks: defaultdict[tuple[str, str], dict[Path, tuple[Sample, Defect]]]
    first_masks = defaultdict(dict)  # by defect, one mask of each image
    mask_counts: defaultdict[tuple[str, str], int] = defaultdict(int)
    for sample in dataset:
        for defect in sample.defects:
            key = (defect.kind, defect.name)
            first_masks[key].setdefault(sample.image_path, (sample, defect))
            mask_counts[key] += 1
    for kind, name in sorted(first_masks):
        pairs = list(first_masks[kind, name].values())
        details = (
            f"{kind} defect",
            f"{plural(len(pairs), 'image')}, {plural(mask_counts[kind, name], 'mask')}",
            f"saturates at {saturation_text(pairs[0][1])}".replace("at whole", "at the whole"),
        )
        chosen = _spread(pairs, examples)
        tiles = tuple(t for s, d in chosen for t in (_whole_image(s, d), _close_up(s, d)))
        yield Row(printable(name), kind, details, tiles)


def contact_sheet(dataset: DatasetClass, *, examples: int = 3) -> Pixels:
    """The contact sheet as one picture.

    Returns:
        (H, W, 3) uint8 RGB.

    Raises:
        DatasetError: an image cannot be decoded.
    """
    return draw_sheet(summarise(dataset), list(rows_of(dataset, examples=examples)), examples)


def write_contact_sheet(
    dataset: DatasetClass, png: Path, html: Path, *, examples: int = 3
) -> Summary:
    """Write the contact sheet as a PNG file and as an HTML page that needs no other file.

    Both lie in one folder, and replace those of an earlier call together.

    Raises:
        DatasetError: an image cannot be decoded.
    """
    summary = summarise(dataset)
    rows = list(rows_of(dataset, examples=examples))
    sheet, page = encode_png(draw_sheet(summary, rows, examples)), render_page(summary, rows)
    with files.swapped_in(png, html) as (new_png, new_html):
        files.write_bytes(new_png, sheet)
        files.write_text(new_html, page)
    return summary


def draw_sheet(summary: Summary, rows: Sequence[Row], examples: int) -> Pixels:
    """Draw the rows below a heading; (H, W, 3) uint8 RGB."""
    width = _LABEL + 2 * examples * (_TILE + _GAP) + _GAP
    inner = width - 2 * _GAP
    title = f"{printable(summary.name)} ({summary.origin})"
    images = ", ".join(f"{folder} {count}" for folder, count in summary.images.items())
    counts = f"{plural(len(summary.defects), 'defect type')}, {plural(summary.masks, 'mask')}"
    heading = [
        text_line(title, height=44, width=inner, size=24, top=10),
        text_line(f"{images}; {counts}", height=30, width=inner, size=14, colour=GRAY, top=0),
    ]
    drawn = [padded(stacked(heading), left=_GAP, width=width)]
    for row in rows:
        separator = np.full((1, inner, 3), _LINE, np.uint8)
        drawn.append(padded(separator, left=_GAP, width=width))
        label_width = _LABEL - _GAP - 14
        lines = [text_line(row.title, height=24, width=label_width, size=17, top=0)]
        lines += [
            text_line(text, height=18, width=label_width, size=13, colour=GRAY, top=0)
            for text in row.details
        ]
        label = padded(stacked(lines), left=14, top=0, height=80, width=_LABEL - _GAP)
        if colour := COLOURS.get(row.kind):
            label[2:79, :7] = colour
        captions = [
            text_line(tile.caption, height=22, width=_TILE, size=12, colour=GRAY)
            for tile in row.tiles
        ]
        pairs = zip(row.tiles, captions, strict=True)
        pictures = [stacked([tile.pixels, caption]) for tile, caption in pairs]
        tiles = grid(pictures, len(pictures), _GAP)
        height = max(label.shape[0] + _GAP, tiles.shape[0])
        line = np.concatenate([padded(part, height=height) for part in (label, tiles)], axis=1)
        drawn.append(padded(line, left=_GAP, top=_GAP - 1, width=width))
    return padded(stacked(drawn), height=sum(part.shape[0] for part in drawn) + _GAP)


def render_page(summary: Summary, rows: Sequence[Row]) -> str:
    """The contact sheet as an HTML page that needs no other file and no network."""
    templates = load_templates(
        "loco_tools.datasets", trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True
    )
    templates.filters |= {"data_url": data_url, "plural": plural, "printable": printable}
    page: str = templates.get_template("show.html").render(
        summary=summary,
        total=sum(summary.images.values()),
        counts=[[folder, str(count)] for folder, count in summary.images.items()],
        defect_columns=DEFECT_COLUMNS,
        rows=rows,
    )
    return page


def _whole_image(sample: Sample, defect: Defect | None) -> Tile:
    image = sample.image()
    pixels = scaled(image, _TILE / max(image.shape[:2]))
    if defect:
        pixels = outlined(pixels, defect.mask, COLOURS[defect.kind])
    path = f"{sample.kind_folder}/{sample.id}" if defect else f"{sample.split}/good/{sample.id}"
    caption = path + (f" ({sample.view})" if sample.view else "")
    view = f", view {sample.view}" if sample.view else ""
    content = f"{defect.name} outlined" if defect else "good"
    alt = f"image {sample.split}/{sample.kind_folder}/{sample.id}{view}: {content}"
    return Tile(pixels, printable(caption), printable(alt))


def _close_up(sample: Sample, defect: Defect) -> Tile:
    """A square around a defect, at least 48 px and 1.6 times as large as the defect."""
    image, mask = sample.image(), defect.mask
    height, width = mask.shape
    x, y, w, h = cv2.boundingRect(mask.view(np.uint8))
    side = min(max(48, int(1.6 * max(w, h))), max(height, width))
    top = min(max(0, y + h // 2 - side // 2), max(0, height - side))
    left = min(max(0, x + w // 2 - side // 2), max(0, width - side))
    box = np.s_[top : top + side, left : left + side]
    pixels = scaled(image[box], _TILE / max(image[box].shape[:2]))
    caption = f"close-up, {defect.area_px} px"
    alt = f"close-up of {defect.name}, {defect.area_px} px"
    return Tile(outlined(pixels, mask[box], COLOURS[defect.kind]), caption, printable(alt))


def _spread(items: Sequence[Item], count: int) -> list[Item]:
    """At most `count` items, evenly distributed over the sequence."""
    if len(items) <= count:
        return list(items)
    return [items[round(n * (len(items) - 1) / max(1, count - 1))] for n in range(count)]
