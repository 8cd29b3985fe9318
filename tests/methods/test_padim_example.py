import csv
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from loco_tools.testing import check_detector

EXAMPLE = Path(__file__).parent / "padim_example.py"


def test_the_example_is_short() -> None:
    assert len(EXAMPLE.read_text("utf-8").splitlines()) <= 40


def test_the_example_conforms(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(EXAMPLE.parent)
    check_detector("padim_example:PaDiM")


def test_the_example_runs_from_its_folder_and_in_an_ensemble(
    make_ad_class: Callable[..., Path], tmp_path: Path
) -> None:
    folder = tmp_path / "work"
    folder.mkdir()
    shutil.copy(EXAMPLE, folder / "my_padim.py")
    # -P as the installed command: without the current folder on the path
    command = [sys.executable, "-P", "-m", "loco_tools", "bench", "--data", str(make_ad_class())]
    command += ["--methods", "my_padim:PaDiM,patchcore,ensemble-mean", "--backbone", "scattering"]
    command += ["--size", "64", "--out", "run", "--workers", "2"]
    finished = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=300, check=False
    )
    assert finished.returncode == 0, finished.stderr
    with (folder / "run" / "results.csv").open(encoding="utf-8", newline="") as stream:
        rows = {row["method"]: row for row in csv.DictReader(stream)}
    assert {name: (row["status"], row["category"]) for name, row in rows.items()} == {
        "my_padim:PaDiM": ("ok", "density"),
        "patchcore": ("ok", "memory bank"),
        "ensemble-mean": ("ok", "ensemble"),
    }
