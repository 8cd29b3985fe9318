import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from session_builders import make_plan, write_photographs

from loco_tools.capture.guide import open_guide
from loco_tools.capture.session import Shot, progress_of, read_shots
from loco_tools.capture.session_opening import SessionRequest
from loco_tools.capture.unattended import capture
from loco_tools.errors import CaptureError
from loco_tools.files import sha256_of
from loco_tools.plan import Plan

GOOD = 14
HEAD = """
import sys
from pathlib import Path
from session_builders import make_plan
from loco_tools.capture.guide import open_guide
from loco_tools.capture.session_opening import SessionRequest
folder, captures = sys.argv[1:]
request = SessionRequest(make_plan(good=14), camera=f"folder:{folder}", captures=Path(captures))
with open_guide(request) as guide:
    print("open", flush=True)
"""
STRAIGHT = """
    while guide.current is not None:
        guide.shoot()
        guide.accept()
"""
EACH_TWICE = """
    while guide.current is not None:
        for again in (True, False):
            guide.shoot()
            guide.accept()
            if again:
                guide.undo()
"""
WAITING = """
    sys.stdin.read()
"""


@pytest.fixture(scope="module")
def plan() -> Plan:
    return make_plan(good=GOOD)


@pytest.fixture(scope="module")
def photographs(plan: Plan, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_photographs(plan, tmp_path_factory.mktemp("photographs"))


@contextmanager
def station(body: str, photographs: Path, captures: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that has opened the session and goes on with `body`; it is killed at the end."""
    command = [sys.executable, "-c", HEAD + body, str(photographs), str(captures)]
    path = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": path},
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "open\n"
        yield process
    finally:
        process.kill()
        process.communicate()


def without_time(shots: list[Shot]) -> list[Shot]:
    return [shot.model_copy(update={"taken": None}) for shot in shots]


@pytest.mark.parametrize("body", [STRAIGHT, EACH_TWICE], ids=["straight", "each shot twice"])
def test_a_session_that_is_killed_again_and_again_equals_an_uninterrupted_one(
    body: str, plan: Plan, photographs: Path, tmp_path: Path
) -> None:
    camera = f"folder:{photographs}"
    whole = capture(SessionRequest(plan, camera=camera, captures=tmp_path / "whole"))
    moments = random.Random(5)
    folder, killed = tmp_path / "killed" / plan.name / "session-001", 0
    for _ in range(4):
        with station(body, photographs, tmp_path / "killed") as process:
            time.sleep(moments.uniform(0.02, 0.4))
            killed += process.poll() is None
            process.kill()
        # whatever the journal says is on the disk, whole
        for shot in read_shots(folder):
            assert sha256_of(folder / shot.file) == shot.sha256
    assert killed > 0

    resumed = capture(SessionRequest(plan, camera=camera, captures=tmp_path / "killed"))
    assert resumed == folder
    assert progress_of(resumed).finished
    assert without_time(read_shots(resumed)) == without_time(read_shots(whole))
    kept = {path.name for path in (resumed / "images").iterdir()}
    assert kept == {path.name for path in (whole / "images").iterdir()}


def test_two_stations_cannot_write_one_session(
    plan: Plan, photographs: Path, tmp_path: Path
) -> None:
    camera = f"folder:{photographs}"
    with station(WAITING, photographs, tmp_path) as first:
        said = rf"session-001: is being written by process {first.pid} on .+ since .+; next step: "
        with (
            pytest.raises(CaptureError, match=said + "stop that process, or begin another session"),
            open_guide(SessionRequest(plan, camera=camera, captures=tmp_path)),
        ):
            pass
        with open_guide(SessionRequest(plan, camera=camera, captures=tmp_path, new=True)) as other:
            assert other.folder.name == "session-002"
        first.send_signal(signal.SIGKILL)
        first.wait()
        # a lock dies with its process
        with open_guide(
            SessionRequest(plan, camera=camera, captures=tmp_path, session="session-001")
        ) as guide:
            assert guide.progress().done == 0


def test_a_camera_that_fails_leaves_no_lock_behind(plan: Plan, tmp_path: Path) -> None:
    missing = f"folder:{tmp_path / 'nowhere'}"
    for _ in range(2):
        with pytest.raises(CaptureError, match="no such file or folder"):
            capture(SessionRequest(plan, camera=missing, captures=tmp_path))
