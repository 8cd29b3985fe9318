"""The README of annotations/: its commands exist, its offline commands run, its example loads."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner
from page_commands import console_commands

from loco_tools.annotations.formats import FORMATS
from loco_tools.annotations.taxonomy import Taxonomy, load_taxonomy
from loco_tools.cli import cli
from loco_tools.schema import read_toml

REPOSITORY = Path(__file__).parents[2]
README = REPOSITORY / "annotations" / "README.md"
TEXT = README.read_text()


ALL = console_commands(TEXT)
LOCO_TOOLS = [words[1:] for words in ALL if words[0] == "loco-tools"]


def test_every_line_is_a_command_of_loco_tools_or_make() -> None:
    assert len(LOCO_TOOLS) >= 8
    targets = re.findall(r"^([a-z-]+):", (REPOSITORY / "Makefile").read_text(), re.MULTILINE)
    assert all(words[1] in targets for words in ALL if words[0] == "make")
    assert {words[0] for words in ALL} == {"loco-tools", "make"}


def test_the_offline_commands_run(
    make_session: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_session()
    monkeypatch.chdir(tmp_path)
    for words in console_commands(TEXT, "offline"):
        result = CliRunner().invoke(cli, words[1:])
        assert result.exit_code == 0, f"{words}: {result.output}"
    written = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")}
    assert {"data/composite_part/defects_config.json", "masks/regions.json"} <= written
    for file in re.findall(r"^\| `(data/CLASS\S*?)/?` \|", TEXT, re.MULTILINE):
        assert file.replace("CLASS", "composite_part") in written


def test_the_example_taxonomy_is_valid(tmp_path: Path) -> None:
    [example] = re.findall(r"```toml\n(.*?)```", TEXT, re.DOTALL)
    path = tmp_path / "bracket.toml"
    path.write_text(example)
    taxonomy = read_toml(Taxonomy, path)
    assert [defect.kind for defect in taxonomy.defects] == ["structural", "logical"]


def test_every_taxonomy_and_every_format_is_listed() -> None:
    for path in (REPOSITORY / "annotations").glob("*.toml"):
        assert f"[{path.name}]" in TEXT
        assert load_taxonomy(str(path)).name == path.stem
    assert all(f"| {name} |" in TEXT for name in FORMATS)


def test_links_lead_to_files() -> None:
    targets = re.findall(r"\]\(([^)#]+)\)", TEXT)
    assert targets
    for target in targets:
        assert (README.parent / target).exists(), target
