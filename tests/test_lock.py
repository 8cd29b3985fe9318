import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from loco_tools.errors import CaptureError
from loco_tools.lock import held, held_beside


def take(folder: Path):
    return held(folder, CaptureError, "begin another session with --new")


def test_the_lock_is_free_again_after_an_error_and_one_process_cannot_take_it_twice(
    tmp_path: Path,
) -> None:
    with pytest.raises(ValueError, match="an accident"), take(tmp_path / "session"):
        raise ValueError("an accident")
    with (
        take(tmp_path / "session"),
        pytest.raises(CaptureError, match=f"written by process {os.getpid()} .*or begin another"),
        take(tmp_path / "session"),
    ):
        pass


def test_a_note_of_a_process_that_has_died_is_not_believed(tmp_path: Path) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    with take(tmp_path / "session"):
        note = tmp_path / "session" / ".holder"
        note.write_text(f"process {ended.pid} on {socket.gethostname()} since yesterday\n")
        with pytest.raises(CaptureError, match="is being written by another process"):
            take(tmp_path / "session").__enter__()


def test_a_lock_beside_its_target_leaves_nothing_and_keeps_others_out(tmp_path: Path) -> None:
    target = tmp_path / "angle"
    with held_beside(target, CaptureError, "name another"):
        assert not target.exists()
        with (
            pytest.raises(CaptureError, match=f"angle: is being written by process {os.getpid()}"),
            held_beside(target, CaptureError, "name another"),
        ):
            pass
    assert list(tmp_path.iterdir()) == []


def test_a_holder_without_a_note_is_another_process(tmp_path: Path) -> None:
    with take(tmp_path / "session"):
        (tmp_path / "session" / ".holder").unlink()
        with pytest.raises(CaptureError, match="is being written by another process"):
            take(tmp_path / "session").__enter__()
