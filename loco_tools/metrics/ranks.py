"""Which of several methods are better over several data sets: ranks and what they can tell.

Demsar, "Statistical comparisons of classifiers over multiple data sets" (JMLR 2006). A data set is
one independent trial: seeds on the same class are not, so their mean counts once.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from loco_tools.metrics.diversity import average_ranks

Array = npt.NDArray[np.float64]

LEVEL = 0.05
"""The chance of calling methods different that are not."""


class Friedman(NamedTuple):
    """Whether any method differs from any other: Iman and Davenport's F, and its p-value.

    `chi_square` is Friedman's own statistic, which is conservative (Demsar 2006, section 3.2.2).
    """

    chi_square: float
    f: float
    p: float


def mean_ranks(figures: npt.ArrayLike) -> Array:
    """The mean rank of each method, 1 for the highest figure; ties share the mean of theirs.

    Args:
        figures: (data sets, methods), higher is better.

    >>> mean_ranks([[0.9, 0.8, 0.8], [0.7, 0.9, 0.6]]).tolist()
    [1.5, 1.75, 2.75]
    """
    values = _figures(figures)
    ranks: Array = np.stack([average_ranks(-row) for row in values]).mean(axis=0)
    return ranks


def friedman(figures: npt.ArrayLike) -> Friedman:
    """Friedman's test with the correction of Iman and Davenport (1980).

    Args:
        figures: (N >= 2 data sets, k >= 3 methods), higher is better.

    Raises:
        ValueError: fewer of either.
    """
    values = _figures(figures)
    return friedman_of_ranks(mean_ranks(values), len(values))


def friedman_of_ranks(ranks: npt.ArrayLike, sets: int) -> Friedman:
    """The same from mean ranks (k,) over some data sets.

    Demsar's example (2006, p. 14): four methods on 14 data sets.

    >>> found = friedman_of_ranks([3.143, 2.000, 2.893, 1.964], 14)
    >>> round(found.chi_square, 2), round(found.f, 2), round(found.p, 3)
    (9.28, 3.69, 0.02)
    """
    from scipy import stats

    ranks = np.asarray(ranks, dtype=np.float64)
    methods = ranks.size
    if sets < 2 or methods < 3:
        raise ValueError(f"expected 2 data sets and 3 methods or more, got {sets} and {methods}")
    spread = (ranks**2).sum() - methods * (methods + 1) ** 2 / 4
    chi_square = float(12 * sets / (methods * (methods + 1)) * spread)
    room = sets * (methods - 1) - chi_square
    if room <= 1e-12:  # all data sets rank the methods alike
        return Friedman(chi_square, float("inf"), 0.0)
    f = (sets - 1) * chi_square / room
    return Friedman(chi_square, f, float(stats.f.sf(f, methods - 1, (methods - 1) * (sets - 1))))


def critical_difference(methods: int, sets: int, level: float = LEVEL) -> float:
    """How far apart two mean ranks must be to differ, all pairs considered (Nemenyi 1963).

    q sqrt(k (k + 1) / 6 N), where q is the Studentized range for k and infinity over sqrt(2):
    2.569 for four methods, so that on 14 data sets it is 1.25 (Demsar 2006, Table 5 and p. 14).

    >>> round(critical_difference(4, 14), 2)
    1.25
    """
    from scipy import stats

    q = stats.studentized_range.ppf(1 - level, methods, np.inf) / np.sqrt(2)
    return float(q * np.sqrt(methods * (methods + 1) / (6 * sets)))


def indistinct_groups(ranks: Sequence[float], difference: float) -> list[tuple[int, int]]:
    """The largest groups of neighbours that cannot be told apart, in the order of their ranks.

    Args:
        ranks: (k,) mean ranks, lowest first.
        difference: what makes two of them differ.

    Returns:
        First and last place of each group of two or more.

    >>> indistinct_groups([1.0, 1.5, 2.4, 4.0], 1.0)
    [(0, 1), (1, 2)]
    """
    ends = [
        max(j for j in range(i, len(ranks)) if ranks[j] - ranks[i] < difference)
        for i in range(len(ranks))
    ]
    groups = [(i, end) for i, end in enumerate(ends) if end > i]
    return [(i, end) for i, end in groups if not any(o[0] < i and o[1] >= end for o in groups)]


def signed_rank_p(differences: npt.ArrayLike) -> float:
    """Wilcoxon's signed-rank test (1945), two-sided, exact: the chance of so lopsided differences.

    Differences of zero are left out; 1.0 where none are left.

    Six differences of one sign: 2 of 2^6 signs are as lopsided.

    >>> signed_rank_p([0.1, 0.2, 0.3, 0.4, 0.5, 0.6])
    0.03125
    """
    values = np.asarray(differences, dtype=np.float64)
    values = values[values != 0]
    if not values.size:
        return 1.0
    ranks = average_ranks(np.abs(values)) * 2  # twice, so that shared ranks are whole numbers
    steps = ranks.astype(np.int64)
    ways = np.zeros(int(steps.sum()) + 1)
    ways[0] = 1.0
    for step in steps:
        ways[step:] = ways[step:] + ways[:-step]
    positive = int(steps[values > 0].sum())
    lower = min(positive, int(steps.sum()) - positive)
    return float(min(1.0, 2 * ways[: lower + 1].sum() / ways.sum()))


def smallest_p(sets: int) -> float:
    """The smallest p-value that `signed_rank_p` can give on so many data sets.

    >>> smallest_p(5)
    0.0625
    """
    return min(1.0, 2.0 ** (1 - sets))


def holm(p_values: Sequence[float]) -> list[float]:
    """P-values corrected for being several (Holm 1979), in the order given.

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    order = sorted(range(len(p_values)), key=lambda place: p_values[place])
    adjusted, reached = [0.0] * len(p_values), 0.0
    for passed, place in enumerate(order):
        reached = max(reached, min(1.0, (len(p_values) - passed) * p_values[place]))
        adjusted[place] = reached
    return adjusted


def _figures(figures: npt.ArrayLike) -> Array:
    values = np.asarray(figures, dtype=np.float64)
    if values.ndim != 2 or not np.isfinite(values).all():
        raise ValueError(f"expected finite figures (data sets, methods), got {values.shape}")
    return values
