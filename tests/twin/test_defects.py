from collections.abc import Callable

import numpy as np
import pytest

from loco_tools.annotations.taxonomy import AreaMm2, load_taxonomy
from loco_tools.errors import DefinitionError
from loco_tools.plan import Plan, Screw

pytest.importorskip("manifold3d")
pytest.importorskip("shapely")

from loco_tools.twin.assembly import Assembly, assemble
from loco_tools.twin.defects import DEFECTS, apply_defect

MakePlan = Callable[..., Plan]


def make_assembly(plan: Plan, seed: int = 1) -> Assembly:
    return assemble(plan.part, np.random.default_rng(seed), tolerance_mm=0.5)


def volume(assembly: Assembly, index: int = 0) -> float:
    return float(assembly.plates[index]._solid().volume())


@pytest.mark.parametrize("name", ["flat_connector", "angle", "composite_part"])
def test_the_twin_renders_every_defect_of_the_shipped_taxonomies(name: str) -> None:
    assert {defect.name for defect in load_taxonomy(name).defects} <= set(DEFECTS)


def test_a_defect_leaves_one_connected_solid(make_plan: MakePlan) -> None:
    good = make_assembly(make_plan())
    for defect in ("edge_damage", "cut_corner", "deep_scratch", "missing_hole", "additional_hole"):
        for seed in range(6):
            bad = apply_defect(good, defect, np.random.default_rng(seed))
            assert len(bad.plates[0]._solid().decompose()) == 1
            assert bad.regions()


def test_a_missing_hole_adds_metal_and_an_additional_one_takes_it_away(
    make_plan: MakePlan,
) -> None:
    good = make_assembly(make_plan())
    hole_mm3 = np.pi * 2.5**2 * 2.5
    filled = apply_defect(good, "missing_hole", np.random.default_rng(1))
    assert volume(filled) - volume(good) == pytest.approx(hole_mm3, rel=0.15)
    drilled = apply_defect(good, "additional_hole", np.random.default_rng(1))
    assert volume(good) - volume(drilled) == pytest.approx(hole_mm3, rel=0.08)


@pytest.mark.parametrize("defect", ["edge_damage", "cut_corner", "additional_hole"])
def test_less_severity_takes_away_less_metal(defect: str, make_plan: MakePlan) -> None:
    part = make_plan().part
    gone = []
    for severity in (1.0, 0.4):
        good = assemble(part, np.random.default_rng(1), 0.5, severity)
        bad = apply_defect(good, defect, np.random.default_rng(3))
        gone.append(volume(good) - volume(bad))
    assert 0 < gone[1] < 0.5 * gone[0]


def test_less_severity_brings_a_wrong_hole_nearer_to_the_right_size(make_plan: MakePlan) -> None:
    part = make_plan().part
    off = []
    for severity in (1.0, 0.4):
        good = assemble(part, np.random.default_rng(1), 0.5, severity)
        bad = apply_defect(good, "wrong_hole_size", np.random.default_rng(3))
        sizes = zip(good.plates[0].plate.holes, bad.plates[0].plate.holes, strict=True)
        off.append(max(abs(b.diameter_mm - g.diameter_mm) for g, b in sizes))
    assert off[1] == pytest.approx(0.4 * off[0])


def test_covers_get_clearance_holes_under_their_screws(make_plan: MakePlan) -> None:
    plates = make_assembly(make_plan("composite_part")).plates
    assert [len(state.clearances) for state in plates] == [4, 2, 2]
    assert {diameter for state in plates for _, _, diameter in state.clearances} == {6.3}


