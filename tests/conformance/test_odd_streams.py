"""Addresses that answer and are no usable camera; and that a command prints our lines alone."""

import re
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import cv2
import pytest
from stream_servers import SIZE, MjpegServer, stamped, write_film

from loco_tools.capture.cameras.live_camera import LiveCamera
from loco_tools.capture.probing import probe_camera

PARTS = 3
PLAN = f"""
schema_version = 1
name = "strip"
part.title = "Strip"
part.bought_as = "a strip"
part.pieces = [
    {{ shape = "plate", name = "strip", length_mm = 120.0, width_mm = 20.0, thickness_mm = 2.0 }},
]
camera = {{ width_px = {SIZE[1]}, height_px = {SIZE[0]}, field_mm = 150.0, exposure_us = 12000.0 }}
views = [{{ name = "top" }}]
shots = [{{ split = "train", kind = "good", parts = {PARTS}, demo_parts = 1 }}]
demo = {{ width_px = {SIZE[1]}, height_px = {SIZE[0]} }}
"""


def fault_of(server: MjpegServer) -> str:
    with closing(server):
        report = probe_camera(server.url.replace("//", "//admin:pa55word@"))
    assert report.error
    assert "cable" not in report.error
    assert "pa55word" not in report.error
    return report.error


def test_the_url_of_a_still_image_is_said_to_be_one() -> None:
    words = "this URL gives one still image, expected a video stream; next step: give the URL of"
    assert words in fault_of(MjpegServer(still=True))
    assert words in fault_of(MjpegServer(still=True, login="admin:pa55word"))


def test_a_stream_that_is_too_slow_is_said_to_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LiveCamera, "timeout_s", 1.0)
    fault = fault_of(MjpegServer(frames_per_s=1.7))
    assert "one frame in 0.6 s is too slow, expected 3 within 1 s" in fault


def test_a_black_frame_is_said_to_be_one() -> None:
    with closing(MjpegServer(black=True)) as dark, closing(MjpegServer()) as light:
        assert "the frame is black; take off the lens cap" in probe_camera(dark.url).describe()
        assert probe_camera(light.url).note is None


KEPT = 3 / 4
NAMES = ["damaged.jpg", "damaged.png", "damaged.tif", "damaged.bmp", "film.avi", "no film.mp4"]


def write_damaged(folder: Path, name: str) -> str:
    """A damaged video, or a folder of damaged images; returns the camera that replays it."""
    folder.mkdir()
    if name == "film.avi":
        film = write_film(folder / name, PARTS)
        film.write_bytes(film.read_bytes().replace(b"\xff\xda", b"\0\0"))
        return f"opencv:{film}"
    if name == "no film.mp4":
        (folder / name).write_bytes(b"no film")
        return f"opencv:{folder / name}"
    for number in range(PARTS):
        path = folder / f"{number} {name}"
        cv2.imwrite(str(path), stamped(number))
        content = path.read_bytes()
        path.write_bytes(content[: int(len(content) * KEPT)])
    return f"folder:{folder}"


@pytest.mark.parametrize("name", [*NAMES, "unreachable", "broken off"])
def test_a_command_prints_our_lines_alone(name: str, tmp_path: Path) -> None:
    """Neither OpenCV nor FFmpeg nor Pillow nor the libraries below them print anything."""
    with closing(MjpegServer()) as server:
        server.cut_off = 200
        others = {"unreachable": "http://127.0.0.1:9/live.mjpg", "broken off": server.url}
        camera = others.get(name) or write_damaged(tmp_path / "files", name)
        (tmp_path / "plan.toml").write_text(PLAN)
        fault = printed_by(tmp_path, "-q", "capture", "--class", "plan.toml", "--camera", camera)
        listing = printed_by(tmp_path, "-q", "cameras", "--camera", camera)
    assert len(fault) == 1
    assert re.match("loco-tools: .*(files|127.0.0.1)", fault[0])
    assert [line for line in listing if not re.match(r"(twin|\w+:\S.*)  |    \S", line)] == []


def printed_by(folder: Path, *words: str) -> list[str]:
    """The lines that a command prints; in its own process, as libraries bypass Python."""
    done = subprocess.run(
        [sys.executable, "-c", "from loco_tools.cli import main; main()", *words],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return done.stdout.splitlines()
