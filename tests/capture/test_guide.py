import json
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import cv2
import numpy as np
import pytest
from session_builders import draw_part, make_plan, part_of, write_photographs

from loco_tools.capture.cameras.folder import FolderCamera
from loco_tools.capture.guide import Guide, open_guide
from loco_tools.capture.session import progress_of, read_session, read_shots
from loco_tools.capture.session_opening import SessionRequest
from loco_tools.errors import CaptureError, DefinitionError
from loco_tools.plan import Plan

OpenGuide = Callable[..., AbstractContextManager[Guide]]


@pytest.fixture(scope="module")
def plan() -> Plan:
    return make_plan()


@pytest.fixture(scope="module")
def photographs(plan: Plan, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_photographs(plan, tmp_path_factory.mktemp("photographs"))


@pytest.fixture
def opened(plan: Plan, photographs: Path, tmp_path: Path) -> OpenGuide:
    """Opens a guide of a session in the test's folder, with the folder of good photographs."""

    def open_one(**changes: object) -> AbstractContextManager[Guide]:
        options = {"camera": f"folder:{photographs}", "captures": tmp_path, "plan": plan}
        return open_guide(SessionRequest(**(options | changes)))

    return open_one


@pytest.fixture
def guide(opened: OpenGuide) -> Iterator[Guide]:
    with opened() as one:
        yield one


def take(guide: Guide, count: int) -> None:
    for _ in range(count):
        guide.shoot()
        guide.accept()


def test_it_walks_all_views_of_a_part_before_the_next_and_says_what_to_mount(guide: Guide) -> None:
    told = []
    while guide.current is not None:
        told.append(guide.instruction())
        take(guide, 1)
    assert told == [
        "Mount part 1 of 4: a good part. View 1 of 2: top. 8 shots left.",
        "Keep part 1 of 4 (a good part). View 2 of 2: side. 7 shots left.",
        "Mount part 2 of 4: a good part. View 1 of 2: top. 6 shots left.",
        "Keep part 2 of 4 (a good part). View 2 of 2: side. 5 shots left.",
        "Mount part 3 of 4: a good part. View 1 of 2: top. 4 shots left.",
        "Keep part 3 of 4 (a good part). View 2 of 2: side. 3 shots left.",
        "Mount part 4 of 4: a part with: missing hole. View 1 of 2: top. 2 shots left.",
        "Keep part 4 of 4 (a part with: missing hole). View 2 of 2: side. 1 shot left.",
    ]
    assert guide.instruction() == "Everything is done: 8 of 8 shots taken."
    assert progress_of(guide.folder).finished
    assert [step.status for step in guide.steps()] == ["done"] * 8
    with pytest.raises(CaptureError, match="every shot of the plan is taken or skipped"):
        guide.shoot()


def test_good_photographs_pass_every_gate(guide: Guide) -> None:
    while guide.current is not None:
        assert guide.shoot().failed == ()
        guide.accept()
    last = read_shots(guide.folder)[-1]
    assert set(last.measurements) >= {
        "sharpness", "sharpness_ratio", "saturated_share", "black_share", "contrast",
        "offset_mm", "angle_deg", "motion_px", "duplicate_difference",
    }  # fmt: skip
    assert last.overridden == ()
    assert last.taken is not None


def test_nothing_of_a_candidate_is_on_the_disk_until_it_is_accepted(guide: Guide) -> None:
    assert guide.candidate is None
    assert guide.shoot() is guide.candidate
    assert guide.retake() is guide.candidate
    guide.discard()
    assert guide.candidate is None
    assert not list(guide.folder.rglob("*.png"))
    with pytest.raises(CaptureError, match="no photograph waits to be accepted; next step: shoot"):
        guide.accept()


def test_undo_opens_the_last_shot_and_takes_its_image_away(guide: Guide) -> None:
    assert guide.undo() is None
    take(guide, 2)
    image = guide.folder / "images" / "p0000-side.png"
    assert image.is_file()

    undone = guide.undo()
    assert undone is not None
    assert undone.shot == "p0000-side"
    assert guide.current == undone
    assert not image.exists()
    assert [shot.shot for shot in read_shots(guide.folder)] == ["p0000-top"]
    guide.undo()
    take(guide, 3)
    taken = [shot.shot for shot in read_shots(guide.folder)]
    assert taken == ["p0000-top", "p0000-side", "p0001-top"]


def test_undo_throws_a_candidate_away_first_and_takes_the_shot_before_back(guide: Guide) -> None:
    take(guide, 1)
    guide.shoot()
    guide.undo()
    assert guide.candidate is None
    assert guide.progress().done == 0


def test_an_undo_that_breaks_off_after_its_journal_line_leaves_the_shot_open(
    opened: OpenGuide, monkeypatch: pytest.MonkeyPatch
) -> None:
    with opened() as guide, monkeypatch.context() as broken:
        take(guide, 1)
        broken.setattr(Path, "unlink", _break_off)
        with pytest.raises(KeyboardInterrupt):
            guide.undo()
    with opened() as guide:
        assert guide.progress().done == 0
        take(guide, 1)
        assert guide.progress().done == 1


def _break_off(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


def test_a_shot_or_a_whole_part_is_skipped_and_reopened_later(opened: OpenGuide) -> None:
    with opened() as guide:
        assert guide.skip("dropped").shot == "p0000-top"
        take(guide, 1)
        guide.skip("lost", whole_part=True)
        assert guide.current is not None
        assert guide.current.shot == "p0002-top"
        far = guide.progress()
        assert (far.done, far.skipped, far.planned) == (1, 3, 8)
        undone = guide.undo()
        assert undone is not None
        assert undone.shot == "p0001-side"
        guide.skip()
        take(guide, 4)
        assert guide.instruction() == "Everything is done: 5 of 8 shots taken, 3 skipped."
    assert progress_of(guide.folder).finished

    with opened(skipped=True) as again:
        assert again.folder == guide.folder
        assert again.current is not None
        assert again.current.shot == "p0000-top"
        take(again, 3)
        assert again.progress().done == 8
    lines = (guide.folder / "shots.jsonl").read_text().splitlines()
    marks = [json.loads(line) for line in lines if '"mark":' in line]
    assert marks[0] == {"shot": "p0000-top", "mark": "skipped", "reason": "dropped"}
    assert marks[-1]["reason"] == "taken up again"


def test_a_part_whose_first_view_was_skipped_still_has_to_be_mounted(guide: Guide) -> None:
    guide.skip()
    assert guide.instruction().startswith("Mount part 1 of 4: a good part. View 2 of 2: side.")


def test_a_failed_gate_needs_an_override_which_is_recorded(
    opened: OpenGuide, plan: Plan, tmp_path: Path
) -> None:
    blurred = cv2.GaussianBlur(draw_part(1), (0, 0), 3)
    folder = write_photographs(plan, tmp_path / "shots", p0001_top=blurred.astype(np.uint8))
    with opened(camera=f"folder:{folder}") as guide:
        take(guide, 2)
        candidate = guide.shoot()
        assert [verdict.gate for verdict in candidate.failed] == ["sharpness"]
        with pytest.raises(CaptureError, match="of the reference's, expected at least 85%; refoc"):
            guide.accept()
        assert guide.candidate is candidate
        shot = guide.accept(override=True)
    assert shot.overridden == ("sharpness",)
    assert read_shots(guide.folder)[-1].overridden_by == "operator"


def test_the_part_that_was_not_changed_is_noticed_also_after_resuming(
    opened: OpenGuide, plan: Plan, tmp_path: Path
) -> None:
    first = next(plan.planned_shots())
    again = np.clip(part_of(first) + np.random.default_rng(5).normal(0, 1.5, (240, 320, 3)), 0, 255)
    folder = write_photographs(plan, tmp_path / "shots", p0002_top=again.astype(np.uint8))
    with opened(camera=f"folder:{folder}") as guide:
        take(guide, 4)
    with opened(camera=f"folder:{folder}") as guide:
        (verdict,) = guide.shoot().failed
        assert verdict.gate == "duplicate"
        assert "it is the same picture as p0000-top, which is of another part" in verdict.words


def test_the_same_part_may_be_photographed_again_after_undo(guide: Guide) -> None:
    take(guide, 3)
    guide.undo()
    assert guide.shoot().passed


def test_the_reference_is_the_first_good_photograph_that_counts(guide: Guide) -> None:
    assert guide.reference("top") is None
    take(guide, 3)
    assert guide.reference("top") == guide.folder / "images" / "p0000-top.png"
    for _ in range(3):
        guide.undo()
    guide.skip(whole_part=True)
    take(guide, 1)
    assert guide.reference("top") == guide.folder / "images" / "p0001-top.png"


def test_an_earlier_photograph_that_is_gone_is_named(guide: Guide) -> None:
    take(guide, 2)
    (guide.folder / "images" / "p0000-top.png").unlink()
    with pytest.raises(CaptureError, match=r"p0000-top\.png: no such image; it is needed to check"):
        guide.shoot()


def test_a_session_that_drifts_stops_and_keeps_what_it_has(
    opened: OpenGuide, monkeypatch: pytest.MonkeyPatch
) -> None:
    exposure = {"exposure_us": 12000.0}
    monkeypatch.setattr(FolderCamera, "settings", lambda self: dict(exposure))
    with opened() as guide:
        take(guide, 1)
        exposure["exposure_us"] = 8000.0
        drift = r"no longer has .* exposure_us: expected 12000\.0, got 8000\.0; nothing was taken"
        with pytest.raises(CaptureError, match=drift):
            guide.shoot()
        assert guide.candidate is None
    with pytest.raises(CaptureError, match=drift), opened():
        pass
    exposure["exposure_us"] = 12010.0
    with opened() as guide:
        assert guide.progress().done == 1


def test_a_full_disk_costs_nothing_and_the_candidate_can_be_accepted_later(
    guide: Guide, monkeypatch: pytest.MonkeyPatch
) -> None:
    take(guide, 1)
    guide.shoot()
    with monkeypatch.context() as full:
        full.setattr(os, "fsync", _no_space)
        with pytest.raises(CaptureError, match="p0000-side cannot be written; it is not taken"):
            guide.accept()
    assert guide.candidate is not None
    assert guide.progress().done == 1
    guide.accept()
    assert [shot.shot for shot in read_shots(guide.folder)] == ["p0000-top", "p0000-side"]
    assert not list(guide.folder.rglob("*.tmp"))


def _no_space(_: int) -> None:
    raise OSError(28, "No space left on device")


def test_the_journal_is_as_it_was_when_a_line_cannot_be_added(
    guide: Guide, monkeypatch: pytest.MonkeyPatch
) -> None:
    take(guide, 2)
    journal = guide.folder / "shots.jsonl"
    before = journal.read_bytes()
    with monkeypatch.context() as full:
        full.setattr(os, "fsync", _no_space)
        with pytest.raises(CaptureError, match="cannot be written"):
            guide.skip()
    assert journal.read_bytes() == before
    assert guide.progress().skipped == 0


def test_the_requested_and_the_actual_settings_are_recorded(guide: Guide, plan: Plan) -> None:
    record = read_session(guide.folder)
    assert record.camera.requested == plan.camera.requested()
    assert record.camera.actual == {"width_px": 320, "height_px": 240}
    assert not record.simulated
    assert record.seed is None
    assert record.px_per_mm == {}


def test_another_camera_than_the_session_began_with_is_refused(
    opened: OpenGuide, plan: Plan, tmp_path: Path
) -> None:
    with opened() as guide:
        take(guide, 1)
    other = write_photographs(plan, tmp_path / "other")
    with (
        pytest.raises(CaptureError, match="was begun with camera"),
        opened(camera=f"folder:{other}"),
    ):
        pass


def test_a_name_that_exists_is_not_begun_again(opened: OpenGuide) -> None:
    with opened(session="monday"):
        pass
    with (
        pytest.raises(CaptureError, match="monday: exists already"),
        opened(session="monday", new=True),
    ):
        pass


def test_a_damaged_session_does_not_keep_a_new_one_from_beginning(opened: OpenGuide) -> None:
    with opened() as guide:
        record = guide.folder / "session.json"
    record.write_text("{")
    with (
        pytest.raises(DefinitionError, match=r"session\.json: expected JSON.*; next step: restore"),
        opened(),
    ):
        pass
    with opened(new=True) as guide:
        assert guide.folder.name == "session-002"


def test_a_journal_without_its_record_is_not_taken_for_a_new_session(opened: OpenGuide) -> None:
    with opened() as guide:
        take(guide, 1)
        (guide.folder / "session.json").unlink()
    with pytest.raises(CaptureError, match="so their camera and plan are unknown"), opened():
        pass
    with opened(session="another") as guide:
        assert guide.progress().done == 0


def test_a_session_whose_images_are_gone_says_so_before_it_continues(opened: OpenGuide) -> None:
    with opened() as guide:
        take(guide, 3)
        for shot in ("p0000-side", "p0001-top"):
            (guide.folder / "images" / f"{shot}.png").unlink()
    with pytest.raises(CaptureError, match="found none of p0000-side and 1 more; next"), opened():
        pass


def test_live_pictures_continue_when_everything_is_done(guide: Guide) -> None:
    assert guide.live_picture().shape == (240, 320, 3)
    while guide.current is not None:
        guide.skip(whole_part=True)
    assert guide.live_picture().shape == (240, 320, 3)


def test_a_calibration_that_is_not_there_is_named(opened: OpenGuide) -> None:
    calibrated = opened(calibration=Path("nowhere.json"))
    with pytest.raises(CaptureError, match=r"nowhere\.json: no such calibration"), calibrated:
        pass
