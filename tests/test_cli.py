import errno
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import click
import pytest

from loco_tools import cli
from loco_tools.errors import LocoToolsError

REPOSITORY = Path(__file__).resolve().parents[1]


def commands(group: click.Group = cli.cli, prefix: str = "") -> Iterator[tuple[str, click.Command]]:
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, f"{prefix}{name} ")
        else:
            yield f"{prefix}{name}", command


ALL = dict(commands())


@pytest.mark.parametrize("name", ALL)
def test_every_command_has_help_with_an_example_and_is_in_the_readme(name: str) -> None:
    command = ALL[name]
    assert command.help
    assert f"Example: loco-tools {name}" in command.help
    assert f"loco-tools {name}" in (REPOSITORY / "README.md").read_text()


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
    ("fault", "message"),
    [
        (LocoToolsError("what happened"), "loco-tools: what happened\n"),
        (OSError(errno.ENOSPC, "No space left on device", "x.png"), "x.png: the disk is full"),
        (PermissionError(errno.EACCES, "Permission denied", "x"), "x: Permission denied"),
        (KeyboardInterrupt(), "interrupted; what was finished is kept"),
    ],
)
def test_every_fault_becomes_one_message_and_exit_code_1(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    fault: BaseException,
    message: str,
) -> None:
    def fail(_name: str) -> None:
        raise fault

    monkeypatch.setattr("loco_tools.plan.load_plan", fail)
    assert cli.run(["capture", "--class", "angle"]) == 1
    assert message in capsys.readouterr().err


def test_a_dry_run_lists_the_shots_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["capture", "--class", "angle", "--demo", "--dry-run", "--json"]) == 0
    shots = json.loads(capsys.readouterr().out)
    assert {shot["view"] for shot in shots} == {"top", "inside", "outside"}
