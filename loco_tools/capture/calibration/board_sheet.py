"""The calibration board on paper, at true scale.

The sheet is drawn at 508 dots per inch, which is exactly 20 per mm. A line of 100 mm on it shows
whether the printer kept the scale.
"""

import io
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from loco_tools import files
from loco_tools.capture.calibration.board import Board, draw_board
from loco_tools.datasets.images import Pixels
from loco_tools.errors import CaptureError

if TYPE_CHECKING:
    from PIL import Image, ImageDraw

PAPERS_MM = {"A4": (210.0, 297.0), "A3": (297.0, 420.0), "letter": (215.9, 279.4)}
LINE_MM = 100.0
DPI = 508
_PX_PER_MM = 20
_TOP_MM = 12.0
_FOOT_MM = 24.0
_FEWEST_SQUARES = 4
_SIDE_MM = 6.0
_TEXT_MM = 3.2


def write_sheet(path: Path, board: Board, paper: str = "A4") -> None:
    """Write the sheet as PDF or PNG, depending on the file's suffix; it prints at true scale.

    Raises:
        CaptureError: the board does not fit the paper, or the suffix is neither .pdf nor .png.
    """
    kinds = {".pdf": "PDF", ".png": "PNG"}
    kind = kinds.get(path.suffix.lower())
    if kind is None:
        raise CaptureError(
            f"{path}: expected a name that ends in .pdf or .png; next step: --out board.pdf"
        )
    page = _page(board, paper)
    content = io.BytesIO()
    if kind == "PDF":
        page.save(content, "PDF", resolution=DPI, title=f"ChArUco board {board.id}")
    else:
        page.save(content, "PNG", dpi=(DPI, DPI))
    files.write_bytes(path, content.getvalue())


def sheet(board: Board, paper: str = "A4") -> Pixels:
    """The sheet (H, W) uint8 at 20 pixels per mm, black 0 and white 255.

    Raises:
        CaptureError: the board does not fit the paper.
    """
    return np.asarray(_page(board, paper).convert("L"), dtype=np.uint8)


def _page(board: Board, paper: str) -> "Image.Image":
    from PIL import Image, ImageDraw

    width, height = PAPERS_MM[paper]
    left, top = _find_corner(board, paper)
    page = Image.new("1", (_px(width), _px(height)), 1)
    page.paste(Image.fromarray(draw_board(board)).convert("1"), (_px(left), _px(top)))
    pen = ImageDraw.Draw(page)
    _mark_middle(pen, board, left, top)
    _write_foot(pen, board, width / 2, top + board.size_mm[1])
    return page


def _find_corner(board: Board, paper: str) -> tuple[float, float]:
    """The position of the pattern on the paper, in mm from its left and upper edge."""
    across, down = board.size_mm
    width, height = PAPERS_MM[paper]
    free_across, free_down = width - across, height - down - _TOP_MM - _FOOT_MM
    if free_across < 2 * _SIDE_MM or free_down < 0:
        most_across, most_down = width - 2 * _SIDE_MM, height - _TOP_MM - _FOOT_MM
        columns, rows = (int(length / board.square_mm) for length in (most_across, most_down))
        next_step = "smaller squares, or larger paper"
        if min(columns, rows) >= _FEWEST_SQUARES:
            fewer = {
                "squares_across": min(columns, board.squares_across),
                "squares_down": min(rows, board.squares_down),
            }
            next_step = f"--board {board.model_copy(update=fewer).id}, or larger paper"
        raise CaptureError(
            f"board {board.id}: expected at most {most_across:g} x {most_down:g} mm on {paper}, "
            f"got {across:g} x {down:g} mm; next step: {next_step}"
        )
    return free_across / 2, _TOP_MM + free_down / 2


def _mark_middle(pen: "ImageDraw.ImageDraw", board: Board, left: float, top: float) -> None:
    """Draw ticks around the pattern; the lines between opposite ones cross in its middle."""
    across, down = board.size_mm
    middle_x, middle_y = left + across / 2, top + down / 2
    for x, y, dx, dy in (
        (middle_x, top, 0.0, -1.0),
        (middle_x, top + down, 0.0, 1.0),
        (left, middle_y, -1.0, 0.0),
        (left + across, middle_y, 1.0, 0.0),
    ):
        _line(pen, (x + dx, y + dy), (x + 4 * dx, y + 4 * dy))


def _write_foot(pen: "ImageDraw.ImageDraw", board: Board, middle: float, bottom: float) -> None:
    """Draw the line of 100 mm and the description of the board below the pattern."""
    from PIL import ImageFont

    font = ImageFont.load_default(size=_px(_TEXT_MM))
    y = bottom + 9.0
    start, end = middle - LINE_MM / 2, middle + LINE_MM / 2
    _line(pen, (start, y), (end, y))
    for x in (start, end):
        _line(pen, (x, y - 2.0), (x, y + 2.0))
    lines = (
        "measure me: this line is 100 mm long when the sheet is printed at 100 %",
        f"Board {board.id}: {board.describe()}",
    )
    for number, text in enumerate(lines):
        position = (_px(middle), _px(y + 3.2 + number * 1.5 * _TEXT_MM))
        pen.text(position, text, fill=0, font=font, anchor="ma")


def _line(pen: "ImageDraw.ImageDraw", start: tuple[float, float], end: tuple[float, float]) -> None:
    """Draw a line of 0.2 mm width that ends exactly at the given points."""
    half = _px(0.1)
    (x0, x1), (y0, y1) = (sorted((_px(a), _px(b))) for a, b in zip(start, end, strict=True))
    wide, high = (half, 0) if x0 == x1 else (0, half)
    pen.rectangle((x0 - wide, y0 - high, max(x1 - 1, x0) + wide, max(y1 - 1, y0) + high), fill=0)


def _px(length_mm: float) -> int:
    return round(length_mm * _PX_PER_MM)
