"""Contact sheets of the twin: what each class looks like, in every view and with every defect.

    python -m loco_tools.twin.contact_sheet --out data_cards/images [--class angle]

One picture per class: all views of a part beside each other, the good part first, then one per
defect. The mask is outlined; "not visible" stands where a view hides the defect.
"""

import io
from pathlib import Path

import click
import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from loco_tools import files
from loco_tools.definitions import names
from loco_tools.plan import Plan, load_plan
from loco_tools.twin.rendering import Rendering, render

_LARGEST_BYTES = 400_000
_GAP, _HEADING, _CAPTION = 8, 44, 24
_PAPER, _INK, _FAINT, _OUTLINE = (255, 255, 255), (20, 20, 20), (95, 95, 95), (255, 60, 40)

Pixels = NDArray[np.uint8]
"""A picture (H, W, 3), RGB."""


def contact_sheet(plan: Plan, *, width_px: int = 400, seed: int = 7) -> Pixels:
    """All views of a good part and of a part with each defect that the plan wants photographed.

    Args:
        plan: of the class.
        width_px: of one picture; it is rendered at the plan's size, which says how noisy it is.
        seed: of the good part; each further part has the next one.

    Returns:
        (H, W, 3) uint8 RGB.

    Raises:
        DefinitionError: a defect does not fit the part.
        MissingExtraError: the extra "twin" is not installed.
    """
    defects = list(dict.fromkeys(shots.defect for shots in plan.shots if shots.defect))
    height_px = round(width_px * plan.camera.height_px / plan.camera.width_px)
    # where a part fills little of a row, two parts show how a defect varies
    parts = 1 if len(plan.views) > 2 else 2
    rows = [None, *(defect for defect in defects for _ in range(parts))]
    cells = [
        [_cell(plan, part, view.name, defect, (width_px, height_px)) for view in plan.views]
        for part, defect in enumerate(rows, start=seed)
    ]
    columns = 4 // len(plan.views) if len(plan.views) < 3 else 1
    return _laid_out(_heading(plan), [_side_by_side(row) for row in cells], columns)


def jpeg(picture: Pixels, largest_bytes: int = _LARGEST_BYTES) -> bytes:
    """The picture as a JPEG of the best quality that stays below a size."""
    for quality in (90, 84, 78, 70, 60, 50, 40, 30):
        buffer = io.BytesIO()
        Image.fromarray(picture).save(buffer, "JPEG", quality=quality, optimize=True)
        if buffer.tell() <= largest_bytes:
            break
    return buffer.getvalue()


def _heading(plan: Plan) -> str:
    views = ", ".join(view.name for view in plan.views)
    return f"{plan.part.title}: simulated photographs. Views: {views}. Outlined: the defect's mask."


def _cell(plan: Plan, seed: int, view: str, defect: str | None, size: tuple[int, int]) -> Pixels:
    """One picture with its caption below."""
    rendering = render(plan, seed, defect, view)
    resized = cv2.resize(rendering.image, size, interpolation=cv2.INTER_AREA)
    picture = np.asarray(resized, dtype=np.uint8)
    _outline(picture, rendering)
    sheet = Image.new("RGB", (size[0], size[1] + _CAPTION), _PAPER)
    sheet.paste(Image.fromarray(picture), (0, 0))
    hidden = defect is not None and not rendering.defects
    words = f"{(defect or 'good').replace('_', ' ')}, {view}{' (not visible)' if hidden else ''}"
    _write(sheet, (2, size[1] + 3), words, 15, _FAINT if hidden else _INK)
    return np.asarray(sheet)


def _outline(picture: Pixels, rendering: Rendering) -> None:
    height, width = picture.shape[:2]
    for found in rendering.defects:
        mask = cv2.resize(
            found.mask.astype(np.uint8), (width, height), interpolation=cv2.INTER_AREA
        )
        # a little outside, so that the line hides nothing of the defect
        wide = cv2.dilate(mask, np.ones((5, 5), np.uint8))
        lines, _ = cv2.findContours(wide, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(picture, lines, -1, _OUTLINE, 1, cv2.LINE_AA)


def _side_by_side(cells: list[Pixels]) -> Pixels:
    gap = np.full((cells[0].shape[0], _GAP, 3), 255, dtype=np.uint8)
    return np.concatenate([part for cell in cells for part in (cell, gap)], axis=1)


def _laid_out(heading: str, rows: list[Pixels], columns: int) -> Pixels:
    """The rows below a heading, as many beside each other as there are columns."""
    height, width = rows[0].shape[:2]
    lines = -(-len(rows) // columns)
    size = (_GAP + columns * width, _HEADING + lines * (height + _GAP))
    sheet = Image.new("RGB", size, _PAPER)
    _write(sheet, (_GAP, 12), heading, 18, _INK)
    for number, row in enumerate(rows):
        line, column = divmod(number, columns)
        at = (_GAP + column * width, _HEADING + line * (height + _GAP))
        sheet.paste(Image.fromarray(row), at)
    return np.asarray(sheet)


def _write(
    sheet: Image.Image, at: tuple[int, int], words: str, size: int, ink: tuple[int, int, int]
) -> None:
    ImageDraw.Draw(sheet).text(at, words, fill=ink, font=ImageFont.load_default(size=size))


@click.command()
@click.option("--out", type=click.Path(path_type=Path), default=Path("data_cards/images"))
@click.option("--class", "chosen", multiple=True, help="Class; default: every one with a plan.")
@click.option("--width", "width_px", default=400, help="Width of one picture on the sheet, in px.")
def _main(out: Path, chosen: tuple[str, ...], width_px: int) -> None:
    """Render the contact sheets of the twin."""
    for name in chosen or names("capture"):
        sheet = contact_sheet(load_plan(name), width_px=width_px)
        files.write_bytes(out / f"{name}.jpg", jpeg(sheet))
        click.echo(f"{out / name}.jpg: {sheet.shape[1]} x {sheet.shape[0]} px")


if __name__ == "__main__":
    _main()
