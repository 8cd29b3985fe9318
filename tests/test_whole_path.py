"""The README's five commands, run as a user would, and what they leave behind."""

import csv
import json
import re
from pathlib import Path

import pytest
from page_commands import console_commands

import loco_tools
from loco_tools import cli

REPOSITORY = Path(__file__).resolve().parents[1]


def readme_commands() -> list[list[str]]:
    text = (REPOSITORY / "README.md").read_text()
    return [words[1:] for words in console_commands(text, "commands")]


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty folder in which the five commands have been run."""
    folder = tmp_path_factory.mktemp("workspace")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        commands = readme_commands()
        assert len(commands) == 5
        for command in commands:
            assert cli.run(command) == 0, command
    return folder


def test_the_class_is_read_back_with_both_kinds_of_anomalies(workspace: Path) -> None:
    angle = loco_tools.load(workspace / "data" / "angle")
    assert angle.layout == "mvtec_loco"
    assert {sample.kind for sample in angle.test} == {"good", "logical", "structural"}
    assert {sample.view for sample in angle} == {"top", "inside", "outside"}
    for sample in angle.test:
        for defect in sample.defects:
            assert defect.mask.shape == sample.size
            assert 1 <= defect.saturation_px <= defect.mask.sum()


def test_masks_equal_the_twins_truth_where_the_annotator_drew_pixels(workspace: Path) -> None:
    from loco_tools.capture.session import truth_files
    from loco_tools.datasets.images import read_mask

    session = workspace / "captures" / "angle" / "session-001"
    rows = [json.loads(line) for line in (workspace / "data" / "angle.jsonl").open()]
    shots = {row["image"]: row["shot"] for row in rows}
    angle = loco_tools.load(workspace / "data" / "angle")
    compared = 0
    for sample in angle.test:
        image = sample.image_path.relative_to(angle.path).as_posix()
        truths = {name: read_mask(path) > 0 for name, path in truth_files(session, shots[image])}
        for defect in sample.defects:
            drawn, truth = defect.mask, truths[defect.name]
            overlap = (drawn & truth).sum() / (drawn | truth).sum()
            assert overlap > 0.85, f"{shots[image]} {defect.name}: {overlap:.3f}"
            compared += 1
    assert compared >= 7


def test_every_method_has_a_row_with_its_figures(workspace: Path) -> None:
    with (workspace / "runs" / "bench" / "results.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert [row["method"] for row in rows] == ["patchcore", "simplenet", "ensemble"]
    for row in rows:
        assert row["status"] == "ok"
        assert 0 <= float(row["au_spro_0.05"]) <= 1
        assert 0 <= float(row["image_auroc_mean"]) <= 1


def test_a_second_run_reuses_every_cell(
    workspace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(workspace)
    before = (workspace / "runs" / "bench" / "results.csv").read_bytes()
    assert cli.run([*readme_commands()[3], "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["reused"] == 3
    assert (workspace / "runs" / "bench" / "results.csv").read_bytes() == before


def test_capture_and_convert_again_change_nothing(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(workspace)

    def content() -> dict[str, bytes]:
        folders = [workspace / "captures", workspace / "data"]
        files = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
        return {str(path): path.read_bytes() for path in files}

    before = content()
    for command in readme_commands()[:3]:
        assert cli.run(command) == 0
    assert content() == before


def test_the_report_is_one_file_that_needs_nothing_else(workspace: Path) -> None:
    report = (workspace / "runs" / "bench" / "report.html").read_text()
    assert not re.findall(r"""(?:src|href)=["'](?!data:|#)""", report)
    assert "simulated" in report.lower()


NOT_RUN = {
    "--data PATH": "needs MVTec LOCO AD, which cannot be passed on",
    "anomalib:": "needs anomalib's environment: make test-anomalib",
    "--mlflow": "tests/benchmark/sinks runs it with stores of its own",
    "bench --methods patchcore,simplenet,ensemble": "the five commands run it",
}
"""Parts of commands in the pages that this test leaves out, with the reason."""


@pytest.mark.parametrize("room", ["benchmark", "data_cards"])
def test_the_commands_of_a_page_run(
    workspace: Path, monkeypatch: pytest.MonkeyPatch, room: str
) -> None:
    monkeypatch.chdir(workspace)
    page = (REPOSITORY / room / "README.md").read_text()
    commands = [words for words in console_commands(page) if words[0] == "loco-tools"]
    run = [words for words in commands if not any(part in " ".join(words) for part in NOT_RUN)]
    assert len(run) >= 5
    for words in run:
        assert cli.run(words[1:]) == 0, words
