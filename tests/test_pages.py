"""The pages are true: every command in them exists, every link leads somewhere, examples run."""

import ast
import re
import subprocess
from pathlib import Path

import click
import pytest
from page_commands import console_commands

from loco_tools import cli
from loco_tools.benchmark.suite import load_suite

REPOSITORY = Path(__file__).resolve().parents[1]
PAGES = sorted(
    REPOSITORY / name
    for name in subprocess.run(
        ["git", "ls-files", "*.md"], cwd=REPOSITORY, capture_output=True, text=True, check=True
    ).stdout.split()
)
ROOMS = ("capture", "annotations", "benchmark", "data_cards")


COMMANDS = [
    (page.relative_to(REPOSITORY).as_posix(), words[1:])
    for page in PAGES
    for words in console_commands(page.read_text())
    if words[0] == "loco-tools"
]


@pytest.mark.parametrize(("page", "words"), COMMANDS, ids=lambda value: "".join(value[:60]))
def test_every_command_in_a_page_exists_and_takes_its_options(page: str, words: list[str]) -> None:
    command: click.Command = cli.cli
    while isinstance(command, click.Group):
        assert words[0] in command.commands, page
        command, words = command.commands[words[0]], words[1:]
    context = click.Context(command)
    try:
        values, left, _ = command.make_parser(context).parse_args(list(words))
        for parameter in command.params:
            given = values.get(parameter.name or "")
            assert isinstance(given, str) or not parameter.required, f"{page}: {words}"
            if isinstance(given, str) and not isinstance(parameter.type, click.Path):
                parameter.type_cast_value(context, given)
    except click.UsageError as error:
        pytest.fail(f"{page}: {words}: {error.format_message()}")
    assert not left


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(REPOSITORY).as_posix())
def test_every_link_of_a_page_leads_to_a_file_and_a_heading(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, heading = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), f"{page.name} links to {target}"
        if heading:
            titles = re.findall(r"^#+ (.*)$", file.read_text(), re.MULTILINE)
            anchors = {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}
            assert heading in anchors, f"{page.name} links to {target}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(REPOSITORY).as_posix())
def test_every_python_example_of_a_page_is_python(page: Path) -> None:
    for block in re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL):
        ast.parse(block)


def test_the_readme_is_short_and_every_room_has_one() -> None:
    assert len((REPOSITORY / "README.md").read_text().splitlines()) <= 150
    for room in ROOMS:
        assert len((REPOSITORY / room / "README.md").read_text().splitlines()) >= 20


def test_the_map_names_every_room() -> None:
    text = (REPOSITORY / "loco_tools" / "README.md").read_text()
    for folder in (REPOSITORY / "loco_tools").glob("*/__init__.py"):
        assert f"`{folder.parent.name}/`" in text
    for file in (REPOSITORY / "loco_tools").glob("[a-z]*.py"):
        assert f"`{file.name}`" in text


def test_every_command_is_in_the_pages_of_the_rooms() -> None:
    text = "\n".join(page.read_text() for page in PAGES)
    for name, command in cli.cli.commands.items():
        subcommands = getattr(command, "commands", None)
        for full in [f"{name} {sub}" for sub in subcommands] if subcommands else [name]:
            assert f"loco-tools {full}" in text


def test_the_worked_example_of_a_detector_is_the_file_that_its_tests_run() -> None:
    example = (REPOSITORY / "tests" / "methods" / "padim_example.py").read_text()
    assert f"```python\n{example}```" in (REPOSITORY / "CONTRIBUTING.md").read_text()


def test_the_suite_in_the_page_is_a_suite(tmp_path: Path) -> None:
    page = (REPOSITORY / "benchmark" / "README.md").read_text()
    (block,) = re.findall(r"```toml\n(.*?)```", page, re.DOTALL)
    (tmp_path / "my_suite.toml").write_text(block)
    suite = load_suite(str(tmp_path / "my_suite.toml"))
    assert [entry.name for entry in suite.methods] == ["patchcore", "patchcore-large"]


def test_the_citation_names_the_version_that_is_built() -> None:
    version = re.search(r'^version = "(.*)"', (REPOSITORY / "pyproject.toml").read_text(), re.M)
    assert version is not None
    assert f"\nversion: {version[1]}\n" in (REPOSITORY / "CITATION.cff").read_text()
    assert f"\n## {version[1]}" in (REPOSITORY / "CHANGELOG.md").read_text()