@pytest.mark.parametrize(
    ("defect", "most_untouched"),
    [
        ("edge_damage", 0.25),
        ("cut_corner", 0.02),
        ("deep_scratch", 0.15),
        ("dent", 0.02),
        ("missing_hole", 0.35),
        ("additional_hole", 0.25),
    ],
)
def test_a_defects_region_holds_all_that_changed_and_little_else(
    defect: str, most_untouched: float, make_plan: MakePlan
) -> None:
    good = make_assembly(make_plan())
    before = good.plates[0]._solid()
    for seed in range(6):
        state = apply_defect(good, defect, np.random.default_rng(seed)).plates[0]
        changes = [before - state._solid(), state._solid() - before]
        marked = state.regions[0].project()
        column = marked.extrude(20.0).translate([0.0, 0.0, -10.0])
        outside_mm3 = sum((change - column).volume() for change in changes)
        assert outside_mm3 < 0.01 * sum(change.volume() for change in changes)
        changed = changes[0].project() + changes[1].project()
        assert (marked - changed).area() < most_untouched * marked.area()


def test_a_misplaced_screw_leaves_as_many_screws_as_before(make_plan: MakePlan) -> None:
    good = make_assembly(make_plan("composite_part"))
    bad = apply_defect(good, "misplaced_screw", np.random.default_rng(2))
    assert len(bad.screws) == len(good.screws)
    moved = [state.screw for state in bad.screws if state.marked]
    assert len(moved) == 1
    assert (moved[0].x_mm, abs(moved[0].y_mm), moved[0].z_mm) == (0.0, 18.0, 2.0)
    # as deep as the others: flush with the underside
    assert moved[0].z_mm + moved[0].stands_mm == moved[0].length_mm
    assert len(bad.missing_solids) == 1


def wrong_screws(plan: Plan, seeds: int) -> list[tuple[Screw, Screw, Assembly]]:
    """The right screw, the one that sits there, and the assembly, for some draws."""
    good, found = make_assembly(plan), []
    for seed in range(seeds):
        bad = apply_defect(good, "wrong_screw", np.random.default_rng(seed))
        found += [
            (before.screw, after.screw, bad)
            for before, after in zip(good.screws, bad.screws, strict=True)
            if after.marked
        ]
    assert len(found) == seeds
    return found


def test_a_wrong_screw_has_the_other_head_or_another_length(make_plan: MakePlan) -> None:
    heads, lengths = set(), set()
    for right, wrong, bad in wrong_screws(make_plan("composite_part"), 24):
        assert (right.head != wrong.head) != (right.length_mm != wrong.length_mm)
        assert bool(bad.visible_evidence) == (right.length_mm != wrong.length_mm)
        heads.add((right.head, wrong.head))
        lengths.add(wrong.length_mm - right.length_mm)
        # whatever it is, it is turned in until it is flush with the underside
        assert wrong.z_mm + wrong.stands_mm == wrong.length_mm
    assert {("hex", "pan"), ("pan", "hex")} <= heads
    assert min(lengths) <= -4.0
    assert max(lengths) >= 4.0


def test_a_wrong_screw_that_is_driven_home_has_another_head(make_plan: MakePlan) -> None:
    plan = make_plan("composite_part")
    pieces = [
        piece.model_dump() | ({"stands_mm": 0.0} if piece.shape == "screw" else {})
        for piece in plan.part.pieces
    ]
    part = {"title": "P", "bought_as": "p", "pieces": pieces}
    home = make_plan("composite_part", part=part)
    for right, wrong, _ in wrong_screws(home, 8):
        assert right.head != wrong.head
        assert right.length_mm == wrong.length_mm


