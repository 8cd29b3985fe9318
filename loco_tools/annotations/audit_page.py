"""`data/<class>.audit.html`: what was drawn, over the images, and what became of it and why.

One file without scripts or links, to open in any browser. Pictures are small JPEGs inside of it,
and their number is bounded; what has no picture is still listed.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape

import cv2
import numpy as np

from loco_tools.annotations.counted_annotations import Outcome
from loco_tools.annotations.formats.mask_to_shape import bounding_box
from loco_tools.annotations.formats.regions import Region, Skipped
from loco_tools.annotations.formats.shapes import Mask
from loco_tools.annotations.merging import Instance
from loco_tools.annotations.orientation import stored_image
from loco_tools.annotations.photographs import Photograph
from loco_tools.annotations.taxonomy import Taxonomy
from loco_tools.datasets.images import Pixels, data_url, read_image
from loco_tools.errors import AnnotationError

MOST_PICTURES = 400
MOST_CLOSE_UPS = 6
MOST_ROWS = 2000
"""Bounds of the page: images with a picture, defects of one image shown from near, listed rows."""

_PICTURE_PX = 690
_CLOSE_UP_PX = 220
_LEAST_PX = 40
_JPEG_QUALITY = 84
_ASIDE_COLOUR = (150, 150, 150)
_STYLE = """
:root { color-scheme: light dark; --line: #8885; --dim: #8889; }
body { font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 72rem; padding: 0 1rem }
h1 { font-size: 1.5rem } h2 { font-size: 1rem; margin: 0 0 .5rem; overflow-wrap: anywhere }
pre { white-space: pre-wrap; border-left: 4px solid var(--line); padding-left: 1rem }
article { border-top: 1px solid var(--line); padding: 1rem 0; display: grid; gap: 1rem;
  grid-template-columns: minmax(0, 460px) minmax(0, 1fr) }
article img { max-width: 100%; height: auto; display: block }
.near { display: flex; flex-wrap: wrap; gap: .8rem; margin-top: .8rem }
figure { margin: 0 } figcaption { font-size: .8rem }
table { border-collapse: collapse; width: 100%; font-size: .85rem }
td, th { text-align: left; vertical-align: top; padding: .2rem .6rem .2rem 0;
  border-bottom: 1px solid var(--line); overflow-wrap: anywhere }
td:nth-child(-n+2) { white-space: nowrap }
.simulated { background: #c40; color: #fff; padding: .3rem .8rem; border-radius: 4px }
.swatch { display: inline-block; width: .8em; height: .8em; border-radius: 2px;
  margin-right: .35em }
.none { opacity: .65 }
@media (max-width: 50rem) { article { grid-template-columns: 1fr } }
"""


_SIMULATED = "<p><span class='simulated'>SIMULATED images of a digital twin</span></p>"


@dataclass
class AuditPage:
    """The page while the class is built; a card for every image that was annotated."""

    taxonomy: Taxonomy
    cards: list[str] = field(default_factory=list)
    simulated: bool = False

    def add(
        self, photograph: Photograph, image: str, outcome: Outcome, masks: Sequence[str]
    ) -> None:
        """One image of the class with its defects, whose mask files are `masks`."""
        shown = len(self.cards) < MOST_PICTURES
        whole, near = _pictures(photograph, outcome) if shown else ("no picture", "")
        self.simulated |= photograph.record.simulated
        rows = [
            self._row(f"{number}", instance, region, mask)
            for number, (instance, mask) in enumerate(
                zip(outcome.instances, masks, strict=True), start=1
            )
            for region in instance.regions
        ]
        rows += [_plain_row(s, "skipped", s.reason) for s in outcome.skipped]
        rows += [
            _plain_row(Skipped(r.task, r.id, r.type, why), "left out", why)
            for r, why in outcome.left_out
        ]
        head = "<tr><th></th><th>defect</th><th>region</th><th>became</th></tr>"
        table = f"<table>{head}{''.join(rows)}</table>" if rows else "<p>nothing was drawn</p>"
        title = f"{escape(image)} <small>{escape(str(photograph))}</small>"
        self.cards.append(
            f"<article><div>{whole}</div><div><h2>{title}</h2>{table}{near}</div></article>"
        )

    def html(self, summary: str, skipped: Sequence[Skipped], left_out: Sequence[Skipped]) -> str:
        """The whole page; `summary` is the conversion's report as text."""
        name = escape(self.taxonomy.name)
        rows = [_plain_row(s, "skipped", s.reason) for s in skipped]
        rows += [_plain_row(s, "left out", s.reason) for s in left_out]
        more = f"<p>and {len(rows) - MOST_ROWS} more, see the .audit.json</p>"
        listed = "".join(rows[:MOST_ROWS])
        without = (
            "<h2>Everything that became no mask</h2><table><tr><th></th><th>task</th>"
            f"<th>region</th><th>why</th></tr>{listed}</table>"
            f"{more if len(rows) > MOST_ROWS else ''}"
        )
        return (
            '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
            '<meta name="viewport" content="width=device-width">'
            '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; '
            "img-src data:; style-src 'unsafe-inline'\">"
            f"<title>Audit of {name}</title><style>{_STYLE}</style></head><body>"
            f"<h1>What became of the annotations of {name}</h1>"
            f"{_SIMULATED if self.simulated else ''}<pre>{escape(summary)}</pre>"
            f"{self._legend()}{''.join(self.cards)}{without if rows else ''}</body></html>\n"
        )

    def _legend(self) -> str:
        defects = "&ensp; ".join(
            f"{_swatch(defect.colour)}{escape(defect.name)} ({defect.kind})"
            for defect in self.taxonomy.defects
        )
        return f"<p>{defects}&ensp; {_swatch('#969696')}did not count</p>"

    def _row(self, number: str, instance: Instance, region: Region, mask: str) -> str:
        what = f"{_swatch(instance.defect.colour)}{escape(instance.defect.name)}"
        drawn = escape(f"{region.type} {region.id or ''}, task {region.task}")
        became = f"{escape(mask).replace('/', '/<wbr>')}<br>{instance.area_px} px"
        return f"<tr><td>{number}</td><td>{what}</td><td>{drawn}</td><td>{became}</td></tr>"


def _pictures(photograph: Photograph, outcome: Outcome) -> tuple[str, str]:
    """The whole image with everything that was drawn, and each defect from near."""
    pixels = read_image(photograph.path)
    marks = [(i.mask, _rgb(i.defect.colour)) for i in outcome.instances]
    near = "".join(
        _figure(_outlined(*_cut(pixels, mask, colour), _CLOSE_UP_PX), f"{number}")
        for number, (mask, colour) in enumerate(marks[:MOST_CLOSE_UPS], start=1)
    )
    marks += [(mask, _ASIDE_COLOUR) for mask in _masks_aside(photograph, outcome)]
    whole = _image(_outlined(pixels, marks, _PICTURE_PX), f"{photograph} with its marks", 1.5)
    return whole, f'<div class="near">{near}</div>'


def _plain_row(skip: Skipped, fate: str, reason: str) -> str:
    drawn = escape(f"{skip.type or 'entry'} {skip.region or ''}")
    cells = (fate, f"task {escape(str(skip.task))}", drawn, escape(reason))
    return f'<tr class="none">{"".join(f"<td>{cell}</td>" for cell in cells)}</tr>'


def _masks_aside(photograph: Photograph, outcome: Outcome) -> list[Mask]:
    image, masks = stored_image(photograph.path), []
    for region, _ in outcome.left_out:
        try:
            masks.append(image.mask_of(region))
        except AnnotationError:
            continue  # it is in the list
    return masks


_Marks = Sequence[tuple[Mask, tuple[int, int, int]]]


def _cut(pixels: Pixels, mask: Mask, colour: tuple[int, int, int]) -> tuple[Pixels, _Marks]:
    """One defect with a margin, magnified when it is small."""
    top, left, bottom, right = bounding_box(mask)
    half = max(bottom - top, right - left, _LEAST_PX) * 3 // 4
    y, x = (top + bottom) // 2, (left + right) // 2
    rows, columns = slice(max(y - half, 0), y + half), slice(max(x - half, 0), x + half)
    return pixels[rows, columns], [(mask[rows, columns], colour)]


def _outlined(pixels: Pixels, marks: _Marks, longest_px: int) -> Pixels:
    """The image with `longest_px` at most on its longer side, and the outline of each mask."""
    height, width = pixels.shape[:2]
    scale = longest_px / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    smooth = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    shown = np.ascontiguousarray(cv2.resize(pixels, size, interpolation=smooth), dtype=np.uint8)
    smooth = cv2.INTER_AREA if scale < 1 else cv2.INTER_NEAREST
    for mask, colour in marks:
        grey = cv2.resize(mask.astype(np.uint8) * 255, size, interpolation=smooth)
        found, _ = cv2.findContours(
            (grey >= 32).astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE
        )
        cv2.drawContours(shown, found, -1, (0, 0, 0), 4)
        cv2.drawContours(shown, found, -1, colour, 2)
    return shown.astype(np.uint8, copy=False)


def _figure(picture: Pixels, caption: str) -> str:
    shown = _image(picture, caption, 1.5)
    return f"<figure>{shown}<figcaption>{escape(caption)}</figcaption></figure>"


def _image(picture: Pixels, alternative: str, density: float) -> str:
    """An `img` that shows `density` pixels of the picture on one of the page."""
    source = data_url(picture, "jpeg", quality=_JPEG_QUALITY)
    size = f'width="{picture.shape[1] / density:.0f}" height="{picture.shape[0] / density:.0f}"'
    return f'<img {size} src="{source}" alt="{escape(alternative)}">'


def _swatch(colour: str) -> str:
    return f'<span class="swatch" style="background:{colour}"></span>'


def _rgb(colour: str) -> tuple[int, int, int]:
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)
