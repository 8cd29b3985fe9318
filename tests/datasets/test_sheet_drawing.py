import numpy as np
import pytest

from loco_tools.datasets.sheet_drawing import grid, outlined, padded, scaled, stacked, text_line

RED = (255, 0, 0)


def picture(height: int, width: int, value: int = 120) -> np.ndarray:
    return np.full((height, width, 3), value, np.uint8)


def test_an_outline_surrounds_the_mask_and_leaves_mask_and_input_unchanged() -> None:
    original = picture(60, 80)
    mask = np.zeros((60, 80), bool)
    mask[20:30, 30:50] = True
    drawn = outlined(original, mask, RED)
    red = (drawn == RED).all(axis=2)
    assert (original == 120).all()
    assert (drawn[mask] == 120).all()
    rows, columns = np.nonzero(red)
    assert rows.min() < 20
    assert rows.max() > 29
    assert columns.min() < 30
    assert columns.max() > 49


def test_a_mask_of_another_size_is_scaled_to_the_picture() -> None:
    mask = np.zeros((600, 800), bool)
    mask[300, 400] = True
    drawn = outlined(picture(60, 80), mask, RED)
    rows, columns = np.nonzero((drawn == RED).all(axis=2))
    assert abs(rows.mean() - 30) < 2
    assert abs(columns.mean() - 40) < 2


def test_a_text_that_is_too_long_ends_in_dots() -> None:
    short, long = (
        text_line(text, height=20, width=80, size=12) for text in ("short", "long " * 50)
    )
    assert short.shape == long.shape == (20, 80, 3)
    assert (short[:, 60:] == 255).all()
    assert (long[:, 60:] < 255).any()


@pytest.mark.parametrize(("scale", "size"), [(2.0, (8, 12)), (0.5, (2, 3)), (0.01, (1, 1))])
def test_a_scaled_picture_has_at_least_one_pixel(scale: float, size: tuple[int, int]) -> None:
    assert scaled(picture(4, 6), scale).shape[:2] == size


def test_a_grid_has_cells_of_one_size_and_white_for_missing_pictures() -> None:
    sheet = grid([picture(2, 3), picture(4, 5), picture(1, 1)], columns=2, gap=1)
    assert sheet.shape == (2 * 5, 2 * 6, 3)
    assert (sheet[:2, :3] == 120).all()
    assert (sheet[:4, 6:11] == 120).all()
    assert (sheet[5:, 6:] == 255).all()


def test_padding_adds_margins_and_a_least_size() -> None:
    assert padded(picture(2, 3), left=1, top=2, height=3, width=9).shape == (4, 9, 3)
    assert stacked([picture(2, 3), picture(1, 5)]).shape == (3, 5, 3)
