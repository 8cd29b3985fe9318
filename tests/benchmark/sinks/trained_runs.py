"""Runs with training curves for tests of sinks: files alone, no detector."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from finished_runs import KINDS, make_run

from loco_tools import files
from loco_tools.benchmark.cell.record import Cell, read_record, write_failure
from loco_tools.benchmark.cell.training_log import write_training_log

LOG = [
    {"epoch": 1.0, "step": 5.0, "loss": 3.0, "loss/good": 1.0, "validation": 2.5},
    {"epoch": 2.0, "step": 10.0, "loss": 1.5, "loss/good": 0.5},
]


def make_trained_run(
    out: Path, *, seeds: Sequence[int] = (0, 1), log: Sequence[Mapping[str, float]] = LOG
) -> Path:
    """A run of "bank", which is not trained, and "trained", on one class."""
    cells: list[dict[str, Any]] = [
        {"method": method, "seed": seed, "scores": [0.1 * n + seed for n in range(len(KINDS))]}
        for method in ("bank", "trained")
        for seed in seeds
    ]
    make_run(out, cells)
    for seed in seeds:
        write_training_log(Cell("trained", "plate", seed).folder(out), log)
    files.write_text(out / "results.csv", "method\n")
    return out


def fail(out: Path, cell: Cell, error: str) -> None:
    """Put a failed record in the place of a cell's."""
    record = read_record(cell, out)
    assert record is not None
    write_failure(record.stamp, error, "", out)


def change(out: Path, cell: Cell, au_spro: float) -> None:
    """Work on a cell again, with another figure."""
    record = read_record(cell, out)
    assert record is not None
    figures = record.figures | {"au_spro": au_spro}
    again = record.model_copy(update={"figures": figures})
    files.write_json(cell.folder(out) / "result.json", again.model_dump(mode="json"))
