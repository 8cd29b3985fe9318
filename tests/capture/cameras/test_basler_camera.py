"""Basler's own SDK with its emulated cameras, 0815-0000 and 0815-0001.

The emulator lets two programs open one camera, and has no second sensor behind a serial number:
only "in use" is a stand-in, at the SDK's call.
"""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from loco_tools.capture.cameras import Frame
from loco_tools.capture.cameras.basler import BaslerCamera, PylonFeatures, discover
from loco_tools.capture.cameras.genicam_features import apply_settings
from loco_tools.capture.session import progress_of, read_session, read_shots
from loco_tools.capture.session_opening import SessionRequest
from loco_tools.capture.unattended import capture
from loco_tools.datasets.images import Pixels, read_image, write_png
from loco_tools.errors import CaptureError, MissingExtraError
from loco_tools.plan import Plan, PlannedShot, Shots, load_plan

pytest.importorskip("pypylon", reason="needs the extra 'basler'")

Act = Callable[[BaslerCamera, PlannedShot], None]
BeforeFrames = Callable[[Act], None]
SIZE = (64, 96)
SHOT = PlannedShot("p0000-top", "p0000", "top", "train", "good", None)


@pytest.fixture(autouse=True)
def two_emulated_cameras(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYLON_CAMEMU", "2")
    monkeypatch.setattr(BaslerCamera, "waits_s", (0.0, 0.0, 0.0))


def make_plan(**settings: Any) -> Plan:
    """A plan of three good parts in one view, photographed in colour."""
    plan = load_plan("angle")
    wanted = {"width_px": SIZE[1], "height_px": SIZE[0], "pixel_format": "RGB8Packed"}
    return plan.model_copy(
        update={
            "camera": plan.camera.model_copy(update={**wanted, **settings}),
            "views": plan.views[:1],
            "shots": (Shots(split="train", kind="good", parts=3, demo_parts=3),),
        }
    )


def coordinates() -> Pixels:
    """(H, W, 3): red tells the row, green the column."""
    y, x = np.mgrid[: SIZE[0], : SIZE[1]]
    return np.stack([y, x + 100, np.full(SIZE, 7)], axis=2).astype(np.uint8)


def write_picture(path: Path, image: Pixels) -> Path:
    write_png(path, image)
    return path


def feed(camera: BaslerCamera, source: Path) -> None:
    """Let the emulator send a picture file."""
    nodes = camera.device.GetNodeMap()
    nodes.GetNode("TestImageSelector").SetValue("Off")
    nodes.GetNode("ImageFilename").SetValue(str(source))
    nodes.GetNode("ImageFileMode").SetValue("On")


def fail_buffers(camera: BaslerCamera, count: int) -> None:
    nodes = camera.device.GetNodeMap()
    nodes.GetNode("ForceFailedBufferCount").SetValue(count)
    nodes.GetNode("ForceFailedBuffer").Execute()


def unplug(camera: BaslerCamera) -> None:
    camera.device.GetNodeMap().GetNode("FirePnPCallback").Execute()


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    return write_picture(tmp_path / "picture.png", coordinates())


@pytest.fixture
def before_frames(monkeypatch: pytest.MonkeyPatch) -> BeforeFrames:
    """Do something to the camera of a session before each frame, as an operator or a fault does."""

    def register(act: Act) -> None:
        frame = BaslerCamera.frame

        def act_and_frame(camera: BaslerCamera, shot: PlannedShot) -> Frame:
            act(camera, shot)
            return frame(camera, shot)

        monkeypatch.setattr(BaslerCamera, "frame", act_and_frame)

    return register


def test_the_connected_cameras_are_listed_by_serial_number() -> None:
    assert discover() == ["basler:0815-0000", "basler:0815-0001"]


def test_a_frame_comes_back_exactly_with_its_colours_in_order(picture: Path) -> None:
    with BaslerCamera("0815-0001", make_plan()) as camera:
        feed(camera, picture)
        image = camera.frame(SHOT).image
    assert image.dtype == np.uint8
    assert image.flags.writeable
    assert np.array_equal(image, coordinates())


@pytest.mark.parametrize("pixel_format", ["BGR8Packed", "BGRA8Packed", "RGB16Packed"])
def test_every_colour_format_becomes_the_same_rgb(picture: Path, pixel_format: str) -> None:
    with BaslerCamera("0815-0000", make_plan(pixel_format=pixel_format)) as camera:
        feed(camera, picture)
        assert np.array_equal(camera.frame(SHOT).image, coordinates())


@pytest.mark.parametrize("pattern", ["RG", "GR", "GB", "BG"])
def test_a_bayer_mosaic_becomes_its_colour(tmp_path: Path, pattern: str) -> None:
    flat = write_picture(tmp_path / "flat.png", np.full((*SIZE, 3), (200, 100, 50), np.uint8))
    with BaslerCamera("0815-0000", make_plan(pixel_format=f"Bayer{pattern}8")) as camera:
        feed(camera, flat)
        image = camera.frame(SHOT).image
    assert (image[2:-2, 2:-2] == (200, 100, 50)).all()


def test_a_grey_camera_gives_three_equal_channels(picture: Path) -> None:
    with BaslerCamera("0815-0000", make_plan(pixel_format="Mono8")) as camera:
        feed(camera, picture)
        image = camera.frame(SHOT).image
    assert image.shape == (*SIZE, 3)
    assert (image == image[..., :1]).all()


def test_the_settings_of_the_plan_are_in_effect() -> None:
    with BaslerCamera("0815-0000", make_plan(exposure_us=8000, gain_db=6)) as camera:
        assert camera.settings() == {
            "width_px": SIZE[1],
            "height_px": SIZE[0],
            "exposure_us": 8000,
            "gain_db": pytest.approx(6, abs=0.01),
            "pixel_format": "RGB8Packed",
            "model": "CamEmu",
        }


def test_an_emulated_camera_is_marked_as_such() -> None:
    with BaslerCamera("0815-0000", make_plan()) as camera:
        assert camera.caution is not None
        assert "emulator" in camera.caution


def test_without_a_plan_the_settings_stay_as_they_are() -> None:
    with BaslerCamera("0815-0000", None) as camera:
        actual = camera.settings()
        image = camera.frame(SHOT).image
    assert image.shape == (actual["height_px"], actual["width_px"], 3)


def test_automatic_modes_and_triggers_are_switched_off_and_the_region_is_centred() -> None:
    plan = make_plan()
    with BaslerCamera("0815-0000", None) as camera:
        nodes = camera.device.GetNodeMap()
        nodes.GetNode("OffsetX").SetValue(8)
        for name, value in (
            ("ExposureAuto", "Continuous"),
            ("GainAuto", "Once"),
            ("TriggerSelector", "FrameStart"),
            ("TriggerMode", "On"),
        ):
            nodes.GetNode(name).SetValue(value)

        apply_settings(PylonFeatures(camera.device), plan.camera)

        nodes.GetNode("TriggerSelector").SetValue("FrameStart")
        automatic = ("ExposureAuto", "GainAuto", "TriggerMode")
        assert [nodes.GetNode(name).GetValue() for name in automatic] == ["Off"] * 3
        assert nodes.GetNode("OffsetX").GetValue() == (4096 - SIZE[1]) // 2
        assert nodes.GetNode("OffsetY").GetValue() == (4096 - SIZE[0]) // 2


def test_a_setting_that_the_camera_rounds_away_is_refused_and_the_camera_released() -> None:
    camera = BaslerCamera("0815-0000", make_plan(exposure_us=1.5))
    with pytest.raises(CaptureError, match=r"did not take .*exposure_us: expected 1\.5, got 2\.0"):
        camera.connect()
    assert camera.device is None
    with BaslerCamera("0815-0000", make_plan()) as again:
        assert again.frame(SHOT).image.shape == (*SIZE, 3)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"width_px": 5000}, r"Width: expected 1 to 4096 in steps of 1, got 5000"),
        ({"gain_db": 60}, r"Gain: expected 0 to 48, got 60"),
        ({"pixel_format": "RGB8"}, r'PixelFormat has no "RGB8"; did you mean "RGB8Packed"'),
    ],
)
def test_a_setting_that_the_camera_does_not_have_is_refused(
    settings: dict[str, Any], words: str
) -> None:
    camera = BaslerCamera("0815-0000", make_plan(**settings))
    with pytest.raises(CaptureError, match=rf"basler:0815-0000 does not take.*{words}.*next step"):
        camera.connect()
    assert camera.device is None


