import csv
from pathlib import Path

import pytest
from finished_runs import KINDS, make_run

from loco_tools import cli, files
from loco_tools.benchmark.analysis.run_data import gather
from loco_tools.benchmark.cell.record import Cell
from loco_tools.benchmark.report.writing import publish, without_folders
from loco_tools.benchmark.run.results_csv import write_results
from loco_tools.errors import BenchmarkError, DefinitionError

GOOD, BAD = [0.1 * n for n in range(len(KINDS))], [0.5] * len(KINDS)


def make_published_run(out: Path, *missing: Cell) -> Path:
    """Two methods, two seeds; the cells in `missing` are planned and not finished."""
    cells = [
        {"method": method, "seed": seed, "scores": scores}
        for method, scores in (("sharp", GOOD), ("blunt", BAD))
        for seed in (0, 1)
    ]
    make_run(out, cells)
    for cell in missing:
        (cell.folder(out) / "result.json").unlink()
    write_results(out, gather(out).records)
    return out


def test_a_run_is_published_with_its_conditions_and_its_tables(tmp_path: Path) -> None:
    out = make_published_run(tmp_path / "out")
    target = tmp_path / "results" / "plates.md"
    assert publish(out, target) == target
    text = target.read_text()
    assert "- Seeds: 0, 1\n" in text
    assert "- Preset: fast\n" in text
    assert "- Cells: 4 of 4 (method x class x seed)\n- Left out: nothing\n" in text
    assert "| plate | 5 | 21 | 8 |" in text
    assert "1.000 ±0.000" in text, "the mean and the spread of the sharp method"
    assert "0.500 ±0.000" in text
    assert "AU-sPRO 0.05" in text
    with target.with_suffix(".csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [(row["method"], row["seed"], row["preset"]) for row in rows][:2] == [
        ("sharp", "0", "fast"),
        ("sharp", "1", "fast"),
    ]


def test_what_people_wrote_stays_and_publishing_again_changes_nothing(tmp_path: Path) -> None:
    out, target = make_published_run(tmp_path / "out"), tmp_path / "plates.md"
    publish(out, target)
    by_hand = "# Plates\n\nMade by hand.\n" + target.read_text().partition("\n")[2] + "\nRead so.\n"
    target.write_text(by_hand)
    publish(out, target)
    assert target.read_text() == by_hand


def test_cells_that_are_not_finished_are_left_out_and_named(tmp_path: Path) -> None:
    missing = [Cell("blunt", "plate", 0), Cell("blunt", "plate", 1), Cell("sharp", "plate", 1)]
    out = make_published_run(tmp_path / "out", *missing)
    text = publish(out, tmp_path / "plates.md").read_text()
    assert "- Cells: 1 of 4 (method x class x seed)\n" in text
    assert "- Left out: plate, seed 1: sharp; plate, seed 0, 1: blunt\n" in text
    assert "1.000 ±" not in text, "one seed has no spread"


def test_a_run_without_a_finished_cell_is_not_published(tmp_path: Path) -> None:
    every = [Cell(method, "plate", seed) for method in ("sharp", "blunt") for seed in (0, 1)]
    out = make_published_run(tmp_path / "out", *every)
    with pytest.raises(BenchmarkError, match="no cell is finished, so there is nothing to publish"):
        publish(out, tmp_path / "plates.md")
    assert not (tmp_path / "plates.md").exists()


def test_damaged_marks_are_an_error_and_the_text_stays(tmp_path: Path) -> None:
    out, target = make_published_run(tmp_path / "out"), tmp_path / "plates.md"
    files.write_text(target, "# Plates\n<!-- generated: figures -->\nold\n")
    with pytest.raises(DefinitionError, match=r"plates\.md: expected <!-- /generated -->"):
        publish(out, target)
    assert target.read_text() == "# Plates\n<!-- generated: figures -->\nold\n"
    assert not target.with_suffix(".csv").exists()


def test_the_command_line_publishes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, target = make_published_run(tmp_path / "out"), tmp_path / "plates.md"
    assert cli.run(["-q", "report", str(out), "--publish", str(target)]) == 0
    assert capsys.readouterr().out.splitlines() == [str(out / "report.html"), str(target)]


@pytest.mark.parametrize(
    ("command", "published"),
    [
        ("loco-tools bench --data /home/me/data", "loco-tools bench --data data"),
        ("loco-tools bench --set 'a.b=[1, 2]'", "loco-tools bench --set 'a.b=[1, 2]'"),
        ("loco-tools bench --data data", "loco-tools bench --data data"),
    ],
)
def test_a_published_command_names_nobodys_folders(command: str, published: str) -> None:
    assert without_folders(command) == published
