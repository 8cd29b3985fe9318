"""The data of a report, read once: the run, its records, scores and curves."""

import dataclasses
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from loco_tools import files
from loco_tools.benchmark.analysis.paired import BootstrapDraws
from loco_tools.benchmark.cell.record import Cell, CellRecord, Score, read_scores
from loco_tools.benchmark.run.results_csv import (
    MeanOverSeeds,
    group_records,
    mean_over_seeds,
    metric_over_seeds,
)
from loco_tools.benchmark.run.runner import Run, read_run
from loco_tools.errors import BenchmarkError
from loco_tools.schema import loads_json
from loco_tools.wording import plural

Points = tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]

KIND_NAMES = {
    "good": "good",
    "logical": "logical",
    "structural": "structural",
    "logical_anomalies": "logical anomalies",
    "structural_anomalies": "structural anomalies",
    "pooled": "all anomalies",
    "pro": "all anomalies",
}
"""Kinds and kind folders in plain words."""


@dataclass(frozen=True)
class ClassResults:
    """One class of the run: its records, in the run's order of methods and seeds."""

    name: str
    path: Path
    layout: str
    records: tuple[CellRecord, ...]

    @property
    def done(self) -> list[CellRecord]:
        """The records that carry figures."""
        return [record for record in self.records if record.status == "ok"]

    @property
    def shown(self) -> list[CellRecord]:
        """One finished record per method, of its first seed: for curves, histograms, images."""
        return [records[0] for records in group_records(self.done, "method").values()]

    def has(self, field: str) -> bool:
        """Whether any method has this metric here."""
        return any(record.metric(field) is not None for record in self.done)

    def of(self, method: str) -> list[CellRecord]:
        """The finished records of a method, one per seed."""
        return [record for record in self.done if record.stamp.method == method]


