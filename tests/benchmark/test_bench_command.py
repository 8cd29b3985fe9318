"""What `loco-tools bench` says of where and whether cells run."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import stub_detectors

from loco_tools import cli, extras

Make = Callable[..., Path]

STUB = "stub_detectors:Brightness"


@pytest.fixture
def command(tmp_path: Path, make_loco_class: Make) -> list[str]:
    """A benchmark of one stub, in this process."""
    return [
        *("-q", "bench", "--methods", STUB, "--backbone", "scattering", "--workers", "0"),
        *("--data", str(make_loco_class()), "--out", str(tmp_path / "out")),
    ]


def test_a_dry_run_ends_with_0_and_leaves_no_trace(
    tmp_path: Path, command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run([*command, "--dry-run"]) == 0
    assert f"{STUB} on plate, seed 0  would run" in capsys.readouterr().out
    assert not (tmp_path / "out").exists()
    assert cli.run([*command, "--dry-run", "--json"]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert [(cell["method"], cell["fate"]) for cell in plan["cells"]] == [(STUB, "run")]
    assert (plan["executor"], plan["at_once"], plan["cells_without_estimate"]) == ("local", 1, 1)


def test_a_failed_cell_is_listed_with_1_and_how_to_repeat_it(
    tmp_path: Path, command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    fault = tmp_path / "fault"
    fault.write_text("crash")
    failing = [*command, "--set", f"{STUB}.fault={fault}"]
    assert cli.run(failing) == 1
    assert f"{STUB} on plate, seed 0: RuntimeError: boom" in capsys.readouterr().err
    fault.unlink()
    assert cli.run([*failing, "--json"]) == 1
    said = capsys.readouterr()
    assert json.loads(said.out)["not_repeated"] == 1
    assert "1 of them failed in an earlier run and were not repeated" in said.err
    assert "--retry-failed" in said.err
    assert cli.run([*failing, "--retry-failed"]) == 0


def test_what_a_method_prints_goes_to_standard_error_and_the_json_stays_json(
    command: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    fit = stub_detectors.Brightness._fit

    def fit_with_words(*args: Any, **settings: Any) -> None:
        print("half way")
        fit(*args, **settings)

    monkeypatch.setattr(stub_detectors.Brightness, "_fit", fit_with_words)
    assert cli.run([*command, "--json"]) == 0
    said = capsys.readouterr()
    assert json.loads(said.out)["failed"] == 0
    assert "half way" in said.err


def test_a_report_that_cannot_be_written_is_one_message_and_the_cells_stay(
    tmp_path: Path, command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    in_the_way = tmp_path / "out" / "report.html"
    (in_the_way / "folder").mkdir(parents=True)
    assert cli.run([*command, "--json"]) == 1
    said = capsys.readouterr()
    assert "report.html" in said.err
    assert "Traceback" not in said.err
    assert json.loads(said.out)["error"]["type"] == "BenchmarkError"
    (in_the_way / "folder").rmdir()
    in_the_way.rmdir()
    assert cli.run([*command, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["reused"] == 1


@pytest.mark.parametrize("extra", ["ray", "slurm"])
def test_an_executor_whose_extra_is_missing_says_which_one_to_install(
    tmp_path: Path,
    command: list[str],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    extra: str,
) -> None:
    monkeypatch.setitem(extras.MODULES, extra, ("no_such_module",))
    options = [option for option in command if option not in {"--workers", "0"}]
    assert cli.run([*options, "--executor", extra]) == 1
    assert f"pip install 'loco-tools[{extra}]'" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_an_address_means_a_ray_cluster(
    command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    options = [option for option in command if option not in {"--workers", "0"}]
    assert cli.run([*options, "--address", "127.0.0.1:1", "--dry-run", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["executor"] == "ray"
