import numpy as np
import pytest

from loco_tools.plan import Plan
from loco_tools.twin.board_pictures import SheetPose, photograph


def half_black() -> np.ndarray:
    """A sheet whose left half is black, and a white spot in its upper left corner."""
    sheet = np.full((60, 80), 255, np.uint8)
    sheet[:, :40] = 0
    sheet[:15, :20] = 255
    return sheet


def test_a_sheet_lies_unmirrored_in_the_middle_at_the_stated_scale(make_plan) -> None:
    plan: Plan = make_plan(width_px=120, height_px=90, field_mm=120.0)
    picture = photograph(plan, "top", half_black(), (80.0, 60.0))
    assert picture.px_per_mm == pytest.approx(1.0)
    assert picture.focal_px == pytest.approx(720.0)
    grey = picture.image.mean(axis=2)
    bright = grey > 0.72 * grey.max()  # half the light, in sRGB
    # one pixel per mm: the white half is 40 x 60 mm, the spot 20 x 15 mm
    assert bright[:, 60:].sum() == pytest.approx(2400, rel=0.03)
    assert bright[:, :60].sum() == pytest.approx(300, rel=0.1)
    rows, columns = np.nonzero(bright[:, :60])
    assert (rows.mean(), columns.mean()) == pytest.approx((15 + 7.5, 20 + 10), abs=0.8)


def test_a_tilted_sheet_looks_shorter(make_plan) -> None:
    plan: Plan = make_plan(width_px=120, height_px=90, field_mm=120.0)
    white = np.full((10, 10), 255, np.uint8)
    pose = SheetPose(tilt_deg=60.0)
    tilted = photograph(plan, "top", white, (40.0, 40.0), pose=pose).image.mean(axis=2) > 80
    width, height = np.ptp(np.nonzero(tilted), axis=1)[::-1]
    assert height == pytest.approx(41, abs=2)
    assert width == pytest.approx(20.5, abs=2)


def test_the_same_seed_gives_the_same_bytes(make_plan) -> None:
    plan: Plan = make_plan()
    first, again, other = (
        photograph(plan, "top", half_black(), (80.0, 60.0), seed=seed).image for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()
