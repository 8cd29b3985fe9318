"""What the views of one part have in common, and what each one hides."""

from collections.abc import Callable

import numpy as np
import pytest

from loco_tools import twin
from loco_tools.plan import Plan

pytest.importorskip("mitsuba")
pytest.importorskip("manifold3d")
pytest.importorskip("shapely")

import scipy.ndimage

from loco_tools.twin import rendering
from loco_tools.twin.assembly import assemble
from loco_tools.twin.defects import apply_defect

MakePlan = Callable[..., Plan]
VIEWS = ("top", "oblique")


def test_a_screws_wrong_length_shows_from_the_side_and_not_from_above(
    make_plan: MakePlan,
) -> None:
    plan = make_plan("composite_part", samples=1)
    good = assemble(plan.part, np.random.default_rng(0), 0.5)
    shown: dict[bool, list[dict[str, bool]]] = {}
    for seed in (3, 5, 6, 12):  # too long, another head, too short twice
        bad = apply_defect(good, "wrong_screw", rendering._stream(seed, "defect", "wrong_screw"))
        views = {v: bool(twin.render(plan, seed, "wrong_screw", v).defects) for v in VIEWS}
        shown.setdefault(bool(bad.visible_evidence), []).append(views)
    assert len(shown[True]) == 3
    assert all(views == {"top": False, "oblique": True} for views in shown[True])
    assert all(views == {"top": True, "oblique": True} for views in shown[False])


def test_several_defects_of_the_angle_show_in_some_views_only(make_plan: MakePlan) -> None:
    plan = make_plan("angle", width_px=128, height_px=96, samples=1)
    parts = {"edge_damage": 15, "deep_scratch": 10, "additional_hole": 15, "wrong_hole_size": 14}
    for defect, seed in parts.items():
        shown = [bool(twin.render(plan, seed, defect, view.name).defects) for view in plan.views]
        assert True in shown, defect
        assert False in shown, defect


def test_a_corner_that_is_half_visible_next_to_the_other_leg_is_marked(make_plan: MakePlan) -> None:
    plan = make_plan("angle", width_px=160, height_px=120, samples=1)
    good, bad = (twin.render(plan, 4, found, "outside") for found in (None, "cut_corner"))
    (corner,) = bad.defects
    assert corner.mask.sum() > 12
    changed = np.abs(good.image.astype(int) - bad.image).max(axis=2)
    assert changed[corner.mask].mean() > 30


@pytest.mark.parametrize(
    ("name", "defect", "view"),
    [
        ("flat_connector", "missing_hole", "top"),
        ("flat_connector", "cut_corner", "top"),
        ("angle", "additional_hole", "inside"),
        ("composite_part", "dent", "oblique"),
        ("composite_part", "wrong_screw", "top"),
    ],
)
def test_away_from_its_defect_a_part_is_its_good_twin_to_the_bit(
    name: str, defect: str, view: str, make_plan: MakePlan
) -> None:
    """Wear, pose, light, cloth and noise come from the seed alone."""
    plan = make_plan(name, samples=4)
    good, bad = (twin.render(plan, 5, found, view) for found in (None, defect))
    near = scipy.ndimage.binary_dilation(bad.defects[0].mask, iterations=12)
    different = (good.image != bad.image).any(axis=2)
    assert different[near].any()
    assert different[~near].mean() < 0.03  # a shadow, a reflection
    offset = np.abs(good.image.astype(int) - bad.image)[~near]
    assert offset.mean() < 0.1


def test_views_of_a_part_show_it_in_one_place_whatever_was_rendered_before(
    make_plan: MakePlan,
) -> None:
    plan = make_plan("angle", width_px=48, height_px=36, samples=1)
    alone = twin.render(plan, 3, "bent_leg", "outside")
    twin.render(plan, 3, "bent_leg", "top")
    for seed in range(4, 7):  # more than are kept
        twin.render(plan, seed, None, "inside")
    again = twin.render(plan, 3, "bent_leg", "outside")
    assert (alone.image == again.image).all()
    assert (alone.defects[0].mask == again.defects[0].mask).all()
