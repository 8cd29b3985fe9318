"""Damaged and hostile capture sessions, and videos to replay."""

import json
import os
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from fuzzing import damaged, fuzz, hostile_json, within_bounds
from hypothesis import strategies as st

from loco_tools.capture.cameras import Camera, Frame, open_camera
from loco_tools.capture.session import (
    JOURNAL,
    RECORD,
    CameraRecord,
    Session,
    Shot,
    StatusChange,
    list_sessions,
    progress_of,
)
from loco_tools.capture.session_opening import SessionRequest, choose_session, open_session
from loco_tools.errors import LocoToolsError
from loco_tools.plan import PlannedShot, load_plan

PLAN = load_plan("angle").for_demo()
SHOTS = list(PLAN.planned_shots())
IDENTITY = "folder:/data/parts#0123456789ab"
SETTINGS: dict[str, float | str] = {"width_px": 320.0, "height_px": 240.0, "codec": "MJPG"}
SESSION = Session(
    session="session-001",
    number=1,
    created="2026-01-01T00:00:00+00:00",
    loco_tools="0.2.0",
    simulated=False,
    seed=None,
    camera=CameraRecord(identity=IDENTITY, requested=PLAN.camera.requested(), actual=SETTINGS),
    px_per_mm={"top": 2.5},
    plan=PLAN,
)
TAKEN = [
    Shot(
        **shot._asdict(),
        file=f"images/{shot.shot}.png",
        sha256="0" * 64,
        simulated=False,
        measurements={"sharpness": 1.25, "offset_mm": 0.5},
        taken="2026-01-01T00:00:00.000+00:00",
    )
    for shot in SHOTS[:3]
]
LINES = [
    *TAKEN,
    StatusChange(shot=SHOTS[3].shot, mark="skipped", reason="no part"),
    StatusChange(shot=SHOTS[0].shot, mark="undone"),
]
WHOLE = "".join(line.model_dump_json() + "\n" for line in LINES).encode()


@st.composite
def hostile_journal(draw: st.DrawFn) -> bytes:
    """A journal with a line replaced by a hostile one, or with damaged bytes."""
    if draw(st.booleans()):
        return draw(damaged([WHOLE]))
    lines = WHOLE.split(b"\n")
    known: list[Any] = [json.loads(line.model_dump_json()) for line in LINES]
    lines[draw(st.integers(0, len(lines) - 1))] = draw(hostile_json(known))
    return b"\n".join(lines)


class FixedCamera(Camera):
    """A camera that never takes a photograph."""

    identity = IDENTITY

    def connect(self) -> None:
        pass

    def frame(self, shot: PlannedShot) -> Frame:
        raise NotImplementedError

    def settings(self) -> dict[str, float | str]:
        return dict(SETTINGS)

    def close(self) -> None:
        pass


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("captures") / "angle" / "session-001"
    (folder / "images").mkdir(parents=True)
    for shot in TAKEN:
        (folder / shot.file).touch()
    return folder


def open_damaged(folder: Path, record: bytes, journal: bytes) -> None:
    (folder / RECORD).write_bytes(record)
    (folder / JOURNAL).write_bytes(journal)
    with within_bounds():
        assert list_sessions(folder.parent) == [folder]
    with within_bounds():
        progress_of(folder)
    with within_bounds():
        choose_session(SessionRequest(PLAN, captures=folder.parents[1]))
    with within_bounds():
        open_session(folder, PLAN, FixedCamera(), 0, None)


@fuzz(content=hostile_json([json.loads(SESSION.model_dump_json())]))
def test_sessions(session: Path, content: bytes) -> None:
    open_damaged(session, content, WHOLE)


@fuzz(content=hostile_journal())
def test_journals(session: Path, content: bytes) -> None:
    open_damaged(session, SESSION.model_dump_json().encode(), content)


@pytest.mark.parametrize(
    "hostile", [b"[" * 100_000, b"9" * 5_000, b'{"a":' * 2_000 + b"1" + b"}" * 2_000, b"\xff\xfe"]
)
def test_hostile_records_and_lines_are_one_clear_error(session: Path, hostile: bytes) -> None:
    sound = SESSION.model_dump_json().encode()
    for record, journal, name in ((hostile, WHOLE, RECORD), (sound, hostile + b"\n", JOURNAL)):
        (session / RECORD).write_bytes(record)
        (session / JOURNAL).write_bytes(journal)
        with pytest.raises(LocoToolsError, match=f"{name}.*; next step: restore") as caught:
            open_session(session, PLAN, FixedCamera(), 0, None)
        assert len(str(caught.value)) < 1_000
        assert str(caught.value).count("next step") == 1


def test_a_session_whose_number_is_infinite_and_a_journal_that_is_a_pipe(session: Path) -> None:
    """The session counts as the first one; the pipe is not waited for."""
    sound = SESSION.model_dump_json().encode()
    (session / RECORD).write_bytes(sound.replace(b'"number":1', b'"number":1e999'))
    assert list_sessions(session.parent) == [session]
    (session / RECORD).write_bytes(sound)
    (session / JOURNAL).unlink(missing_ok=True)
    os.mkfifo(session / JOURNAL)
    with pytest.raises(OSError, match="it is a named pipe, expected a file"):
        progress_of(session)
    (session / JOURNAL).unlink()


def make_film(path: Path) -> bytes:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 25, (32, 24))
    for number in range(4):
        writer.write(np.full((24, 32, 3), 50 * number, np.uint8))
    writer.release()
    return path.read_bytes()


@fuzz(one_in=10, data=st.data())
def test_videos(data: st.DataObject, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.getbasetemp()
    film = folder / "film.avi"
    film.write_bytes(data.draw(damaged([make_film(folder / "sound.avi")])))
    with within_bounds(), open_camera(f"opencv:{film}", None, seed=0) as camera:
        for shot in SHOTS[:4]:
            assert camera.frame(shot).image.shape[2] == 3
