"""`loco-tools cameras`: what is connected, and what is asked for."""

import importlib
import json
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from stream_servers import MjpegServer, stamped

from loco_tools import cli, extras
from loco_tools.capture import cameras
from loco_tools.capture.cameras import open_camera
from loco_tools.capture.probing import probe_camera, statistics
from loco_tools.datasets.images import write_png


@pytest.fixture(autouse=True)
def two_emulated_cameras(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYLON_CAMEMU", "2")
    monkeypatch.delenv("GENICAM_GENTL64_PATH", raising=False)


def looked_at(capsys: pytest.CaptureFixture[str], *asked: str) -> list[dict[str, Any]]:
    options = [word for camera in asked for word in ("--camera", camera)]
    code = cli.run(["cameras", "--json", *options])
    reports: list[dict[str, Any]] = json.loads(capsys.readouterr().out)
    assert code == int(any(report["asked"] and not report["ok"] for report in reports))
    return reports


def test_everything_connected_the_twin_and_what_was_asked_for_is_listed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("pypylon", reason="needs the extra 'basler'")
    pytest.importorskip("mitsuba", reason="needs the extra 'twin'")
    write_png(tmp_path / "a.png", stamped(0))
    with closing(MjpegServer(login="me:pa55word")) as server:
        url = server.url.replace("//", "//me:pa55word@")
        reports = looked_at(capsys, url, f"folder:{tmp_path}")
    assert all(report["ok"] for report in reports)
    by_name = {report["camera"]: report for report in reports}
    assert {"basler:0815-0000", "basler:0815-0001", "twin", server.url} < set(by_name)
    assert [name for name, report in by_name.items() if report["simulated"]] == ["twin"]
    assert (by_name[server.url]["width"], by_name[server.url]["height"]) == (128, 96)
    assert by_name["basler:0815-0000"]["settings"]["exposure_us"] > 0
    assert by_name["twin"]["statistics"]["mean_level"] > 0


def test_every_name_that_is_listed_opens_that_camera(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_png(tmp_path / "a.png", stamped(0))
    for report in looked_at(capsys, f"folder:{tmp_path}"):
        with open_camera(report["camera"], None, seed=0) as camera:
            assert camera.identity == report["camera"]


def test_a_camera_that_was_asked_for_and_fails_ends_with_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    asked = ("rtsp://me:pa55word@127.0.0.1:9/live", f"folder:{tmp_path}/empty", "twim")
    failing = {r["camera"]: r["error"] for r in looked_at(capsys, *asked) if not r["ok"]}
    assert set(failing) >= {"rtsp://127.0.0.1:9/live", f"folder:{tmp_path}/empty", "twim"}
    assert "does not answer at port 9" in failing["rtsp://127.0.0.1:9/live"]
    assert 'did you mean "twin"' in failing["twim"]
    assert "pa55word" not in str(failing)


def test_a_missing_extra_is_a_note_and_no_failure(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(extras.MODULES, "basler", ("no_such_module",))
    monkeypatch.setitem(extras.MODULES, "twin", ("no_such_module",))
    assert cli.run(["cameras"]) == 0
    printed = capsys.readouterr()
    assert "twin  FAILED" in printed.out
    assert "pip install 'loco-tools[twin]'" in printed.out
    assert "pip install 'loco-tools[basler]'" in printed.err
    assert "basler:" not in printed.out


def test_what_is_printed_says_what_works(tmp_path: Path) -> None:
    write_png(tmp_path / "a.png", stamped(0))
    report = probe_camera(f"folder:{tmp_path}")
    first, second = report.describe().splitlines()
    assert first == f"{report.camera}  ok, 128 x 96"
    assert second.split(", ")[0] == f"    mean_level {statistics(stamped(0))['mean_level']}"


def test_the_statistics_of_a_picture_that_is_known() -> None:
    black = np.zeros((40, 40, 3), np.uint8)
    assert statistics(black) == {
        "mean_level": 0.0,
        "contrast": 0.0,
        "saturated_share": 0.0,
        "black_share": 1.0,
    }
    half = black.copy()
    half[10:30, 10:30] = 255
    found = statistics(half)
    assert (found["mean_level"], found["contrast"]) == (63.75, 110.4182)
    assert found["saturated_share"] > 0.9
    assert found["sharpness"] > 0


def test_the_code_of_every_kind_of_camera_exists() -> None:
    for kind in cameras.CAMERAS.values():
        for place in filter(None, kind):
            module, _, name = place.partition(":")
            assert callable(getattr(importlib.import_module(module), name))
