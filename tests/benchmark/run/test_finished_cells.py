"""A finished cell stands for what it was made from, and nothing that comes later harms it."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from executor_runs import table
from finished_runs import make_run

from loco_tools.benchmark.analysis.run_data import gather
from loco_tools.benchmark.cell.record import MAPS_FILE, Cell
from loco_tools.benchmark.report import write_report
from loco_tools.benchmark.run.dry_run import dry_run
from loco_tools.benchmark.run.runner import RunReport, run
from loco_tools.benchmark.suite import Suite
from loco_tools.datasets import load
from loco_tools.errors import BenchmarkError
from loco_tools.evaluation.map_evaluation import evaluate_folder

Make = Callable[..., Path]
MakeSuite = Callable[..., Suite]
Fits = Callable[[], int]

FAULTS = {
    "crash": "RuntimeError: boom <b>crash</b> (in stub_detectors, line ",
    "memory": "MemoryError (in stub_detectors, line ",
    "exit": 'method "stub_detectors:Brightness" called sys.exit(0) (in stub_detectors, line ',
}
DEATHS = {
    "killed": "a worker process died by signal 9 (SIGKILL)",
    "gone": "a worker process died with exit code 3",
}


def contents(folder: Path) -> dict[Path, tuple[bytes, int]]:
    """Every file with its bytes and its inode, which shows that it was not written again."""
    return {
        path: (path.read_bytes(), path.stat().st_ino)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture
def finished(
    tmp_path: Path, make_loco_class: Make, make_suite: MakeSuite
) -> Callable[..., tuple[Callable[..., RunReport], dict[Path, tuple[bytes, int]]]]:
    """Finish a cell per name without maps; the run, to be repeated, and what its cells hold.

    Each prediction then commits the fault that the file `fault-<name>` names.
    """

    def make(*names: str) -> tuple[Callable[..., RunReport], dict[Path, tuple[bytes, int]]]:
        data, out = make_loco_class(), tmp_path / "out"
        late = {name: {"late_fault": str(tmp_path / f"fault-{name}")} for name in names}

        def again(**settings: object) -> RunReport:
            return run(make_suite(*names, overrides=late, **settings), [data], out)

        assert again().exit_code == 0
        return again, contents(out / "cells")

    return make


@pytest.mark.parametrize(
    ("faults", "executor"), [(FAULTS, {"workers": 0}), (DEATHS, {"workers": 1})]
)
def test_maps_that_fail_leave_finished_cells_as_they_were_and_are_reported_and_made_next_time(
    tmp_path: Path,
    finished: Callable[..., tuple[Callable[..., RunReport], dict[Path, tuple[bytes, int]]]],
    fits: Fits,
    faults: dict[str, str],
    executor: dict[str, int],
) -> None:
    again, before = finished(*faults)
    out = tmp_path / "out"
    for name in faults:
        (tmp_path / f"fault-{name}").write_text(name)
    report = again(maps=True, executor=executor)
    assert contents(out / "cells") == before
    assert (report.exit_code, report.failed, len(report.without_maps)) == (1, 0, len(faults))
    for row, message in zip(table(out), faults.values(), strict=True):
        assert (row["status"], row["error"]) == ("ok", "")
        assert row["maps_error"].startswith(message)
    page = write_report(out).read_text()
    assert f"{len(faults)} finished cells without maps" in page
    assert "The result is kept, but the maps are missing: " in page
    for name in faults:
        (tmp_path / f"fault-{name}").unlink()
    report = again(maps=True, executor=executor)
    assert (report.exit_code, fits()) == (0, len(faults))
    assert contents(out / "cells") == before
    assert not gather(out).without_maps


@pytest.mark.parametrize(
    ("fault", "error"), [("full", BenchmarkError), ("interrupt", KeyboardInterrupt)]
)
def test_a_full_disk_and_an_interrupt_while_maps_are_made_leave_finished_cells_as_they_were(
    tmp_path: Path,
    finished: Callable[..., tuple[Callable[..., RunReport], dict[Path, tuple[bytes, int]]]],
    fault: str,
    error: type[BaseException],
) -> None:
    again, before = finished("a")
    (tmp_path / "fault-a").write_text(fault)
    with pytest.raises(error):
        again(maps=True)
    assert contents(tmp_path / "out" / "cells") == before
    assert not list((tmp_path / "out" / "maps").rglob("*.tiff"))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ("model/detector.safetensors", "expected a detector's arrays, got a damaged"),
        ("model/detector.json", "expected JSON"),
        ("scores.csv", "expected the scores of a finished cell"),
    ],
)
def test_a_cell_whose_files_are_damaged_is_not_made_worse_by_asking_for_its_maps(
    tmp_path: Path,
    finished: Callable[..., tuple[Callable[..., RunReport], dict[Path, tuple[bytes, int]]]],
    damage: str,
    message: str,
) -> None:
    again, _ = finished("a")
    cell = Cell("a", "plate", 0).folder(tmp_path / "out")
    (cell / damage).write_text("{")
    before = contents(cell)
    (record,) = again(maps=True).without_maps
    assert message in record.maps_error
    assert contents(cell) == before


def test_a_detector_that_predicts_otherwise_than_its_cell_says_gives_no_maps(
    tmp_path: Path,
    finished: Callable[..., tuple[Callable[..., RunReport], dict[Path, tuple[bytes, int]]]],
) -> None:
    again, _ = finished("a")
    scores = Cell("a", "plate", 0).folder(tmp_path / "out") / "validation_scores.csv"
    lines = scores.read_text().splitlines()
    scores.write_text("\n".join([lines[0], *(line.replace(",0.", ",0.9") for line in lines[1:])]))
    (record,) = again(maps=True).without_maps
    assert "the saved detector no longer gives these image scores" in record.maps_error
    assert not (tmp_path / "out" / "maps" / "a" / "0" / "plate").exists()


def test_maps_are_those_of_their_cell_whatever_was_run_before(
    tmp_path: Path, make_loco_class: Make, make_suite: MakeSuite, fits: Fits
) -> None:
    data, out = make_loco_class(size=(64, 96)), tmp_path / "out"
    maps, cell = out / "maps" / "bright" / "0" / "plate", Cell("bright", "plate", 0).folder(out)

    def is_of_the_cell() -> bool:
        kept = json.loads((cell / "result.json").read_text())["metrics"]
        evaluated = evaluate_folder(maps, load(data), bootstrap=0).metrics
        return bool(evaluated["localization"] == kept["localization"])

    run(make_suite(input_size_px=32, maps=True), [data], out)
    assert is_of_the_cell()
    run(make_suite(input_size_px=64), [data], out)
    assert not maps.exists(), "maps of another setting are not left beside the new result"
    plans = dry_run(make_suite(input_size_px=64, maps=True), [data], out)
    assert [one.plan.action for one in plans.forecasts] == ["maps"]
    report = run(make_suite(input_size_px=64, maps=True), [data], out)
    assert (report.exit_code, report.reused, fits()) == (0, 0, 2)
    assert is_of_the_cell()
    assert json.loads((maps / MAPS_FILE).read_text())["class_name"] == "plate"
    for damage in (
        (maps / MAPS_FILE).unlink,
        lambda: (maps / MAPS_FILE).write_text("[" * 5000),
        lambda: next(maps.rglob("*.tiff")).unlink(),
    ):
        assert run(make_suite(input_size_px=64, maps=True), [data], out).reused == 1
        damage()
        assert run(make_suite(input_size_px=64, maps=True), [data], out).reused == 0
        assert is_of_the_cell()
    assert fits() == 2


def test_the_report_of_a_run_of_an_earlier_version_is_still_written(tmp_path: Path) -> None:
    scores = [n / 16 for n in range(16)]
    make_run(tmp_path, [{"method": "patchcore", "scores": scores}])
    record = Cell("patchcore", "plate", 0).folder(tmp_path) / "result.json"
    for path, steps in (
        (record, [("stamp", "threads"), ("stamp", "sidecar_hash")]),
        (tmp_path / "run.json", [("cells", 0, "maps_error"), ("suite", "threads")]),
    ):
        content = json.loads(path.read_text())
        for *parents, key in steps:
            holder = content
            for step in parents:
                holder = holder[step]
            del holder[key]
        path.write_text(json.dumps(content))
    assert "patchcore" in write_report(tmp_path).read_text()
    assert [record.status for record in gather(tmp_path).records] == ["ok"]
