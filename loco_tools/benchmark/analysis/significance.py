"""Which methods are best on a metric, and which do not differ significantly from the best.

On one class the best method is compared with every other one on the same images and seeds (see
`paired`). Over classes, Wilcoxon's signed-rank test with Holm's correction for several comparisons
decides where there are enough classes for it, and otherwise the paired interval over the classes.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from loco_tools.benchmark.analysis.paired import FROM_SCORES, paired_difference
from loco_tools.benchmark.analysis.run_data import ClassResults, ReportData
from loco_tools.benchmark.cell.record import CellRecord
from loco_tools.benchmark.run.results_csv import metric_over_seeds
from loco_tools.metrics.ranks import LEVEL, holm, signed_rank_p, smallest_p

FEWEST_SEEDS = 3
"""An interval over seeds alone needs as many: with two, nearly every difference lies within it."""


@dataclass(frozen=True)
class BestMethods:
    """The best methods by their mean (several where three digits agree), and those equal to them.

    `level` holds the methods that are not significantly worse; None where no test is possible.
    `rule` says in words how this was decided.
    """

    best: frozenset[str]
    level: frozenset[str] | None
    rule: str


def find_best(data: ReportData, classes: Sequence[ClassResults], field: str) -> BestMethods | None:
    """The find_best of the methods that have a figure on all of some classes.

    Args:
        data: the run.
        classes: the metric is averaged over them.
        field: the name of a metric.

    Returns:
        None where fewer than two methods have it.

    Raises:
        BenchmarkError: scores of a cell are missing or damaged.
    """
    means = data.means(classes, field)
    if len(means) < 2:
        return None
    best = max(means, key=lambda method: means[method])
    ties = frozenset(m for m, mean in means.items() if round(mean, 3) == round(means[best], 3))
    others = [method for method in means if method != best]
    level: frozenset[str] | None
    if smallest_p(len(classes)) * len(others) <= LEVEL:
        level, rule = _over_classes(classes, field, best, others)
    else:
        level, rule = _paired(data, classes, field, best, others)
    return BestMethods(ties, level, rule)


def _over_classes(
    classes: Sequence[ClassResults], field: str, best: str, others: Sequence[str]
) -> tuple[frozenset[str], str]:
    means = {
        method: [mean.mean for one in classes if (mean := metric_over_seeds(one.of(method), field))]
        for method in (best, *others)
    }
    p_values = [
        signed_rank_p([a - b for a, b in zip(means[best], means[other], strict=True)])
        for other in others
    ]
    adjusted = dict(zip(others, holm(p_values), strict=True))
    rule = (
        f"Wilcoxon's signed-rank test of the best against each other method over {len(classes)} "
        f"classes (means over seeds), corrected by Holm for {len(others)} comparisons, level "
        f"{LEVEL:g}"
    )
    return frozenset(other for other, p in adjusted.items() if p > LEVEL), rule


def _paired(
    data: ReportData,
    classes: Sequence[ClassResults],
    field: str,
    best: str,
    others: Sequence[str],
) -> tuple[frozenset[str] | None, str]:
    differences = {
        other: paired_difference(
            _records(classes, best),
            _records(classes, other),
            data.out,
            field,
            redraws=data.redraws,
        )
        for other in others
    }
    lows = {
        other: found.low
        for other, found in differences.items()
        if found is not None and found.low is not None
    }
    rules = list(dict.fromkeys(found.rule for found in differences.values() if found is not None))
    about = ""
    if len(classes) > 1:
        about = (
            f"; {len(classes)} classes are too few for a test over classes, so this is about these "
            "classes and not others"
        )
    seeds = len({record.stamp.seed for record in _records(classes, best)})
    if not lows or (field not in FROM_SCORES and seeds < FEWEST_SEEDS):
        return None, f"nothing can be said about chance ({'; '.join(rules)})"
    level = frozenset(other for other, low in lows.items() if low <= 0)
    rule = (
        "95 % interval of the difference to the best, each pair by itself "
        f"({'; '.join(rules)}){about}"
    )
    return level, rule


def _records(classes: Sequence[ClassResults], method: str) -> list[CellRecord]:
    return [record for one in classes for record in one.of(method)]
