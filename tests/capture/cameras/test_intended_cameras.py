"""What `--camera` says to names that are none."""

from pathlib import Path

import pytest

from loco_tools import cli
from loco_tools.capture.cameras import open_camera, public_name
from loco_tools.capture.cameras.intended import intended_cameras
from loco_tools.errors import CaptureError

FORMS = [
    ("0", ["opencv:0"]),
    ("/dev/video0", ["opencv:/dev/video0"]),
    ("/dev/v4l/by-id/usb-cam", ["opencv:/dev/v4l/by-id/usb-cam"]),
    ("clip.mp4", ["opencv:clip.mp4"]),
    ("C:\\films\\clip.AVI", ["opencv:C:\\films\\clip.AVI"]),
    ("file:///films/clip.mp4", ["opencv:/films/clip.mp4"]),
    ("127.0.0.1:8080/video", ["http://127.0.0.1:8080/video", "rtsp://127.0.0.1:8080/video"]),
    ("cam1:554/live", ["rtsp://cam1:554/live", "http://cam1:554/live"]),
    ("10.0.0.7", ["http://10.0.0.7", "rtsp://10.0.0.7"]),
    ("[fe80::1]/live", ["http://[fe80::1]/live", "rtsp://[fe80::1]/live"]),
    ("10.0.0.7/v?user=me&pwd=55word", ["http://10.0.0.7/v", "rtsp://10.0.0.7/v"]),
    ("me:pa55word@cam1/live", [f"{s}://USER:PASSWORD@HOST/PATH" for s in ("rtsp", "http")]),
]


@pytest.mark.parametrize(("given", "meant"), FORMS)
def test_the_form_that_was_meant_is_suggested_and_can_be_given(
    given: str, meant: list[str]
) -> None:
    assert intended_cameras(given) == meant
    with pytest.raises(CaptureError) as caught:
        open_camera(given, None, seed=0)
    suggestion = " or ".join(f'"{name}"' for name in meant)
    assert f"did you mean {suggestion}? (known: basler, " in str(caught.value)
    assert "55word" not in str(caught.value) + public_name(given)
    for name in meant:
        if "PASSWORD" not in name:
            open_camera(name, None, seed=0)


def test_files_and_folders_that_exist_are_recognised(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "images").mkdir()
    for name in ("images/1.PNG", "parts.dat"):
        (tmp_path / name).touch()
    assert intended_cameras("images") == ["folder:images"]
    assert intended_cameras("images/1.PNG") == ["folder:images"]
    assert intended_cameras("parts.dat") == ["opencv:parts.dat"]


@pytest.mark.parametrize(
    "name",
    ["twim", "", "notes.txt", "my camera", "ftp://a:b@c/d", ":", "a\0b", "~nobody/x", "x" * 5000],
)
def test_nothing_is_suggested_for_other_texts(name: str) -> None:
    assert intended_cameras(name) == []


def test_kinds_and_schemes_may_be_written_in_capitals(tmp_path: Path) -> None:
    identities = {
        name: open_camera(name, None, seed=0).identity
        for name in ("RTSP://Host/X", "Http://h:80/x", "OPENCV:0", f"Folder:{tmp_path}")
    }
    assert list(identities.values()) == [
        "rtsp://host/X", "http://h:80/x", "opencv:0", f"folder:{tmp_path}",
    ]  # fmt: skip


@pytest.mark.parametrize("command", [["cameras"], ["capture", "--class", "angle", "--demo"]])
def test_both_commands_say_which_form_is_meant(
    command: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("loco_tools.capture.probing.connected_cameras", _no_cameras)
    assert cli.run([*command, "--camera", "0"]) == 1
    printed = "".join(capsys.readouterr())
    assert 'unknown camera "0"; did you mean "opencv:0"?' in printed


def _no_cameras() -> object:
    from loco_tools.capture.cameras import ConnectedCameras

    return ConnectedCameras((), ())
