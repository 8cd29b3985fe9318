"""Contact sheets of the twin: each class in every view and with every defect.

    python -m loco_tools.twin.contact_sheet --out data_cards/images [--class angle]

There is one picture per class: all views of a part next to each other, first a good part, then one
part per defect. Masks are outlined; the caption says "not visible" where a view hides the defect.
"""

import io
from pathlib import Path

import click
from PIL import Image

from loco_tools import files
from loco_tools.datasets.images import Pixels, resize_image
from loco_tools.datasets.sheet_drawing import (
    BLACK,
    GRAY,
    grid,
    outlined,
    padded,
    stacked,
    text_line,
)
from loco_tools.definitions import names
from loco_tools.plan import Plan, load_plan
from loco_tools.twin.rendering import render
from loco_tools.wording import visible

_LARGEST_BYTES = 400_000
_GAP, _HEADING, _CAPTION = 8, 44, 24
_OUTLINE = (255, 60, 40)


def contact_sheet(plan: Plan, *, width_px: int = 400, seed: int = 7) -> Pixels:
    """All views of a good part, and of a part with each defect in the plan.

    Args:
        plan: the plan of the class.
        width_px: width of one picture; it is rendered at the size in the plan, which determines
            its noise, and then reduced.
        seed: seed of the good part; each further part has the next seed.

    Returns:
        (H, W, 3) uint8 RGB.

    Raises:
        DefinitionError: a defect does not fit the part.
        MissingExtraError: the extra "twin" is not installed.
    """
    defects = list(dict.fromkeys(shots.defect for shots in plan.shots if shots.defect))
    height_px = round(width_px * plan.camera.height_px / plan.camera.width_px)
    # where a part takes up little of a row, two parts show how a defect varies
    parts = 1 if len(plan.views) > 2 else 2
    rows = [None, *(defect for defect in defects for _ in range(parts))]
    tiles = [
        _draw_tile(plan, part, view.name, defect, (height_px, width_px))
        for part, defect in enumerate(rows, start=seed)
        for view in plan.views
    ]
    rows_per_line = 4 // len(plan.views) if len(plan.views) < 3 else 1
    pictures = padded(grid(tiles, rows_per_line * len(plan.views), _GAP), left=_GAP)
    views = ", ".join(view.name for view in plan.views)
    title = f"{plan.part.title}: simulated photographs. Views: {views}. Masks are outlined."
    width = pictures.shape[1] - _GAP
    heading = text_line(title, height=_HEADING, width=width, size=18, top=12)
    return stacked([padded(heading, left=_GAP), pictures])


def jpeg(picture: Pixels, largest_bytes: int = _LARGEST_BYTES) -> bytes:
    """The picture as a JPEG file of the best quality within `largest_bytes`."""
    for quality in (90, 84, 78, 70, 60, 50, 40, 30):
        buffer = io.BytesIO()
        Image.fromarray(picture).save(buffer, "JPEG", quality=quality, optimize=True)
        if buffer.tell() <= largest_bytes:
            break
    return buffer.getvalue()


def _draw_tile(
    plan: Plan, seed: int, view: str, defect: str | None, size: tuple[int, int]
) -> Pixels:
    """One picture of (height, width) `size` with its caption below."""
    rendering = render(plan, seed, defect, view)
    picture = resize_image(rendering.image, size)
    for shown in rendering.defects:
        picture = outlined(picture, shown.mask, _OUTLINE)
    hidden = defect is not None and not rendering.defects
    name = (defect or "good").replace("_", " ")
    caption = text_line(
        f"{name}, {view}{' (not visible)' if hidden else ''}",
        height=_CAPTION,
        width=size[1],
        size=15,
        colour=GRAY if hidden else BLACK,
    )
    return stacked([picture, caption])


@click.command()
@click.option("--out", type=click.Path(path_type=Path), default=Path("data_cards/images"))
@click.option("--class", "chosen", multiple=True, help="Class; default: all classes with a plan.")
@click.option("--width", "width_px", default=400, help="Width of one picture on the sheet, in px.")
def _main(out: Path, chosen: tuple[str, ...], width_px: int) -> None:
    """Render the contact sheets of the twin."""
    for name in chosen or names("capture"):
        sheet = contact_sheet(load_plan(name), width_px=width_px)
        files.write_bytes(out / f"{name}.jpg", jpeg(sheet))
        click.echo(visible(f"{out / name}.jpg: {sheet.shape[1]} x {sheet.shape[0]} px"))


if __name__ == "__main__":
    _main()
