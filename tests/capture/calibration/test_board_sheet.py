import io
import re
import struct
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from loco_tools.capture.calibration.board import Board, corners_mm, find_corners, parse_board_id
from loco_tools.capture.calibration.board_sheet import PAPERS_MM, sheet, write_sheet
from loco_tools.errors import CaptureError

POINTS_PER_MM = 72 / 25.4


def fax_image(stream: bytes, width: int, height: int) -> np.ndarray:
    """(H, W) uint8 of the CCITT group 4 image in a PDF, read as the TIFF that it would be."""
    tags = [(256, width), (257, height), (258, 1), (259, 4), (262, 1), (273, 8 + 2 + 8 * 12 + 4)]
    tags += [(278, height), (279, len(stream))]
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    head = b"II*\0" + struct.pack("<IH", 8, len(tags))
    tiff = head + entries + struct.pack("<I", 0) + stream
    with Image.open(io.BytesIO(tiff)) as image:
        return np.asarray(image.convert("L"))


def pdf_image(content: bytes) -> np.ndarray:
    found = re.search(rb"/Subtype /Image\s/Width (\d+)\s/Height (\d+)", content)
    assert found is not None
    width, height = (int(number) for number in found.groups())
    start = content.index(b"stream\n", found.end()) + len(b"stream\n")
    length = int(re.search(rb"/Length (\d+)", content[found.end() :]).group(1))
    return fax_image(content[start : start + length], width, height)


@pytest.mark.parametrize("paper", ["A4", "A3", "letter"])
def test_the_pdf_has_the_size_of_the_paper_and_its_image_fills_it(
    tmp_path: Path, paper: str
) -> None:
    board = parse_board_id("10x12-15-12-4X4_100")
    write_sheet(tmp_path / "board.pdf", board, paper)
    content = (tmp_path / "board.pdf").read_bytes()
    wanted = [side * POINTS_PER_MM for side in PAPERS_MM[paper]]
    page = re.search(rb"/MediaBox \[ 0 0 ([\d.]+) ([\d.]+) \]", content).groups()
    placed = re.search(rb"q ([\d.]+) 0 0 ([\d.]+) 0 0 cm /image Do", content).groups()
    assert [float(side) for side in page] == pytest.approx(wanted, abs=1e-4)
    assert [float(side) for side in placed] == pytest.approx(wanted, abs=1e-4)
    np.testing.assert_array_equal(pdf_image(content), sheet(board, paper))


def test_the_png_says_its_resolution_and_shows_the_board_at_true_scale(tmp_path: Path) -> None:
    write_sheet(tmp_path / "board.png", Board())
    with Image.open(tmp_path / "board.png") as image:
        assert image.info["dpi"] == pytest.approx((508, 508), abs=0.01)
        pixels = np.asarray(image.convert("L"))
    assert pixels.shape == (297 * 20, 210 * 20)

    small = cv2.resize(pixels, None, fx=0.25, fy=0.25, interpolation=cv2.INTER_AREA)
    corners = find_corners(Board(), np.repeat(small[..., None], 3, axis=2))
    assert len(corners) == 160
    steps = corners.pixels - corners.pixels[0]
    wanted = corners_mm(Board(), corners.ids)[:, :2] * 5
    np.testing.assert_allclose(steps, wanted - wanted[0], atol=0.02)


def test_the_line_to_measure_is_100_mm_long() -> None:
    foot = sheet(Board())[-28 * 20 :] == 0
    longest = max(int(np.ptp(np.flatnonzero(row))) + 1 for row in foot if row.any())
    line = next(row for row in foot if row.sum() >= 2000)
    start, end = np.flatnonzero(line)[[0, -1]]
    # from the middle of one tick to the middle of the other; a tick is 5 pixels wide
    assert end - start + 1 - 4 == pytest.approx(100 * 20, abs=1)
    assert longest > 0


def test_the_same_board_gives_the_same_png(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        write_sheet(tmp_path / name, Board())
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


@pytest.mark.parametrize(
    ("name", "board", "message"),
    [
        (
            "b.pdf",
            "11x17-20-15-4X4_100",
            r"expected at most 198 x 261 mm on A4, got 220 x 340 mm.*larger",
        ),
        ("b.jpg", "11x17-15-11-4X4_100", r"expected a name that ends in \.pdf or \.png"),
    ],
)
def test_a_sheet_that_cannot_be_is_refused(
    tmp_path: Path, name: str, board: str, message: str
) -> None:
    with pytest.raises(CaptureError, match=message):
        write_sheet(tmp_path / name, parse_board_id(board))
    assert not list(tmp_path.iterdir())


def test_a_board_that_is_too_large_for_the_paper_is_answered_with_one_that_fits(
    tmp_path: Path,
) -> None:
    with pytest.raises(CaptureError, match=r"next step: --board (\S+), or larger paper") as caught:
        write_sheet(tmp_path / "l.pdf", Board(), paper="letter")
    fitting = str(caught.value).split("--board ")[1].split(",")[0]
    write_sheet(tmp_path / "l.pdf", parse_board_id(fitting), paper="letter")
    assert (tmp_path / "l.pdf").is_file()
