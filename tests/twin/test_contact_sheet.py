import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from loco_tools.plan import Plan

pytest.importorskip("mitsuba")
pytest.importorskip("manifold3d")
pytest.importorskip("shapely")

from loco_tools.twin.contact_sheet import contact_sheet, jpeg

MakePlan = Callable[..., Plan]
REPOSITORY = Path(__file__).resolve().parents[2]


def test_the_sheet_has_every_view_of_a_good_part_and_of_one_with_each_defect(
    make_plan: MakePlan,
) -> None:
    plan = make_plan("angle", width_px=64, height_px=48, samples=1)
    shots = tuple(s for s in plan.shots if s.defect in (None, "bent_leg", "cut_corner"))
    sheet = contact_sheet(plan.model_copy(update={"shots": shots}), width_px=64)
    assert sheet.shape == (44 + 3 * (48 + 24 + 8), 8 + 3 * (64 + 8), 3)
    outlined = (sheet[..., 0] > 200) & (sheet[..., 1] < 120)
    rows = [outlined[44 + k * 80 : 44 + k * 80 + 48] for k in range(3)]
    assert not rows[0].any()
    assert rows[1].any()
    assert rows[2].any()


def test_a_class_with_one_view_shows_each_defect_twice(make_plan: MakePlan) -> None:
    plan = make_plan(width_px=64, height_px=40, samples=1)
    shots = tuple(s for s in plan.shots if s.defect in (None, "cut_corner"))
    sheet = contact_sheet(plan.model_copy(update={"shots": shots}), width_px=64)
    assert sheet.shape == (44 + 40 + 24 + 8, 8 + 4 * (64 + 8), 3)
    cells = [sheet[44:84, 8 + k * 72 : 72 + k * 72] for k in range(4)]
    assert [bool((cell < 100).any()) for cell in cells] == [True, True, True, False]


def test_the_jpeg_stays_below_the_given_size() -> None:
    noise = np.random.default_rng(1).integers(0, 256, (300, 400, 3), dtype=np.uint8)
    small = jpeg(noise, 60_000)
    assert len(small) <= 60_000
    assert Image.open(io.BytesIO(small)).size == (400, 300)


@pytest.mark.parametrize("name", ["flat_connector", "angle", "composite_part"])
def test_the_shipped_sheets_are_there_and_small(name: str) -> None:
    path = REPOSITORY / "data_cards" / "images" / f"{name}.jpg"
    assert path.stat().st_size <= 400_000
    assert Image.open(path).size[0] >= 1200
