"""Comparison of several methods over several data sets by their ranks, with significance tests.

Demsar, "Statistical comparisons of classifiers over multiple data sets" (JMLR 2006). Data sets are
independent trials. Seeds on the same class are not, so their mean counts as one trial.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import stats

Array = npt.NDArray[np.float64]

LEVEL = 0.05
"""Significance level: the probability of calling equal methods different."""


class Friedman(NamedTuple):
    """A test of whether any method differs from any other: Iman and Davenport's F and its p-value.

    `chi_square` is Friedman's own statistic, which is conservative (Demsar 2006, section 3.2.2).
    """

    chi_square: float
    f: float
    p: float


def mean_ranks(metrics: npt.ArrayLike) -> Array:
    """The mean rank of each method, 1 for the highest value; tied methods share their mean rank.

    Args:
        metrics: (data sets, methods), higher is better.

    >>> mean_ranks([[0.9, 0.8, 0.8], [0.7, 0.9, 0.6]]).tolist()
    [1.5, 1.75, 2.75]
    """
    values = _finite_table(metrics)
    ranks: Array = np.stack([stats.rankdata(-row) for row in values]).mean(axis=0)
    return ranks


def friedman(metrics: npt.ArrayLike) -> Friedman:
    """Friedman's test with the correction of Iman and Davenport (1980).

    Args:
        metrics: (N >= 2 data sets, k >= 3 methods), higher is better.

    Raises:
        ValueError: there are fewer data sets or methods, or a value is not finite.
    """
    values = _finite_table(metrics)
    return friedman_of_ranks(mean_ranks(values), len(values))


def friedman_of_ranks(ranks: npt.ArrayLike, sets: int) -> Friedman:
    """Friedman's test from the mean ranks (k,) over `sets` data sets.

    Unlike `scipy.stats.friedmanchisquare` it does not correct for ties, as in Demsar's paper.

    Demsar's example (2006, p. 14): four methods on 14 data sets.

    >>> test = friedman_of_ranks([3.143, 2.000, 2.893, 1.964], 14)
    >>> round(test.chi_square, 2), round(test.f, 2), round(test.p, 3)
    (9.28, 3.69, 0.02)
    """
    ranks = np.asarray(ranks, dtype=np.float64)
    methods = ranks.size
    if sets < 2 or methods < 3:
        raise ValueError(f"expected 2 data sets and 3 methods or more, got {sets} and {methods}")
    deviation = (ranks**2).sum() - methods * (methods + 1) ** 2 / 4
    chi_square = float(12 * sets / (methods * (methods + 1)) * deviation)
    remainder = sets * (methods - 1) - chi_square
    if remainder <= 1e-12:  # all data sets rank the methods alike
        return Friedman(chi_square, float("inf"), 0.0)
    f = (sets - 1) * chi_square / remainder
    return Friedman(chi_square, f, float(stats.f.sf(f, methods - 1, (methods - 1) * (sets - 1))))


def critical_difference(methods: int, sets: int, level: float = LEVEL) -> float:
    """The smallest significant difference of two mean ranks, over all pairs (Nemenyi 1963).

    q sqrt(k (k + 1) / 6 N), where q is the Studentized range for k and infinity over sqrt(2):
    2.569 for four methods, so that on 14 data sets it is 1.25 (Demsar 2006, Table 5 and p. 14).

    >>> round(critical_difference(4, 14), 2)
    1.25
    """
    q = stats.studentized_range.ppf(1 - level, methods, np.inf) / np.sqrt(2)
    return float(q * np.sqrt(methods * (methods + 1) / (6 * sets)))


def indistinct_groups(ranks: Sequence[float], difference: float) -> list[tuple[int, int]]:
    """The largest groups of neighbours without a significant difference, in the order of ranks.

    Args:
        ranks: (k,) mean ranks, lowest first.
        difference: the critical difference.

    Returns:
        First and last index of each group of two or more.

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
    """The exact two-sided p-value of Wilcoxon's signed-rank test (1945).

    Differences of zero are left out; the p-value is 1 when nothing remains. Unlike
    `scipy.stats.wilcoxon` it is exact with ties as well.

    When all of six differences have one sign, 2 of the 2^6 combinations of signs are as extreme.

    >>> signed_rank_p([0.1, 0.2, 0.3, 0.4, 0.5, 0.6])
    0.03125
    """
    values = np.asarray(differences, dtype=np.float64)
    values = values[values != 0]
    if not values.size:
        return 1.0
    ranks = stats.rankdata(np.abs(values)) * 2  # doubled, so that shared ranks are whole numbers
    steps = ranks.astype(np.int64)
    ways = np.zeros(int(steps.sum()) + 1)
    ways[0] = 1.0
    for step in steps:
        ways[step:] = ways[step:] + ways[:-step]
    positive = int(steps[values > 0].sum())
    lower = min(positive, int(steps.sum()) - positive)
    return float(min(1.0, 2 * ways[: lower + 1].sum() / ways.sum()))


def smallest_p(sets: int) -> float:
    """The smallest p-value that `signed_rank_p` can give on `sets` data sets.

    >>> smallest_p(5)
    0.0625
    """
    return min(1.0, 2.0 ** (1 - sets))


def holm(p_values: Sequence[float]) -> list[float]:
    """P-values corrected for multiple comparisons (Holm 1979), in the order given.

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    order = sorted(range(len(p_values)), key=lambda index: p_values[index])
    adjusted, largest = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(order):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = largest
    return adjusted


def _finite_table(metrics: npt.ArrayLike) -> Array:
    values = np.asarray(metrics, dtype=np.float64)
    if values.ndim != 2 or not np.isfinite(values).all():
        raise ValueError(f"expected finite metrics (data sets, methods), got {values.shape}")
    return values
