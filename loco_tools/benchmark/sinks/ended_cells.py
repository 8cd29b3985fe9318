"""The cells of a run as sinks export them: record, metrics, curves, and a digest."""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from loco_tools.benchmark.cell.record import CellRecord
from loco_tools.benchmark.cell.training_log import TRAINING_FILE, TrainingCurve, read_training_log
from loco_tools.benchmark.run.results_csv import COSTS, LEADING_METRICS
from loco_tools.benchmark.run.runner import Run
from loco_tools.evaluation.metric_table import METRICS


@dataclass(frozen=True)
class EndedCell:
    """A cell that has finished or failed.

    Attributes:
        record: its record.
        folder: its folder.
        digest: a hash of its files; it changes when the cell has run again.
        ended_s: when it ended, in seconds since 1970.
    """

    record: CellRecord
    folder: Path
    digest: str
    ended_s: float

    @property
    def metrics(self) -> dict[str, float]:
        """Metrics and costs by their columns in results.csv, without those that do not apply."""
        record = self.record
        values = {METRICS[name].column: record.metric(name) for name in LEADING_METRICS}
        values |= {"separation": record.separation}
        values |= {name: getattr(record.cost, name, None) for name in COSTS}
        return {name: float(value) for name, value in values.items() if value is not None}

    @property
    def curves(self) -> tuple[TrainingCurve, ...]:
        """Training curves; empty where nothing was trained by steps."""
        return read_training_log(self.folder).curves

    @property
    def took_s(self) -> float:
        """Seconds of fitting, and of predicting test images and held-out images."""
        cost = self.record.cost
        if cost is None:
            return 0.0
        images = sum(n for name, n in self.record.counts.items() if name.startswith("test/"))
        return cost.fit_s + images * cost.ms_per_image / 1000 + cost.held_out_s


def ended_cells(out: Path, run: Run) -> list[EndedCell]:
    """The cells of a run that have ended so far, in the order of the run."""
    cells = []
    for record in run.records(out):
        folder = record.cell.folder(out)
        digest = hashlib.sha256()
        for name in ("result.json", TRAINING_FILE):
            path = folder / name
            digest.update(path.read_bytes() if path.is_file() else b"-")
        ended_s = (folder / "result.json").stat().st_mtime
        cells.append(EndedCell(record, folder, digest.hexdigest()[:32], ended_s))
    return cells


def sanitize(name: str) -> str:
    """The name of a metric with characters that every sink accepts."""
    return re.sub(r"[^A-Za-z0-9_\-. /]", "_", name)


def summarize(written: int, cells: int) -> str:
    """Describe for a person what a sink has done.

    >>> summarize(1, 5)
    '1 cell written, 4 were up to date'
    """
    noun, verb = "cell" if written == 1 else "cells", "was" if cells - written == 1 else "were"
    return f"{written} {noun} written, {cells - written} {verb} up to date"
