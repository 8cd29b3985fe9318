"""The report as its reader has it: opened from the disk in headless Chromium."""

import base64
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from browser import open_browser

from loco_tools.benchmark.analysis.segmentation import SmallDefect, false_share, spro
from loco_tools.benchmark.report import write_report
from loco_tools.benchmark.run.runner import run
from loco_tools.benchmark.suite import Suite

PATIENCE_S = 60
WIDE, PHONE = (1280, 900), (360, 740)
METHODS = ("bright", "dark")
DEMO_LIMIT_BYTES = 15_000_000


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with open_browser(tmp_path_factory.mktemp("profile")) as driver:
        yield driver


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Where the report is kept that the tests of this module share."""
    return {"folder": tmp_path_factory.mktemp("report")}


@pytest.fixture
def report(
    written: dict[str, Path],
    make_loco_class: Callable[..., Path],
    make_suite: Callable[..., Suite],
) -> Path:
    if "report" not in written:
        folder = written["folder"]
        data = [
            make_loco_class(name, root=folder, size=(120, 160), good=4)
            for name in ("plate", "odd & <b>#name")
        ]
        suite = make_suite(*METHODS, overrides={"dark": {"sign": -1.0}})
        run(suite, data, folder / "run")
        written["report"] = write_report(folder / "run")
    return written["report"]


class Page:
    def __init__(self, driver: Any, report: Path) -> None:
        self.driver = driver
        self.url = report.as_uri()
        text = report.read_text()
        stored = re.search(r'id="view-data">(.*?)</script>', text, re.DOTALL)
        assert stored is not None
        self.data = json.loads(stored[1])

    def open(self, place: str = "", size: tuple[int, int] = WIDE) -> "Page":
        self.driver.get_log("browser")
        width, height = size
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        still = [{"name": "prefers-reduced-motion", "value": "reduce"}]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": still})
        self.driver.get("about:blank")  # so that another position on the page is loaded again
        self.driver.get(self.url + place)
        if not place:
            self.ask("document.getElementById('view').scrollIntoView()")
        return self

    def ask(self, script: str) -> Any:
        return self.driver.execute_script(f"return {script}")

    def until(self, condition: Callable[[], object]) -> None:
        from selenium.webdriver.support.wait import WebDriverWait

        WebDriverWait(self.driver, PATIENCE_S, poll_frequency=0.05).until(lambda _: condition())

    def shows(self, key: str) -> bool:
        return bool(self.ask("document.getElementById('view').dataset.ready") == key)

    def wait_for(self, class_name: str, image: str) -> None:
        self.until(lambda: self.shows(f"{class_name}/{image}"))

    def figures(self) -> dict[str, dict[str, str]]:
        """The text of the table next to the picture, per method."""
        return dict(
            self.ask(
                "Object.fromEntries([...document.querySelectorAll('#view-figures tbody tr')].map("
                "row => [row.cells[0].textContent, Object.fromEntries([...row.cells].slice(1).map("
                "cell => [cell.dataset.figure, cell.textContent]))]))"
            )
        )

    def move(self, slider: str, value: int) -> None:
        self.ask(
            f"(() => {{ const found = document.getElementById('view-{slider}'); found.value = "
            f"{value}; found.dispatchEvent(new Event('input')); }})()"
        )

    def pixels(self) -> str:
        return str(self.ask("document.getElementById('view-large').toDataURL()"))

    def press(self, *keys: str) -> None:
        stage = self.driver.find_element("id", "view-stage")
        for key in keys:
            stage.send_keys(key)

    def stored(
        self, class_name: str, image: str
    ) -> tuple[dict[str, np.ndarray], list[SmallDefect]]:
        """The maps by method and the defects that the page holds of an image."""
        (of_class,) = (one for one in self.data["classes"] if one["name"] == class_name)
        (found,) = (one for one in of_class["images"] if one["key"] == image)
        maps = [decoded(url) for url in found["maps"]]
        names = [one["name"] for one in of_class["methods"]]
        defects = [
            SmallDefect(d["name"], d["kind"], decoded(d["mask"]) > 0, d["saturation"])
            for d in found["defects"]
        ]
        return dict(zip(names, maps, strict=True)), defects


def decoded(url: str) -> np.ndarray:
    content = np.frombuffer(base64.b64decode(url.partition(",")[2]), np.uint8)
    return cv2.imdecode(content, cv2.IMREAD_GRAYSCALE)


@pytest.fixture
def page(browser: Any, report: Path) -> Page:
    return Page(browser, report)


def test_the_file_opens_from_the_disk_and_asks_for_nothing(page: Page, report: Path) -> None:
    page.open()
    page.until(lambda: page.ask("document.getElementById('view').dataset.ready"))
    assert page.driver.get_log("browser") == []
    names = page.ask("performance.getEntriesByType('resource').map(entry => entry.name)")
    assert [name for name in names if not name.startswith("data:")] == []
    assert report.stat().st_size < DEMO_LIMIT_BYTES


def test_the_threshold_cuts_as_python_does(page: Page) -> None:
    image = "logical_anomalies/001"
    page.open(f"#image=plate/{image}&method=dark")
    page.wait_for("plate", image)
    maps, defects = page.stored("plate", image)
    assert len(defects) == 2
    begin = page.figures()
    looks, said = set(), set()
    for level in (1, 60, 128, 200, 255):
        page.move("threshold", level)
        found = page.figures()["dark"]
        expected = spro(maps["dark"], defects, level)
        assert found["spro"] == f"{expected:.3f}"
        assert found["false"] == f"{100 * false_share(maps['dark'], defects, level):.1f} %"
        looks.add(page.pixels())
        said.add(found["false"])
    assert len(looks) > 3, "the segmentation changes"
    assert len(said) > 3
    assert page.figures()["bright"] == begin["bright"], "each method has its own threshold"


def test_the_slider_begins_at_the_threshold_of_validation_images(page: Page) -> None:
    page.open("#image=plate/good/000")
    page.wait_for("plate", "good/000")
    method = page.data["classes"][0]["methods"][0]
    assert method["level"] is not None
    assert page.ask("Number(document.getElementById('view-threshold').value)") == method["level"]
    assert page.figures()["bright"]["spro"] == "–", "a good image has no defect to cover"


def test_the_keyboard_alone_is_enough(page: Page) -> None:
    from selenium.webdriver.common.keys import Keys

    page.open("#image=plate/logical_anomalies/001")
    page.wait_for("plate", "logical_anomalies/001")
    keys = [one["key"] for one in page.data["classes"][0]["images"]]
    place = keys.index("logical_anomalies/001")
    page.press(Keys.ARROW_RIGHT)
    page.wait_for("plate", keys[(place + 1) % len(keys)])
    page.press(Keys.ARROW_LEFT)
    page.wait_for("plate", keys[place])
    page.press(Keys.ARROW_DOWN)
    assert "dark" in page.ask("document.getElementById('view-name').textContent")
    assert page.ask("location.hash").endswith("&method=dark")
    before = page.ask("Number(document.getElementById('view-threshold').value)")
    page.press("-")
    assert page.ask("Number(document.getElementById('view-threshold').value)") == before - 4
    drawn = [page.pixels()]
    for key in ("h", "d", "d"):
        page.press(key)
        drawn.append(page.pixels())
    assert drawn[0] != drawn[1] != drawn[2]
    assert drawn[3] == drawn[1], "the defects are back"
    page.driver.get(page.url)
    page.driver.find_element("tag name", "body").send_keys(Keys.TAB)
    assert page.ask("document.activeElement.className") == "skip"


def test_defects_and_the_map_are_shown_and_hidden_one_by_one(page: Page) -> None:
    page.open("#image=plate/logical_anomalies/001")
    page.wait_for("plate", "logical_anomalies/001")
    boxes = page.driver.find_elements("css selector", "#view-defects input")
    assert len(boxes) == 2
    drawn = [page.pixels()]
    for box in boxes:
        box.click()
        drawn.append(page.pixels())
    page.move("opacity", 0)
    drawn.append(page.pixels())
    page.driver.find_element("id", "view-cut").click()
    drawn.append(page.pixels())
    assert len(set(drawn)) == len(drawn), "each of them changes the picture"


def test_links_lead_to_an_image_and_say_when_it_is_not_there(page: Page) -> None:
    page.open("#results")
    link = "document.querySelector('#images a[href^=\"#image=odd\"]')"
    target = page.ask(f"decodeURIComponent({link}.getAttribute('href'))")
    page.ask(f"{link}.click()")
    page.until(lambda: page.shows(target.removeprefix("#image=")))
    page.open("#image=plate/good/none")
    assert "not in this file" in page.ask("document.getElementById('view-name').textContent")
    page.open("#image=%E0%A4%A")
    assert page.driver.get_log("browser") == [], "a mangled address is no error"


def test_a_methods_name_opens_its_honesty_stamp(page: Page) -> None:
    page.open("#results")
    page.ask("document.querySelector('#table-overview tbody a').click()")
    page.until(lambda: page.ask("document.getElementById('stamp-0').open"))
    assert "scattering" in page.ask("document.getElementById('stamp-0').textContent")


def test_pictures_enlarge_and_the_arrows_go_on(page: Page) -> None:
    from selenium.webdriver.common.keys import Keys

    page.open("#images")
    tile = page.driver.find_element("css selector", "#images .tile")
    page.ask("document.querySelector('#images .tile').scrollIntoView({block: 'center'})")
    tile.send_keys(Keys.ENTER)
    name = "document.getElementById('large-name').textContent"
    first = page.ask(name)
    page.driver.find_element("id", "large").send_keys(Keys.ARROW_RIGHT)
    assert page.ask(name) != first
    page.driver.find_element("id", "large").send_keys(Keys.ESCAPE)
    page.until(lambda: not page.ask("document.getElementById('large').open"))


def test_on_a_phone_nothing_scrolls_sideways(page: Page) -> None:
    page.open("#image=plate/logical_anomalies/001", PHONE)
    page.wait_for("plate", "logical_anomalies/001")
    assert page.ask("document.documentElement.scrollWidth") <= PHONE[0]
    wide = page.ask(
        "[...document.querySelectorAll('#view canvas, #view input, .side, h1, .card')]"
        ".filter(one => one.getBoundingClientRect().right > innerWidth + 1).length"
    )
    assert wide == 0
    assert page.ask("document.getElementById('view-threshold').getBoundingClientRect().width") > 200


def test_on_paper_everything_is_open_and_what_needs_a_screen_is_gone(page: Page) -> None:
    page.open("#results")
    page.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    hidden = "[...document.querySelectorAll('nav, #inspect, .controls')]"
    assert page.ask(f"{hidden}.every(one => !one.checkVisibility())")
    page.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
    closed = "document.querySelectorAll('details:not([open])').length"
    assert page.ask(closed) > 0
    page.ask("dispatchEvent(new Event('beforeprint'))")
    assert page.ask(closed) == 0
    page.ask("dispatchEvent(new Event('afterprint'))")
    assert page.ask(closed) > 0
    printed = page.driver.execute_cdp_cmd("Page.printToPDF", {"printBackground": False})
    assert base64.b64decode(printed["data"]).startswith(b"%PDF")
