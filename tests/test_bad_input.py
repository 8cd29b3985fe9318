"""What a user sees when something is wrong: one message, exit code 1, nothing half-written."""

import csv
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import loco_tools
from loco_tools import cli
from loco_tools.capture.session import progress_of, read_shots
from loco_tools.datasets.maps import map_path, write_map
from loco_tools.files import sha256_of

CLI = [sys.executable, "-c", "from loco_tools.cli import main; main()"]
FAST = ["--methods", "patchcore", "--backbone", "scattering", "--size", "64"]


def write_maps(class_folder: Path, root: Path, size: tuple[int, int] | None = None) -> Path:
    rng = np.random.default_rng(0)
    for sample in loco_tools.load(class_folder).test:
        write_map(
            map_path(root / sample.class_name, sample),
            rng.random(size or sample.size).astype(np.float32),
        )
    return root / class_folder.name


def test_a_damaged_image_fails_only_its_class_and_is_named(
    make_loco_class: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_loco_class("sound")
    damaged = make_loco_class("damaged") / "train" / "good" / "001.png"
    damaged.write_bytes(damaged.read_bytes()[:-30])
    out = tmp_path / "run"

    code = cli.run(["bench", *FAST, "--data", str(tmp_path / "data"), "--out", str(out)])

    assert code == 1
    assert f"{damaged}: damaged" in capsys.readouterr().err
    with (out / "results.csv").open() as stream:
        rows = {row["class"]: row for row in csv.DictReader(stream)}
    assert rows["sound"]["status"] == "ok"
    assert rows["damaged"]["status"] == "failed"
    assert str(damaged) in rows["damaged"]["error"]
    assert (out / "report.html").exists()


def test_a_map_of_the_wrong_size_is_refused_with_both_sizes(
    make_loco_class: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plate = make_loco_class()
    maps = write_maps(plate, tmp_path / "maps", size=(16, 24))
    figures = tmp_path / "metrics.json"

    code = cli.run(["evaluate", str(maps), "--data", str(plate), "--json", str(figures)])

    assert code == 1
    message = capsys.readouterr().err
    assert "(32, 48)" in message
    assert "(16, 24)" in message
    assert not figures.exists()


def test_missing_maps_are_all_named_at_once(
    make_loco_class: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plate = make_loco_class()
    maps = write_maps(plate, tmp_path / "maps")
    for name in ("good/000", "logical_anomalies/001"):
        (maps / "test" / f"{name}.tiff").unlink()

    assert cli.run(["evaluate", str(maps), "--data", str(plate)]) == 1
    message = capsys.readouterr().err
    assert "good/000" in message
    assert "logical_anomalies/001" in message


def test_a_file_that_is_not_an_export_is_an_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    export = tmp_path / "labelstudio.json"
    export.write_text("[" * 100_000)
    out = tmp_path / "masks"
    assert cli.run(["convert", str(export), "--masks-only", "--out", str(out)]) == 1
    assert str(export) in capsys.readouterr().err
    assert not out.exists()


def test_a_full_disk_stops_a_benchmark_and_leaves_nothing_half_written(
    make_loco_class: Callable[..., Path], tiny_disk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plate, out = make_loco_class(size=(128, 192)), tiny_disk / "run"

    code = cli.run(["bench", *FAST, "--data", str(plate), "--out", str(out)])

    assert code == 1
    assert "disk is full" in capsys.readouterr().err
    left = {path.name for path in out.rglob("*") if path.is_file()}
    assert not {name for name in left if name.endswith(".tmp")}
    assert "scores.csv" not in left


@pytest.mark.skipif(sys.platform == "win32", reason="SIGINT is sent differently there")
def test_ctrl_c_keeps_what_was_captured_and_the_next_run_goes_on(tmp_path: Path) -> None:
    command = [*CLI, "-q", "capture", "--class", "flat_connector", "--demo"]
    folder = tmp_path / "captures" / "flat_connector" / "session-001"
    process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    wait_until(lambda: folder.exists() and len(read_shots(folder)) >= 2, timeout_s=120)
    process.send_signal(signal.SIGINT)
    _, message = process.communicate(timeout=60)

    assert process.returncode == 130
    assert "interrupted; what was finished is kept" in message
    assert "Traceback" not in message
    shots = read_shots(folder)
    assert 2 <= len(shots) < progress_of(folder).planned
    assert all(sha256_of(folder / shot.file) == shot.sha256 for shot in shots)

    again = subprocess.Popen(command, cwd=tmp_path)
    wait_until(lambda: len(read_shots(folder)) > len(shots), timeout_s=120)
    again.send_signal(signal.SIGINT)
    again.wait(timeout=60)
    assert read_shots(folder)[: len(shots)] == shots


def wait_until(reached: Callable[[], bool], *, timeout_s: float) -> None:
    end = time.monotonic() + timeout_s
    while not reached():
        assert time.monotonic() < end, f"not reached within {timeout_s} s"
        time.sleep(0.2)
