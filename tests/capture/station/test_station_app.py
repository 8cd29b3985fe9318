import http.client
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import cv2
import httpx
import numpy as np
import pytest
from session_builders import make_plan, part_of, write_photographs
from station_builders import PATIENCE_S, Page, Rig, rig, serving, until

from loco_tools.capture.cameras.camera import Frame
from loco_tools.capture.guide import open_guide
from loco_tools.capture.session import progress_of, read_shots
from loco_tools.capture.session_opening import SessionRequest
from loco_tools.datasets.images import Pixels, read_image
from loco_tools.plan import PlannedShot

pytest.importorskip("fastapi", reason="needs the extra 'station'")

from loco_tools.capture.station import app as station_app
from loco_tools.capture.station.camera_worker import CameraWorker


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a person would not notice need not take its time in a test."""
    monkeypatch.setattr(CameraWorker, "period_s", 0.02)
    monkeypatch.setattr(CameraWorker, "pause_s", 0.02)
    monkeypatch.setattr(station_app, "REPEAT_S", 0.05)


@pytest.fixture
def station(tmp_path: Path) -> Iterator[Rig]:
    with rig(tmp_path / "session") as running:
        yield running


def words(answer: httpx.Response) -> tuple[int, str, str]:
    said = answer.json()
    return answer.status_code, said["kind"], said["words"]


def statuses(state: dict[str, Any]) -> list[str]:
    return [shot["status"] for part in state["parts"] for shot in part["shots"]]


def test_the_state_says_what_to_mount_what_is_left_and_what_the_plan_holds(station: Rig) -> None:
    state = station.page.see()
    assert state["instruction"].startswith("Mount part 1 of 4: a good part. View 1 of 2: top.")
    assert (state["phase"], state["done"], state["skipped"], state["planned"]) == ("aim", 0, 0, 8)
    assert [part["condition"] for part in state["parts"]] == ["good"] * 3 + ["missing hole"]
    assert statuses(state) == ["open"] * 8
    assert state["current"] == {
        "shot": "p0000-top",
        "part": 1,
        "is_mounted": False,
        "condition": "good",
        "good": True,
        "view": "top",
        "view_number": 1,
        "camera_position": "camera straight above",
        "reference": None,
    }
    assert state["candidate"] is None
    assert state["fault"] is None


def test_a_photograph_is_shown_judged_in_words_and_kept_only_when_it_is_accepted(
    station: Rig,
) -> None:
    state = station.page.do("shoot")
    assert state["phase"] == "review"
    assert state["candidate"]["passed"]
    assert {"saturated", "black", "motion"} <= {
        verdict["gate"] for verdict in state["candidate"]["verdicts"]
    }
    assert all(verdict["words"] for verdict in state["candidate"]["verdicts"])
    number = state["candidate"]["number"]
    shown = decode(station.page.client.get(f"/photograph/{number}"))
    assert shown.shape == (240, 320, 3)
    assert read_shots(station.guide.folder) == []

    state = station.page.do("accept")
    assert (state["phase"], state["done"], state["current"]["shot"]) == ("aim", 1, "p0000-side")
    assert state["current"]["is_mounted"]
    gone = station.page.client.get(f"/photograph/{number}")
    assert (gone.status_code, gone.json()["detail"]) == (
        404,
        "This photograph was accepted or discarded.",
    )
    (shot,) = read_shots(station.guide.folder)
    assert np.array_equal(read_image(station.guide.folder / shot.file), part_of(first_shot()))


def test_a_retake_is_another_photograph_and_discarding_leads_back_to_aiming(station: Rig) -> None:
    first = station.page.do("shoot")["candidate"]["number"]
    second = station.page.do("retake")["candidate"]["number"]
    assert second > first
    assert station.page.client.get(f"/photograph/{first}").status_code == 404
    assert station.page.do("discard")["phase"] == "aim"
    assert read_shots(station.guide.folder) == []


def test_a_failed_gate_gives_its_figures_and_is_kept_only_by_an_override(station: Rig) -> None:
    station.page.do("shoot", "accept", "shoot", "accept")
    station.camera.blurred = True
    candidate = station.page.do("shoot")["candidate"]
    assert not candidate["passed"]
    failed = {v["gate"]: v for v in candidate["verdicts"] if not v["passed"]}
    assert failed["sharpness"]["value"] < failed["sharpness"]["limit"] == 0.85
    assert "refocus" in failed["sharpness"]["words"]

    refused = station.page.send("accept")
    assert words(refused)[:2] == (422, "failed_gates")
    assert "expected at least 85%" in words(refused)[2]
    assert refused.json()["next_step"] == "retake it, or keep it anyway"
    # a question to the operator, no fault: nothing has changed, and the answer can follow
    assert station.page.see()["fault"] is None
    state = station.page.do("accept", override=True)
    assert state["parts"][1]["shots"][0]["overridden"] == sorted(failed, key=list(failed).index)
    assert read_shots(station.guide.folder)[-1].overridden_by == "operator"


def test_shots_and_whole_parts_are_skipped_taken_back_and_reopened(station: Rig) -> None:
    assert statuses(station.page.do("skip"))[:2] == ["skipped", "open"]
    station.page.do("shoot", "accept")
    state = station.page.do("skip", whole_part=True)
    assert statuses(state)[:4] == ["skipped", "done", "skipped", "skipped"]
    assert state["current"]["shot"] == "p0002-top"
    assert statuses(station.page.do("undo"))[:4] == ["skipped", "done", "skipped", "open"]
    assert statuses(station.page.do("undo", "undo"))[:4] == ["skipped", "open", "open", "open"]
    assert station.page.do("reopen_skipped")["current"]["shot"] == "p0000-top"
    assert statuses(station.page.state) == ["open"] * 8
    assert not list((station.guide.folder / "images").glob("*.png"))


def test_a_finished_session_says_so_and_shoots_no_more(station: Rig) -> None:
    station.page.do("shoot", "accept", "skip", "skip", "skip")
    station.page.do("shoot", "accept", "shoot", "accept")
    state = station.page.do("skip", whole_part=True)
    assert (state["phase"], state["current"]) == ("finished", None)
    assert state["instruction"] == "Everything is done: 3 of 8 shots taken, 5 skipped."
    frames = len(station.camera.frames)
    answer = station.page.send("shoot")
    assert words(answer)[:2] == (422, "fault")
    assert "every shot of the plan is taken or skipped" in words(answer)[2]
    assert len(station.camera.frames) == frames
    station.page.see()
    state = station.page.do("reopen_skipped")
    assert (state["phase"], state["current"]["shot"]) == ("aim", "p0000-side")
    assert state["fault"] is None


def test_a_command_about_what_is_gone_does_nothing_and_both_pages_see_the_same(
    station: Rig,
) -> None:
    other = station.another_page()
    station.page.do("shoot", "accept")
    frames = len(station.camera.frames)
    for action in ("shoot", "skip", "undo"):
        stale = words(other.send(action))
        assert stale == (409, "stale", "the session has moved on; nothing was done")
    assert len(station.camera.frames) == frames
    assert other.see() == station.page.see()
    assert progress_of(station.guide.folder).done == 1


@pytest.mark.parametrize(
    ("before", "action", "said"),
    [
        ([], "accept", "no photograph waits"),
        ([], "retake", "no photograph waits"),
        (["shoot"], "shoot", "a photograph waits for a decision"),
        (["shoot"], "undo", "a photograph waits for a decision"),
    ],
)
def test_a_command_that_does_not_fit_is_refused(
    station: Rig, before: list[str], action: str, said: str
) -> None:
    station.page.do(*before)
    assert words(station.page.send(action)) == (409, "stale", said)


def test_a_double_tap_shoots_once_and_the_station_answers_meanwhile(station: Rig) -> None:
    station.camera.shutter.clear()
    second = station.another_page()
    with ThreadPoolExecutor() as hands:
        first = hands.submit(station.page.send, "shoot")
        until(lambda: second.see()["busy"], "the station to be busy")
        tap = second.send("shoot")
        station.camera.shutter.set()
        assert first.result().is_success
    assert words(tap) == (409, "stale", "the station is busy with another request")
    # one photograph: a frame, and a second one against motion
    assert station.camera.frames == ["p0000-top"] * 2


def test_of_many_pages_that_tap_at_once_one_is_heard(station: Rig) -> None:
    pages = [station.another_page() for _ in range(6)]
    with ThreadPoolExecutor(len(pages)) as hands:
        codes = list(hands.map(lambda page: page.send("shoot").status_code, pages))
    assert sorted(codes) == [200] + [409] * 5
    assert len(station.camera.frames) == 2
    assert all(page.see() == pages[0].see() for page in pages)


def test_a_camera_that_is_lost_is_a_fault_in_words_until_it_photographs_again(station: Rig) -> None:
    station.camera.unplugged = True
    answer = station.page.send("shoot")
    assert words(answer) == (422, "fault", "camera table:1 was lost")
    assert answer.json()["next_step"] == "check its cable"
    assert station.page.see()["fault"] == {
        "words": "camera table:1 was lost",
        "next_step": "check its cable",
        "stops": False,
    }
    # a page that shows something else does not lose it, and it counts as a turn
    assert station.another_page().state["fault"] is not None
    station.camera.unplugged = False
    assert station.page.do("shoot")["fault"] is None
    assert station.camera.connections == 2


def test_a_camera_that_is_lost_while_aiming_comes_back_by_itself(station: Rig) -> None:
    client = station.page.client
    until(lambda: measured(client), "a live frame")
    station.camera.unplugged = True
    until(lambda: watched(station.page)["fault"], "the fault")
    assert station.page.state["fault"]["words"] == "camera table:1 was lost"
    assert measured(client) is None
    station.camera.unplugged = False
    until(lambda: watched(station.page)["fault"] is None, "the camera")
    until(lambda: measured(client), "a live frame")
    assert station.page.do("shoot")["phase"] == "review"


def test_a_camera_that_drifts_stops_the_session_until_it_is_reconnected(station: Rig) -> None:
    station.page.do("shoot", "accept")
    station.camera.exposure_us = 8000.0
    drifted = station.page.send("shoot")
    assert words(drifted)[:2] == (422, "fault")
    assert "exposure_us: expected 12000.0, got 8000.0" in words(drifted)[2]
    # settings that come back by themselves, and other commands, do not hide it
    station.camera.exposure_us = 12000.0
    frames = len(station.camera.frames)
    station.page.see()
    assert words(station.page.send("shoot")) == words(drifted)
    assert len(station.camera.frames) == frames
    station.page.see()
    state = station.page.do("skip", "undo")
    assert state["fault"] == {
        "words": drifted.json()["words"],
        "next_step": drifted.json()["next_step"],
        "stops": True,
    }
    assert station.page.do("reconnect")["fault"] is None
    assert station.page.do("shoot")["candidate"]["passed"]


def test_reconnecting_fails_in_words_and_can_be_tried_again(station: Rig) -> None:
    station.camera.unplugged = True
    assert words(station.page.send("reconnect")) == (422, "fault", "camera table:1 was lost")
    station.camera.unplugged = False
    station.camera.identity = "table:2"
    station.page.see()
    swapped = words(station.page.send("reconnect"))
    assert swapped[:2] == (422, "fault")
    assert "was begun with camera 'table:1', got 'table:2'" in swapped[2]
    station.camera.identity = "table:1"
    station.page.see()
    assert station.page.do("reconnect")["fault"] is None


def test_a_full_disk_is_a_fault_and_the_photograph_can_be_accepted_later(
    station: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    station.page.do("shoot")
    with monkeypatch.context() as full:
        full.setattr(os, "fsync", _no_space)
        answer = station.page.send("accept")
    assert words(answer)[:2] == (422, "fault")
    assert "p0000-top cannot be written; it is not taken" in words(answer)[2]
    state = station.page.see()
    assert (state["phase"], state["fault"]["words"]) == ("review", answer.json()["words"])
    assert station.page.do("accept")["fault"] is None


def _no_space(_: int) -> None:
    raise OSError(28, "No space left on device")


def test_a_damaged_journal_is_a_fault_and_the_page_is_not_left_busy(station: Rig) -> None:
    station.page.do("shoot", "accept", "shoot")
    journal = station.guide.folder / "shots.jsonl"
    whole = journal.read_bytes()
    journal.write_bytes(b"scribbles\n" + whole)
    answer = station.page.send("accept")
    assert words(answer)[:2] == (422, "fault")
    assert "line 1: expected a shot or a change of status, got a damaged line" in words(answer)[2]
    state = station.page.see()
    assert not state["busy"]
    assert state["fault"]["words"] == answer.json()["words"]


def test_a_reference_that_is_gone_does_not_end_the_live_view(station: Rig) -> None:
    station.page.do("shoot", "accept", "skip")  # the top of the next part is to be taken
    (station.guide.folder / "images" / "p0000-top.png").unlink()
    until(lambda: measured(station.page.client), "the live view")
    assert station.page.see()["fault"] is None


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_mistake_in_the_program_is_shown_instead_of_a_page_that_stands_still(
    station: Rig,
) -> None:
    station.camera.broken = True
    assert station.page.send("shoot").status_code == 500
    until(lambda: station.page.see()["fault"], "the fault")
    assert "The station broke down: RuntimeError('a mistake" in station.page.state["fault"]["words"]
    assert station.page.state["fault"]["next_step"].startswith(
        "start it again: the session continues"
    )
    assert words(station.page.send("shoot")) == (422, "fault", "the station has ended")


def test_the_live_stream_is_a_row_of_whole_jpegs_with_their_lengths(station: Rig) -> None:
    with station.page.client.stream("GET", "/live.mjpeg") as stream:
        assert stream.headers["content-type"] == "multipart/x-mixed-replace; boundary=frame"
        assert [picture.shape for picture in parts_of(stream, 4)] == [(240, 320, 3)] * 4


def test_several_viewers_share_one_camera_thread_and_one_frame(station: Rig) -> None:
    # of a camera that renders, one frame of each shot is enough
    station.camera.simulated = True
    streams = [station.page.client.stream("GET", "/live.mjpeg") for _ in range(4)]
    with ExitStack() as stack:
        for viewer in streams:
            opened = stack.enter_context(viewer)
            assert len(list(parts_of(opened, 3))) == 3
        assert station.camera.previews == ["p0000-top"]
        station.page.do("shoot", "accept")
        assert station.camera.users == {"camera worker"}


def test_viewers_that_do_not_read_hold_up_nothing_and_their_number_is_bounded(station: Rig) -> None:
    live = station.page.client
    with ExitStack() as stack:
        for _ in range(station_app.MOST_VIEWERS - 1):
            stack.enter_context(live.stream("GET", "/live.mjpeg")).raise_for_status()
        with live.stream("GET", "/live.mjpeg") as last:
            assert last.status_code == 200
            until(lambda: not opens(live), "the bound")
            refused = live.get("/live.mjpeg").json()
            assert refused["detail"] == "Too many live views are open; close one."
            station.page.do("shoot", "accept", "shoot", "accept")
        until(lambda: opens(live), "a place that was left")


def opens(client: httpx.Client) -> bool:
    with client.stream("GET", "/live.mjpeg") as stream:
        return stream.status_code == 200


def test_nobody_looking_takes_no_live_frames(station: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CameraWorker, "unwatched_s", 0.0)
    station.page.client.get("/live.json")
    station.page.do("shoot", "accept", "shoot", "discard")
    assert station.camera.previews == []


def test_live_frames_are_measured_for_the_meters(station: Rig) -> None:
    station.page.do("shoot", "accept")
    client = station.page.client
    until(
        lambda: (measured(client) or {}).get("shot") == "p0000-side",
        "it",
    )
    look = measured(client)
    assert look["sharpness"] == pytest.approx(look["peak"])
    assert look["reference"] is None
    assert len(look["histogram"]) == 64
    assert max(look["histogram"]) == 1
    station.page.do("shoot", "accept")
    until(
        lambda: (measured(client) or {}).get("reference"),
        "a reference",
    )


def test_photographs_are_served_by_shot_and_the_reference_by_its_address(station: Rig) -> None:
    station.page.do("shoot", "accept")
    client = station.page.client
    assert decode(client.get("/shots/p0000-top/thumbnail")).shape == (150, 200, 3)
    assert decode(client.get("/shots/p0000-top/picture")).shape == (240, 320, 3)
    reference = station.page.do("shoot", "accept")["current"]["reference"]
    assert reference.startswith("shots/p0000-top/picture?content=")
    assert decode(client.get(f"/{reference}")).shape == (240, 320, 3)
    missing = client.get("/shots/p0003-top/thumbnail")
    assert (missing.status_code, missing.json()["detail"]) == (
        404,
        "There is no photograph of this shot.",
    )
    station.page.do("undo", "undo")
    assert client.get("/shots/p0000-top/thumbnail").status_code == 404


OTHER_FILES = (
    "/shots/../session.json/picture",
    "/shots/..%2Fsession.json/picture",
    "/shots/%2e%2e/picture",
    "/shots/images%2Fp0000-top/picture",
    "/shots/p0000-top.png/picture",
    "/shots//etc/passwd/picture",
    "/shots/p0000-top%00/picture",
    "/static/../app.py",
    "/static/%2e%2e/app.py",
    "/static/..%2fapp.py",
    "/static//etc/passwd",
    "/docs",
    "/openapi.json",
    "/session.json",
)


def test_no_path_leads_to_another_file(station: Rig) -> None:
    station.page.do("shoot", "accept")
    for path in OTHER_FILES:
        # as it is: httpx would tidy the path
        raw = http.client.HTTPConnection("127.0.0.1", station.station.port, timeout=PATIENCE_S)
        raw.request("GET", path)
        assert raw.getresponse().status == 404, path
        raw.close()


def test_the_page_and_what_it_needs_come_from_the_station(station: Rig) -> None:
    page = station.page.client.get("/")
    assert page.headers["content-type"].startswith("text/html")
    assert "angle" in page.text
    for name in ("station.js", "station.css", "shots.js", "meters.js", "icon.svg"):
        assert station.page.client.get(f"/static/{name}").status_code == 200


def test_a_command_that_is_none_is_refused(station: Rig) -> None:
    for body in ({}, {"turn": "x", "shot": None}, {"turn": 0, "sho": "p"}, [], 3):
        assert station.page.client.post("/commands/shoot", json=body).status_code == 422, body
    assert station.page.client.post("/commands/explode", json={"turn": 0}).status_code == 422
    assert station.camera.frames == []


def test_a_whole_session_with_an_emulated_basler_camera(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("pypylon", reason="needs the extra 'basler'")
    from loco_tools.capture.cameras.basler import BaslerCamera

    monkeypatch.setenv("PYLON_CAMEMU", "2")
    plan = make_plan(pixel_format="RGB8Packed")
    pictures = write_photographs(plan, tmp_path / "pictures")
    frame = BaslerCamera.frame

    def mount_and_frame(camera: BaslerCamera, shot: PlannedShot) -> Frame:
        nodes = camera.device.GetNodeMap()
        nodes.GetNode("TestImageSelector").SetValue("Off")
        nodes.GetNode("ImageFilename").SetValue(str(pictures / f"{shot.shot}.png"))
        nodes.GetNode("ImageFileMode").SetValue("On")
        return frame(camera, shot)

    monkeypatch.setattr(BaslerCamera, "frame", mount_and_frame)
    with open_guide(SessionRequest(plan, camera="basler:0815-0001", captures=tmp_path)) as guide:
        with serving(guide) as (_, page):
            until(lambda: measured(page.client), "a live frame")
            while page.state["phase"] != "finished":
                assert page.do("shoot")["candidate"]["passed"]
                page.do("accept")
        assert page.state["instruction"] == "Everything is done: 8 of 8 shots taken."
    for shot in read_shots(guide.folder):
        source = read_image(pictures / f"{shot.shot}.png")
        assert np.array_equal(read_image(guide.folder / shot.file), source)


def test_a_basler_camera_that_drifts_or_is_unplugged_is_brought_back_from_the_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("pypylon", reason="needs the extra 'basler'")
    from loco_tools.capture.cameras.basler import BaslerCamera

    monkeypatch.setenv("PYLON_CAMEMU", "2")
    monkeypatch.setattr(BaslerCamera, "waits_s", (0.0, 0.0, 0.0))
    plan = make_plan(pixel_format="RGB8Packed")
    with open_guide(SessionRequest(plan, camera="basler:0815-0001", captures=tmp_path)) as guide:
        camera = guide.camera
        assert isinstance(camera, BaslerCamera)
        with serving(guide) as (_, page):
            camera.device.GetNodeMap().GetNode("ExposureTime").SetValue(8000)
            assert "exposure_us: expected 12000.0, got 8000.0" in words(page.send("shoot"))[2]
            page.see()
            assert page.do("reconnect")["fault"] is None
            assert page.do("shoot")["phase"] == "review"
            page.do("discard")

            monkeypatch.setenv("PYLON_CAMEMU", "1")
            camera.device.GetNodeMap().GetNode("FirePnPCallback").Execute()
            assert "basler:0815-0001 was lost" in words(page.send("shoot"))[2]
            monkeypatch.setenv("PYLON_CAMEMU", "2")
            page.see()
            assert page.do("shoot")["fault"] is None


def test_aiming_and_shooting_render_a_shot_of_the_twin_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("mitsuba", reason="needs the extra 'twin'")
    from loco_tools import twin

    rendered: list[str] = []
    render = twin.render

    def count(*arguments: Any) -> twin.Rendering:
        rendered.append(arguments[-1])
        return render(*arguments)

    monkeypatch.setattr(twin, "render", count)
    plan = make_plan(width_px=64, height_px=48)
    with open_guide(SessionRequest(plan, captures=tmp_path)) as guide, serving(guide) as (_, page):
        until(lambda: measured(page.client), "a live frame")
        page.do("shoot", "retake")
        assert rendered == ["top"]
        page.do("accept", override=True)
    assert read_shots(guide.folder)[0].simulated


def first_shot() -> PlannedShot:
    return next(make_plan().planned_shots())


def measured(client: httpx.Client) -> Any:
    """The measurements of the last live frame; None if there is none."""
    return client.get("/live.json").json()["measurements"]


def watched(page: Page) -> dict[str, Any]:
    """The state, for somebody who looks."""
    page.client.get("/live.json")
    return page.see()


def decode(answer: httpx.Response) -> Pixels:
    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/jpeg")
    return decoded(answer.content)


def decoded(jpeg: bytes) -> Pixels:
    return np.asarray(cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR), np.uint8)


def parts_of(stream: httpx.Response, count: int) -> Iterator[Pixels]:
    """The first pictures of a live stream, each as long as its header says."""
    held, chunks = b"", stream.iter_bytes()
    for _ in range(count):
        while b"\r\n\r\n" not in held:
            held += next(chunks)
        head, held = held.split(b"\r\n\r\n", 1)
        boundary, kind, length = head.lstrip(b"\r\n").split(b"\r\n")
        assert (boundary, kind) == (b"--frame", b"Content-Type: image/jpeg")
        size = int(length.removeprefix(b"Content-Length: "))
        while len(held) < size + 2:
            held += next(chunks)
        yield decoded(held[:size])
        held = held[size:]
