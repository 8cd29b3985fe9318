"""One rig per kind of camera: what `--camera` takes, and a plan that the camera can fulfil."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from stream_servers import (
    SIZE,
    MjpegServer,
    RtspServer,
    number_of,
    rtsp_is_possible,
    shows_the_colours,
    stamped,
    write_film,
)

from loco_tools.capture.cameras import CAMERAS
from loco_tools.datasets.images import write_png
from loco_tools.plan import Gates, Plan, Shots, load_plan

NO_GATES = Gates.model_validate(dict.fromkeys(Gates.model_fields))


def make_plan(parts: int = 4, *, size: tuple[int, int] = SIZE, **settings: object) -> Plan:
    """Good parts in one view, without gates."""
    plan = load_plan("flat_connector")
    wanted = {"height_px": size[0], "width_px": size[1], **settings}
    return plan.model_copy(
        update={
            "camera": plan.camera.model_copy(update=wanted),
            "shots": (Shots(split="train", kind="good", parts=parts, demo_parts=parts),),
            "gates": NO_GATES,
        }
    )


@dataclass(frozen=True)
class Rig:
    """A camera to be tested.

    `colours` checks that a frame has its colours in the right order. For cameras that number their
    frames, `number` reads the number of a frame, and `newest` is that of the frame sent last.
    """

    camera: str
    plan: Plan
    absent: str
    size: tuple[int, int] = SIZE
    colours: Callable[[np.ndarray], bool] | None = None
    number: Callable[[np.ndarray], int] | None = None
    newest: Callable[[], int] = lambda: -1


RigMaker = Callable[[Path, pytest.MonkeyPatch], AbstractContextManager[Rig]]


@contextmanager
def twin(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Rig]:
    pytest.importorskip("mitsuba", reason="needs the extra 'twin'")
    size = (36, 48)
    plan = make_plan(size=size)
    rough = plan.twin.model_copy(update={"samples_per_pixel": 4})
    yield Rig("twin", plan.model_copy(update={"twin": rough}), absent="twin:2", size=size)


@contextmanager
def folder_of_images(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Rig]:
    for number in range(4):
        write_png(folder / "images" / f"{number}.png", stamped(number))
    camera, absent = (f"folder:{folder / name}" for name in ("images", "nowhere"))
    yield Rig(camera, make_plan(), absent, colours=shows_the_colours, number=number_of)


@contextmanager
def video_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Rig]:
    film = write_film(folder / "film.avi", 4)
    absent = f"opencv:{folder / 'nowhere.avi'}"
    yield Rig(f"opencv:{film}", make_plan(), absent, colours=shows_the_colours, number=number_of)


@contextmanager
def mjpeg_stream(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Rig]:
    with closing(MjpegServer()) as server:
        yield Rig(
            server.url,
            make_plan(),
            absent="http://127.0.0.1:9/live.mjpg",
            colours=shows_the_colours,
            number=number_of,
            newest=lambda: server.sent,
        )


@contextmanager
def rtsp_stream(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Rig]:
    if not rtsp_is_possible():
        pytest.skip("needs GStreamer's RTSP server (gir1.2-gst-rtsp-server-1.0)")
    with closing(RtspServer(write_stamped(folder / "frames"))) as server:
        yield Rig(
            server.url,
            make_plan(),
            absent="rtsp://127.0.0.1:9/live",
            colours=shows_the_colours,
            number=number_of,
        )


@contextmanager
def basler(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Rig]:
    pytest.importorskip("pypylon", reason="needs the extra 'basler'")
    monkeypatch.setenv("PYLON_CAMEMU", "2")
    yield Rig("basler:0815-0001", make_plan(pixel_format="RGB8Packed"), "basler:0815-0009")


@contextmanager
def genicam(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Rig]:
    pytest.importorskip("harvesters", reason="needs the extra 'genicam'")
    package = pytest.importorskip("genicam", reason="needs the extra 'genicam'")
    producer = Path(package.__file__).with_name("viky.cti")
    if not producer.is_file():
        pytest.skip("this genicam brings no producer")
    monkeypatch.setenv("GENICAM_GENTL64_PATH", str(producer.parent))
    size = (100, 128)
    yield Rig(
        "genicam:Machine_Vision_Games_Ltd.-Viky-1",
        make_plan(size=size, pixel_format="RGBa8"),
        absent="genicam:Machine_Vision_Games_Ltd.-Viky-9",
        size=size,
        colours=_has_a_green_ball,
    )


RIGS: dict[str, RigMaker] = {
    "twin": twin,
    "folder": folder_of_images,
    "video file": video_file,
    "mjpeg": mjpeg_stream,
    "rtsp": rtsp_stream,
    "basler": basler,
    "genicam": genicam,
}
"""Every kind of camera that can be tested here; a new camera adds its row."""

UNTESTED = {"rtsps", "https"} & set(CAMERAS)
"""Kinds that differ from a tested one only by their encryption."""


def write_stamped(folder: Path, frames: int = 200) -> Path:
    """A folder of stamped frames 000.png, 001.png, ..."""
    for number in range(frames):
        write_png(folder / f"{number:03d}.png", stamped(number))
    return folder


def _has_a_green_ball(image: np.ndarray) -> bool:
    red, green, blue = (image[..., channel].astype(int) for channel in range(3))
    coloured = np.ptp(image.astype(int), axis=2) > 60
    return bool(coloured.any() and ((green - red > 30) & (green - blue > 30))[coloured].all())
