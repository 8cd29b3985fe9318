from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from loco_tools import cli
from loco_tools.capture import guide as guide_module
from loco_tools.capture.cameras import Camera, Frame, TrueDefect
from loco_tools.capture.session import (
    progress_of,
    read_session,
    read_shots,
    truth_files,
)
from loco_tools.capture.session_opening import SessionRequest
from loco_tools.capture.unattended import capture
from loco_tools.errors import CaptureError
from loco_tools.files import sha256_of
from loco_tools.plan import Plan, PlannedShot, load_plan

UseCamera = Callable[[Camera], Camera]


class PatternCamera(Camera):
    """A camera whose frames depend on the shot alone; it can break off after some frames."""

    simulated = True

    def __init__(self, plan: Plan, *, breaks_after: int | None = None, shrink: int = 0) -> None:
        self.identity = "pattern"
        self.closed = False
        self._plan = plan
        self._left = breaks_after
        self._shrink = shrink

    def connect(self) -> None:
        pass

    def frame(self, shot: PlannedShot) -> Frame:
        if self._left is not None:
            if self._left == 0:
                raise KeyboardInterrupt
            self._left -= 1
        rng = np.random.default_rng(list(shot.shot.encode()))
        height, width = self._plan.camera.height_px - self._shrink, self._plan.camera.width_px
        image = rng.integers(0, 255, (height, width, 3), dtype=np.uint8)
        mask = np.zeros((height, width), dtype=bool)
        mask[2:5, 3:9] = True
        return Frame(image, (TrueDefect(shot.defect, mask),) if shot.defect else ())

    def settings(self) -> dict[str, float]:
        return {"width_px": float(self._plan.camera.width_px)}

    def px_per_mm(self, view: str) -> float:
        return 2.0

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def plan() -> Plan:
    small = load_plan("angle").for_demo()
    camera = small.camera.model_copy(update={"width_px": 32, "height_px": 24})
    return small.model_copy(update={"camera": camera})


@pytest.fixture
def use_camera(monkeypatch: pytest.MonkeyPatch) -> UseCamera:
    def use(camera: Camera) -> Camera:
        monkeypatch.setattr(guide_module, "open_camera", lambda *args, **named: camera)
        return camera

    return use


def test_a_whole_session_has_every_shot_with_its_hash_and_its_truth(
    plan: Plan, tmp_path: Path, use_camera: UseCamera
) -> None:
    use_camera(PatternCamera(plan))
    folder = capture(SessionRequest(plan, captures=tmp_path))

    shots = read_shots(folder)
    assert [s.shot for s in shots] == [s.shot for s in plan.planned_shots()]
    assert all(sha256_of(folder / shot.file) == shot.sha256 for shot in shots)
    assert all(shot.simulated for shot in shots)
    assert read_session(folder).simulated
    faulty = next(shot for shot in shots if shot.defect)
    assert [name for name, _ in truth_files(folder, faulty.shot)] == [faulty.defect]


def test_an_interrupted_session_continues_and_equals_an_uninterrupted_one(
    plan: Plan, tmp_path: Path, use_camera: UseCamera
) -> None:
    use_camera(PatternCamera(plan))
    whole = capture(SessionRequest(plan, captures=tmp_path / "whole"))

    broken = use_camera(PatternCamera(plan, breaks_after=7))
    with pytest.raises(KeyboardInterrupt):
        capture(SessionRequest(plan, captures=tmp_path / "parts"))
    assert broken.closed
    use_camera(PatternCamera(plan))
    resumed = capture(SessionRequest(plan, captures=tmp_path / "parts"))

    assert read_shots(resumed) == read_shots(whole)
    assert progress_of(resumed).finished


def test_a_torn_last_line_costs_that_shot_alone(
    plan: Plan, tmp_path: Path, use_camera: UseCamera
) -> None:
    use_camera(PatternCamera(plan))
    folder = capture(SessionRequest(plan, captures=tmp_path))
    journal = folder / "shots.jsonl"
    whole = journal.read_bytes()
    journal.write_bytes(whole[:-40])
    assert len(read_shots(folder)) == len(list(plan.planned_shots())) - 1

    capture(SessionRequest(plan, captures=tmp_path))

    assert journal.read_bytes() == whole


def test_a_damaged_line_is_named(plan: Plan, tmp_path: Path, use_camera: UseCamera) -> None:
    use_camera(PatternCamera(plan))
    folder = capture(SessionRequest(plan, captures=tmp_path))
    journal = folder / "shots.jsonl"
    lines = journal.read_bytes().splitlines()
    lines[2] = b"{}"
    journal.write_bytes(b"\n".join(lines) + b"\n")
    with pytest.raises(CaptureError, match=r"shots\.jsonl, line 3: expected a shot"):
        read_shots(folder)


