import hashlib
import math
import subprocess
import sys
from collections.abc import Callable

import numpy as np
import pytest

from loco_tools import twin
from loco_tools.annotations.taxonomy import load_taxonomy
from loco_tools.errors import DefinitionError, MissingExtraError
from loco_tools.plan import Plan

pytest.importorskip("mitsuba")
pytest.importorskip("manifold3d")
pytest.importorskip("shapely")

MakePlan = Callable[..., Plan]
CLASSES = ("flat_connector", "angle", "composite_part")
CASES = [(name, defect.name) for name in CLASSES for defect in load_taxonomy(name).defects]


def digest(rendering: twin.Rendering) -> str:
    planes = [rendering.image.tobytes(), *(d.mask.tobytes() for d in rendering.defects)]
    return hashlib.sha256(b"".join(planes)).hexdigest()


def plate(**changes: object) -> dict[str, object]:
    """A part of one plate, 40 x 30 x 2 mm, with one hole of 5 mm in its middle."""
    piece = {
        "shape": "plate",
        "name": "plate",
        "length_mm": 40.0,
        "width_mm": 30.0,
        "thickness_mm": 2.0,
        "holes": [{"x_mm": 0.0, "y_mm": 0.0, "diameter_mm": 5.0}],
    }
    return {"title": "Plate", "bought_as": "plate", "pieces": [piece | changes]}


@pytest.mark.parametrize("name", CLASSES)
def test_a_good_part_is_bright_metal_on_dark_cloth_and_has_no_defects(
    name: str, make_plan: MakePlan
) -> None:
    plan = make_plan(name)
    rendering = twin.render(plan, 1, None, "top")
    assert rendering.image.shape == (96, 160, 3)
    assert rendering.image.dtype == np.uint8
    assert rendering.defects == ()
    grey = rendering.image.mean(axis=2)
    assert grey[:6].mean() < 60
    assert np.percentile(grey, 97) > 120
    assert (grey > 250).mean() < 0.02
    assert rendering.px_per_mm == pytest.approx(160 / plan.camera.field_mm)


@pytest.mark.parametrize(("name", "defect"), CASES)
def test_every_defect_shows_in_some_view_with_a_mask_of_sensible_size(
    name: str, defect: str, make_plan: MakePlan
) -> None:
    plan = make_plan(name, samples=1)
    shown = [twin.render(plan, 3, defect, view.name).defects for view in plan.views]
    assert any(shown)
    for found in filter(None, shown):
        assert [d.name for d in found] == [defect]  # one instance, whatever it consists of
        assert found[0].mask.shape == (96, 160)
        area_mm2 = found[0].mask.sum() * (plan.camera.field_mm / 160) ** 2
        assert 2.0 < area_mm2 < 4000.0


def test_the_same_arguments_give_the_same_bytes_in_a_fresh_process(make_plan: MakePlan) -> None:
    plan = make_plan("composite_part", width_px=80, height_px=50)
    here = digest(twin.render(plan, 11, "scratch", "top"))
    assert digest(twin.render(plan, 11, "scratch", "top")) == here
    script = (
        "import sys, hashlib; from loco_tools import twin; from loco_tools.plan import Plan\n"
        "r = twin.render(Plan.model_validate_json(sys.stdin.read()), 11, 'scratch', 'top')\n"
        "planes = [r.image.tobytes(), *(d.mask.tobytes() for d in r.defects)]\n"
        "print(hashlib.sha256(b''.join(planes)).hexdigest())"
    )
    there = subprocess.run(
        [sys.executable, "-c", script],
        input=plan.model_dump_json(),
        capture_output=True,
        text=True,
        check=True,
    )
    assert there.stdout.strip() == here


def test_another_seed_gives_another_picture_and_another_place(make_plan: MakePlan) -> None:
    first, second = (twin.render(make_plan(), seed, "missing_hole", "top") for seed in (1, 2))
    assert np.abs(first.image.astype(int) - second.image).mean() > 2
    assert (first.defects[0].mask != second.defects[0].mask).any()


def test_a_very_large_seed_is_accepted(make_plan: MakePlan) -> None:
    plan = make_plan(width_px=32, height_px=20, samples=1)
    assert twin.render(plan, 2**63 - 1, None, "top").image.shape == (20, 32, 3)


