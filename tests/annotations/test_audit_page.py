import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from annotation_builders import box, brush_region, make_region, make_task, write_export

from loco_tools.annotations import audit_page
from loco_tools.annotations.convert import convert

MakeSession = Callable[..., Path]
SHOTS = ("p0004-top", "p0005-top", "p0006-top", "p0007-top")
HOSTILE = "<script>alert('x')</script>"


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.started: list[str] = []
        self.open: list[str] = []
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.started.append(tag)
        self.links += [value or "" for name, value in attrs if name in {"src", "href"}]
        if tag not in {"meta", "img", "br", "wbr"}:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def page_of(session: Path, tmp_path: Path, *result: Any, **task: Any) -> str:
    regions = list(result) or [brush_region(box(5, 5, 20, 20))]
    tasks = [make_task(*regions, task=n, shot=shot, **task) for n, shot in enumerate(SHOTS)]
    report = convert(write_export(session / "labelstudio.json", *tasks), out_root=tmp_path / "d")
    assert report.audit == tmp_path / "d" / "composite_part.audit.html"
    return report.audit.read_text()


def test_every_annotated_image_is_shown_with_the_fate_of_each_region(
    make_session: MakeSession, tmp_path: Path
) -> None:
    keypoint = make_region("keypoint", id="k", value={"x": 1, "y": 1, "width": 1})
    page = page_of(make_session(), tmp_path, brush_region(box(5, 5, 20, 20), id="b"), keypoint)
    tags = Tags()
    tags.feed(page)
    assert tags.open == []
    assert tags.started.count("article") == 4
    assert tags.started.count("img") == 8
    assert "SIMULATED images" in page
    assert "000/<wbr>000.png<br>225 px" in page
    assert page.count("a keypoint has no area that could become a mask") == 8


def test_the_page_needs_nothing_else_and_runs_nothing(
    make_session: MakeSession, tmp_path: Path
) -> None:
    tags = Tags()
    tags.feed(page_of(make_session(), tmp_path))
    assert tags.links
    assert all(link.startswith("data:image/jpeg;base64,") for link in tags.links)
    assert "script" not in tags.started


def test_texts_of_the_export_are_escaped(make_session: MakeSession, tmp_path: Path) -> None:
    session = make_session(simulated=False)
    hostile = make_region(HOSTILE, id=HOSTILE, value={"x": 1})
    drafts = [{"result": [make_region(HOSTILE, id=HOSTILE)]}]
    page = page_of(
        session, tmp_path, brush_region(box(5, 5, 20, 20), id=HOSTILE), hostile, drafts=drafts
    )
    assert "<script" not in page
    assert page.count("&lt;script&gt;") >= 8
    assert "SIMULATED" not in page


def test_the_page_is_bounded(
    make_session: MakeSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit_page, "MOST_PICTURES", 2)
    monkeypatch.setattr(audit_page, "MOST_CLOSE_UPS", 1)
    monkeypatch.setattr(audit_page, "MOST_ROWS", 3)
    regions = [brush_region(box(5, 5, 20, 20), id=str(n)) for n in range(3)]
    drafts = [{"result": [make_region(id="d")]}]
    page = page_of(make_session(), tmp_path, *regions, drafts=drafts)
    assert page.count("<img") == 4
    assert page.count("no picture") == 2
    assert page.count("a draft, not submitted") == 3
    assert "and 1 more, see the .audit.json" in page
    assert len(re.findall("<article>", page)) == 4
