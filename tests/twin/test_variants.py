import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from loco_tools.errors import DefinitionError
from loco_tools.twin import variant

SHOW = "from loco_tools import twin; print(twin.variant())"


def fake_python(folder: Path, code: int) -> Path:
    """Stands in for the interpreter of the trial; counts its calls, then ends with `code`."""
    script = folder / "python"
    ends = f"exit {code}" if code >= 0 else f"kill -{-code} $$"
    script.write_text(f"#!/bin/sh\necho called >> {folder}/calls\necho boom >&2\n{ends}\n")
    script.chmod(0o755)
    return script


def chosen(cache: Path, interpreter: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """What a fresh process chooses when its trials run under `interpreter`."""
    script = f"import sys; sys.executable = {str(interpreter)!r}; {SHOW}"
    inherited = {k: v for k, v in os.environ.items() if k != "LOCO_TOOLS_TWIN_VARIANT"}
    return subprocess.run(
        [sys.executable, "-c", script],
        env=inherited | {"XDG_CACHE_HOME": str(cache)} | environment,
        capture_output=True,
        text=True,
        check=False,
    )


def calls(folder: Path) -> int:
    journal = folder / "calls"
    return len(journal.read_text().splitlines()) if journal.exists() else 0


pytestmark = [
    pytest.mark.skipif(os.name == "nt", reason="the stand-in for the interpreter is a shell script")
]


@pytest.mark.parametrize(("code", "expected"), [(0, "llvm_ad_rgb"), (1, "scalar_rgb")])
def test_the_trial_decides_once_and_its_outcome_is_cached(
    code: int, expected: str, tmp_path: Path
) -> None:
    pytest.importorskip("mitsuba")
    interpreter = fake_python(tmp_path, code)
    for _ in range(2):
        assert chosen(tmp_path / "cache", interpreter).stdout.strip() == expected
    assert calls(tmp_path) == 1
    (kept,) = (tmp_path / "cache" / "loco-tools").glob("twin-variant-*.json")
    assert "boom" in json.loads(kept.read_text())["trial"]


def test_a_trial_that_crashes_selects_the_scalar_variant(tmp_path: Path) -> None:
    pytest.importorskip("mitsuba")
    done = chosen(tmp_path / "cache", fake_python(tmp_path, -6))
    assert (done.returncode, done.stdout.strip()) == (0, "scalar_rgb")


def test_another_llvm_library_causes_another_trial(tmp_path: Path) -> None:
    pytest.importorskip("mitsuba")
    interpreter = fake_python(tmp_path, 1)
    chosen(tmp_path / "cache", interpreter)
    chosen(tmp_path / "cache", interpreter, DRJIT_LIBLLVM_PATH="/opt/libLLVM.so")
    assert calls(tmp_path) == 2


def test_without_a_cache_folder_the_trial_still_decides(tmp_path: Path) -> None:
    pytest.importorskip("mitsuba")
    no_folder = tmp_path / "file"
    no_folder.write_text("")
    assert chosen(no_folder, fake_python(tmp_path, 0)).stdout.strip() == "llvm_ad_rgb"


def test_a_damaged_cache_causes_another_trial(tmp_path: Path) -> None:
    pytest.importorskip("mitsuba")
    interpreter = fake_python(tmp_path, 0)
    chosen(tmp_path / "cache", interpreter)
    (kept,) = (tmp_path / "cache" / "loco-tools").glob("twin-variant-*.json")
    kept.write_text("{")
    assert chosen(tmp_path / "cache", interpreter).stdout.strip() == "llvm_ad_rgb"
    assert calls(tmp_path) == 2


def test_the_environment_chooses_without_a_trial(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("LOCO_TOOLS_TWIN_VARIANT", "llvm_ad_rgb")
    assert variant() == "llvm_ad_rgb"
    assert not list(tmp_path.iterdir())


def test_an_unknown_variant_is_refused_with_the_nearest_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("LOCO_TOOLS_TWIN_VARIANT", "llvm_rgb")
    with pytest.raises(DefinitionError, match='"llvm_rgb": unknown; did you mean "llvm_ad_rgb"'):
        variant()