def test_basler_alone_is_the_only_camera_connected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYLON_CAMEMU", "1")
    with BaslerCamera("", make_plan()) as camera:
        assert camera.identity == "basler:0815-0000"


def test_basler_alone_is_refused_when_there_are_several() -> None:
    with pytest.raises(CaptureError, match=r"got 2; .* basler:0815-0000, basler:0815-0001"):
        BaslerCamera("", make_plan()).connect()


def test_a_camera_that_is_not_connected_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(CaptureError, match=r'0815-0007 is not connected; did you mean "0815-000'):
        BaslerCamera("0815-0007", make_plan()).connect()
    monkeypatch.setenv("PYLON_CAMEMU", "0")
    with pytest.raises(CaptureError, match=r"expected a Basler camera, got none connected"):
        BaslerCamera("", make_plan()).connect()


def test_without_the_sdk_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pypylon", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'loco-tools\[basler\]'"):
        BaslerCamera("0815-0000", make_plan()).connect()


def test_a_camera_in_use_is_explained_and_can_be_connected_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from pypylon import genicam, pylon

    def refuse(*_: Any) -> None:
        raise genicam.RuntimeException("The device is controlled by another application.")

    camera = BaslerCamera("0815-0000", make_plan())
    with monkeypatch.context() as patch:
        patch.setattr(pylon.InstantCamera, "Open", refuse)
        with pytest.raises(CaptureError, match=r"cannot be opened: .*another app.*pylon Viewer"):
            camera.connect()
    assert camera.device is None
    with camera:
        assert camera.frame(SHOT).image.shape == (*SIZE, 3)


