"""How well scores tell positives from negatives.

Every figure is computed from the number of negatives and positives at each distinct score, so that
equal scores are one point of the curve: they count half in the area (Mann and Whitney 1947), and
never depend on the order in which they came.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from loco_tools.metrics.score_histogram import Tally

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Ranking:
    """Negatives and positives at each distinct score, highest score first; both (K,).

    `is_exact` is False where scores were rounded before they were ranked, so that some of the
    ties are none.
    """

    negatives: Array
    positives: Array
    is_exact: bool = True

    def __post_init__(self) -> None:
        if not self.negatives.sum() > 0 or not self.positives.sum() > 0:
            raise ValueError("expected at least one negative and one positive score, got none")


@dataclass(frozen=True)
class Curve:
    """Points of a curve; `x` never falls. Both (K,)."""

    x: Array
    y: Array

    def thinned(self, points: int = 200) -> "Curve":
        """At most that many points, ends included, denser where the curve starts and moves."""
        if self.x.size <= points:
            return self
        climbed = np.cumsum(np.abs(np.diff(self.y, prepend=self.y[:1])))
        way = np.sqrt(self.x / self.x[-1]) + climbed / max(climbed[-1], 1e-300)
        picks = np.searchsorted(way, np.linspace(0.0, way[-1], points))
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


def rank_tallies(negatives: Tally, positives: Tally) -> Ranking:
    """Rank what two tallies have counted.

    Neighbouring scores that only negatives have are taken together, which changes no figure and
    no curve: the true positive rate is the same at all of them.
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
    return Ranking(below[filled][::-1], above[filled][::-1], is_exact=lost_bits == 0)


def roc_curve(ranking: Ranking) -> Curve:
    """The ROC curve: false positive rate and true positive rate, from (0, 0) to (1, 1).

    >>> curve = roc_curve(rank([0.1, 0.4], [0.4, 0.9]))
    >>> curve.x.tolist(), curve.y.tolist()
    ([0.0, 0.0, 0.5, 1.0], [0.0, 0.5, 1.0, 1.0])
    """
    return Curve(_rising(ranking.negatives), _rising(ranking.positives))


def auroc(ranking: Ranking) -> float:
    """The area under the ROC curve: the chance that a positive outscores a negative.

    Of the four pairs below three are won and one is a tie, which counts half.

    >>> auroc(rank([0.1, 0.4], [0.4, 0.9]))
    0.875
    """
    curve = roc_curve(ranking)
    return min(float((np.diff(curve.x) * (curve.y[1:] + curve.y[:-1])).sum() / 2), 1.0)


def pr_curve(ranking: Ranking) -> Curve:
    """Precision over recall: one point per distinct score of a positive.

    Between points the curve is a staircase: up to a recall, the precision is that of the threshold
    which reaches it (Davis and Goadrich 2006: straight lines would promise too much). The area
    under the staircase is `average_precision`.

    >>> curve = pr_curve(rank([0.1, 0.4], [0.4, 0.9]))
    >>> curve.x.tolist(), curve.y.round(6).tolist()
    ([0.0, 0.5, 1.0], [1.0, 1.0, 0.666667])
    """
    rises = ranking.positives > 0
    found = np.cumsum(ranking.positives)
    precision = (found / (found + np.cumsum(ranking.negatives)))[rises]
    recall = found[rises] / found[-1]
    return Curve(np.concatenate([[0.0], recall]), np.concatenate([precision[:1], precision]))


def average_precision(ranking: Ranking) -> float:
    """The precision at each distinct score, weighted by the recall gained there; in (0, 1].

    At 0.9 precision is 1 and recall rises by 1/2; at 0.4 precision is 2/3 and recall rises by 1/2.

    >>> round(average_precision(rank([0.1, 0.4], [0.4, 0.9])), 6)
    0.833333
    """
    found = np.cumsum(ranking.positives)
    precision = found / (found + np.cumsum(ranking.negatives))
    return min(float((precision * ranking.positives).sum() / found[-1]), 1.0)


def f1_max(ranking: Ranking) -> float:
    """The best F1 score over all thresholds, 2 TP / (2 TP + FP + FN).

    At the threshold 0.4 both positives and one negative are taken: 4 / (4 + 1 + 0).

    >>> f1_max(rank([0.1, 0.4], [0.4, 0.9]))
    0.8
    """
    found = np.cumsum(ranking.positives)
    taken = found + np.cumsum(ranking.negatives)
    return float((2.0 * found / (taken + found[-1])).max())


def iou_max(ranking: Ranking) -> float:
    """The best intersection over union over all thresholds, TP / (TP + FP + FN).

    At the threshold 0.4 both positives and one negative are taken: 2 / (2 + 1 + 0).

    >>> round(iou_max(rank([0.1, 0.4], [0.4, 0.9])), 6)
    0.666667
    """
    found = np.cumsum(ranking.positives)
    false = np.cumsum(ranking.negatives)
    return float((found / (false + found[-1])).max())


class Confusion(NamedTuple):
    """How many negatives and positives there are, and how many of each a threshold takes."""

    negatives: float
    positives: float
    false_positives: float
    true_positives: float

    def rates(self) -> dict[str, float | None]:
        """Precision, recall, TPR, FPR, F1 and IoU; None where one is 0 / 0.

        >>> Confusion(2, 2, 1, 2).rates()["fpr"], Confusion(2, 2, 1, 2).rates()["f1"]
        (0.5, 0.8)
        """
        taken, missed = (
            self.true_positives + self.false_positives,
            self.positives - self.true_positives,
        )
        recall = _ratio(self.true_positives, self.positives)
        return {
            "precision": _ratio(self.true_positives, taken),
            "recall": recall,
            "tpr": recall,
            "fpr": _ratio(self.false_positives, self.negatives),
            "f1": _ratio(2 * self.true_positives, taken + self.positives),
            "iou": _ratio(self.true_positives, taken + missed),
        }


def _ratio(part: float, whole: float) -> float | None:
    return float(part / whole) if whole > 0 else None


def _rising(counts: Array) -> Array:
    """Cumulative shares from 0 to exactly 1."""
    sums: Array = np.concatenate([[0.0], np.cumsum(counts)])
    return sums / float(sums[-1])