def test_another_camera_plan_or_seed_than_the_session_began_with_is_refused(
    plan: Plan, tmp_path: Path, use_camera: UseCamera
) -> None:
    use_camera(PatternCamera(plan))
    capture(SessionRequest(plan, captures=tmp_path, session="monday"))
    with pytest.raises(CaptureError, match="begun with --seed 0, got 1"):
        capture(SessionRequest(plan, captures=tmp_path, session="monday", seed=1))
    other = plan.model_copy(update={"shots": plan.shots[:1]})
    with pytest.raises(CaptureError, match="begun with another plan"):
        capture(SessionRequest(other, captures=tmp_path, session="monday"))
    swapped = PatternCamera(plan)
    swapped.identity = "pattern:2"
    use_camera(swapped)
    with pytest.raises(CaptureError, match="begun with camera 'pattern', got 'pattern:2'"):
        capture(SessionRequest(plan, captures=tmp_path, session="monday"))


def test_a_frame_of_another_size_stops_the_session_before_anything_is_written(
    plan: Plan, tmp_path: Path, use_camera: UseCamera
) -> None:
    use_camera(PatternCamera(plan, shrink=1))
    with pytest.raises(CaptureError, match=r"expected a frame of \(24, 32, 3\).*got \(23, 32, 3\)"):
        capture(SessionRequest(plan, captures=tmp_path))
    assert not list(tmp_path.rglob("*.png"))


def test_a_session_name_cannot_leave_its_folder(plan: Plan, tmp_path: Path) -> None:
    with pytest.raises(CaptureError, match="expected letters, digits"):
        capture(SessionRequest(plan, captures=tmp_path, session="../elsewhere"))


def test_an_unknown_camera_is_refused(plan: Plan, tmp_path: Path) -> None:
    with pytest.raises(CaptureError, match='unknown camera "twim"; did you mean "twin"'):
        capture(SessionRequest(plan, camera="twim", captures=tmp_path))


def test_a_full_disk_stops_a_session_and_making_room_lets_it_go_on(
    plan: Plan, tmp_path: Path, tiny_disk: Path, use_camera: UseCamera
) -> None:
    use_camera(PatternCamera(plan))
    whole = capture(SessionRequest(plan, captures=tmp_path))
    few = plan.model_copy(update={"shots": plan.shots[1:3]})
    ballast = tiny_disk / "ballast"
    ballast.write_bytes(bytes(52 * 1024))

    with pytest.raises(CaptureError, match=r"cannot be written; .*No space left"):
        capture(SessionRequest(few, captures=tiny_disk))
    (folder,) = (tiny_disk / plan.name).iterdir()
    held = read_shots(folder)
    assert 0 < len(held) < progress_of(folder).planned
    assert all(sha256_of(folder / shot.file) == shot.sha256 for shot in held)
    assert not list(folder.rglob("*.tmp"))

    ballast.unlink()
    capture(SessionRequest(few, captures=tiny_disk))
    assert progress_of(folder).finished
    assert len(read_shots(whole)) > len(read_shots(folder)) > len(held)


def test_an_unattended_simulated_shot_that_fails_a_gate_is_kept_and_recorded(
    plan: Plan, tmp_path: Path, use_camera: UseCamera
) -> None:
    use_camera(PatternCamera(plan))
    shots = read_shots(capture(SessionRequest(plan, captures=tmp_path)))
    failing = [shot for shot in shots if shot.overridden]
    assert failing
    assert {shot.overridden_by for shot in failing} == {"unattended"}
    assert all(shot.taken is None for shot in shots)


def test_what_a_killed_session_left_half_written_is_cleared_away(
    plan: Plan, tmp_path: Path, use_camera: UseCamera
) -> None:
    use_camera(PatternCamera(plan))
    folder = capture(SessionRequest(plan, captures=tmp_path))
    half = folder / "images" / ".p0000-top.png.0123abcd.tmp"
    half.write_bytes(b"half")
    capture(SessionRequest(plan, captures=tmp_path))
    assert not half.exists()


@pytest.mark.parametrize(
    "content",
    [
        b"a = " + b"9" * 5_000,
        b"a = " + b"[" * 2_000 + b"]" * 2_000,
        b"a = " + b"{b=" * 2_000 + b"1" + b"}" * 2_000,
        b"a.X.@SUM(A1)=" + b"[" * 2_000,
        b'name = "\xff\xfe"',
        b"x.\xcd\xad \xcd\x00={",
        b"",
    ],
)
def test_a_hostile_plan_is_one_line_of_the_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes
) -> None:
    plan = tmp_path / "plan.toml"
    plan.write_bytes(content)
    assert cli.run(["-q", "capture", "--class", str(plan), "--out", str(tmp_path / "out")]) == 1
    printed = capsys.readouterr()
    (line,) = printed.err.splitlines()
    assert line.startswith(f"loco-tools: {plan}: ")
    assert len(line) < 1_000
    assert line.isprintable()
    assert not (tmp_path / "out").exists()