def test_bent_screws_bend_in_every_direction_and_never_sink_into_their_sheet(
    make_plan: MakePlan,
) -> None:
    good = make_assembly(make_plan("composite_part"))
    directions = set()
    for seed in range(12):
        bad = apply_defect(good, "bent_screw", np.random.default_rng(seed))
        (bent,) = [state for state in bad.screws if state.marked]
        assert 17.0 <= bent.bend_deg <= 34.0
        directions.add(int(bent.lean_azimuth_deg // 90))
        surface = bent.patches()[0].surface
        head = surface.flat[..., 2].min(axis=1) > 0.01
        assert surface.corners[head][..., 2].min() > bent.screw.z_mm
    assert directions == {0, 1, 2, 3}


def test_swapped_covers_keep_their_screws(make_plan: MakePlan) -> None:
    good = make_assembly(make_plan("composite_part"))
    bad = apply_defect(good, "swapped_pieces", np.random.default_rng(2))
    assert [s.screw for s in bad.screws] == [s.screw for s in good.screws]
    assert [s.plate.at_mm[0] for s in bad.plates] == [0.0, 36.0, -36.0]


def test_the_bent_leg_is_off_by_nine_to_sixteen_degrees_either_way(make_plan: MakePlan) -> None:
    good = make_assembly(make_plan("angle"))
    off = []
    for seed in range(8):
        fold = apply_defect(good, "bent_leg", np.random.default_rng(seed)).plates[0].plate.fold
        assert fold is not None
        off.append(fold.angle_deg - 90.0)
    assert all(9.0 <= abs(angle) <= 16.0 for angle in off)
    assert min(off) < 0 < max(off)


@pytest.mark.parametrize("name", ["flat_connector", "angle"])
def test_wrong_holes_are_too_wide_or_too_narrow_by_at_least_the_ring_that_saturates(
    name: str, make_plan: MakePlan
) -> None:
    good = make_assembly(make_plan(name))
    saturation = load_taxonomy(name).defect("wrong_hole_size").saturation
    assert isinstance(saturation, AreaMm2)
    sizes = set()
    for seed in range(24):
        bad = apply_defect(good, "wrong_hole_size", np.random.default_rng(seed))
        pairs = zip(good.plates[0].plate.holes, bad.plates[0].plate.holes, strict=True)
        ((right, wrong),) = [(a, b) for a, b in pairs if a != b]
        assert right.feature == "hole"
        assert abs(wrong.area_mm2 - right.area_mm2) >= saturation.area_mm2
        sizes.add(round(wrong.diameter_mm, 1))
    assert sizes == {3.5, 6.5, 7.0, 8.0}


def test_a_stuffed_hole_is_painted_over_on_both_faces_and_no_further_than_its_mask(
    make_plan: MakePlan,
) -> None:
    good = make_assembly(make_plan())
    bad = apply_defect(good, "missing_hole", np.random.default_rng(3))
    (spray,) = [p.surface for p in bad.plates[0].patches() if p.material == "zinc_spray"]
    low, high = np.asarray(bad.plates[0].regions[0].bounding_box()).reshape(2, 3)
    points = spray.corners.reshape(-1, 3)
    assert (points[:, :2] >= low[:2]).all()
    assert (points[:, :2] <= high[:2]).all()
    assert {round(z) for z in (points[:, 2].min(), points[:, 2].max())} == {0, 2}


def test_a_part_without_a_free_area_for_a_defect_is_refused(make_plan: MakePlan) -> None:
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
    with pytest.raises(DefinitionError, match="no free area for additional_hole on this part"):
        apply_defect(good, "additional_hole", np.random.default_rng(1))


def test_a_plate_without_holes_can_be_cut_and_notched(make_plan: MakePlan) -> None:
    piece = {"shape": "plate", "name": "p", "length_mm": 40, "width_mm": 30, "thickness_mm": 2}
    good = make_assembly(make_plan(part={"title": "P", "bought_as": "p", "pieces": [piece]}))
    for defect in ("cut_corner", "edge_damage", "deep_scratch", "dent"):
        assert volume(apply_defect(good, defect, np.random.default_rng(1))) < volume(good)
    with pytest.raises(DefinitionError, match="expected a plate with a hole, got none"):
        apply_defect(good, "missing_hole", np.random.default_rng(1))


def test_the_region_of_a_cut_corner_is_the_metal_that_is_gone(make_plan: MakePlan) -> None:
    good = make_assembly(make_plan())
    for seed in range(5):
        bad = apply_defect(good, "cut_corner", np.random.default_rng(seed))
        region_mm3 = bad.plates[0].regions[0].volume()
        assert volume(good) - volume(bad) == pytest.approx(region_mm3, rel=0.06)
