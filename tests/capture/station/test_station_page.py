"""The station's page in headless Chromium, at Basler's emulated camera that is fed with parts."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from browser import open_browser
from session_builders import HEIGHT, WIDTH, make_plan
from station_page import LANDSCAPE, PORTRAIT, Page, Table

from loco_tools.capture.cameras.basler import BaslerCamera
from loco_tools.capture.guide import open_guide
from loco_tools.capture.session import progress_of, read_shots
from loco_tools.capture.session_opening import SessionRequest
from loco_tools.capture.station import running
from loco_tools.datasets.images import Pixels, read_image
from loco_tools.plan import Plan

pytest.importorskip("pypylon", reason="needs the extra 'basler'")
pytest.importorskip("fastapi", reason="needs the extra 'station'")

Shoot = Callable[[], AbstractContextManager[Page]]
SESSION = "s"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with open_browser(tmp_path_factory.mktemp("profile")) as driver:
        yield driver


@pytest.fixture
def plan() -> Plan:
    """Two good parts and one with a missing hole, from two sides each."""
    return make_plan(good=2, pixel_format="RGB8Packed")


@pytest.fixture
def table(tmp_path: Path, plan: Plan, monkeypatch: pytest.MonkeyPatch) -> Table:
    monkeypatch.setenv("PYLON_CAMEMU", "2")
    monkeypatch.setattr(BaslerCamera, "waits_s", (0.0, 0.0, 0.0))
    monkeypatch.setattr("loco_tools.capture.station.camera_worker.CameraWorker.pause_s", 0.1)
    laid = Table(tmp_path, plan)
    laid.stand_before(monkeypatch)
    return laid


@pytest.fixture
def folder(tmp_path: Path, plan: Plan) -> Path:
    return tmp_path / plan.name / SESSION


@pytest.fixture
def station(browser: Any, plan: Plan, table: Table, tmp_path: Path, folder: Path) -> Shoot:
    @contextmanager
    def open_page() -> Iterator[Page]:
        camera = "basler:0815-0000"
        with (
            open_guide(
                SessionRequest(plan, camera=camera, captures=tmp_path, session=SESSION)
            ) as guide,
            running(guide) as served,
        ):
            page = Page(browser, folder)
            page.errors()
            page.open(served.url)
            yield page
            # a page that stays would go on asking a station that has ended
            browser.get("about:blank")

    return open_page


def take(page: Page) -> None:
    page.do(page.press, "shoot")
    page.do(page.press, "next")


def taken(*shots: str) -> list[tuple[str, str, tuple[str, ...]]]:
    return [(shot, "taken", ()) for shot in shots]


def blurred(image: Pixels) -> Pixels:
    return np.asarray(cv2.GaussianBlur(image, (0, 0), 3.0), dtype=np.uint8)


def test_a_whole_session_is_shot_through_the_page_and_the_journal_says_exactly_that(
    station: Shoot, table: Table, folder: Path
) -> None:
    table.instead["p0001-top"] = blurred(table.picture("p0001-top"))
    with station() as page:
        take(page)
        assert page.journal() == taken("p0000-top")

        page.do(page.click, "shoot")
        before = page.ask("document.getElementById('photograph').src")
        page.do(page.click, "retake")
        assert page.ask("document.getElementById('photograph').src") != before
        assert page.journal() == taken("p0000-top")
        page.do(page.click, "next")
        assert page.journal() == taken("p0000-top", "p0000-side")

        page.do(page.press, "shoot")
        page.press("keep")
        page.press("cancel-keep")
        page.click("keep")
        assert len(page.journal()) == 2
        page.do(page.press, "confirm-keep")
        assert page.journal()[2:] == [("p0001-top", "taken", ("sharpness",))]

        page.do(page.press, "skip")
        take(page)
        page.do(page.press, "undo")
        page.do(page.click, "shoot")
        page.do(page.click, "next")
        page.do(page.click, "skip")
        assert page.phase == "finished"
        page.do(page.click, "undo")
        take(page)

        assert page.phase == "finished"
        assert page.words("finished-words") == (
            "5 of 6 shots taken, 1 skipped, 1 kept although a gate fails."
        )
        assert page.journal()[3:] == [
            ("p0001-side", "skipped", ()),
            ("p0002-top", "taken", ()),
            ("p0002-top", "undone", ()),
            ("p0002-top", "taken", ()),
            ("p0002-side", "skipped", ()),
            ("p0002-side", "undone", ()),
            ("p0002-side", "taken", ()),
        ]
        assert page.errors() == []
    for shot in read_shots(folder):
        assert np.array_equal(read_image(folder / shot.file), table.picture(shot.shot))
        assert shot.overridden_by == ("operator" if shot.overridden else None)


def test_skipped_shots_are_reopened(station: Shoot, folder: Path) -> None:
    with station() as page:
        for _ in range(3):
            page.do(page.press, "skip-part")
        assert page.words("finished-title") == "All shots are taken or skipped"
        page.do(page.click, "reopen")
        assert page.current == "p0000-top"
        take(page)
    assert progress_of(folder).done == 1


def test_the_live_view_shows_the_view_that_is_asked_for(station: Shoot, table: Table) -> None:
    with station() as page:
        for shot in ("p0000-top", "p0000-side", "p0001-top"):
            assert page.current == shot
            page.until(lambda shot=shot: shown_shot(page, table) == shot)
            take(page)


def shown_shot(page: Page, table: Table) -> str | None:
    """The shot whose picture the live view resembles most; None when it shows nothing yet."""
    page.ask(
        """(() => {
        const canvas = document.createElement('canvas'), live = document.getElementById('live');
        if (!live.naturalWidth) { window.seen = null; return; }
        [canvas.width, canvas.height] = [live.naturalWidth, live.naturalHeight];
        const pen = canvas.getContext('2d');
        pen.drawImage(live, 0, 0);
        const pixels = pen.getImageData(0, 0, canvas.width, canvas.height).data;
        window.seen = Array.from(pixels.filter((_, index) => index % 256 === 0));
        })()"""
    )
    seen = page.ask("window.seen")
    if seen is None:
        return None
    shots = [f"p{part:04d}-{view}" for part in range(3) for view in ("top", "side")]
    pictures = {shot: table.picture(shot).reshape(-1, 3)[::64, 0] for shot in shots}
    assert len(seen) == WIDTH * HEIGHT / 64
    return min(shots, key=lambda shot: np.abs(pictures[shot] - np.array(seen, float)).mean())


def test_the_ghost_of_the_reference_is_shown_as_strongly_as_the_slider_says(
    station: Shoot,
) -> None:
    with station() as page:
        assert page.words("ghost-words") == "no reference yet"
        take(page)
        take(page)
        page.press("ghost-toggle")
        assert page.shows("ghost")
        page.until(lambda: page.ask("document.getElementById('ghost').naturalWidth") == WIDTH)
        assert "/p0000-top/" in page.ask("document.getElementById('ghost').src")
        slide(page, 75)
        assert page.ask("document.getElementById('ghost').style.opacity") == "0.75"
        page.click("ghost-toggle")
        assert not page.shows("ghost")


def slide(page: Page, percent: int) -> None:
    page.driver.execute_script(
        "const slider = document.getElementById('ghost-opacity'); slider.value = arguments[0];"
        "slider.dispatchEvent(new Event('input'))",
        percent,
    )


def test_the_focus_meter_holds_the_best_value(station: Shoot, table: Table) -> None:
    sharp = table.picture("p0000-top")
    with station() as page:
        page.until(lambda: "best" in page.words("focus-words"))
        best = page.words("focus-words").split(" · ")[1]
        table.instead["p0000-top"] = blurred(sharp)
        page.until(lambda: page.words("focus-words").split(" · ")[0] != best.removeprefix("best "))
        assert page.words("focus-words").split(" · ")[1] == best
        assert "% saturated" in page.words("brightness-words")


def test_a_failed_gate_says_what_to_do_and_is_kept_only_in_a_second_step(
    station: Shoot, table: Table
) -> None:
    table.instead["p0001-top"] = blurred(table.picture("p0001-top"))
    with station() as page:
        take(page)
        take(page)
        page.do(page.press, "shoot")
        assert page.words("verdict") == "One gate fails"
        failed = page.ask("document.querySelector('#verdicts .failed').innerText")
        assert "of the reference's, expected at least 85%" in failed
        assert "Refocus, and clean the lens" in failed
        passed = page.ask("document.querySelector('[data-gate=position]').innerText")
        assert "mm" in passed
        assert "at most 12 mm" in passed
        assert not page.shows("next")
        assert not page.shows("confirm-keep")
        page.press("keep")
        assert page.shows("keep-words")
        assert page.shows("confirm-keep")


@pytest.mark.parametrize("size", [LANDSCAPE, PORTRAIT, (1280, 740), (1280, 657), (1024, 600)])
def test_everything_is_in_view_in_both_orientations_and_below_the_bars_of_a_browser(
    station: Shoot, table: Table, size: tuple[int, int]
) -> None:
    table.instead["p0001-top"] = blurred(table.picture("p0001-top"))
    with station() as page:
        page.resize(size)
        assert_in_view(page, "shoot", "instruction", "focus", "histogram", "ghost-toggle")
        take(page)
        take(page)
        page.do(page.press, "shoot")
        assert_in_view(page, "retake", "keep", "instruction", "verdict")
        page.press("keep")
        assert_in_view(page, "retake", "confirm-keep", "cancel-keep", "keep-words")


def assert_in_view(page: Page, *names: str) -> None:
    """The page does not scroll, the picture is large, and these are wholly on the screen."""
    root = "document.documentElement"
    assert page.ask(f"{root}.scrollWidth <= innerWidth && {root}.scrollHeight <= innerHeight")
    box = "document.getElementById('{}').getBoundingClientRect()"
    stage = page.ask(f"(({{width, height}}) => width * height)({box.format('stage')})")
    assert stage > 0.25 * page.ask("innerWidth * innerHeight")
    for name in names:
        inside = (
            "(b => b.width > 0 && b.height > 0 && b.left >= 0 && b.top >= 0"
            f" && b.right <= innerWidth && b.bottom <= innerHeight)({box.format(name)})"
        )
        assert page.ask(inside), name


def test_nothing_is_loaded_from_elsewhere(station: Shoot) -> None:
    with station() as page:
        take(page)
        page.until(lambda: page.ask("document.querySelectorAll('.shot img').length") == 1)
        loaded = page.ask("performance.getEntriesByType('resource').map(entry => entry.name)")
        assert any(name.endswith("station.css") for name in loaded)
        origin = page.ask("location.origin")
        assert [name for name in loaded if not name.startswith(origin + "/")] == []


def test_a_fault_is_shown_with_what_to_do_until_it_is_gone(station: Shoot, table: Table) -> None:
    with station() as page:
        assert not page.shows("fault")
        table.fault = "the camera is gone; next step: plug it in"
        page.until(lambda: page.shows("fault"))
        assert page.words("fault-words") == "The camera is gone"
        assert page.words("fault-next") == "Plug it in"
        table.fault = None
        page.until(lambda: not page.shows("fault"))
        take(page)
        assert page.journal() == taken("p0000-top")


def test_settings_that_drifted_stop_the_session_until_the_camera_is_connected_again(
    station: Shoot, table: Table
) -> None:
    with station() as page:
        page.until(lambda: table.device is not None)
        assert table.device is not None
        table.device.device.GetNodeMap().GetNode("ExposureTime").SetValue(400.0)
        page.do(page.press, "shoot")
        assert page.shows("fault")
        assert "exposure_us" in page.words("fault-words")
        page.do(page.click, "reconnect")
        page.until(lambda: not page.shows("fault"))
        take(page)
        assert page.journal() == taken("p0000-top")


def test_a_station_that_ended_is_said_to_be_gone(
    browser: Any, plan: Plan, table: Table, tmp_path: Path, folder: Path
) -> None:
    page = Page(browser, folder)
    with (
        open_guide(
            SessionRequest(plan, camera="basler:0815-0000", captures=tmp_path, session=SESSION)
        ) as guide,
        running(guide) as served,
    ):
        page.open(served.url)
    page.until(lambda: page.shows("fault"))
    assert page.words("fault-words") == "The station does not answer"
    assert page.ask("document.getElementById('shoot').disabled")
