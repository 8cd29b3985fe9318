import json
from pathlib import Path

import pytest

from loco_tools.capture.frame_inspector import reference_of
from loco_tools.capture.session import (
    JOURNAL,
    Shot,
    StatusChange,
    append_to_journal,
    list_sessions,
    next_number,
    read_journal,
    read_shots,
    repair_journal,
)
from loco_tools.errors import CaptureError


def shot(name: str, sha256: str = "0") -> Shot:
    part, view = name.split("-")
    return Shot(
        shot=name,
        split="train",
        kind="good",
        defect=None,
        part=part,
        view=view,
        file=f"images/{name}.png",
        sha256=sha256,
        simulated=False,
        measurements={},
    )


def names(folder: Path) -> list[str]:
    return [taken.shot for taken in read_shots(folder)]


def test_a_shot_that_was_taken_back_does_not_count_until_it_is_taken_again(tmp_path: Path) -> None:
    append_to_journal(
        tmp_path, shot("p0-top"), shot("p1-top"), StatusChange(shot="p0-top", mark="undone")
    )
    assert names(tmp_path) == ["p1-top"]
    append_to_journal(tmp_path, shot("p0-top", "1"))
    assert names(tmp_path) == ["p1-top", "p0-top"]
    assert read_shots(tmp_path)[1].sha256 == "1"


def test_a_skipped_shot_is_in_the_journal_and_not_a_photograph(tmp_path: Path) -> None:
    skip = StatusChange(shot="p0-top", mark="skipped", reason='a "mark": in words')
    append_to_journal(tmp_path, skip, shot("p1-top"))
    assert names(tmp_path) == ["p1-top"]
    assert read_journal(tmp_path)["p0-top"] == skip
    append_to_journal(tmp_path, StatusChange(shot="p0-top", mark="undone"))
    assert "p0-top" not in read_journal(tmp_path)


def test_journals_of_the_first_version_are_read(tmp_path: Path) -> None:
    old = shot("p0-top").model_dump_json(exclude={"overridden", "overridden_by", "taken"})
    (tmp_path / JOURNAL).write_text(old + "\n")
    assert read_shots(tmp_path) == [shot("p0-top")]


@pytest.mark.parametrize(
    "line",
    [
        '{"shot": "p0-top", "mark": "lost"}',
        '{"shot": "p0-top", "mark": "undone", "why": "?"}',
        '{"mark": "undone"}',
        "not JSON",
        '"mark": ',
        "",
    ],
)
def test_a_damaged_status_change_is_named(tmp_path: Path, line: str) -> None:
    append_to_journal(tmp_path, shot("p0-top"))
    with (tmp_path / JOURNAL).open("a") as journal:
        journal.write(line + "\n")
    with pytest.raises(
        CaptureError,
        match=r"shots\.jsonl, line 2: expected a shot or a change of status, got a damaged line",
    ):
        read_shots(tmp_path)


@pytest.mark.parametrize(
    "file", ["../../secret.png", "images/../../secret.png", "/etc/secret.png", "images/secret"]
)
def test_a_shot_whose_file_is_no_image_of_its_session_is_refused(tmp_path: Path, file: str) -> None:
    line = shot("p0-top").model_copy(update={"file": file}).model_dump_json()
    (tmp_path / JOURNAL).write_text(f"{line}\n")
    with pytest.raises(CaptureError, match=r"line 1: expected a shot .*should match pattern"):
        read_shots(tmp_path)


def test_a_half_written_status_change_is_removed(tmp_path: Path) -> None:
    append_to_journal(tmp_path, shot("p0-top"))
    with (tmp_path / JOURNAL).open("a") as journal:
        journal.write('{"shot": "p0-top", "mark": "und')
    assert names(tmp_path) == ["p0-top"]
    assert repair_journal(tmp_path)
    assert not repair_journal(tmp_path)
    append_to_journal(tmp_path, shot("p1-top"))
    assert names(tmp_path) == ["p0-top", "p1-top"]


def test_sessions_are_listed_in_the_order_they_were_begun(tmp_path: Path) -> None:
    begun = {"session-001": "2026-11-23T08:00:00+00:00", "evening": "2026-11-23T20:00:00+01:00"}
    for name, created in begun.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "session.json").write_text(f'{{"created": "{created}"}}')
    (tmp_path / "torn").mkdir()
    (tmp_path / "torn" / "session.json").write_text("{")
    assert [folder.name for folder in list_sessions(tmp_path)] == ["torn", "session-001", "evening"]


def test_the_newest_session_is_that_of_the_highest_number_whatever_the_clock_says(
    tmp_path: Path,
) -> None:
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "session.json").write_text('{"number": [], "created": 3}')
    for name, year in (("first", 2027), ("second", 2026), ("third", 2025)):
        number = next_number(tmp_path)
        (tmp_path / name).mkdir()
        record = {"number": number, "created": f"{year}-01-01T08:00:00+00:00"}
        (tmp_path / name / "session.json").write_text(json.dumps(record))
    order = [folder.name for folder in list_sessions(tmp_path)]
    assert order == ["damaged", "first", "second", "third"]


def test_the_reference_of_a_view_is_its_first_good_photograph_that_passed() -> None:
    empty = shot("p0-top").model_copy(update={"overridden": ("part",), "overridden_by": "operator"})
    assert reference_of("top", [empty]) == empty
    assert reference_of("top", [empty, shot("p1-side"), shot("p2-top")]) == shot("p2-top")
