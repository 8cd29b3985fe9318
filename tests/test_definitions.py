from collections.abc import Callable
from pathlib import Path

import pytest

from loco_tools import definitions
from loco_tools.annotations.taxonomy import check_against_plan, defects_config, load_taxonomy
from loco_tools.errors import AnnotationError, DefinitionError
from loco_tools.plan import Shots, Size, View, load_plan
from loco_tools.schema import parse

CLASSES = ("flat_connector", "angle", "composite_part")


@pytest.mark.parametrize("name", CLASSES)
def test_every_class_ships_a_plan_a_taxonomy_and_a_data_card_that_agree(name: str) -> None:
    plan, taxonomy = load_plan(name), load_taxonomy(name)
    check_against_plan(taxonomy, plan)
    photographed = {shots.defect for shots in plan.shots if shots.defect}
    assert photographed == {defect.name for defect in taxonomy.defects}
    assert {defect.kind for defect in taxonomy.defects} == {"structural", "logical"}
    card = definitions.locate("data_cards", name).read_text()
    assert all(f"`{defect.name}`" in card for defect in taxonomy.defects)


@pytest.mark.parametrize("name", CLASSES)
def test_thresholds_have_the_types_that_the_official_loader_asserts(name: str) -> None:
    entries = defects_config(load_taxonomy(name), px_per_mm=5.0, plan=load_plan(name))
    for entry in entries:
        threshold = entry["saturation_threshold"]
        if entry["relative_saturation"]:
            assert isinstance(threshold, float)
            assert 0 < threshold <= 1
        else:
            assert type(threshold) is int
            assert threshold >= 1


def test_a_missing_hole_saturates_at_the_area_of_the_plans_hole() -> None:
    entries = defects_config(load_taxonomy("angle"), px_per_mm=10.0, plan=load_plan("angle"))
    by_name = {entry["defect_name"]: entry for entry in entries}
    assert by_name["missing_hole"]["saturation_threshold"] == round(3.14159265 * 2.5**2 * 100)


def test_a_threshold_in_mm2_without_a_scale_is_refused() -> None:
    with pytest.raises(AnnotationError, match=r"has no scale.*calibrate"):
        defects_config(load_taxonomy("angle"), px_per_mm=None, plan=load_plan("angle"))


@pytest.mark.parametrize(
    ("load", "message"),
    [
        (load_plan, r'unknown plan "angel"; did you mean "angle"'),
        (load_taxonomy, r'unknown taxonomy "angel"; did you mean "angle"'),
    ],
)
def test_an_unknown_name_is_refused_with_the_nearest(
    load: Callable[[str], object], message: str
) -> None:
    with pytest.raises(DefinitionError, match=message):
        load("angel")


def test_the_current_workspace_comes_before_the_shipped_definitions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shipped = definitions.locate("capture", "angle")
    own = tmp_path / "capture" / "angle.toml"
    own.parent.mkdir()
    own.write_text(shipped.read_text().replace('title = "Angle bracket"', 'title = "My bracket"'))
    monkeypatch.chdir(tmp_path)
    assert load_plan("angle").part.title == "My bracket"


@pytest.mark.parametrize("name", ["../../evil", "/etc/evil", "Top", ""])
def test_a_view_that_cannot_be_part_of_a_file_name_is_an_error(name: str) -> None:
    with pytest.raises(DefinitionError, match="name: string should match pattern"):
        parse(View, {"name": name}, origin="plan.toml")


def test_every_photograph_of_a_part_comes_before_the_next_part() -> None:
    shots = list(load_plan("angle").planned_shots())
    assert [shot.view for shot in shots[:4]] == ["top", "inside", "outside", "top"]
    parts = [shot.part for shot in shots]
    assert parts == sorted(parts)
    assert len({shot.shot for shot in shots}) == len(shots)


@pytest.mark.parametrize("defect", ["../../elsewhere", "bent leg", "", "Bent"])
def test_a_defect_that_cannot_be_part_of_a_file_name_is_an_error(defect: str) -> None:
    shots = {"split": "test", "kind": "logical", "defect": defect, "parts": 1, "demo_parts": 1}
    with pytest.raises(DefinitionError, match="defect: string should match pattern"):
        parse(Shots, shots, origin="angle.toml")


@pytest.mark.parametrize("field", ["parts", "demo_parts", "full_parts"])
def test_too_many_parts_are_an_error(field: str) -> None:
    shots = {"split": "train", "kind": "good", "parts": 1, "demo_parts": 1, field: 100_000_000}
    with pytest.raises(DefinitionError, match=f"{field}: input should be less than or equal to"):
        parse(Shots, shots, origin="angle.toml")


def test_a_picture_too_large_for_memory_is_an_error() -> None:
    size = {"width_px": 100_000_000, "height_px": 480}
    with pytest.raises(DefinitionError, match="width_px: input should be less than or equal to"):
        parse(Size, size, origin="angle.toml")
