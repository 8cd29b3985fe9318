"""What every camera must do. A new backend adds its row to `RIGS`."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from camera_rigs import RIGS, UNTESTED, Rig, make_plan

from loco_tools.capture.cameras import BACKENDS, Camera, open_camera
from loco_tools.capture.cameras.camera import differences
from loco_tools.errors import CaptureError
from loco_tools.plan import Plan, PlannedShot

SHOT = PlannedShot("p0000-top", "p0000", "top", "train", "good", None)
NEXT = SHOT._replace(shot="p0001-top", part="p0001")
COUNTING = ("mjpeg", "rtsp")
REPLAYING = ("folder", "video file")
REFUSING = tuple(name for name in RIGS if name != "twin")  # the twin is of any size


@pytest.fixture
def rig(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Rig]:
    with RIGS[request.param](tmp_path, monkeypatch) as made:
        yield made


every_rig = pytest.mark.parametrize("rig", RIGS, indirect=True)


def opened(rig: Rig, plan: Plan | None = None) -> Camera:
    return open_camera(rig.camera, plan or rig.plan, seed=0)


def resized(plan: Plan) -> Plan:
    camera = plan.camera.model_copy(update={"height_px": 50, "width_px": 70, "exposure_us": 1e9})
    return plan.model_copy(update={"camera": camera})


def test_every_kind_of_camera_has_a_rig() -> None:
    kinds = {"video file": "opencv", "mjpeg": "http"}
    assert {kinds.get(name, name) for name in RIGS} == set(BACKENDS) - UNTESTED


@every_rig
def test_a_camera_keeps_the_contract(rig: Rig) -> None:
    camera = opened(rig)
    for use in (camera.frame, camera.preview):
        with pytest.raises(CaptureError, match="is not connected; next step"):
            use(SHOT)
    with camera:
        frame, settings = camera.frame(SHOT), camera.settings()
        assert frame.image.shape == (*rig.size, 3)
        assert frame.image.dtype == np.uint8
        assert frame.image.flags.writeable
        assert rig.colours is None or rig.colours(frame.image)
        assert camera.preview(NEXT).shape == frame.image.shape
        assert (settings["height_px"], settings["width_px"]) == rig.size
        assert differences(rig.plan.camera.requested(), settings) == []
        assert differences(settings, camera.settings()) == []
        assert camera.simulated == (rig.camera == "twin")
        identity = camera.identity
    camera.close()
    camera.close()
    with pytest.raises(CaptureError, match="is not connected"):
        camera.frame(SHOT)

    with camera:
        assert camera.identity == identity
    with open_camera(identity, rig.plan, seed=0) as same:
        assert same.identity == identity
        assert same.settings() == settings


@pytest.mark.parametrize("rig", REFUSING, indirect=True)
def test_settings_that_a_camera_does_not_take_are_refused_and_it_is_released(rig: Rig) -> None:
    camera = opened(rig, resized(rig.plan))
    with pytest.raises(CaptureError, match=r"(?s)expected.*got.*next step"):
        camera.connect()
    with pytest.raises(CaptureError, match="is not connected"):
        camera.frame(SHOT)
    with opened(rig) as another:
        assert another.frame(SHOT).image.shape == (*rig.size, 3)


@every_rig
def test_a_camera_that_is_not_there_is_refused(rig: Rig) -> None:
    with pytest.raises(CaptureError) as caught, open_camera(rig.absent, rig.plan, seed=0):
        pass
    assert rig.absent.split(":", 1)[1].removeprefix("//").split("/")[0] in str(caught.value)


@every_rig
def test_without_a_plan_a_camera_gives_a_frame_with_the_settings_it_has(rig: Rig) -> None:
    with open_camera(rig.camera, None, seed=0) as camera:
        settings, frame = camera.settings(), camera.frame(SHOT)
    assert frame.image.shape == (settings["height_px"], settings["width_px"], 3)


@pytest.mark.parametrize("rig", COUNTING, indirect=True)
def test_a_frame_is_exposed_after_it_was_asked_for(rig: Rig) -> None:
    with opened(rig) as camera:
        assert rig.number
        last = -1
        for _ in range(3):
            newest = max(last, rig.newest())
            last = rig.number(camera.frame(SHOT).image)
            assert last > newest


@pytest.mark.parametrize("rig", REPLAYING, indirect=True)
def test_a_replay_gives_each_shot_its_picture_however_often_and_in_any_order(rig: Rig) -> None:
    assert rig.number
    shots = list(rig.plan.planned_shots())
    with opened(rig) as camera:
        for place in (0, 2, 2, 1, 3, 0):
            camera.preview(shots[place])
            assert rig.number(camera.frame(shots[place]).image) == place


@pytest.mark.parametrize("rig", REPLAYING, indirect=True)
def test_a_replay_ends_with_its_last_picture(rig: Rig) -> None:
    plan = make_plan(parts=5)
    *first, last = plan.planned_shots()
    with opened(rig, plan) as camera:
        assert [camera.frame(shot).image.shape for shot in first] == [(*rig.size, 3)] * 4
        with pytest.raises(CaptureError, match=r"next step: (add images|give a video)"):
            camera.frame(last)