def test_failed_buffers_are_retried(picture: Path) -> None:
    with BaslerCamera("0815-0000", make_plan()) as camera:
        feed(camera, picture)
        fail_buffers(camera, camera.grab_tries - 1)
        assert np.array_equal(camera.frame(SHOT).image, coordinates())


def test_no_frame_within_the_time_limit_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(BaslerCamera, "timeout_s", 0.2)
    with BaslerCamera("0815-0000", make_plan()) as camera:
        nodes = camera.device.GetNodeMap()
        for name, value in (
            ("TriggerSelector", "FrameStart"),
            ("TriggerMode", "On"),
            ("TriggerSource", "Line1"),
        ):
            nodes.GetNode(name).SetValue(value)
        with pytest.raises(CaptureError, match=r"expected a frame within 0\.2 s, got none"):
            camera.frame(SHOT)


def test_a_frame_of_another_size_is_refused(tmp_path: Path) -> None:
    small = write_picture(tmp_path / "small.png", coordinates()[:32])
    with BaslerCamera("0815-0000", make_plan()) as camera:
        feed(camera, small)
        with pytest.raises(CaptureError, match=r"expected a frame of \(64, 96, 3\).*\(32, 96, 3\)"):
            camera.frame(SHOT)


def test_an_unplugged_camera_is_reconnected_with_its_settings() -> None:
    with BaslerCamera("0815-0001", make_plan(gain_db=6)) as camera:
        before = camera.settings()
        unplug(camera)
        assert camera.frame(SHOT).image.shape == (*SIZE, 3)
        assert camera.identity == "basler:0815-0001"
        assert camera.settings() == before