@dataclass(frozen=True)
class ReportData:
    """Everything that a report is made of."""

    out: Path
    run: Run
    classes: tuple[ClassResults, ...]
    redraws: BootstrapDraws = dataclasses.field(compare=False, repr=False)

    @property
    def title(self) -> str:
        """Title of the report: the number of detectors and of classes."""
        classes = plural(len(self.classes), "class", "classes")
        return f"{plural(len(self.methods), 'detector')} on {classes}"

    @property
    def hardware(self) -> str:
        """Short description of the hardware of the run."""
        found = dict(self.run.hardware)
        if cores := found.pop("cpu_cores", ""):
            found["cpu_cores"] = f"{cores} cores"
        return ", ".join(found.values())

    @property
    def seed_note(self) -> str:
        """A note which seed is shown; empty for a run with a single seed."""
        seeds = self.run.suite.seeds
        return f"Shown for seed {seeds[0]}." if len(seeds) > 1 else ""

    @property
    def methods(self) -> list[str]:
        """Methods in the run's order; a method's place here is its line style everywhere."""
        return list(dict.fromkeys(cell.method for cell in self.run.cells))

    @property
    def records(self) -> list[CellRecord]:
        """Every record of the run."""
        return [record for one in self.classes for record in one.records]

    @property
    def failures(self) -> list[CellRecord]:
        """The records of cells that failed."""
        return [record for record in self.records if record.status == "failed"]

    @property
    def without_maps(self) -> list[CellRecord]:
        """The records of finished cells whose maps were asked for and could not be made."""
        return [record for record in self.records if record.maps_error]

    def classes_with(self, field: str) -> list[ClassResults]:
        """Classes whose headline figure it is: AU-PRO only where there is no AU-sPRO."""
        found = [one for one in self.classes if one.has(field)]
        return [one for one in found if field != "au_pro" or not one.has("au_spro")]

    def means(self, classes: Sequence[ClassResults], field: str) -> dict[str, float]:
        """Per method the plain mean over classes, for methods that have it on all of them."""
        means = {}
        for method in self.methods:
            found = [metric_over_seeds(one.of(method), field) for one in classes]
            if found and all(found):
                means[method] = statistics.fmean(one.mean for one in found if one)
        return means

    def over_classes(
        self, classes: Sequence[ClassResults], method: str, field: str
    ) -> MeanOverSeeds | None:
        """The mean of `means`, with the deviation over seeds of the mean over classes.

        Only seeds that all classes have count for the deviation.
        """
        if method not in (means := self.means(classes, field)):
            return None
        by_seed: dict[int, list[float]] = {}
        for record in (record for one in classes for record in one.of(method)):
            value = record.metric(field)
            if value is not None:
                by_seed.setdefault(record.stamp.seed, []).append(value)
        of_seeds = mean_over_seeds(
            statistics.fmean(values) for values in by_seed.values() if len(values) == len(classes)
        )
        return MeanOverSeeds(means[method], None if of_seeds is None else of_seeds.deviation)

    def categories(self) -> dict[str, list[str]]:
        """Category -> its finished methods; "unknown" where cells do not say."""
        found: dict[str, list[str]] = {}
        for method in self.methods:
            record = next((r for one in self.classes for r in one.of(method)), None)
            if record is not None:
                by_members = "ensemble" if record.stamp.members else "unknown"
                found.setdefault(record.category or by_members, []).append(method)
        return found

    def speeds(self) -> dict[str, float]:
        """Per method the geometric mean of its milliseconds per image."""
        return self.typical_costs("ms_per_image")

    def typical_costs(self, field: str) -> dict[str, float]:
        """Per method the geometric mean of a field of `Cost` over its cells."""
        found = {}
        for method in self.methods:
            costs = [r.cost for one in self.classes for r in one.of(method) if r.cost is not None]
            if costs:
                logs = [math.log(max(getattr(cost, field), 1e-3)) for cost in costs]
                found[method] = math.exp(statistics.fmean(logs))
        return found

    def style(self, method: str) -> int:
        """The line style of a method."""
        return self.methods.index(method)

    def scores(self, cell: Cell) -> list[Score]:
        """The image scores of a finished cell."""
        return read_scores(cell.folder(self.out) / "scores.csv")

    def type_counts(self, results: ClassResults) -> dict[str, dict[str, int]]:
        """Test images of a class per kind and defect type; "" counts all of the kind."""
        counts: dict[str, dict[str, int]] = {}
        for record in results.shown[:1]:
            for score in self.scores(record.cell):
                if score.kind != "good":
                    of_kind = counts.setdefault(score.kind, {"": 0})
                    for name in ("", *score.defects):
                        of_kind[name] = of_kind.get(name, 0) + 1
        return counts

    def curves(self, cell: Cell) -> dict[str, dict[str, Points]]:
        """The curves of a finished cell: "image_roc" and "overlap", each by kind folder.

        Raises:
            BenchmarkError: the file is missing or damaged.
        """
        path = cell.folder(self.out) / "curves.json"
        try:
            content = loads_json(files.read_text(path))
            return {
                group: {name: _points(curve) for name, curve in curves.items()}
                for group, curves in content.items()
            }
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise BenchmarkError(
                f"{path}: expected the curves of a finished cell, got {error!r}; "
                "next step: remove the cell's folder and run the benchmark again"
            ) from error


def gather(out: Path) -> ReportData:
    """Read a run's folder, finished or not.

    Raises:
        BenchmarkError: the folder holds no run.
    """
    run = read_run(out)
    by_class = group_records(run.records(out), "class_name")
    classes = tuple(
        ClassResults(info.name, Path(info.path), _layout(records), tuple(records))
        for info in run.classes
        for records in [by_class.get(info.name, [])]
    )
    return ReportData(out, run, classes, BootstrapDraws(out))


def share_of_good_below(scores: Sequence[Score]) -> list[float]:
    """For each image, the share of good test images that it outscores; ties count half.

    0.5 is what guessing gives an anomalous image on average; 1 means no good image looks worse.
    An image is never compared with itself.
    """
    good = np.array([score.score for score in scores if score.kind == "good"])
    shares = []
    for score in scores:
        below = np.count_nonzero(good < score.score) + np.count_nonzero(good == score.score) / 2
        own = 1 if score.kind == "good" else 0
        shares.append(float((below - own / 2) / max(1, len(good) - own)))
    return shares


def _points(curve: Mapping[str, Sequence[float]]) -> Points:
    x, y = np.asarray(curve["x"], float), np.asarray(curve["y"], float)
    if x.ndim != 1 or x.shape != y.shape or not x.size or not np.isfinite([x, y]).all():
        raise ValueError(f"a curve of {x.shape} and {y.shape} finite points")
    return x, y


def _layout(records: Sequence[CellRecord]) -> str:
    return next((record.layout for record in records if record.layout), "")
