from collections.abc import Mapping
from pathlib import Path

import pytest
from trained_runs import change, fail, make_trained_run

from loco_tools import extras
from loco_tools.benchmark.cell.record import Cell
from loco_tools.benchmark.sinks import Sinks
from loco_tools.benchmark.sinks.event_files import write_events
from loco_tools.errors import BenchmarkError, MissingExtraError


def scalars(folder: Path) -> Mapping[str, list[tuple[int, float]]]:
    """What TensorBoard itself reads there: step and value by tag."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder), size_guidance={"scalars": 0})
    events.Reload()
    return {
        tag: [(event.step, event.value) for event in events.Scalars(tag)]
        for tag in events.Tags()["scalars"]
    }


def event_files(folder: Path) -> list[Path]:
    return sorted(folder.rglob("events.out.tfevents.*"))


def test_tensorboard_reads_the_curves_and_the_figures_of_every_cell(tmp_path: Path) -> None:
    out = make_trained_run(tmp_path / "out")
    assert write_events(out, tmp_path / "events") == "4 cells written, 0 were up to date"
    trained = scalars(tmp_path / "events" / "trained" / "plate" / "1")
    assert trained["training/loss"] == [(5, 3.0), (10, 1.5)]
    assert trained["training/loss/good"] == [(5, 1.0), (10, 0.5)]
    assert trained["training/validation"] == [(5, 2.5)]
    assert trained["figures/au_spro_0.05"] == [(10, 0.5)]
    bank = scalars(tmp_path / "events" / "bank" / "plate" / "0")
    assert bank["figures/ms_per_image"] == [(0, 10.0)]
    assert not [tag for tag in bank if tag.startswith("training/")]


def test_writing_again_doubles_nothing_and_a_changed_cell_is_replaced(tmp_path: Path) -> None:
    out, folder = make_trained_run(tmp_path / "out"), tmp_path / "events"
    write_events(out, folder)
    before = event_files(folder)
    assert write_events(out, folder) == "0 cells written, 4 were up to date"
    assert event_files(folder) == before
    change(out, Cell("trained", "plate", 0), au_spro=0.75)
    assert write_events(out, folder) == "1 cell written, 3 were up to date"
    assert len(event_files(folder)) == 4
    again = scalars(folder / "trained" / "plate" / "0")
    assert again["figures/au_spro_0.05"] == [(10, 0.75)]


def test_a_failed_cell_has_nothing_to_show(tmp_path: Path) -> None:
    out = make_trained_run(tmp_path / "out", seeds=[0])
    fail(out, Cell("bank", "plate", 0), "boom")
    assert write_events(out, tmp_path / "events") == "1 cell written, 0 were up to date"


def test_without_a_folder_the_files_lie_in_the_run(tmp_path: Path) -> None:
    out = make_trained_run(tmp_path / "out", seeds=[0])
    (line,) = Sinks(tensorboard=Path()).fill(out)
    assert line == f"TensorBoard: 2 cells written, 0 were up to date in {out / 'tensorboard'}"
    assert len(event_files(out / "tensorboard")) == 2


def test_no_file_names_the_machine(tmp_path: Path) -> None:
    import socket

    out = make_trained_run(tmp_path / "out", seeds=[0])
    write_events(out, tmp_path / "events")
    assert not [path for path in event_files(tmp_path) if socket.gethostname() in path.name]


def test_a_folder_that_cannot_be_written_is_a_clear_error(tmp_path: Path) -> None:
    out = make_trained_run(tmp_path / "out", seeds=[0])
    (tmp_path / "file").write_text("")
    with pytest.raises(BenchmarkError, match=r"results are complete .*name another folder with"):
        write_events(out, tmp_path / "file" / "events")


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(extras.MODULES, "tensorboard", ("no_such_module",))
    with pytest.raises(MissingExtraError, match=r"--tensorboard needs the extra 'tensorboard'"):
        Sinks(tensorboard=Path()).check()
