"""Percentile intervals by resampling (Efron, "Bootstrap methods", Annals of Statistics 1979).

Units are resampled: parts, or images where parts are unknown. A draw is stored as how often each
unit was drawn, so that a metric of all draws is a matrix product instead of a loop over scores.
"""

from collections.abc import Hashable, Sequence

import numpy as np
import numpy.typing as npt

from loco_tools.metrics.score_histogram import Scores

Array = npt.NDArray[np.float64]

SAMPLED_PIXELS = 4096
"""Defect-free pixels that represent those of their image in a draw."""

GRID = 300
"""Points of a curve below three times its FPR limit; above there are a sixth as many."""


def draws(
    units: Sequence[Hashable], strata: Sequence[Hashable], count: int, seed: int
) -> npt.NDArray[np.int32]:
    """Resample units with replacement; each stratum keeps its number of units.

    Args:
        units: the unit that each image belongs to.
        strata: the stratum of each image; all images of a unit have the same.
        count: number of draws.
        seed: with the units, in the order of their first image, it determines the draws.

    Returns:
        (count, images) int32: how often the unit of each image was drawn.

    >>> drawn = draws(["a", "a", "b", "c"], [0, 0, 0, 1], 5, seed=0)
    >>> (drawn[:, 0] == drawn[:, 1]).all(), (drawn[:, 0] + drawn[:, 2]).tolist()
    (np.True_, [2, 2, 2, 2, 2])
    >>> drawn[:, 3].tolist()
    [1, 1, 1, 1, 1]
    """
    rng = np.random.default_rng(seed)
    stratum_of = dict(zip(units, strata, strict=True))
    index = {unit: number for number, unit in enumerate(stratum_of)}
    times = np.zeros((count, len(index)), np.int32)
    for stratum in dict.fromkeys(strata):
        members = [index[unit] for unit, its in stratum_of.items() if its == stratum]
        shares = np.full(len(members), 1.0 / len(members))
        times[:, members] = rng.multinomial(len(members), shares, size=count)
    return times[:, [index[unit] for unit in units]]


def weighted_auroc(
    scores: npt.ArrayLike, is_positive: npt.ArrayLike, weights: npt.NDArray[np.number]
) -> Array:
    """The AUROC of every draw; ties count half.

    Args:
        scores: (N,) finite scores.
        is_positive: (N,) bool.
        weights: (draws, N); how often each score counts.

    Returns:
        (draws,); NaN where a draw has no positive or no negative.

    >>> weighted_auroc([1, 4, 4, 9], [False, False, True, True], np.array([[1, 1, 1, 1]]))
    array([0.875])
    """
    values, truth = np.asarray(scores, dtype=np.float64), np.asarray(is_positive, dtype=bool)
    order = np.argsort(values, kind="stable")
    starts = np.flatnonzero(np.diff(values[order], prepend=-np.inf))
    won = np.zeros(len(weights))
    negatives, positives = np.zeros(len(weights)), np.zeros(len(weights))
    for start in range(0, len(weights), 100):  # blocks of draws bound the memory
        part = slice(start, start + 100)
        drawn = weights[part][:, order].astype(np.float64)
        low = np.add.reduceat(drawn * ~truth[order], starts, axis=1)
        high = np.add.reduceat(drawn * truth[order], starts, axis=1)
        won[part] = ((np.cumsum(low, axis=1) - low / 2) * high).sum(axis=1)
        negatives[part], positives[part] = low.sum(axis=1), high.sum(axis=1)
    pairs = negatives * positives
    aurocs: Array = np.divide(won, pairs, out=np.full(won.shape, np.nan), where=pairs > 0)
    return aurocs


def spread_indices(size: int, count: int = SAMPLED_PIXELS) -> npt.NDArray[np.intp]:
    """At most `count` of `size` indices, spread evenly over them (a golden-ratio sequence).

    Steps of equal length would pick the same column of an image repeatedly.

    >>> spread_indices(3, 4).tolist()
    [0, 1, 2]
    """
    if size <= count:
        return np.arange(size)
    golden = (np.sqrt(5.0) - 1) / 2
    indices: npt.NDArray[np.intp] = ((np.arange(count) * golden % 1.0) * size).astype(np.intp)
    return indices


def threshold_grid(negatives: Sequence[Scores], limit: float) -> Scores:
    """Thresholds, highest first, at which curves up to an FPR of `limit` are evaluated.

    Args:
        negatives: per image, the sorted scores of defect-free pixels.
        limit: FPR limit; the thresholds are denser below three times the limit.
    """
    pooled = np.sort(np.concatenate(negatives))[::-1]
    near, far = np.linspace(0.0, min(3 * limit, 1.0), GRID), np.linspace(0.0, 1.0, GRID // 6)
    levels = np.unique(np.concatenate([near, far]))
    picked = pooled[(levels * (pooled.size - 1)).astype(np.intp)]
    thresholds = np.unique(picked)[::-1]
    below = np.nextafter(thresholds[-1:], np.float32(-np.inf))
    return np.concatenate([thresholds, below])


def weight_above(scores: Scores, weights: Array, thresholds: Scores) -> Array:
    """The total weight of the scores above each threshold.

    Args:
        scores: (N,) in ascending order.
        weights: (N,)
        thresholds: (G,)

    >>> weight_above(np.float32([1, 2, 3]), np.array([1.0, 2, 4]), np.float32([2, 0])).tolist()
    [4.0, 7.0]
    """
    sums = np.concatenate([[0.0], np.cumsum(weights)])
    above: Array = sums[-1] - sums[np.searchsorted(scores, thresholds, side="right")]
    return above


def area_up_to(x: Array, y: Array, limit: float) -> Array:
    """The area under each curve from x = 0 to `limit`, divided by the limit.

    Args:
        x: (..., G) ascending from 0; the curve is linear between points and constant afterwards.
        y: (..., G)
        limit: above 0.

    >>> float(area_up_to(np.array([0.0, 1.0]), np.array([0.0, 1.0]), 0.5))
    0.25
    """
    width = np.diff(x, axis=-1)
    inside = np.clip(limit - x[..., :-1], 0.0, width)
    share = np.divide(inside, width, out=np.zeros_like(width), where=width > 0)
    mean_height = y[..., :-1] + np.diff(y, axis=-1) * share / 2
    rest = np.clip(limit - x[..., -1], 0.0, None) * y[..., -1]
    area: Array = ((inside * mean_height).sum(axis=-1) + rest) / limit
    return area


def percentile_interval(values: Array, level: float) -> tuple[float, float] | None:
    """The interval that holds the middle `level` of the values of all draws; NaNs are left out.

    It is None when every value is NaN.

    >>> percentile_interval(np.arange(101.0), 0.5)
    (25.0, 75.0)
    """
    known = values[np.isfinite(values)]
    if not known.size:
        return None
    low, high = np.quantile(known, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