def test_a_camera_that_stays_away_is_given_up_and_released(monkeypatch: pytest.MonkeyPatch) -> None:
    with BaslerCamera("0815-0001", make_plan()) as camera:
        unplug(camera)
        monkeypatch.setenv("PYLON_CAMEMU", "1")
        with pytest.raises(CaptureError, match=r"basler:0815-0001 was lost .* 3 tries .*next step"):
            camera.frame(SHOT)
        assert camera.device is None
        monkeypatch.setenv("PYLON_CAMEMU", "2")
        assert camera.frame(SHOT).image.shape == (*SIZE, 3)


def test_a_closed_camera_says_so_and_closing_again_does_nothing() -> None:
    camera = BaslerCamera("0815-0000", make_plan())
    with pytest.raises(CaptureError, match="basler:0815-0000 is not connected"):
        camera.frame(SHOT)
    camera.connect()
    camera.close()
    camera.close()
    with pytest.raises(CaptureError, match="basler:0815-0000 is not connected"):
        camera.settings()


def take(captures: Path, camera: str = "basler:0815-0000", *, keep_failing: bool = False) -> Path:
    request = SessionRequest(make_plan(), camera=camera, captures=captures, session="s")
    return capture(request, keep_failing=keep_failing)


def test_a_whole_session_of_rendered_parts_passes_every_gate_and_keeps_every_pixel(
    tmp_path: Path, before_frames: BeforeFrames
) -> None:
    pytest.importorskip("mitsuba", reason="needs the extra 'twin'")
    from loco_tools import twin

    plan = make_plan()
    parts = {
        shot.part: twin.render(plan, seed, None, shot.view).image
        for seed, shot in enumerate(plan.planned_shots())
    }
    files = {part: write_picture(tmp_path / f"{part}.png", parts[part]) for part in parts}
    before_frames(lambda camera, shot: feed(camera, files[shot.part]))

    folder = take(tmp_path)

    record, shots = read_session(folder), read_shots(folder)
    assert record.camera.identity == "basler:0815-0000"
    assert record.camera.requested["exposure_us"] == record.camera.actual["exposure_us"]
    assert [shot.part for shot in shots] == list(parts)
    for shot in shots:
        assert np.array_equal(read_image(folder / shot.file), parts[shot.part])


def test_buffers_that_keep_failing_stop_the_session_which_continues_later(
    tmp_path: Path, before_frames: BeforeFrames
) -> None:
    failing = {"p0001"}

    def fail(camera: BaslerCamera, shot: PlannedShot) -> None:
        if shot.part in failing:
            fail_buffers(camera, 100)

    before_frames(fail)
    with pytest.raises(CaptureError, match=r"3 failed buffers in a row.*incompletely grabbed"):
        take(tmp_path, keep_failing=True)
    folder = tmp_path / "angle" / "s"
    assert [shot.part for shot in read_shots(folder)] == ["p0000"]
    assert [file.stem for file in folder.rglob("*.png")] == ["p0000-top"]

    failing.clear()
    take(tmp_path, keep_failing=True)
    assert progress_of(folder).finished


def test_settings_that_drift_stop_the_session(tmp_path: Path, before_frames: BeforeFrames) -> None:
    def drift(camera: BaslerCamera, shot: PlannedShot) -> None:
        if shot.part == "p0001":
            camera.device.GetNodeMap().GetNode("ExposureTime").SetValue(400.0)

    before_frames(drift)
    with pytest.raises(CaptureError, match=r"exposure_us: expected .*, got 400"):
        take(tmp_path, keep_failing=True)
    assert [shot.part for shot in read_shots(tmp_path / "angle" / "s")] == ["p0000"]


def test_a_camera_unplugged_during_a_session_is_reconnected_and_the_session_continues(
    tmp_path: Path, before_frames: BeforeFrames
) -> None:
    def pull(camera: BaslerCamera, shot: PlannedShot) -> None:
        if shot.part == "p0001":
            unplug(camera)

    before_frames(pull)
    assert progress_of(take(tmp_path, keep_failing=True)).finished


def test_swapped_cameras_are_refused(tmp_path: Path) -> None:
    take(tmp_path, keep_failing=True)
    with pytest.raises(CaptureError, match=r"'basler:0815-0000', got 'basler:0815-0001'"):
        take(tmp_path, "basler:0815-0001")
