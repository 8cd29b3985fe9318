"""Two methods on the same images: the mean difference of a metric, and its 95 % interval.

The interval of an image AUROC is a bootstrap over parts (or images where parts are unknown) and
seeds at once, with the same draw for both methods: an image that is hard for both drops out of the
difference. Areas under overlap curves need the maps, which cells do not keep; their interval is
Student's t over the seeds.
"""

import math
import statistics
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy import stats

from loco_tools.benchmark.cell.record import Cell, CellRecord, Score, read_scores
from loco_tools.errors import BenchmarkError
from loco_tools.metrics import bootstrap

Array = npt.NDArray[np.float64]
ClassSeed = tuple[str, int]

LEVEL = 0.95
DRAWS = 2000
SEED = 0

FROM_SCORES = {
    "image_auroc_mean": ("logical", "structural"),
    "image_auroc_logical": ("logical",),
    "image_auroc_structural": ("structural",),
}
"""Metrics that image scores determine -> the kinds of anomalies that they are the mean over."""


@dataclass(frozen=True)
class Difference:
    """How much higher a metric of one method is than of another, over the cells of both.

    `one` and `other` are the means of the two methods over the cells that both have. `low` and
    `high` are the ends of the difference's 95 % interval, None where there are too few
    seeds for one; `rule` says how it was computed. `cells` is the number of pairs of cells.
    """

    one: float
    other: float
    low: float | None
    high: float | None
    cells: int
    rule: str

    @property
    def mean(self) -> float:
        """The difference."""
        return self.one - self.other

    def __str__(self) -> str:
        interval = "" if self.low is None else f" [{self.low:+.3f}, {self.high:+.3f}]"
        return f"{self.mean:+.3f}{interval}"


class BootstrapDraws:
    """The image AUROCs of a run's cells in every draw of the bootstrap, each computed once.

    All cells of a class are drawn alike, so that two methods can be compared draw by draw.
    """

    def __init__(self, out: Path, draws: int = DRAWS, seed: int = SEED) -> None:
        self.draws, self.seed = draws, seed
        self._out = out
        self._scores: dict[Cell, list[Score]] = {}
        self._times: dict[str, tuple[str, npt.NDArray[np.int32], list[Score]]] = {}
        self._figures: dict[tuple[Cell, str], Array] = {}

    def unit(self, class_name: str) -> str:
        """Resampled unit of a class that was compared before: "part" or "image"."""
        return self._times[class_name][0]

    def figures(self, record: CellRecord, field: str) -> Array:
        """(draws,): a field of `FROM_SCORES` in every draw.

        Raises:
            BenchmarkError: scores are missing, or of other images than the class's first cell's.
        """
        cell = record.cell
        if (cell, field) not in self._figures:
            if cell not in self._scores:
                self._scores[cell] = read_scores(cell.folder(self._out) / "scores.csv")
            scores = self._scores[cell]
            if cell.class_name not in self._times:
                unit, times = image_draws(cell.class_name, scores, self.draws, self.seed)
                self._times[cell.class_name] = unit, times, scores
            _unit, times, reference = self._times[cell.class_name]
            self._figures[cell, field] = auroc_draws(scores, times, field, reference)
        return self._figures[cell, field]


def paired_difference(
    ones: Iterable[CellRecord],
    others: Iterable[CellRecord],
    out: Path,
    field: str = "image_auroc_mean",
    *,
    redraws: BootstrapDraws | None = None,
) -> Difference | None:
    """The mean of a metric over classes and seeds of one method, minus that of another.

    Only classes and seeds for which both have the metric count; the mean over seeds is taken
    within each class, then over classes.

    For image AUROCs the interval is a percentile bootstrap. Units are drawn within the sets that
    hold the same kinds of images. Of S seeds S - 1 are drawn, which makes the spread of their
    mean as large as it should be (Rao and Wu 1988); a single seed is held fixed. Classes are
    fixed: the interval is about these classes, not others. For any other metric it is Student's
    t-interval over seeds, of the differences averaged over the classes.

    Args:
        ones: finished records of a method, one per class and seed.
        others: the same of the other; they need not all be of one method.
        out: the run's folder, where the scores are.
        field: the name of a metric.
        redraws: of this run, where several comparisons share the draws; None draws new ones.

    Raises:
        BenchmarkError: two records of one class and seed, scores that are missing, or cells that
            were tested on different images.
    """
    pairs = _pairs(ones, others, field)
    if not pairs:
        return None
    if field in FROM_SCORES:
        low, high, rule = _drawn(pairs, redraws or BootstrapDraws(out), field)
    else:
        low, high, rule = _over_seeds(pairs, field)
    one, other = (_mean({place: pair[n] for place, pair in pairs.items()}, field) for n in (0, 1))
    return Difference(one, other, low, high, len(pairs), rule)


def t_interval(values: Sequence[float]) -> tuple[float, float] | None:
    """Student's 95 % interval of a mean; None of fewer than two values.

    Deviation 1, three values: 2 ± 4.3027 / sqrt(3).

    >>> [round(end, 3) for end in t_interval([1.0, 2.0, 3.0])]
    [-0.484, 4.484]
    """
    if len(values) < 2:
        return None
    quantile = float(stats.t.ppf((1 + LEVEL) / 2, len(values) - 1))
    half = quantile * statistics.stdev(values) / math.sqrt(len(values))
    mean = statistics.fmean(values)
    return mean - half, mean + half


