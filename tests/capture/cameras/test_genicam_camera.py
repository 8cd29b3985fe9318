"""A real GenTL producer: "Viky", which the genicam package brings, with three colour cameras.

They send a red, a green and a blue ball on white and have a size and a pixel format, but no
exposure. They cannot be unplugged and lose no buffer: for that alone, harvesters' image acquirer
is wrapped, and it fails as a producer would. `test_genicam_features` has the other settings.
"""

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from loco_tools.capture.cameras.genicam import (
    PATH_VARIABLE,
    GenicamCamera,
    discover,
    producers,
    rgb,
)
from loco_tools.capture.session import progress_of, read_session, read_shots
from loco_tools.capture.session_opening import SessionRequest
from loco_tools.capture.unattended import capture
from loco_tools.datasets.images import read_image
from loco_tools.errors import CaptureError, MissingExtraError
from loco_tools.plan import Plan, PlannedShot, Shots, load_plan

genicam = pytest.importorskip("genicam", reason="needs the extra 'genicam'")
pytest.importorskip("harvesters", reason="needs the extra 'genicam'")

VIKY = Path(genicam.__file__).with_name("viky.cti")
RED, GREEN, BLUE = (f"Machine_Vision_Games_Ltd.-Viky-{serial}" for serial in range(3))
SIZE = (100, 128)
SHOT = PlannedShot("p0000-top", "p0000", "top", "train", "good", None)

pytestmark = pytest.mark.skipif(not VIKY.is_file(), reason="this genicam brings no producer")


@pytest.fixture(autouse=True)
def one_producer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PATH_VARIABLE, str(VIKY.parent))
    monkeypatch.setattr(GenicamCamera, "waits_s", (0.0, 0.0, 0.0))


def make_plan(**settings: Any) -> Plan:
    """Two good parts in one view, in colour."""
    plan = load_plan("angle")
    wanted = {"width_px": SIZE[1], "height_px": SIZE[0], "pixel_format": "RGBa8"}
    return plan.model_copy(
        update={
            "camera": plan.camera.model_copy(update={**wanted, **settings}),
            "views": plan.views[:1],
            "shots": (Shots(split="train", kind="good", parts=2, demo_parts=2),),
        }
    )


class FailingAcquirer:
    """An image acquirer whose fetches fail in turn, as told; afterwards it works.

    While it fails it cannot be released in order either.
    """

    def __init__(self, acquirer: Any, failures: list[Callable[[], None]]) -> None:
        self._acquirer = acquirer
        self._failures = failures

    def try_fetch(self, *, timeout: float) -> Any:
        if self._failures:
            return self._failures.pop(0)()
        return self._acquirer.try_fetch(timeout=timeout)

    def destroy(self) -> None:
        if self._failures:
            gone()
        self._acquirer.destroy()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._acquirer, name)


def incomplete() -> None:
    """What harvesters returns for a buffer that the producer marks incomplete."""


def gone() -> None:
    raise genicam.gentl.IoException("GenTL exception: Communication error")


