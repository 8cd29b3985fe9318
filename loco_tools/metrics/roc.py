"""ROC and precision-recall metrics of scores of negatives and positives.

Every metric is computed from the number of negatives and positives at each distinct score. Equal
scores are therefore one point of the curve: they count half in the area (Mann and Whitney 1947),
and the order of the input does not matter.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from loco_tools.metrics.score_histogram import ScoreHistogram

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Ranking:
    """Negatives and positives at each distinct score, highest score first; both (K,).

    `is_exact` is False when scores were rounded before they were ranked, so that some ties are
    artefacts of the rounding.
    """

    negatives: Array
    positives: Array
    is_exact: bool = True

    def __post_init__(self) -> None:
        if not self.negatives.sum() > 0 or not self.positives.sum() > 0:
            raise ValueError("expected at least one negative and one positive score, got none")


@dataclass(frozen=True)
class Curve:
    """Points of a curve; `x` never decreases. Both (K,)."""

    x: Array
    y: Array

    def thinned(self, points: int = 200) -> "Curve":
        """At most `points` of the points, both ends included, more where the curve rises."""
        if self.x.size <= points:
            return self
        rise = np.cumsum(np.abs(np.diff(self.y, prepend=self.y[:1])))
        progress = np.sqrt(self.x / self.x[-1]) + rise / max(rise[-1], 1e-300)
        picks = np.searchsorted(progress, np.linspace(0.0, progress[-1], points))
        picks = np.unique(np.clip(picks, 0, self.x.size - 1))
        picks[-1] = self.x.size - 1
        return Curve(self.x[picks], self.y[picks])


def rank(negatives: npt.ArrayLike, positives: npt.ArrayLike) -> Ranking:
    """Rank two lists of finite scores of any real type.

    Raises:
        ValueError: a list is empty, or a score is NaN or infinite.
    """
    low, high = (np.asarray(scores, dtype=np.float64).ravel() for scores in (negatives, positives))
    scores, place = np.unique(np.concatenate([low, high]), return_inverse=True)
    if not np.isfinite(scores).all():
        raise ValueError("expected finite scores, got NaN or infinity")
    counts = (np.bincount(p, minlength=scores.size) for p in np.split(place, [low.size]))
    below, above = (count[::-1].astype(np.float64) for count in counts)
    return Ranking(below, above)


def rank_histograms(negatives: ScoreHistogram, positives: ScoreHistogram) -> Ranking:
    """Rank the scores of two histograms.

    Neighbouring scores that only negatives have are merged into one entry. This changes no metric
    and no curve, since the true positive rate is the same at all of them.
    """
    lost_bits = max(negatives.lost_bits, positives.lost_bits)
    low, high = negatives.entries(lost_bits), positives.entries(lost_bits)
    count = high.keys.size
    places = np.searchsorted(high.keys, low.keys)  # of the first positive score not below
    ties = places < count
    ties[ties] = high.keys[places[ties]] == low.keys[ties]
    below, above = np.zeros(2 * count + 1), np.zeros(2 * count + 1)  # gap, score, gap, ..., gap
    below[1::2] = np.bincount(places[ties], low.totals[ties], minlength=count)
    below[::2] = np.bincount(places[~ties], low.totals[~ties], minlength=count + 1)
    above[1::2] = high.totals
    filled = (below > 0) | (above > 0)
    is_exact = negatives.is_exact and positives.is_exact
    return Ranking(below[filled][::-1], above[filled][::-1], is_exact)


def roc_curve(ranking: Ranking) -> Curve:
    """The ROC curve: false positive rate and true positive rate, from (0, 0) to (1, 1).

    >>> curve = roc_curve(rank([0.1, 0.4], [0.4, 0.9]))
    >>> curve.x.tolist(), curve.y.tolist()
    ([0.0, 0.0, 0.5, 1.0], [0.0, 0.5, 1.0, 1.0])
    """
    return Curve(_cumulative_shares(ranking.negatives), _cumulative_shares(ranking.positives))


def auroc(ranking: Ranking) -> float:
    """The area under the ROC curve: the probability that a positive outscores a negative.

    In three of the four pairs below the positive scores higher; the fourth is a tie.

    >>> auroc(rank([0.1, 0.4], [0.4, 0.9]))
    0.875
    """
    curve = roc_curve(ranking)
    return min(float((np.diff(curve.x) * (curve.y[1:] + curve.y[:-1])).sum() / 2), 1.0)


def pr_curve(ranking: Ranking) -> Curve:
    """Precision over recall: one point per distinct score of a positive.

    Between points the curve is a step function: the precision up to a recall is that of the
    threshold which reaches this recall. (Linear interpolation would be too optimistic: Davis and
    Goadrich 2006.) The area under the steps is `average_precision`.

    >>> curve = pr_curve(rank([0.1, 0.4], [0.4, 0.9]))
    >>> curve.x.tolist(), curve.y.round(6).tolist()
    ([0.0, 0.5, 1.0], [1.0, 1.0, 0.666667])
    """
    rises = ranking.positives > 0
    true = np.cumsum(ranking.positives)
    precision = (true / (true + np.cumsum(ranking.negatives)))[rises]
    recall = true[rises] / true[-1]
    return Curve(np.concatenate([[0.0], recall]), np.concatenate([precision[:1], precision]))


def average_precision(ranking: Ranking) -> float:
    """The precision at each distinct score, weighted by the recall gained there; in (0, 1].

    At 0.9 precision is 1 and recall rises by 1/2; at 0.4 precision is 2/3 and recall rises by 1/2.

    >>> round(average_precision(rank([0.1, 0.4], [0.4, 0.9])), 6)
    0.833333
    """
    true = np.cumsum(ranking.positives)
    precision = true / (true + np.cumsum(ranking.negatives))
    return min(float((precision * ranking.positives).sum() / true[-1]), 1.0)


def f1_max(ranking: Ranking) -> float:
    """The best F1 score over all thresholds, 2 TP / (2 TP + FP + FN).

    At the threshold 0.4 both positives and one negative are predicted positive: 4 / (4 + 1 + 0).

    >>> f1_max(rank([0.1, 0.4], [0.4, 0.9]))
    0.8
    """
    true = np.cumsum(ranking.positives)
    predicted = true + np.cumsum(ranking.negatives)
    return float((2.0 * true / (predicted + true[-1])).max())


def iou_max(ranking: Ranking) -> float:
    """The best intersection over union over all thresholds, TP / (TP + FP + FN).

    At the threshold 0.4 both positives and one negative are predicted positive: 2 / (2 + 1 + 0).

    >>> round(iou_max(rank([0.1, 0.4], [0.4, 0.9])), 6)
    0.666667
    """
    true = np.cumsum(ranking.positives)
    false = np.cumsum(ranking.negatives)
    return float((true / (false + true[-1])).max())


class Confusion(NamedTuple):
    """How many negatives and positives there are, and how many of each exceed the threshold."""

    negatives: float
    positives: float
    false_positives: float
    true_positives: float

    def rates(self) -> dict[str, float | None]:
        """Precision, recall, TPR, FPR, F1 and IoU; None where one is 0 / 0.

        >>> Confusion(2, 2, 1, 2).rates()["fpr"], Confusion(2, 2, 1, 2).rates()["f1"]
        (0.5, 0.8)
        """
        predicted = self.true_positives + self.false_positives
        missed = self.positives - self.true_positives
        recall = _ratio(self.true_positives, self.positives)
        return {
            "precision": _ratio(self.true_positives, predicted),
            "recall": recall,
            "tpr": recall,
            "fpr": _ratio(self.false_positives, self.negatives),
            "f1": _ratio(2 * self.true_positives, predicted + self.positives),
            "iou": _ratio(self.true_positives, predicted + missed),
        }


def _ratio(part: float, whole: float) -> float | None:
    return float(part / whole) if whole > 0 else None


def _cumulative_shares(counts: Array) -> Array:
    """Cumulative shares from 0 to exactly 1."""
    sums: Array = np.concatenate([[0.0], np.cumsum(counts)])
    return sums / float(sums[-1])