@pytest.mark.parametrize("defect", ["deep_scratch", "additional_hole", "wrong_hole_size"])
def test_outside_the_mask_a_faulty_part_looks_like_the_good_one(
    defect: str, make_plan: MakePlan
) -> None:
    plan = make_plan(width_px=240, height_px=144, samples=16)
    good = twin.render(plan, 5, None, "top")
    bad = twin.render(plan, 5, defect, "top")
    difference = np.abs(good.image.astype(float) - bad.image).mean(axis=2)
    mask = bad.defects[0].mask
    assert difference[mask].mean() > 5 * difference[~mask].mean()
    assert difference[~mask].mean() < 4


def test_the_mask_of_a_hole_has_the_area_and_the_place_of_the_hole(make_plan: MakePlan) -> None:
    plan = make_plan(width_px=320, height_px=200, samples=16, field_mm=50.0, part=plate())
    rendering = twin.render(plan, 2, "wrong_hole_size", "top")
    mask = rendering.defects[0].mask
    radii = np.sqrt(mask.sum() / math.pi) / rendering.px_per_mm / np.array([3.25, 3.5, 4.0])
    assert np.abs(radii - 1).min() < 0.015  # one of the sizes that are too wide
    # the hole is where the picture is dark inside the bright plate
    dark = rendering.image.mean(axis=2) < 90
    near = np.zeros_like(mask)
    rows, columns = np.nonzero(mask)
    near[rows.min() - 8 : rows.max() + 9, columns.min() - 8 : columns.max() + 9] = True
    overlap = (dark & mask & near).sum() / ((dark | mask) & near).sum()
    assert overlap > 0.9
    both = [np.array(np.nonzero(m)).mean(axis=1) for m in (mask, dark & near)]
    assert np.abs(both[0] - both[1]).max() < 0.4


def test_the_mask_of_a_missing_hole_is_wider_by_the_tolerance(make_plan: MakePlan) -> None:
    plan = make_plan(width_px=320, height_px=200, samples=1, field_mm=50.0, part=plate())
    rendering = twin.render(plan, 4, "missing_hole", "top")
    radius = 2.5 + plan.twin.tolerance_mm
    expected = math.pi * radius**2 * rendering.px_per_mm**2
    assert rendering.defects[0].mask.sum() == pytest.approx(expected, rel=0.03)


def test_a_hole_in_the_upright_leg_is_hidden_from_above_and_visible_from_the_side(
    make_plan: MakePlan,
) -> None:
    upright = plate(
        length_mm=80.0,
        fold={"at_mm": 0.0},
        holes=[{"x_mm": 25.0, "y_mm": 0.0, "diameter_mm": 5.0}],
    )
    plan = make_plan("angle", samples=1, part=upright)
    shown = {v: bool(twin.render(plan, 2, "wrong_hole_size", v).defects) for v in ("top", "inside")}
    assert shown == {"top": False, "inside": True}


def test_swapped_covers_are_one_defect_that_covers_both(make_plan: MakePlan) -> None:
    plan = make_plan("composite_part")
    rendering = twin.render(plan, 6, "swapped_pieces", "top")
    mask = rendering.defects[0].mask
    assert mask[:, :80].any()
    assert mask[:, 80:].any()
    expected = 2 * 38.0 * 48.0 * rendering.px_per_mm**2
    assert mask.sum() == pytest.approx(expected, rel=0.05)


def test_an_unknown_defect_is_refused_with_the_nearest_name(make_plan: MakePlan) -> None:
    with pytest.raises(DefinitionError, match='defect "mising_hole"; did you mean "missing_hole"'):
        twin.render(make_plan(), 1, "mising_hole", "top")


def test_an_unknown_view_is_refused_with_the_known_names(make_plan: MakePlan) -> None:
    with pytest.raises(DefinitionError, match='no view "side"; known: top'):
        twin.render(make_plan(), 1, None, "side")


@pytest.mark.parametrize(
    ("name", "defect", "expected"),
    [
        ("flat_connector", "bent_leg", "expected a plate with a fold"),
        ("flat_connector", "missing_screw", "expected a screw"),
        ("angle", "swapped_pieces", "expected two unlike plates on the same level"),
    ],
)
def test_a_defect_that_does_not_fit_the_part_is_refused(
    name: str, defect: str, expected: str, make_plan: MakePlan
) -> None:
    with pytest.raises(DefinitionError, match=f'"{defect}" does not fit this part; {expected}'):
        twin.render(make_plan(name), 1, defect, "top")


def test_without_the_renderer_the_message_names_the_extra(
    make_plan: MakePlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "mitsuba", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'loco-tools\[twin\]'"):
        twin.render(make_plan(), 1, None, "top")


def test_importing_the_twin_imports_no_renderer() -> None:
    script = (
        "import sys, loco_tools.twin\n"
        "print([m for m in ('mitsuba', 'manifold3d', 'trimesh', 'shapely') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
