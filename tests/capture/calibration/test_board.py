import cv2
import numpy as np
import pytest

from loco_tools.capture.calibration.board import (
    Board,
    BoardError,
    check_enough,
    corners_mm,
    draw_board,
    find_corners,
    parse_board_id,
)
from loco_tools.datasets.images import Pixels
from loco_tools.errors import CaptureError

DRAWN_PX_PER_MM = 20


def picture_of(board: Board, *, shrink: int = 4) -> Pixels:
    """(H, W, 3) uint8 RGB: the pattern on white, at 20 / shrink pixels per mm."""
    pattern = np.pad(draw_board(board), 40 * shrink, constant_values=255)
    small = cv2.resize(pattern, None, fx=1 / shrink, fy=1 / shrink, interpolation=cv2.INTER_AREA)
    return np.repeat(small[..., None], 3, axis=2)


def test_an_id_says_all_about_a_board() -> None:
    board = Board(squares_across=7, squares_down=9, square_mm=22.5, marker_mm=15)
    assert board.id == "7x9-22.5-15-4X4_100"
    assert parse_board_id(board.id) == board
    assert parse_board_id(Board().id) == Board()


@pytest.mark.parametrize(
    ("identifier", "message"),
    [
        ("a4", "expected squares, their length"),
        ("11x17-15-11-4X4_99", r'unknown dictionary "4X4_99"; did you mean'),
        ("11x17-15-15-4X4_100", r"markers of 0\.4 to 0\.9 of a square, got 15 mm"),
        ("30x40-15-12-4X4_100", "too few markers for 30 x 40 squares"),
        ("2x17-15-11-4X4_100", "greater than or equal to 4, got '2'"),
    ],
)
def test_an_impossible_board_is_refused(identifier: str, message: str) -> None:
    with pytest.raises(CaptureError, match=rf"{message}.*next step: use the id"):
        parse_board_id(identifier)


@pytest.mark.parametrize("shrink", [3, 4, 6])
def test_corners_are_found_where_they_are_drawn(shrink: int) -> None:
    board = Board()
    corners = find_corners(board, picture_of(board, shrink=shrink))
    assert len(corners) == (board.squares_across - 1) * (board.squares_down - 1)
    places = corners_mm(board, corners.ids)[:, :2] * DRAWN_PX_PER_MM / shrink
    # (0, 0) is the centre of a pixel, and the margin is 40 pixels
    np.testing.assert_allclose(corners.pixels, places + 40 - 0.5, atol=0.02)


def test_a_part_of_the_board_is_enough() -> None:
    board, image = Board(), picture_of(Board())
    image = np.ascontiguousarray(image[500:900, 300:800])
    corners = find_corners(board, image)
    check_enough(board, image, corners)
    assert 12 <= len(corners) < 60


def test_corners_at_the_edge_of_the_picture_are_left_out() -> None:
    board, image = Board(), picture_of(Board())
    through_corners = 40 + 2 * 75  # the third line of corners
    corners = find_corners(board, np.ascontiguousarray(image[through_corners:]))
    assert corners.pixels[:, 1].min() > 5


def test_too_few_corners_are_refused_with_their_number() -> None:
    board, image = Board(), picture_of(Board())
    cut = np.ascontiguousarray(image[:260, :300])
    with pytest.raises(BoardError, match=r"at least 12 corners .*, found [1-9].*next step: bring"):
        check_enough(board, cut, find_corners(board, cut))
    blank = np.full((200, 300, 3), 120, np.uint8)
    with pytest.raises(BoardError, match="found 0"):
        check_enough(board, blank, find_corners(board, blank))


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ("11x17-15-11-5X5_100", "not the board .*its markers are of a dictionary 5X5"),
        ("6x9-15-12-4X4_50", "not the board .*of a dictionary 4X4, but arranged differently"),
    ],
)
def test_another_board_is_named(other: str, message: str) -> None:
    image = picture_of(parse_board_id(other))
    with pytest.raises(BoardError, match=message):
        check_enough(Board(), image, find_corners(Board(), image))
