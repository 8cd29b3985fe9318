import errno
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import click
import pytest

from loco_tools import cli
from loco_tools.errors import LocoToolsError


def commands(group: click.Group = cli.cli, prefix: str = "") -> Iterator[tuple[str, click.Command]]:
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, f"{prefix}{name} ")
        else:
            yield f"{prefix}{name}", command


ALL = dict(commands())


@pytest.mark.parametrize("name", ALL)
def test_every_command_has_help_with_an_example(name: str) -> None:
    command = ALL[name]
    assert command.help
    assert f"Example: loco-tools {name}" in command.help


@pytest.mark.parametrize("name", ALL)
def test_every_option_is_explained_or_obvious(name: str) -> None:
    obvious = {"--alpha-threshold"}
    for parameter in ALL[name].params:
        if isinstance(parameter, click.Option) and not obvious & set(parameter.opts):
            assert parameter.help, f"{name} {parameter.opts[0]} has no help"


def test_a_command_without_data_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.run(["bench", "--methods", "patchcore"]) == 1
    message = capsys.readouterr().err
    assert "data" in message
    assert "next step" in message


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["capture", "--class", "angel"], 'unknown plan "angel"; did you mean "angle"'),
        (["capture", "--class", "angle", "--camera", "twim"], 'did you mean "twin"'),
        (["bench", "--suite", "dem"], 'unknown suite "dem"; did you mean "demo"'),
    ],
)
def test_an_unknown_name_ends_with_1_and_the_nearest(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.run(arguments) == 1
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_an_unknown_method_ends_with_1_and_the_nearest_before_anything_is_written(
    make_ad_class: Callable[..., Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    data, out = make_ad_class(), tmp_path / "out"
    arguments = ["--data", str(data), "--out", str(out)]
    assert cli.run(["bench", "--methods", "patchcor", *arguments]) == 1
    assert 'unknown method "patchcor"; did you mean "patchcore"' in capsys.readouterr().err
    assert cli.run(["bench", "--methods", "patchcore", "--class", "x", *arguments]) == 1
    assert 'unknown class "x"' in capsys.readouterr().err
    assert not out.exists()


@pytest.mark.parametrize(
    "arguments", [["bench"], ["capture"], ["nonsense"], ["bench", "--methods", "a", "--seeds", "x"]]
)
def test_wrong_usage_ends_with_2(arguments: list[str]) -> None:
    assert cli.run(arguments) == 2


@pytest.mark.parametrize(
    ("fault", "message", "code"),
    [
        (LocoToolsError("what happened"), "loco-tools: what happened\n", 1),
        (OSError(errno.ENOSPC, "No space left on device", "x.png"), "x.png: the disk is full", 1),
        (PermissionError(errno.EACCES, "Permission denied", "x"), "x: Permission denied", 1),
        (KeyboardInterrupt(), "interrupted; what was finished is kept", 130),
    ],
)
def test_every_fault_becomes_one_message_and_an_exit_code(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    fault: BaseException,
    message: str,
    code: int,
) -> None:
    def fail(_name: str) -> None:
        raise fault

    monkeypatch.setattr("loco_tools.plan.load_plan", fail)
    assert cli.run(["capture", "--class", "angle"]) == code
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("fault", "code"),
    [(OSError(errno.ENOSPC, "No space left on device", "x.png"), 1), (KeyboardInterrupt(), 130)],
)
def test_a_stopped_command_says_what_it_keeps_and_whether_it_goes_on(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    make_ad_class: Callable[..., Path],
    fault: BaseException,
    code: int,
) -> None:
    def fail(*_: object) -> None:
        raise fault

    monkeypatch.setattr("loco_tools.datasets.load", fail)
    monkeypatch.setattr("loco_tools.plan.load_plan", fail)
    assert cli.run(["-q", "show", str(make_ad_class())]) == code
    assert "earlier output is unchanged, run the command again to start" in capsys.readouterr().err
    assert cli.run(["-q", "capture", "--class", "angle"]) == code
    assert "finished is kept, run the command again to go on" in capsys.readouterr().err


def test_a_dry_run_lists_the_shots_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["capture", "--class", "angle", "--demo", "--dry-run", "--json"]) == 0
    shots = json.loads(capsys.readouterr().out)
    assert {shot["view"] for shot in shots} == {"top", "inside", "outside"}


@pytest.mark.parametrize("name", ALL)
def test_every_command_takes_the_options_for_its_output(name: str) -> None:
    options = {word for parameter in ALL[name].params for word in parameter.opts}
    assert {"--json", "-q", "--quiet", "-v", "--verbose", "--log-file"} <= options


@pytest.mark.parametrize("name", ALL)
def test_every_command_reports_wrong_usage_as_json(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run([*name.split(), "--no-such-option", "--json"]) == 2
    assert json.loads(capsys.readouterr().out)["error"]["exit_code"] == 2


def test_a_fault_is_one_json_document_when_json_is_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(["show", str(tmp_path), "--json"]) == 1
    printed = capsys.readouterr()
    error = json.loads(printed.out)["error"]
    assert error["type"] == "DatasetError"
    assert error["exit_code"] == 1
    assert error["message"] in printed.err


def test_evaluate_takes_json_with_and_without_a_file(
    make_ad_class: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    evaluate = ["evaluate", str(tmp_path), "--data", str(make_ad_class())]
    assert cli.run([*evaluate, "--json"]) == 1
    assert "error" in json.loads(capsys.readouterr().out)
    assert cli.run([*evaluate, "--json", str(tmp_path / "metrics.json")]) == 1
    assert not capsys.readouterr().out


@pytest.mark.parametrize("quiet", [["-q", "validate"], ["validate", "--quiet"]])
def test_quiet_is_taken_before_and_after_the_command(
    make_ad_class: Callable[..., Path], capsys: pytest.CaptureFixture[str], quiet: list[str]
) -> None:
    assert cli.run([*quiet, str(make_ad_class())]) == 0
    assert not capsys.readouterr().err


@pytest.mark.parametrize("verbose", [["-v", "show"], ["show", "--verbose"]])
def test_verbose_adds_the_traceback(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], verbose: list[str]
) -> None:
    assert cli.run([*verbose, str(tmp_path)]) == 1
    message = capsys.readouterr().err
    assert "Traceback (most recent call last)" in message
    assert cli.run(["show", str(tmp_path)]) == 1
    assert "Traceback" not in capsys.readouterr().err


def test_a_log_file_holds_the_traceback_and_no_password(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = tmp_path / "loco.log"
    camera = "rtsp://someone:secret@127.0.0.1:9/live"
    assert cli.run(["--log-file", str(log), "cameras", "--camera", camera]) == 1
    assert cli.run(["show", str(tmp_path), "--log-file", str(log)]) == 1
    text = log.read_text()
    assert "DatasetError" in text
    assert "rtsp://***@127.0.0.1" in text
    assert "secret" not in text
    assert "Traceback" not in capsys.readouterr().err


def test_a_log_file_that_cannot_be_written_is_one_message(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(["--log-file", str(tmp_path / "none" / "x.log"), "cameras"]) == 1
    assert "No such file or directory" in capsys.readouterr().err


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shell_completion_is_there(shell: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "loco_tools"],
        env={**os.environ, "_LOCO_TOOLS_COMPLETE": f"{shell}_source"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "_LOCO_TOOLS_COMPLETE" in done.stdout
