"""What sinks pass on of a cell: its record, its curves, and a mark by which it is known again."""

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
class KeptCell:
    """A cell that has been worked on, finished or failed, as its folder keeps it.

    `mark` changes whenever the cell was worked on again; `ended_s` is when that was, in seconds
    since 1970.
    """

    record: CellRecord
    folder: Path
    mark: str
    ended_s: float

    @property
    def figures(self) -> dict[str, float]:
        """Figures and cost under their names in results.csv; those that do not apply are absent."""
        record = self.record
        found = {METRICS[name].column: record.metric(name) for name in LEADING_METRICS}
        found |= {"separation": record.separation}
        found |= {name: getattr(record.cost, name, None) for name in COSTS}
        return {name: float(value) for name, value in found.items() if value is not None}

    @property
    def curves(self) -> tuple[TrainingCurve, ...]:
        """How the training went; empty where nothing was trained by steps."""
        return read_training_log(self.folder).curves

    @property
    def took_s(self) -> float:
        """Fitting, predicting and judging held-out images, in seconds."""
        cost = self.record.cost
        if cost is None:
            return 0.0
        images = sum(n for name, n in self.record.counts.items() if name.startswith("test/"))
        return cost.fit_s + images * cost.ms_per_image / 1000 + cost.held_out_s


def kept_cells(out: Path, run: Run) -> list[KeptCell]:
    """The cells of a run that have been worked on so far, in its order."""
    return [_kept(record, out) for record in run.records(out)]


def safe(name: str) -> str:
    """A name of a figure as every sink takes it."""
    return re.sub(r"[^A-Za-z0-9_\-. /]", "_", name)


def told(written: int, cells: int) -> str:
    """What a sink did, in words.

    >>> told(2, 5)
    '2 cells written, 3 were there'
    """
    return f"{written} cells written, {cells - written} were there"


def _kept(record: CellRecord, out: Path) -> KeptCell:
    folder = record.cell.folder(out)
    digest = hashlib.sha256()
    for name in ("result.json", TRAINING_FILE):
        path = folder / name
        digest.update(path.read_bytes() if path.is_file() else b"-")
    ended_s = (folder / "result.json").stat().st_mtime
    return KeptCell(record, folder, digest.hexdigest()[:32], ended_s)
