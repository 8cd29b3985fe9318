"""Cameras of one's own: `--camera module:Class`, and the checks for their authors."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from loco_tools import cli
from loco_tools.capture.cameras import open_camera, public_name
from loco_tools.capture.session import read_session, read_shots
from loco_tools.errors import CaptureError
from loco_tools.testing import check_camera

NOISE_CAMERA = """
import numpy as np

from loco_tools.capture.cameras import Camera, Frame
from loco_tools.capture.cameras.camera import refuse_mismatch, require_connected

class NoiseCamera(Camera):
    def __init__(self, address, plan):
        self.identity = f"noise_camera:NoiseCamera:{address}"
        self._plan, self._size = plan, None

    def connect(self):
        size = {"width_px": 320, "height_px": 240}
        if self._plan:
            refuse_mismatch(self.identity, self._plan.camera.requested(), size)
        self._size = size

    def frame(self, shot):
        require_connected(self._size, self.identity)
        return Frame(np.random.default_rng().integers(0, 256, (240, 320, 3), dtype=np.uint8))

    def settings(self):
        return dict(require_connected(self._size, self.identity))

    def close(self):
        self._size = None
"""
CAPTURE = ["capture", "--class", "angle", "--demo", "--keep-failing", "--limit", "2"]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The current folder, with a camera of one's own and without traces of earlier tests."""
    (tmp_path / "noise_camera.py").write_text(NOISE_CAMERA)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    known = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - known:
        if (
            getattr(sys.modules[name], "__file__", None)
            and tmp_path in Path(str(sys.modules[name].__file__)).parents
        ):
            del sys.modules[name]


def write_camera(folder: Path, name: str, **replaced: str) -> None:
    """A file with the camera after some replacements, one class per file."""
    text = NOISE_CAMERA.replace("noise_camera:", f"{name}:")
    for old, new in replaced.items():
        assert old in text
        text = text.replace(old, new)
    (folder / f"{name}.py").write_text(text)


def test_a_camera_in_the_current_folder_takes_a_session(folder: Path) -> None:
    arguments = [*CAPTURE, "--camera", "noise_camera:NoiseCamera:7"]
    # -P: without it, Python itself would put the current folder on the path
    command = [sys.executable, "-P", "-c", "from loco_tools.cli import main; main()", *arguments]
    subprocess.run(command, check=True, cwd=folder, timeout=120)
    session = folder / "captures" / "angle" / "session-001"
    assert len(read_shots(session)) == 2
    assert read_session(session).camera.identity == "noise_camera:NoiseCamera:7"
    assert not read_session(session).simulated

    assert cli.run(["-q", *CAPTURE, "--camera", "noise_camera:NoiseCamera:7"]) == 0
    assert len(read_shots(session)) == 4


def test_a_camera_of_ones_own_can_be_looked_at(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["-q", "cameras", "--camera", "noise_camera:NoiseCamera:7"]) == 0
    assert "noise_camera:NoiseCamera:7  ok, 320 x 240" in capsys.readouterr().out


def test_a_camera_of_ones_own_passes_the_checks() -> None:
    check_camera(lambda plan: open_camera("noise_camera:NoiseCamera:7", plan, seed=0))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("dtype=np.uint8", "dtype=np.int64", "expected frame.*uint8.*got.*int64.*next step"),
        ("(240, 320, 3)", "(24, 320, 3)", r"of shape \(240, 320, 3\).*got shape \(24, 320, 3\)"),
        ('"height_px": 240', '"height": 240', "expected settings.* with height_px and width_px"),
        ("if self._plan:", "if False:", "expected connect.*to raise CaptureError.*no error"),
        ("self._size = None", "pass", "is not connected.*got: no error"),
        ('"broken:NoiseCamera', '"mine:NoiseCamera', "expected an identity that --camera takes"),
        ("{address}", "{id(self)}", "under --camera broken:NoiseCamera:.*got"),
    ],
)
def test_a_broken_camera_fails_the_checks_with_a_message(
    folder: Path, old: str, new: str, message: str
) -> None:
    write_camera(folder, "broken", **{old: new})
    with pytest.raises((AssertionError, CaptureError), match=message):
        check_camera(lambda plan: open_camera("broken:NoiseCamera:7", plan, seed=0))


@pytest.mark.parametrize(
    ("camera", "message"),
    [
        ("nowhere:NoiseCamera", "expected a module nowhere.*got no such module; next step"),
        ("noise_camera:NoisCamera", 'class NoisCamera in .*did you mean "NoiseCamera"'),
        ("noise_camera:Frame", "expected a subclass of loco_tools.capture.cameras.Camera, got"),
        ("torn:NoiseCamera", "got SyntaxError: .*next step: correct it"),
        ("unfinished:NoiseCamera", "expected all methods of Camera, got a class without frame"),
        ("single:NoiseCamera", r"takes an address and a plan, got NoiseCamera\(plan\)"),
    ],
)
def test_an_unusable_plug_in_is_refused_with_a_message(
    folder: Path, capsys: pytest.CaptureFixture[str], camera: str, message: str
) -> None:
    write_camera(folder, "torn", **{"class NoiseCamera": "clas NoiseCamera"})
    write_camera(folder, "unfinished", **{"def frame": "def photograph"})
    write_camera(folder, "single", **{"self, address, plan": "self, plan"})
    with pytest.raises(CaptureError, match=f'(?s)camera "{camera}": .*{message}'):
        open_camera(camera, None, seed=0)
    assert cli.run(["-q", *CAPTURE, "--camera", camera]) == 1
    assert f'loco-tools: camera "{camera}": ' in capsys.readouterr().err


def test_a_camera_may_be_in_a_package(folder: Path) -> None:
    package = folder / "our_rig" / "cameras"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(NOISE_CAMERA)
    with open_camera("our_rig.cameras:NoiseCamera", None, seed=0) as camera:
        assert camera.settings() == {"width_px": 320, "height_px": 240}
    with pytest.raises(
        CaptureError, match=r"expected a module our_rig\.lenses.*got no such module"
    ):
        open_camera("our_rig.lenses:NoiseCamera", None, seed=0)


def test_a_kind_of_camera_takes_precedence_over_a_file_of_its_name(folder: Path) -> None:
    write_camera(folder, "folder")
    with pytest.raises(CaptureError, match='no such file or folder "NoiseCamera"'):
        open_camera("folder:NoiseCamera", None, seed=0).connect()


def test_a_password_in_the_address_of_a_plug_in_is_not_shown() -> None:
    name = public_name("noise_camera:NoiseCamera:rtsp://me:pa55word@host/live")
    assert name == "noise_camera:NoiseCamera:..."
    assert public_name("noise_camera:NoiseCamera:7") == "noise_camera:NoiseCamera:7"
