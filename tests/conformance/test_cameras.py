"""The conformance suite of the cameras. A new camera adds its row to `RIGS`."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from camera_rigs import RIGS, UNTESTED, Rig, make_plan

from loco_tools.capture.cameras import CAMERAS, Camera, open_camera
from loco_tools.errors import CaptureError
from loco_tools.plan import Plan
from loco_tools.testing.cameras import CHECKS, SHOT, MakeCamera

COUNTING = ("mjpeg", "rtsp")
REPLAYING = ("folder", "video file")


@pytest.fixture
def rig(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Rig]:
    with RIGS[request.param](tmp_path, monkeypatch) as made:
        yield made


every_rig = pytest.mark.parametrize("rig", RIGS, indirect=True)


def opened(rig: Rig, plan: Plan | None = None) -> Camera:
    return open_camera(rig.camera, plan or rig.plan, seed=0)


def test_every_kind_of_camera_has_a_rig() -> None:
    kinds = {"video file": "opencv", "mjpeg": "http"}
    assert {kinds.get(name, name) for name in RIGS} == set(CAMERAS) - UNTESTED


@every_rig
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_a_camera_passes_the_checks_of_plug_in_authors(
    rig: Rig, check: Callable[[MakeCamera, Plan], None]
) -> None:
    check(lambda plan: open_camera(rig.camera, plan, seed=0), rig.plan)


@every_rig
def test_a_frame_has_the_size_and_the_colours_of_its_rig(rig: Rig) -> None:
    with opened(rig) as camera:
        image, settings = camera.frame(SHOT).image, camera.settings()
        assert image.shape == (*rig.size, 3)
        assert (settings["height_px"], settings["width_px"]) == rig.size
        assert rig.colours is None or rig.colours(image)
        assert camera.simulated == (rig.camera == "twin")


@every_rig
def test_a_camera_that_is_not_there_is_refused(rig: Rig) -> None:
    with pytest.raises(CaptureError) as caught, open_camera(rig.absent, rig.plan, seed=0):
        pass
    assert rig.absent.split(":", 1)[1].removeprefix("//").split("/")[0] in str(caught.value)


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