def _pairs(
    ones: Iterable[CellRecord], others: Iterable[CellRecord], field: str
) -> dict[ClassSeed, tuple[CellRecord, CellRecord]]:
    first, second = _by_class_and_seed(ones, field), _by_class_and_seed(others, field)
    return {place: (first[place], second[place]) for place in first if place in second}


def _by_class_and_seed(records: Iterable[CellRecord], field: str) -> dict[ClassSeed, CellRecord]:
    found: dict[ClassSeed, CellRecord] = {}
    for record in records:
        place = (record.stamp.class_name, record.stamp.seed)
        if place in found:
            raise BenchmarkError(
                f"expected one record per class and seed, got {found[place].cell} and {record.cell}"
            )
        if record.status == "ok" and record.metric(field) is not None:
            found[place] = record
    return found


def _value(record: CellRecord, field: str) -> float:
    """A metric that the record is known to have."""
    value = record.metric(field)
    if value is None:
        raise BenchmarkError(f"{record.cell}: expected a value of {field}, got none")
    return value


def _mean(records: Mapping[ClassSeed, CellRecord], field: str) -> float:
    """Over seeds within each class, then over classes."""
    figures: dict[str, list[float]] = {}
    for (class_name, _seed), record in records.items():
        figures.setdefault(class_name, []).append(_value(record, field))
    return statistics.fmean(statistics.fmean(of_class) for of_class in figures.values())


def _over_seeds(
    pairs: Mapping[ClassSeed, tuple[CellRecord, CellRecord]], field: str
) -> tuple[float | None, float | None, str]:
    by_seed: dict[int, dict[str, float]] = {}
    for (class_name, seed), (one, other) in pairs.items():
        gap = _value(one, field) - _value(other, field)
        by_seed.setdefault(seed, {})[class_name] = gap
    classes = {class_name for class_name, _seed in pairs}
    complete = [gaps for gaps in by_seed.values() if set(gaps) == classes]
    found = t_interval([statistics.fmean(gaps.values()) for gaps in complete])
    if found is None:
        return None, None, "one seed: no interval"
    return *found, f"Student's t over {len(complete)} seeds; test images held fixed"


def _drawn(
    pairs: Mapping[ClassSeed, tuple[CellRecord, CellRecord]], redraws: BootstrapDraws, field: str
) -> tuple[float | None, float | None, str]:
    of_classes, units, seeds = [], set(), set()
    for class_name in dict.fromkeys(name for name, _seed in pairs):
        gaps = np.stack(
            [
                redraws.figures(one, field) - redraws.figures(other, field)
                for (name, _seed), (one, other) in pairs.items()
                if name == class_name
            ]
        )
        rng = np.random.default_rng([redraws.seed, zlib.crc32(class_name.encode())])
        of_classes.append(_mean_over_drawn_seeds(gaps, rng))
        units.add(redraws.unit(class_name))
        seeds.add(len(gaps))
    found = bootstrap.percentile_interval(np.mean(of_classes, axis=0), LEVEL)
    what = " and ".join(f"{unit}s" for unit in sorted(units))
    with_seeds = f" and {max(seeds)} seeds" if max(seeds) > 1 else "; one seed, held fixed"
    rule = f"bootstrap over test {what}{with_seeds}, {redraws.draws} draws"
    return (None, None, rule) if found is None else (*found, rule)


def image_draws(
    class_name: str, scores: Sequence[Score], draws: int = DRAWS, seed: int = SEED
) -> tuple[str, npt.NDArray[np.int32]]:
    """What is drawn ("part" or "image"), and how often each test image was, (draws, N).

    Parts are drawn where every image has one: images of one part are alike, and counting them as
    if they were not would make an interval too narrow.
    """
    by_part = all(score.part is not None for score in scores)
    units = [score.part if by_part else f"{score.kind_folder}/{score.id}" for score in scores]
    kinds: dict[str | None, set[str]] = {}
    for unit, score in zip(units, scores, strict=True):
        kinds.setdefault(unit, set()).add(score.kind_folder)
    strata = [tuple(sorted(kinds[unit])) for unit in units]
    mixed = zlib.crc32(f"{seed} {class_name}".encode())
    return "part" if by_part else "image", bootstrap.draws(units, strata, draws, mixed)


def auroc_draws(
    scores: Sequence[Score],
    times: npt.NDArray[np.int32],
    field: str,
    reference: Sequence[Score],
) -> Array:
    """(draws,): the figure in every draw; NaN where a draw lacks good or anomalous images.

    Raises:
        BenchmarkError: the scores are not of the images that `times` was drawn for.
    """
    if [(s.kind_folder, s.id) for s in scores] != [(s.kind_folder, s.id) for s in reference]:
        raise BenchmarkError(
            "expected two methods tested on the same images, got different ones; "
            "next step: compare cells of one run"
        )
    kinds = np.array([score.kind for score in scores])
    values = np.array([score.score for score in scores])
    found = []
    for kind in FROM_SCORES[field]:
        if kind in kinds:
            picks = (kinds == "good") | (kinds == kind)
            truth = kinds[picks] == kind
            found.append(bootstrap.weighted_auroc(values[picks], truth, times[:, picks]))
    mean: Array = np.mean(found, axis=0)
    return mean


def _mean_over_drawn_seeds(figures: Array, rng: np.random.Generator) -> Array:
    """(draws,) out of (seeds, draws): the mean over S - 1 of S seeds drawn with replacement."""
    count, draws = figures.shape
    if count == 1:
        only: Array = figures[0]
        return only
    picked = rng.integers(count, size=(count - 1, draws))
    mean: Array = np.take_along_axis(figures, picked, axis=0).mean(axis=0)
    return mean
