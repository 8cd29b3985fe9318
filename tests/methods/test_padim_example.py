import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from loco_tools.testing import check_detector

EXAMPLE = Path(__file__).parent / "padim_example.py"


def test_the_example_is_short() -> None:
    assert len(EXAMPLE.read_text("utf-8").splitlines()) <= 40


def test_the_example_conforms(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(EXAMPLE.parent)
    check_detector("padim_example:PaDiM")


def test_the_example_runs_from_its_folder_and_in_ensembles(
    tiny_class: Path, tmp_path: Path
) -> None:
    shutil.copy(EXAMPLE, tmp_path / "my_padim.py")
    command = [sys.executable, "-m", "loco_tools", "bench", "--data", str(tiny_class)]
    command += ["--methods", "my_padim:PaDiM,patchcore,ensemble,ensemble-mean"]
    command += ["--backbone", "scattering", "--size", "64", "--out", "run", "--workers", "1"]
    subprocess.run(command, cwd=tmp_path, check=True, timeout=300)
    results = (tmp_path / "run" / "results.csv").read_text("utf-8")
    assert all(f",{status}," not in results for status in ("failed",))
