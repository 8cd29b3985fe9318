"""USB cameras. There is none here: a tree of files stands in for /dev, a class for the driver."""

import shutil
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import cast

import cv2
import numpy as np
import pytest

from loco_tools import extras
from loco_tools.capture.cameras import connected_cameras, open_camera, usb_names, uvc
from loco_tools.capture.cameras.camera import Settings
from loco_tools.capture.cameras.frame_reader import FrameReader
from loco_tools.capture.cameras.opencv_capture import four_characters
from loco_tools.capture.cameras.usb_names import find_usb_camera, names_device
from loco_tools.capture.cameras.uvc import UvcCamera
from loco_tools.errors import CaptureError, MissingExtraError
from loco_tools.plan import Plan, PlannedShot, load_plan

SHOT = PlannedShot("p0000-top", "p0000", "top", "train", "good", None)
SIZE = (48, 64)


class Driver:
    """What `cv2.VideoCapture` is for a USB camera.

    `stuck` holds properties that ignore what they are set to; a property that is not in `values`
    is one that the camera lacks. It gives `frames_left` frames, or goes on for ever.
    """

    def __init__(self, values: dict[int, float] | None = None) -> None:
        self.values = {
            cv2.CAP_PROP_FRAME_WIDTH: 640.0,
            cv2.CAP_PROP_FRAME_HEIGHT: 480.0,
            cv2.CAP_PROP_FOURCC: float(cv2.VideoWriter.fourcc(*"YUYV")),
            cv2.CAP_PROP_AUTO_EXPOSURE: 3.0,
            cv2.CAP_PROP_EXPOSURE: 156.0,
            cv2.CAP_PROP_GAIN: 64.0,
            cv2.CAP_PROP_AUTO_WB: 1.0,
            cv2.CAP_PROP_WB_TEMPERATURE: 4600.0,
        } | (values or {})
        self.stuck: set[int] = set()
        self.frames_left: int | None = None
        self.hangs = threading.Event()
        self.goes_on = threading.Event()
        self.is_open = True
        self.isOpened = lambda: self.is_open
        self.sent = 0
        self.retrieved = 0

    def set(self, name: int, value: float) -> bool:
        if name in self.values and name not in self.stuck:
            self.values[name] = value
        return name in self.values

    def get(self, name: int) -> float:
        return self.values.get(name, -1.0)

    def grab(self) -> bool:
        if self.hangs.is_set():
            self.goes_on.wait()
        if self.frames_left is not None:
            self.frames_left -= 1
        self.sent += 1
        threading.Event().wait(0.001)
        return self.frames_left is None or self.frames_left >= 0

    def retrieve(self) -> tuple[bool, np.ndarray]:
        size = (cv2.CAP_PROP_FRAME_HEIGHT, cv2.CAP_PROP_FRAME_WIDTH)
        image = np.zeros((*(int(self.values[name]) for name in size), 3), np.uint8)
        image[..., 2] = 200
        self.retrieved = self.sent
        return True, image

    def release(self) -> None:
        self.is_open = False


