"""How differently detectors judge the same images: what an ensemble of them can gain.

Members that rank images alike and err on the same ones cannot improve on each other. The measures
are those of Kuncheva and Whitaker, "Measures of diversity in classifier ensembles" (2003).
"""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata

Array = npt.NDArray[np.float64]

GOOD_SHARE = 0.95
"""The share of good validation images at or below the decision threshold."""


def rank_correlation(scores: npt.ArrayLike) -> Array:
    """Spearman's rank correlation of every pair of members (Spearman 1904), in [-1, 1].

    1 means the same order of the images, 0 unrelated orders.

    Args:
        scores: (members, N) finite; the members may have different scales.

    Returns:
        (members, members); NaN where a member gives all images the same score, or N < 2.

    Raises:
        ValueError: another shape, or a score that is NaN or infinite.

    One pair of neighbours is swapped among three images: 1 - 6 * 2 / (3 * 8).

    >>> rank_correlation([[1, 2, 3], [10, 30, 20]]).round(6).tolist()
    [[1.0, 0.5], [0.5, 1.0]]
    """
    values = _scores(scores)
    ranks = np.stack([rankdata(row) for row in values])
    centred = ranks - ranks.mean(axis=1, keepdims=True) if ranks.size else ranks
    products = centred @ centred.T
    scale = np.sqrt(np.outer(products.diagonal(), products.diagonal()))
    empty = np.full(scale.shape, np.nan)
    correlations: Array = np.divide(products, scale, out=empty, where=scale > 0)
    return correlations.clip(-1.0, 1.0)


def good_threshold(good_scores: npt.ArrayLike, share: float = GOOD_SHARE) -> float:
    """The score that a share of good images does not exceed; images above it count as anomalous.

    Args:
        good_scores: (N,) scores of good images that the detector was not fitted on.
        share: between 0 and 1; scores in between are interpolated linearly.

    Raises:
        ValueError: no scores.

    >>> good_threshold([1.0, 2.0, 3.0], 0.75)
    2.5
    """
    values = np.asarray(good_scores, dtype=np.float64)
    if not values.size:
        raise ValueError("expected scores of good images, got none")
    return float(np.quantile(values, share))


def right_decisions(
    scores: npt.ArrayLike, thresholds: npt.ArrayLike, is_anomalous: npt.ArrayLike
) -> npt.NDArray[np.bool_]:
    """Whether each member is right about each image, with scores above its threshold as anomalous.

    Args:
        scores: (members, N).
        thresholds: (members,).
        is_anomalous: (N,) bool.

    Returns:
        (members, N).

    >>> right_decisions([[0.2, 0.9], [3.0, 5.0]], [0.5, 6.0], [False, True]).tolist()
    [[True, True], [True, False]]
    """
    predicted = _scores(scores) > np.asarray(thresholds, dtype=np.float64)[:, None]
    right: npt.NDArray[np.bool_] = predicted == np.asarray(is_anomalous, dtype=bool)
    return right


def oracle_accuracy(right: npt.ArrayLike) -> float:
    """The share of images that at least one member is right about.

    No rule that picks one member's decision for each image can be right more often.

    Args:
        right: (members, N) bool, N at least 1.

    >>> oracle_accuracy([[True, False, False, True], [False, True, False, True]])
    0.75
    """
    return float(np.asarray(right, dtype=bool).any(axis=0).mean())


def q_statistic(right: npt.ArrayLike) -> Array:
    """Yule's Q of every pair of members: whether they err on the same images, in [-1, 1].

    (both right * both wrong - one right * other right) / (the sum of the two products). 1: one
    member's errors are a subset of the other's; 0: independent; negative: they err on different
    images.

    Args:
        right: (members, N) bool.

    Returns:
        (members, members); NaN where both products are 0, as where a member never errs.

    Both members are right about 2 images and wrong about 1; each alone is right about 1:

    >>> q = q_statistic([[1, 1, 0, 1, 0], [1, 1, 0, 0, 1]])
    >>> round(float(q[0, 1]), 6)
    0.333333
    """
    hits = np.asarray(right, dtype=bool).astype(np.float64)
    misses = 1 - hits
    alike = (hits @ hits.T) * (misses @ misses.T)
    apart = (hits @ misses.T) * (misses @ hits.T)
    total = alike + apart
    q: Array = np.divide(alike - apart, total, out=np.full(total.shape, np.nan), where=total > 0)
    return q


def chosen_by_validation(separations: Mapping[str, float | None]) -> str | None:
    """The member with the highest separation on validation data; the first of equal ones.

    None when the separation of a member is unknown, since that member might be the best.

    >>> chosen_by_validation({"a": 0.9, "b": 0.95, "c": 0.95})
    'b'
    """
    known = {name: value for name, value in separations.items() if value is not None}
    if not known or len(known) < len(separations):
        return None
    return max(known, key=lambda name: known[name])


def gain_over_chosen(
    ensemble: float, members: Mapping[str, float], separations: Mapping[str, float | None]
) -> float | None:
    """What an ensemble adds to the member that validation would have chosen; None without one.

    Comparing with the best member on test data instead would use knowledge of the test data.

    >>> round(gain_over_chosen(0.95, {"a": 0.97, "b": 0.9}, {"a": 0.8, "b": 0.9}), 6)
    0.05
    """
    chosen = chosen_by_validation(separations)
    return None if chosen is None else ensemble - members[chosen]


def _scores(scores: npt.ArrayLike) -> Array:
    values = np.asarray(scores, dtype=np.float64)
    if values.ndim != 2:
        raise ValueError(f"expected scores as members x images, got shape {values.shape}")
    if not np.isfinite(values).all():
        raise ValueError("expected finite scores, got NaN or infinity")
    return values
