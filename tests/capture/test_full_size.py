"""Full-size classes: how many pictures the shipped plans ask for, and rendering them in pieces."""

from collections import Counter
from pathlib import Path

import pytest

from loco_tools.capture.session import progress_of, read_session, read_shots
from loco_tools.capture.session_opening import SessionRequest
from loco_tools.capture.unattended import capture
from loco_tools.cli import run
from loco_tools.errors import CaptureError, DefinitionError
from loco_tools.plan import Plan, Shots, load_plan

CLASSES = ("flat_connector", "angle", "composite_part")


def tiny_plan() -> Plan:
    plan = load_plan("flat_connector")
    shots = (
        Shots(split="train", kind="good", parts=3, demo_parts=0),
        Shots(split="test", kind="structural", defect="cut_corner", parts=2, demo_parts=0),
    )
    camera = plan.camera.model_copy(update={"width_px": 40, "height_px": 24})
    quality = plan.twin.model_copy(update={"samples_per_pixel": 1})
    return plan.model_copy(update={"shots": shots, "camera": camera, "twin": quality})


@pytest.mark.parametrize("name", CLASSES)
def test_a_full_size_class_has_about_as_many_pictures_as_a_published_one(name: str) -> None:
    plan = load_plan(name).for_full()
    assert (plan.camera.width_px, plan.camera.height_px) == (1600, 1100)
    counted = Counter((shot.split, shot.kind) for shot in plan.planned_shots())
    expected = {
        ("train", "good"): 350,
        ("validation", "good"): 60,
        ("test", "good"): 100,
        ("test", "logical"): 100,
        ("test", "structural"): 90,
    }
    assert counted.keys() == expected.keys()
    assert all(abs(counted[key] - count) <= 3 for key, count in expected.items()), counted
    usual = {shots.defect for shots in load_plan(name).shots}
    assert {shots.defect for shots in plan.shots} == usual


def test_a_plan_without_a_full_size_says_how_to_add_one() -> None:
    plan = load_plan("angle").model_copy(update={"full": None})
    with pytest.raises(DefinitionError, match=r"expected a table \[full\].*add it"):
        plan.for_full()


def test_a_size_that_no_shots_are_planned_for_is_refused() -> None:
    shots = tuple(s.model_copy(update={"full_parts": 0}) for s in load_plan("angle").shots)
    plan = load_plan("angle").model_copy(update={"shots": shots})
    with pytest.raises(DefinitionError, match="expected at least one part at this size"):
        plan.for_full()


def test_three_runs_of_pieces_equal_one_run(tmp_path: Path) -> None:
    pytest.importorskip("mitsuba")
    whole = capture(SessionRequest(tiny_plan(), captures=tmp_path / "whole"))
    far = []
    for _ in range(3):
        pieces = capture(SessionRequest(tiny_plan(), captures=tmp_path / "pieces"), limit=2)
        far.append(progress_of(pieces).done)
    assert far == [2, 4, 5]
    assert read_shots(pieces) == read_shots(whole)
    found = [
        {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*.png")}
        for folder in (pieces, whole)
    ]
    assert found[0] == found[1]


def test_a_session_names_its_renderer_and_continues_with_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("mitsuba")
    monkeypatch.setenv("LOCO_TOOLS_TWIN_VARIANT", "scalar_rgb")
    folder = capture(SessionRequest(tiny_plan(), captures=tmp_path), limit=1)
    assert read_session(folder).camera.actual["renderer"] == "scalar_rgb"
    monkeypatch.setenv("LOCO_TOOLS_TWIN_VARIANT", "llvm_ad_rgb")
    with pytest.raises(
        CaptureError,
        match=r"begun with the renderer's variant scalar_rgb, got llvm_ad_rgb.*next step: set",
    ):
        capture(SessionRequest(tiny_plan(), captures=tmp_path))


def test_the_dry_run_of_a_full_size_class_tells_count_size_and_time(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(["capture", "--class", "angle", "--full", "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert "702 shots of 1600 x 1100 px" in said
    assert "The digital twin would render them in about" in said


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--demo", "--full"], "--demo and --full exclude each other"),
        (["--station", "--limit", "2"], "--limit is for runs without an operator"),
        (["--limit", "0"], "0 is not in the range"),
    ],
)
def test_options_that_contradict_each_other_are_wrong_usage(
    options: list[str], expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["capture", "--class", "angle", *options]) == 2
    assert expected in capsys.readouterr().err
