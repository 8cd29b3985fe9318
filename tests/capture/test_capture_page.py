"""The README of capture/: its commands exist, its offline commands run, its examples work."""

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from page_commands import console_commands

from loco_tools.capture.cameras import CAMERAS
from loco_tools.capture.session import read_session, read_shots
from loco_tools.cli import cli
from loco_tools.plan import Gates, Plan, load_plan
from loco_tools.schema import read_toml
from loco_tools.testing import check_camera

REPOSITORY = Path(__file__).parents[2]
README = REPOSITORY / "capture" / "README.md"
TEXT = README.read_text()


COMMANDS = console_commands(TEXT)
CAMERA, TWIN = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty current folder with the camera of the page."""
    (tmp_path / "my_camera.py").write_text(CAMERA)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    yield tmp_path
    sys.modules.pop("my_camera", None)


def run(*words: str) -> None:
    result = CliRunner().invoke(cli, words)
    assert result.exit_code == 0, f"{words}: {result.output} {result.exception}"


def test_every_console_line_is_a_command_of_loco_tools() -> None:
    assert {words[0] for words in COMMANDS} == {"loco-tools"}
    assert len(COMMANDS) >= 8


def test_the_offline_commands_run(workspace: Path) -> None:
    pytest.importorskip("mitsuba", reason="needs the extra 'twin'")
    for words in console_commands(TEXT, "offline"):
        run(*words[1:])
    assert len(read_shots(workspace / "captures" / "angle" / "session-001")) == 3
    run("calibrate", "board", "--out", "board.pdf")
    assert (workspace / "board.pdf").is_file()


def test_the_camera_of_the_page_passes_the_checks_and_takes_a_session(workspace: Path) -> None:
    [check] = re.findall(r"`(check_camera\(.*?\)\))`", TEXT)
    from my_camera import MyCamera

    eval(check, {"check_camera": check_camera, "MyCamera": MyCamera})  # noqa: S307
    [words] = [words for words in COMMANDS if "my_camera:MyCamera:7" in words]
    run("-q", *words[1:])
    session = workspace / "captures" / "angle" / "session-001"
    assert read_session(session).camera.identity == "my_camera:MyCamera:7"
    assert len(read_shots(session)) == len(list(load_plan("angle").for_demo().planned_shots()))


def test_the_example_of_the_twin_runs(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("mitsuba", reason="needs the extra 'twin'")
    exec(compile(TWIN, "README.md", "exec"), {})  # noqa: S102
    assert capsys.readouterr().out == "(240, 320, 3) ['bent_leg']\n"


def test_the_example_plan_is_valid(tmp_path: Path) -> None:
    [example] = re.findall(r"```toml\n(.*?)```", TEXT, re.DOTALL)
    path = tmp_path / "strip.toml"
    path.write_text(example)
    plan = read_toml(Plan, path)
    assert [view.name for view in plan.views] == ["side"]
    assert len(list(plan.for_demo().planned_shots())) == 1
    assert load_plan(str(path)) == plan


def test_every_plan_camera_and_gate_is_listed() -> None:
    for path in (REPOSITORY / "capture").glob("*.toml"):
        assert f"[{path.name}]" in TEXT
        assert load_plan(str(path)).name == path.stem
    for kind in set(CAMERAS) - {"rtsps", "https"}:
        assert re.search(rf"^\| `?.*`{kind}\b", TEXT, re.MULTILINE), kind
    assert all(f"`{limit}`" in TEXT for limit in Gates.model_fields)


def test_links_lead_to_files() -> None:
    targets = re.findall(r"\]\(([^)#]+)\)", TEXT)
    assert targets
    for target in targets:
        assert (README.parent / target).exists(), target
