"""The station's page as an operator has it: a headless browser, and a table to mount parts on."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from session_builders import part_of

from loco_tools.capture.cameras import Frame
from loco_tools.capture.cameras.basler import BaslerCamera
from loco_tools.capture.session import JOURNAL
from loco_tools.datasets.images import Pixels, write_png
from loco_tools.errors import CaptureError
from loco_tools.plan import Plan, PlannedShot

PATIENCE_S = 60
LANDSCAPE, PORTRAIT = (1280, 800), (800, 1280)
KEYS = {"shoot": " ", "next": "n", "keep": "n", "retake": "r", "skip": "s", "skip-part": "p"}
KEYS |= {"undo": "u", "confirm-keep": "k", "cancel-keep": "\ue00c", "ghost-toggle": "g"}


class Table:
    """What lies in front of Basler's emulated camera: the part that the plan asks for.

    Attributes:
        instead: pictures to show in place of those parts, by shot.
        fault: what the camera fails with, until it is cleared.
        device: the emulated camera once it gave a frame.
    """

    def __init__(self, folder: Path, plan: Plan) -> None:
        self.instead: dict[str, Pixels] = {}
        self.fault: str | None = None
        self.device: BaslerCamera | None = None
        self._folder = folder
        self._fed: tuple[Any, bytes] = (None, b"")
        self._parts = {shot.shot: part_of(shot) for shot in plan.planned_shots()}

    def picture(self, shot: str) -> Pixels:
        """What the camera sees when that shot is the current one."""
        return self.instead.get(shot, self._parts[shot])

    def stand_before(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Lie before every emulated camera for the length of a test."""
        take = BaslerCamera.frame

        def see_and_take(camera: BaslerCamera, shot: PlannedShot) -> Frame:
            if self.fault is not None:
                raise CaptureError(self.fault)
            self._feed(camera, self.picture(shot.shot))
            return take(camera, shot)

        monkeypatch.setattr(BaslerCamera, "frame", see_and_take)

    def _feed(self, camera: BaslerCamera, picture: Pixels) -> None:
        self.device, shown = camera, picture.tobytes()
        # after reconnecting, the emulator has forgotten its picture
        if self._fed[0] is camera.device and self._fed[1] == shown:
            return
        self._fed = (camera.device, shown)
        path = self._folder / "on_the_table.png"
        write_png(path, picture)
        nodes = camera.device.GetNodeMap()
        nodes.GetNode("TestImageSelector").SetValue("Off")
        nodes.GetNode("ImageFileMode").SetValue("Off")
        nodes.GetNode("ImageFilename").SetValue(str(path))
        nodes.GetNode("ImageFileMode").SetValue("On")


class Page:
    """The page in a browser, and the journal of the session that it runs."""

    def __init__(self, driver: Any, folder: Path) -> None:
        self.driver = driver
        self._folder = folder

    def open(self, url: str, size: tuple[int, int] = LANDSCAPE) -> None:
        """Show the page, and wait until it says what to do."""
        self.resize(size)
        self.driver.get(url)
        self.until(lambda: self.phase != "loading")

    def resize(self, size: tuple[int, int]) -> None:
        """Turn the tablet."""
        width, height = size
        self.driver.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False},
        )

    def ask(self, script: str) -> Any:
        """The value of an expression in the page."""
        return self.driver.execute_script(f"return {script}")

    def until(self, condition: Callable[[], object]) -> None:
        """Wait for something to become true."""
        from selenium.webdriver.support.wait import WebDriverWait

        WebDriverWait(self.driver, PATIENCE_S, poll_frequency=0.05).until(lambda _: condition())

    @property
    def phase(self) -> str:
        """aim, review or finished."""
        return str(self.ask("document.body.dataset.phase"))

    @property
    def current(self) -> str:
        """The shot that the strip marks as next."""
        return str(self.ask("document.querySelector('.shot.current').dataset.shot"))

    def shows(self, name: str) -> bool:
        """Whether something can be seen."""
        return bool(self.ask(f"document.getElementById('{name}').checkVisibility()"))

    def words(self, name: str) -> str:
        """What something says."""
        return str(self.ask(f"document.getElementById('{name}').textContent")).strip()

    def wait_for(self, button: str) -> None:
        """Wait until a button can be pressed."""
        element = f"document.getElementById('{button}')"
        self.until(lambda: self.ask(f"{element}.checkVisibility() && !{element}.disabled"))

    def click(self, button: str) -> None:
        """Press a button of the page."""
        self.wait_for(button)
        self.driver.find_element("id", button).click()

    def press(self, button: str) -> None:
        """Press the key that does what a button does."""
        self.wait_for(button)
        self.driver.find_element("tag name", "body").send_keys(KEYS[button])

    def do(self, act: Callable[[str], None], button: str) -> None:
        """Click or press something that the station has to do, and wait until it is done."""
        self.wait_for(button)
        turn = self.ask("document.body.dataset.turn")
        act(button)
        self.until(lambda: self.ask("document.body.dataset.turn") != turn)

    def journal(self) -> list[tuple[str, str, tuple[str, ...]]]:
        """What is on the disk: shot, "taken" or the mark, and the gates that were overridden."""
        path = self._folder / JOURNAL
        lines = path.read_text().splitlines() if path.exists() else []
        entries = (json.loads(line) for line in lines)
        return [
            (entry["shot"], entry.get("mark", "taken"), tuple(entry.get("overridden", ())))
            for entry in entries
        ]

    def errors(self) -> list[str]:
        """What the page complains of."""
        return [entry["message"] for entry in self.driver.get_log("browser")]
