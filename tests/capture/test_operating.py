import os
import select
import signal
import subprocess
import sys
import time
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import pytest
from session_builders import part_of

from loco_tools import cli
from loco_tools.capture.session import progress_of, read_shots
from loco_tools.datasets.images import Pixels, write_png
from loco_tools.plan import Plan, load_plan

pty = pytest.importorskip("pty", reason="needs a terminal as Unix has it")
termios = pytest.importorskip("termios", reason="needs a terminal as Unix has it")


class Terminal:
    """`loco-tools` at a pseudo-terminal: sends keys, and waits for what is printed."""

    def __init__(self, *arguments: str) -> None:
        self._side, other = pty.openpty()
        self._seen = ""
        self._process = subprocess.Popen(
            [sys.executable, "-c", "from loco_tools.cli import main; main()", *arguments],
            stdin=other,
            stdout=other,
            stderr=other,
            env={**os.environ, "COLUMNS": "400", "TERM": "dumb"},
        )
        os.close(other)

    def press(self, key: str) -> None:
        """Press a key once the program waits for one: what was typed before that is dropped."""
        end = time.monotonic() + 30
        while termios.tcgetattr(self._side)[3] & termios.ICANON:
            assert time.monotonic() < end, f"no key was asked for after {self._seen!r}"
            time.sleep(0.01)
        os.write(self._side, key.encode())

    def wait_for(self, words: str) -> str:
        """What was printed up to and with `words`, since the last call."""
        end = time.monotonic() + 30
        while words not in self._seen:
            assert time.monotonic() < end, f"{words!r} did not come after {self._seen!r}"
            if not select.select([self._side], [], [], 1)[0]:
                continue
            try:
                self._seen += os.read(self._side, 4096).decode()
            except OSError:  # the process has ended
                pytest.fail(f"{words!r} did not come before the end: {self._seen!r}")
        found, _, self._seen = self._seen.partition(words)
        return found + words

    def interrupt(self) -> None:
        self._process.send_signal(signal.SIGINT)

    def quit(self) -> None:
        self.press("q")

    def end(self) -> int:
        """Wait for the end, and give the exit code."""
        code = self._process.wait(timeout=60)
        os.close(self._side)
        return code


@pytest.fixture
def plan() -> Plan:
    return load_plan("flat_connector").for_demo()


@pytest.fixture
def photographs(plan: Plan, tmp_path: Path) -> Path:
    """The first four parts of the plan; p0001 was not changed, it is p0000 again."""
    folder = tmp_path / "photographs"
    shots = list(islice(plan.planned_shots(), 4))
    for shot in shots:
        write_png(folder / f"{shot.shot}.png", fitted(part_of(shot), plan))
    again = fitted(part_of(shots[0]), plan).astype(np.int16) + 1
    write_png(folder / f"{shots[1].shot}.png", np.clip(again, 0, 255).astype(np.uint8))
    return folder


def fitted(image: Pixels, plan: Plan) -> Pixels:
    size = (plan.camera.width_px, plan.camera.height_px)
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)


def test_an_operator_walks_through_a_session_with_the_keys(
    plan: Plan, photographs: Path, tmp_path: Path
) -> None:
    terminal = Terminal(
        "capture", "--class", "flat_connector", "--demo", "--out", str(tmp_path / "captures"),
        "--camera", f"folder:{photographs}",
    )  # fmt: skip
    planned = len(list(plan.planned_shots()))
    terminal.wait_for("Keys: Space shoots, A or N accepts")
    terminal.wait_for(f"[0/{planned}] Mount part 1 of {planned}: a good part.")
    terminal.press(" ")
    assert "ok    a part is in the picture" in terminal.wait_for("A accepts it, R retakes it.")
    terminal.press("r")
    terminal.wait_for("A accepts it, R retakes it.")
    terminal.press("a")
    terminal.wait_for("Accepted p0000-top.")
    terminal.wait_for(f"[1/{planned}] Mount part 2")

    terminal.press("\r")
    assert "WRONG it is the same picture as p0000-top" in terminal.wait_for("O keeps it.")
    terminal.press("n")
    terminal.wait_for("It fails a gate: R retakes it, O keeps it anyway.")
    terminal.press("o")
    terminal.wait_for("Accepted p0001-top.")
    terminal.press("u")
    terminal.wait_for("Reopened p0001-top.")
    terminal.press("s")
    terminal.wait_for("Skipped p0001-top.")
    terminal.press("p")
    terminal.wait_for("Skipped p0002.")
    terminal.press("a")
    terminal.wait_for("no photograph waits to be accepted; next step: shoot")
    terminal.press("?")
    terminal.wait_for("Keys: Space shoots")
    terminal.press(" ")
    terminal.wait_for("Took p0003-top.")
    terminal.press("a")
    terminal.wait_for(f"[2/{planned}] Mount part 5")

    terminal.quit()
    assert terminal.end() == 0
    folder = tmp_path / "captures" / "flat_connector" / "session-001"
    assert [shot.shot for shot in read_shots(folder)] == ["p0000-top", "p0003-top"]
    assert progress_of(folder).skipped == 2


def run(photographs: Path, out: Path, *options: str) -> int:
    """Without a terminal."""
    common = ["--class", "flat_connector", "--demo", "--out", str(out)]
    return cli.run(["-q", "capture", *common, "--camera", f"folder:{photographs}", *options])


def test_without_a_terminal_a_failing_real_shot_ends_the_run_and_says_what_to_do(
    photographs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(photographs, tmp_path / "captures") == 1
    said = capsys.readouterr().err
    assert "p0001-top fails: it is the same picture as p0000-top" in said
    assert "mount the next part; next step: do that and run the command again" in said
    assert "or keep such shots with --keep-failing" in said
    folder = tmp_path / "captures" / "flat_connector" / "session-001"
    assert [shot.shot for shot in read_shots(folder)] == ["p0000-top"]


def test_failing_shots_are_kept_when_asked_for_and_recorded_as_overridden(
    photographs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(photographs, tmp_path / "captures", "--keep-failing") == 1
    assert "none after shot p0004-top" in capsys.readouterr().err
    folder = tmp_path / "captures" / "flat_connector" / "session-001"
    shots = read_shots(folder)
    assert [(shot.overridden, shot.overridden_by) for shot in shots] == [
        ((), None),
        (("duplicate",), "unattended"),
        ((), None),
        ((), None),
    ]


def test_the_station_page_is_served_until_ctrl_c(photographs: Path, tmp_path: Path) -> None:
    pytest.importorskip("fastapi", reason="needs the extra station")
    pytest.importorskip("uvicorn", reason="needs the extra station")
    terminal = Terminal(
        "capture", "--class", "flat_connector", "--demo", "--out", str(tmp_path / "captures"),
        "--camera", f"folder:{photographs}", "--station", "--port", "0",
    )  # fmt: skip
    terminal.wait_for("Station: http://127.0.0.1:")
    terminal.interrupt()
    terminal.wait_for("session-001: 0 of ")
    assert terminal.end() == 0
