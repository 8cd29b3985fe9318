"""What tests of the station are made of: a camera with faults, a station that answers, a page."""

import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import httpx
import numpy as np
from session_builders import make_plan, part_of

from loco_tools.capture.cameras.camera import Camera, Frame, Settings
from loco_tools.capture.guide import Guide
from loco_tools.capture.session_opening import open_session
from loco_tools.capture.station import Running, running
from loco_tools.datasets.images import Pixels, write_png
from loco_tools.errors import CaptureError
from loco_tools.plan import Plan, PlannedShot, load_plan
from loco_tools.progress import Silent

PATIENCE_S = 60
"""How long a test waits for what has to come; it never has to, but for a fault."""


class TableCamera(Camera):
    """A camera over drawn parts that can be unplugged, drift, blur and be slow."""

    identity = "table:1"

    def __init__(self) -> None:
        self.exposure_us = 0.0
        self.unplugged = False
        self.blurred = False
        self.broken = False
        self.frames: list[str] = []
        self.previews: list[str] = []
        self.connections = 0
        self.users: set[str] = set()
        self.shutter = threading.Event()
        self.shutter.set()

    def connect(self) -> None:
        self._refuse_unplugged()
        self.connections += 1
        self.exposure_us = 12000.0

    def frame(self, shot: PlannedShot) -> Frame:
        self.frames.append(shot.shot)
        return Frame(self._picture(shot))

    def preview(self, shot: PlannedShot) -> Pixels:
        self.previews.append(shot.shot)
        return self._picture(shot)

    def settings(self) -> Settings:
        return {"exposure_us": self.exposure_us}

    def close(self) -> None:
        pass

    def _picture(self, shot: PlannedShot) -> Pixels:
        self.users.add(threading.current_thread().name)
        self.shutter.wait(PATIENCE_S)
        self._refuse_unplugged()
        if self.broken:
            raise RuntimeError("a mistake in the program")
        image = part_of(shot)
        return np.asarray(cv2.GaussianBlur(image, (0, 0), 3), np.uint8) if self.blurred else image

    def _refuse_unplugged(self) -> None:
        if self.unplugged:
            raise CaptureError(f"camera {self.identity} was lost; next step: check its cable")


@dataclass
class Page:
    """What a browser does: it sees a state, and its commands name what it saw."""

    client: httpx.Client
    state: dict[str, Any] = field(default_factory=dict)

    def see(self) -> dict[str, Any]:
        self.state = self.client.get("/state").raise_for_status().json()
        return self.state

    def send(self, action: str, **more: Any) -> httpx.Response:
        """The answer; the page has seen the new state then, unless the command was refused."""
        current = self.state["current"]
        seen = {"turn": self.state["turn"], "shot": current and current["shot"]}
        answer = self.client.post(f"/commands/{action}", json=seen | more)
        if answer.is_success:
            self.state = answer.json()
        return answer

    def do(self, *actions: str, **more: Any) -> dict[str, Any]:
        """Commands that have to be granted; the state after the last."""
        for action in actions:
            answer = self.send(action, **more)
            assert answer.is_success, answer.text
        return self.state


@dataclass
class Rig:
    """A station that answers, over a session in a folder of its own."""

    guide: Guide
    camera: TableCamera
    station: Running
    page: Page

    def another_page(self) -> Page:
        page = Page(self.page.client)
        page.see()
        return page


class Notes(Silent):
    """What a station notes at the terminal."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def note(self, message: str) -> None:
        self.lines.append(message)


@contextmanager
def serving(guide: Guide, **options: Any) -> Iterator[tuple[Running, Page]]:
    """A station for a guide, and a page that has seen its state when it needs no token."""
    with (
        running(guide, **options) as station,
        httpx.Client(base_url=f"http://127.0.0.1:{station.port}", timeout=PATIENCE_S) as client,
    ):
        page = Page(client)
        if station.token is None:
            page.see()
        yield station, page


@contextmanager
def rig(folder: Path, *, plan: Plan | None = None, **options: Any) -> Iterator[Rig]:
    """A station over drawn parts; `options` are those of `running`."""
    plan = plan or make_plan()
    with TableCamera() as camera:
        guide = Guide(folder, open_session(folder, plan, camera, 0, None), camera)
        with serving(guide, **options) as (station, page):
            yield Rig(guide, camera, station, page)


def until(condition: Callable[[], object], what: str) -> None:
    """Wait for what has to come."""
    end = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < end, f"waited in vain for {what}"
        time.sleep(0.01)


@contextmanager
def station_process(
    folder: Path, *options: str, token: str | None = None
) -> Iterator["subprocess.Popen[str]"]:
    """The command line's station over grey pictures, in a process of its own."""
    camera = f"folder:{blank_pictures(folder / 'pictures')}"
    start = [sys.executable, "-c", "from loco_tools.cli import main; main()", "--quiet"]
    plan = ["capture", "--class", "flat_connector", "--demo", "--camera", camera]
    place = ["--out", str(folder / "out"), "--station", "--port", "0"]
    given = {} if token is None else {"LOCO_TOOLS_STATION_TOKEN": token}
    with subprocess.Popen(
        [*start, *plan, *place, *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | given,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def address_of(process: "subprocess.Popen[str]") -> tuple[int, str | None]:
    """The port and the token that a station prints."""
    assert process.stderr is not None
    said = []
    for line in process.stderr:
        said.append(line)
        found = re.search(r"Station: http://[^/]+:(\d+)/(?:\?token=(\S+))?", line)
        if found:
            return int(found[1]), found[2]
    raise AssertionError("".join(said))


def blank_pictures(folder: Path) -> Path:
    """A folder with a grey picture of every shot of the small flat connector."""
    plan = load_plan("flat_connector").for_demo()
    size = (plan.camera.height_px, plan.camera.width_px, 3)
    for number, shot in enumerate(plan.planned_shots()):
        write_png(folder / f"{shot.shot}.png", np.full(size, 60 + number, np.uint8))
    return folder
