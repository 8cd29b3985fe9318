from collections.abc import Callable

import numpy as np
import pytest

from loco_tools.annotations.taxonomy import load_taxonomy
from loco_tools.errors import DefinitionError
from loco_tools.plan import Plan

pytest.importorskip("manifold3d")
pytest.importorskip("shapely")

from loco_tools.twin.assembly import Assembly, assemble
from loco_tools.twin.defects import DEFECTS, damaged

MakePlan = Callable[..., Plan]


def make_assembly(plan: Plan, seed: int = 1) -> Assembly:
    return assemble(plan.part, np.random.default_rng(seed), tolerance_mm=0.5)


def volume(assembly: Assembly, index: int = 0) -> float:
    return float(assembly.plates[index]._solid().volume())


@pytest.mark.parametrize("name", ["flat_connector", "angle", "composite_part"])
def test_the_twin_shows_every_defect_of_the_shipped_taxonomies(name: str) -> None:
    assert {defect.name for defect in load_taxonomy(name).defects} <= set(DEFECTS)


def test_damage_leaves_one_sound_piece_of_metal(make_plan: MakePlan) -> None:
    good = make_assembly(make_plan())
    for defect in ("edge_damage", "cut_corner", "deep_scratch", "missing_hole", "additional_hole"):
        for seed in range(6):
            bad = damaged(good, defect, np.random.default_rng(seed))
            assert len(bad.plates[0]._solid().decompose()) == 1
            assert bad.regions()


def test_a_missing_hole_adds_metal_and_an_additional_one_takes_it_away(
    make_plan: MakePlan,
) -> None:
    good = make_assembly(make_plan())
    hole_mm3 = np.pi * 2.5**2 * 2.5
    filled = damaged(good, "missing_hole", np.random.default_rng(1))
    assert volume(filled) - volume(good) == pytest.approx(hole_mm3, rel=0.15)
    drilled = damaged(good, "additional_hole", np.random.default_rng(1))
    assert volume(good) - volume(drilled) == pytest.approx(hole_mm3, rel=0.08)


def test_covers_get_clearance_holes_under_their_screws(make_plan: MakePlan) -> None:
    plates = make_assembly(make_plan("composite_part")).plates
    assert [len(state.clearances) for state in plates] == [4, 2, 2]
    assert {diameter for state in plates for _, _, diameter in state.clearances} == {5.3}


def test_a_misplaced_screw_leaves_as_many_screws_as_before(make_plan: MakePlan) -> None:
    good = make_assembly(make_plan("composite_part"))
    bad = damaged(good, "misplaced_screw", np.random.default_rng(2))
    assert len(bad.screws) == len(good.screws)
    moved = [state.screw for state in bad.screws if state.marked]
    assert len(moved) == 1
    assert (moved[0].x_mm, abs(moved[0].y_mm), moved[0].z_mm) == (0.0, 18.0, 2.0)
    assert len(bad.ghosts) == 1


def test_a_wrong_screw_has_the_other_head(make_plan: MakePlan) -> None:
    good = make_assembly(make_plan("composite_part"))
    bad = damaged(good, "wrong_screw", np.random.default_rng(2))
    changed = [
        (before.screw.head, after.screw.head)
        for before, after in zip(good.screws, bad.screws, strict=True)
        if after.marked
    ]
    assert changed in ([("hex", "pan")], [("pan", "hex")])


def test_swapped_covers_keep_their_screws(make_plan: MakePlan) -> None:
    good = make_assembly(make_plan("composite_part"))
    bad = damaged(good, "swapped_pieces", np.random.default_rng(2))
    assert [s.screw for s in bad.screws] == [s.screw for s in good.screws]
    assert [s.plate.at_mm[0] for s in bad.plates] == [0.0, 36.0, -36.0]


def test_the_bent_leg_is_off_by_nine_to_sixteen_degrees(make_plan: MakePlan) -> None:
    good = make_assembly(make_plan("angle"))
    for seed in range(8):
        fold = damaged(good, "bent_leg", np.random.default_rng(seed)).plates[0].plate.fold
        assert fold is not None
        assert 9.0 <= abs(fold.angle_deg - 90.0) <= 16.0


def test_a_part_without_room_for_a_defect_is_refused(make_plan: MakePlan) -> None:
    tiny = {
        "title": "Washer",
        "bought_as": "washer",
        "pieces": [
            {
                "shape": "plate",
                "name": "washer",
                "length_mm": 8.0,
                "width_mm": 8.0,
                "thickness_mm": 1.0,
                "holes": [{"x_mm": 0.0, "y_mm": 0.0, "diameter_mm": 5.0}],
            }
        ],
    }
    good = make_assembly(make_plan(part=tiny))
    with pytest.raises(DefinitionError, match="no room for additional_hole on this part"):
        damaged(good, "additional_hole", np.random.default_rng(1))


def test_a_plate_without_holes_can_be_cut_and_notched(make_plan: MakePlan) -> None:
    piece = {"shape": "plate", "name": "p", "length_mm": 40, "width_mm": 30, "thickness_mm": 2}
    good = make_assembly(make_plan(part={"title": "P", "bought_as": "p", "pieces": [piece]}))
    for defect in ("cut_corner", "edge_damage", "deep_scratch", "dent"):
        assert volume(damaged(good, defect, np.random.default_rng(1))) < volume(good)
    with pytest.raises(DefinitionError, match="expected a plate with a hole, got none"):
        damaged(good, "missing_hole", np.random.default_rng(1))


def test_the_region_of_a_cut_corner_is_the_metal_that_is_gone(make_plan: MakePlan) -> None:
    good = make_assembly(make_plan())
    for seed in range(5):
        bad = damaged(good, "cut_corner", np.random.default_rng(seed))
        region_mm3 = bad.plates[0].regions[0].volume()
        assert volume(good) - volume(bad) == pytest.approx(region_mm3, rel=0.06)