@pytest.fixture
def break_fetches(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    def fail(*failures: Callable[[], None]) -> None:
        from harvesters.core import Harvester

        create, left = Harvester.create, list(failures)
        monkeypatch.setattr(
            Harvester,
            "create",
            lambda harvester, key: FailingAcquirer(create(harvester, key), left),
        )

    return fail


def test_the_cameras_of_every_producer_on_the_path_are_listed() -> None:
    assert discover() == [f"genicam:{name}" for name in (RED, GREEN, BLUE)]


def test_without_a_producer_nothing_is_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(PATH_VARIABLE)
    assert producers() == []
    assert discover() == []


@pytest.mark.parametrize(("serial", "channel"), [("0", 0), ("1", 1), ("2", 2)])
def test_the_colours_are_in_order(serial: str, channel: int) -> None:
    with GenicamCamera(serial, make_plan()) as camera:
        image = camera.frame(SHOT).image
    ball = image[(image < 255).any(axis=2)]
    assert image.shape == (*SIZE, 3)
    assert len(ball) > 0
    assert (ball == np.eye(3, dtype=np.uint8)[channel] * 255).all()


def test_a_grey_camera_gives_three_equal_channels() -> None:
    with GenicamCamera(RED, make_plan(pixel_format="Mono8")) as camera:
        image = camera.frame(SHOT).image
    assert image.shape == (*SIZE, 3)
    assert set(np.unique(image)) == {0, 255}
    assert (image == image[..., :1]).all()


@pytest.mark.parametrize("address", ["1", GREEN, f"{VIKY}#1", f"{VIKY}#{GREEN}"])
def test_every_way_to_name_a_camera_leads_to_one_identity(address: str) -> None:
    with GenicamCamera(address, make_plan()) as camera:
        assert camera.identity == f"genicam:{GREEN}"
        assert camera.settings() == {"width_px": 128, "height_px": 100, "pixel_format": "RGBa8"}


def test_a_named_producer_need_not_be_on_the_path(
    monkeypatch: pytest.MonkeyPatch, break_fetches: Callable[..., None]
) -> None:
    monkeypatch.delenv(PATH_VARIABLE)
    break_fetches(gone)
    with GenicamCamera(f"{VIKY}#2", make_plan()) as camera:
        assert camera.frame(SHOT).image.shape == (*SIZE, 3)
        assert camera.identity == f"genicam:{BLUE}"


def test_several_cameras_are_refused_and_listed() -> None:
    with pytest.raises(CaptureError, match=rf"got 3 found by viky\.cti; .*genicam:{GREEN}"):
        GenicamCamera("", make_plan()).connect()


def test_a_camera_that_is_not_connected_is_named() -> None:
    with pytest.raises(CaptureError, match=r'"genicam:77": not found by viky\.cti; known: '):
        GenicamCamera("77", make_plan()).connect()


def test_a_missing_producer_is_explained(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(CaptureError, match=r"expected a GenTL producer at .*gone\.cti, found none"):
        GenicamCamera(str(tmp_path / "gone.cti"), make_plan()).connect()
    monkeypatch.setenv(PATH_VARIABLE, str(tmp_path))
    with pytest.raises(CaptureError, match=rf"folder of {PATH_VARIABLE}, found none; next step"):
        GenicamCamera("1", make_plan()).connect()


def test_a_producer_that_cannot_be_loaded_is_explained(tmp_path: Path) -> None:
    (tmp_path / "broken.cti").write_text("no library")
    with pytest.raises(CaptureError, match=r"no GenTL producer can be loaded: .*broken\.cti: "):
        GenicamCamera(str(tmp_path / "broken.cti"), make_plan()).connect()


def test_a_broken_producer_on_the_path_does_not_hide_the_others(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "broken.cti").write_text("no library")
    monkeypatch.setenv(PATH_VARIABLE, os.pathsep.join([str(tmp_path), str(VIKY.parent)]))
    assert f"genicam:{RED}" in discover()
    with pytest.raises(CaptureError, match=r"viky\.cti \(not loaded: .*broken\.cti: "):
        GenicamCamera("77", make_plan()).connect()


def test_a_producer_in_the_current_folder_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(VIKY.parent)
    with GenicamCamera("viky.cti#1", make_plan()) as camera:
        assert camera.identity == f"genicam:{GREEN}"


def test_without_harvesters_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "harvesters", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'loco-tools\[genicam\]'"):
        GenicamCamera(RED, make_plan()).connect()


def test_a_camera_in_use_is_explained_and_can_be_connected_later() -> None:
    with (
        GenicamCamera(RED, make_plan()),
        pytest.raises(CaptureError, match=r"resource is already in use; next step"),
    ):
        GenicamCamera(RED, make_plan()).connect()
    with GenicamCamera(RED, make_plan()) as camera:
        assert camera.frame(SHOT).image.shape == (*SIZE, 3)


def test_a_size_that_the_camera_does_not_have_is_refused_and_the_camera_released() -> None:
    camera = GenicamCamera(RED, make_plan(width_px=64))
    with pytest.raises(CaptureError, match=r"Width: expected 100 to 800 in steps of 1, got 64"):
        camera.connect()
    with GenicamCamera(RED, make_plan()) as again:
        assert again.frame(SHOT).image.shape == (*SIZE, 3)


def test_incomplete_buffers_are_retried(break_fetches: Callable[..., None]) -> None:
    break_fetches(incomplete, incomplete)
    with GenicamCamera(RED, make_plan()) as camera:
        assert camera.frame(SHOT).image.shape == (*SIZE, 3)


def test_buffers_that_stay_incomplete_are_a_failure(break_fetches: Callable[..., None]) -> None:
    break_fetches(*[incomplete] * 3)
    with (
        GenicamCamera(RED, make_plan()) as camera,
        pytest.raises(CaptureError, match=r"3 failed buffers in a row.*marked it incomplete"),
    ):
        camera.frame(SHOT)


def test_a_lost_camera_is_reconnected(break_fetches: Callable[..., None]) -> None:
    break_fetches(gone, gone)
    with GenicamCamera(RED, make_plan()) as camera:
        assert camera.frame(SHOT).image.shape == (*SIZE, 3)
        assert camera.identity == f"genicam:{RED}"


def test_a_camera_that_stays_lost_is_given_up(break_fetches: Callable[..., None]) -> None:
    break_fetches(*[gone] * 4)
    with (
        GenicamCamera(RED, make_plan()) as camera,
        pytest.raises(CaptureError, match=r"did not come back within 3 .*Communication error"),
    ):
        camera.frame(SHOT)


def test_silence_is_a_lost_camera(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(GenicamCamera, "timeout_s", 0.001)
    with (
        GenicamCamera(RED, make_plan()) as camera,
        pytest.raises(CaptureError, match=r"expected a frame within 0\.001 s, got none"),
    ):
        camera.frame(SHOT)


def test_ctrl_c_stays_with_the_program() -> None:
    before = signal.getsignal(signal.SIGINT)
    with GenicamCamera(RED, make_plan()) as camera:
        camera.frame(SHOT)
        assert signal.getsignal(signal.SIGINT) is before


def test_closing_again_does_nothing() -> None:
    camera = GenicamCamera(RED, make_plan())
    camera.connect()
    camera.close()
    camera.close()
    with pytest.raises(CaptureError, match=f"genicam:{RED} is not connected"):
        camera.frame(SHOT)


def payload_of(data: np.ndarray, pixel_format: str, *, width: int) -> Any:
    """A payload with one image, as harvesters hands it over: (H, bytes per row) uint8."""
    image = SimpleNamespace(
        data_format=pixel_format, data=data.reshape(-1), height=len(data), width=width
    )
    return SimpleNamespace(components=[image])


@pytest.mark.parametrize("pattern", ["RG", "GR", "GB", "BG"])
def test_a_bayer_mosaic_becomes_its_colour(pattern: str) -> None:
    colour = {"R": 200, "G": 100, "B": 50}
    first, second = (colour[letter] for letter in pattern)
    third, fourth = {"RG": "GB", "GR": "BG", "GB": "RG", "BG": "GR"}[pattern]
    tile = np.array([[first, second], [colour[third], colour[fourth]]], np.uint8)
    image = rgb(payload_of(np.tile(tile, (4, 6)), f"Bayer{pattern}8", width=12))
    assert (image[2:-2, 2:-2] == (200, 100, 50)).all()


@pytest.mark.parametrize(("pixel_format", "order"), [("RGB8", (0, 1, 2)), ("BGR8", (2, 1, 0))])
def test_padding_at_the_end_of_rows_is_left_out(
    pixel_format: str, order: tuple[int, int, int]
) -> None:
    wanted = np.arange(2 * 5 * 3, dtype=np.uint8).reshape(2, 5, 3)
    rows = np.pad(wanted[..., order].reshape(2, -1), ((0, 0), (0, 4)), constant_values=255)
    image = rgb(payload_of(rows, pixel_format, width=5))
    assert np.array_equal(image, wanted)
    assert not np.shares_memory(image, rows)


@pytest.mark.parametrize("pixel_format", ["Mono12Packed", "Mono16", "BayerRG10p", "YUV422_8"])
def test_a_format_with_other_than_8_bits_per_channel_is_refused(pixel_format: str) -> None:
    payload = payload_of(np.zeros((2, 8), np.uint8), pixel_format, width=4)
    with pytest.raises(CaptureError, match=rf"format {pixel_format}: expected one of Mono8, RGB8"):
        rgb(payload)


def test_a_whole_session_continues_with_its_camera_alone(tmp_path: Path) -> None:
    def go_on(camera: str) -> Path:
        return capture(
            SessionRequest(make_plan(), camera=camera, captures=tmp_path, session="s"),
            keep_failing=True,
        )

    folder = go_on(f"genicam:{VIKY}#0")
    assert progress_of(folder).finished
    assert read_session(folder).camera.identity == f"genicam:{RED}"
    assert all(read_image(folder / shot.file).shape == (*SIZE, 3) for shot in read_shots(folder))
    go_on(f"genicam:{RED}")
    with pytest.raises(CaptureError, match=rf"'genicam:{RED}', got 'genicam:{GREEN}'"):
        go_on("genicam:1")