@pytest.fixture
def plug(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Plug in a camera: /dev/video<number> with its links and its entry in /sys."""
    monkeypatch.setattr(usb_names, "ROOT", tmp_path)

    def make(
        number: int, *, serial: str | None = "SN1", port: int | None = None, model: str = "Cam"
    ) -> Path:
        device = tmp_path / f"dev/video{number}"
        entry = tmp_path / f"sys/class/video4linux/video{number}"
        entry.mkdir(parents=True, exist_ok=True)
        (entry / "name").write_text(f"{model}\n")
        (entry / "index").write_text("0\n")
        (entry / "device").mkdir(exist_ok=True)
        (entry / "serial").write_text(serial if serial and serial != model else "")
        device.parent.mkdir(exist_ok=True)
        device.touch()
        names = {"by-id": serial and f"usb-{model}_{serial}", "by-path": port and f"usb-port{port}"}
        for kind, name in names.items():
            if name:
                link = tmp_path / "dev/v4l" / kind / f"{name}-video-index0"
                link.parent.mkdir(parents=True, exist_ok=True)
                link.unlink(missing_ok=True)
                link.symlink_to(device)
        return device

    return make


def unplug(device: Path) -> None:
    root = device.parents[1]
    for link in (root / "dev/v4l").glob("*/*"):
        if link.resolve() == device:
            link.unlink()
    device.unlink()
    shutil.rmtree(root / f"sys/class/video4linux/{device.name}")


@pytest.fixture
def drivers(monkeypatch: pytest.MonkeyPatch) -> list[Driver]:
    """The drivers that are opened, in turn; the last one again and again."""
    waiting = [Driver()]

    def give(source: object, backend: int) -> Driver:
        driver = waiting.pop(0) if len(waiting) > 1 else waiting[0]
        driver.is_open = True
        return driver

    monkeypatch.setattr(uvc, "open_capture", give)
    monkeypatch.setattr(UvcCamera, "waits_s", (0.0, 0.0))
    return waiting


def make_plan(**settings: object) -> Plan:
    plan = load_plan("angle")
    wanted = {"height_px": SIZE[0], "width_px": SIZE[1], "exposure_us": 12000.0, **settings}
    return plan.model_copy(update={"camera": plan.camera.model_copy(update=wanted)})


def settings_of(camera: str, plan: Plan | None) -> Settings:
    with open_camera(camera, plan, seed=0) as device:
        return device.settings()


def test_a_number_becomes_the_name_by_serial_and_stays_so_under_another_number(
    plug: Callable[..., Path], drivers: list[Driver], tmp_path: Path
) -> None:
    device = plug(0, serial="SN1", port=1)
    with open_camera("opencv:0", make_plan(), seed=0) as camera:
        identity = camera.identity
        assert identity == f"opencv:{tmp_path}/dev/v4l/by-id/usb-Cam_SN1-video-index0"
        assert camera.caution is None
    unplug(device)
    plug(0, serial="SN2", port=1)
    plug(4, serial="SN1", port=2)
    with open_camera(identity, make_plan(), seed=0) as camera:
        assert camera.identity == identity
    with open_camera("opencv:4", make_plan(), seed=0) as camera:
        assert camera.identity == identity
    with open_camera("opencv:0", make_plan(), seed=0) as camera:
        assert "SN2" in camera.identity
    assert connected_cameras().cameras[:2] == (identity.replace("SN1", "SN2"), identity)


def test_cameras_without_serial_numbers_are_named_by_their_ports(
    plug: Callable[..., Path], drivers: list[Driver], tmp_path: Path
) -> None:
    plug(0, serial="", port=1)
    plug(2, serial="Cam", port=2)  # one link for both: the last one plugged in has it
    for number, port in ((0, 1), (2, 2)):
        with open_camera(f"opencv:{number}", make_plan(), seed=0) as camera:
            name = f"{tmp_path}/dev/v4l/by-path/usb-port{port}-video-index0"
            assert camera.identity == f"opencv:{name}"
            assert "keep it plugged in there" in str(camera.caution)
        with open_camera(camera.identity, make_plan(), seed=0) as again:
            assert again.identity == camera.identity
    shared = f"opencv:{tmp_path}/dev/v4l/by-id/usb-Cam_Cam-video-index0"
    with pytest.raises(CaptureError, match=r"ambiguous.*next step: name it by its port: .*port2"):
        open_camera(shared, make_plan(), seed=0).connect()


def test_a_camera_that_another_one_of_its_model_would_pass_for_says_so(
    plug: Callable[..., Path], drivers: list[Driver]
) -> None:
    plug(0, serial="Cam", port=1)
    with open_camera("opencv:0", make_plan(), seed=0) as camera:
        assert "by-id" in camera.identity
        assert camera.caution == uvc.NO_SERIAL


def test_a_camera_without_a_stable_name_is_refused(
    plug: Callable[..., Path], drivers: list[Driver]
) -> None:
    plug(0, serial=None)
    with pytest.raises(CaptureError, match=r"opencv:0 has no stable name.*next step: install udev"):
        open_camera("opencv:0", make_plan(), seed=0).connect()
    assert connected_cameras().cameras[0] == "opencv:0"


def test_a_camera_that_is_not_plugged_in_is_refused(plug: Callable[..., Path]) -> None:
    with pytest.raises(CaptureError, match=r"opencv:3: .*video3 is not connected; next step: plug"):
        open_camera("opencv:3", make_plan(), seed=0).connect()
    with pytest.raises(CaptureError, match=r"expected a number, a path .* got nothing"):
        open_camera("opencv:", make_plan(), seed=0)


def test_settings_are_set_read_back_and_automatics_switched_off(
    plug: Callable[..., Path], drivers: list[Driver]
) -> None:
    plug(0)
    plan = make_plan(pixel_format="MJPG", white_balance_k=5000.0)
    assert settings_of("opencv:0", plan) == {
        "width_px": 64,
        "height_px": 48,
        "pixel_format": "MJPG",
        "gain": 0.0,
        "white_balance_k": 5000.0,
        "auto_white_balance": "off",
        "auto_exposure": "off",
        "exposure_us": 12000.0,
    }
    assert drivers[0].values[cv2.CAP_PROP_EXPOSURE] == 120  # in units of 100 us


def test_without_a_plan_nothing_is_set(plug: Callable[..., Path], drivers: list[Driver]) -> None:
    plug(0)
    before = dict(drivers[0].values)
    assert settings_of("opencv:0", None)["auto_exposure"] == "on"
    assert drivers[0].values == before


def test_what_a_camera_lacks_is_left_out(plug: Callable[..., Path], drivers: list[Driver]) -> None:
    plug(0)
    for name in list(drivers[0].values):
        if name not in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT, cv2.CAP_PROP_FOURCC):
            del drivers[0].values[name]
    found = settings_of("opencv:0", make_plan())
    assert found == {"width_px": 64, "height_px": 48, "pixel_format": "YUYV"}


@pytest.mark.parametrize(
    ("stuck", "message"),
    [
        (cv2.CAP_PROP_EXPOSURE, r"exposure_us: expected 12000\.0, got 15600\.0"),
        (cv2.CAP_PROP_AUTO_EXPOSURE, "auto_exposure: expected off, got on"),
        (cv2.CAP_PROP_AUTO_WB, "auto_white_balance: expected off, got on"),
        (cv2.CAP_PROP_FRAME_WIDTH, "width_px: expected 64, got 640"),
        (cv2.CAP_PROP_FOURCC, "pixel_format: expected MJPG, got YUYV"),
    ],
)
def test_a_setting_that_is_not_taken_is_refused_and_the_camera_released(
    plug: Callable[..., Path], drivers: list[Driver], stuck: int, message: str
) -> None:
    plug(0)
    drivers[0].stuck = {stuck}
    camera = open_camera("opencv:0", make_plan(pixel_format="MJPG"), seed=0)
    with pytest.raises(CaptureError, match=f"did not take its settings: {message}"):
        camera.connect()
    assert not drivers[0].is_open
    drivers[0].stuck = set()
    with camera:
        assert camera.frame(SHOT).image.shape == (*SIZE, 3)


def test_a_gain_in_decibels_is_refused(plug: Callable[..., Path], drivers: list[Driver]) -> None:
    plug(0)
    with pytest.raises(
        CaptureError, match=r"gain_db = 0\.0.*no unit, got 6\.0; next step: write gain_db = 0\.0"
    ):
        open_camera("opencv:0", make_plan(gain_db=6.0), seed=0).connect()
    assert not drivers[0].is_open


def test_a_camera_that_is_in_use_is_refused(
    plug: Callable[..., Path], drivers: list[Driver], monkeypatch: pytest.MonkeyPatch
) -> None:
    plug(0)
    monkeypatch.setattr(drivers[0], "isOpened", lambda: False)
    with pytest.raises(CaptureError, match=r"cannot be opened; next step: close other programs"):
        open_camera("opencv:0", make_plan(), seed=0).connect()


def test_a_frame_is_rgb_and_younger_than_what_the_driver_held(
    plug: Callable[..., Path], drivers: list[Driver]
) -> None:
    plug(0)
    with open_camera("opencv:0", make_plan(), seed=0) as camera:
        sent = drivers[0].sent
        image = camera.frame(SHOT).image
    assert image[0, 0].tolist() == [200, 0, 0]
    assert drivers[0].retrieved >= sent + UvcCamera.discard  # one may have been under way


def test_a_driver_that_hangs_is_a_failure_after_the_time_limit(
    plug: Callable[..., Path], drivers: list[Driver], monkeypatch: pytest.MonkeyPatch
) -> None:
    plug(0)
    with open_camera("opencv:0", make_plan(), seed=0) as camera:
        monkeypatch.setattr(UvcCamera, "timeout_s", 0.1)
        drivers[0].hangs.set()
        with pytest.raises(CaptureError, match=r"within 2 tries \(.*gave no frame within 0\.1 s"):
            camera.frame(SHOT)
    drivers[0].goes_on.set()


def test_a_camera_that_comes_back_is_used_again(
    plug: Callable[..., Path], drivers: list[Driver]
) -> None:
    device, first = plug(0), drivers[0]
    drivers.append(Driver())
    with open_camera("opencv:0", make_plan(), seed=0) as camera:
        first.frames_left = 6
        unplug(device)
        plug(1)
        for _ in range(4):
            assert camera.frame(SHOT).image.shape == (*SIZE, 3)
        assert not first.is_open


def test_a_camera_that_comes_back_with_other_settings_is_refused(
    plug: Callable[..., Path], drivers: list[Driver]
) -> None:
    plug(0)
    first, changed = drivers[0], Driver({cv2.CAP_PROP_WB_TEMPERATURE: 3000.0})
    drivers.append(changed)
    with open_camera("opencv:0", make_plan(), seed=0) as camera:
        first.frames_left = 6
        with pytest.raises(CaptureError, match="other settings: white_balance_k: expected 4600"):
            for _ in range(4):
                camera.frame(SHOT)
    assert not changed.is_open


def test_an_exception_of_a_job_reaches_its_caller_and_frames_continue() -> None:
    reader = FrameReader(cast(cv2.VideoCapture, Driver()), "opencv:0")
    with pytest.raises(ZeroDivisionError):
        reader.ask(lambda capture: 1 / 0, timeout_s=5.0)
    assert reader.ask(lambda capture: capture.get(cv2.CAP_PROP_GAIN), timeout_s=5.0) == 64.0
    reader.close(timeout_s=5.0)


def test_a_big_endian_pixel_format_of_video4linux_has_a_name() -> None:
    code = cv2.VideoWriter.fourcc(*"Y16 ") | 1 << 31
    assert four_characters(float(code)) == "Y16\xa0"


def test_a_video_in_a_folder_that_begins_like_dev_is_no_usb_camera() -> None:
    assert names_device("/dev/video0", "linux")
    assert not names_device("/development/film.avi", "linux")


def enumerating(monkeypatch: pytest.MonkeyPatch, paths: list[str | None]) -> None:
    """Let the package that knows the cameras of Windows and macOS find these."""
    found = [SimpleNamespace(index=index, path=path) for index, path in enumerate(paths)]
    module = ModuleType("cv2_enumerate_cameras")
    vars(module)["enumerate_cameras"] = lambda backend: found
    monkeypatch.setitem(sys.modules, "cv2_enumerate_cameras", module)
    monkeypatch.setattr("loco_tools.capture.cameras.usb_names.require", lambda *_: None)


def test_on_windows_the_name_is_the_path_that_the_system_gives(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    enumerating(monkeypatch, [r"\\?\usb#vid_1#a", r"\\?\usb#vid_1#b", None])
    found = find_usb_camera("1", "win32")
    assert (found.name, found.source) == (r"\\?\usb#vid_1#b", 1)
    assert find_usb_camera(found.name, "win32") == found
    assert names_device(found.name, "win32")
    with pytest.raises(CaptureError, match="could be confused with another"):
        find_usb_camera("2", "win32")
    with pytest.raises(CaptureError, match="opencv:7 is not connected; found: "):
        find_usb_camera("7", "win32")


def test_without_the_package_that_lists_cameras_the_extra_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(extras.MODULES, "uvc", ("no_such_module",))
    with pytest.raises(MissingExtraError, match=r"pip install 'loco-tools\[uvc\]'"):
        find_usb_camera("0", "win32")
