"""One threshold from good validation scores, and what it does to the test images.

Nothing here looks at a defect before the threshold stands, unlike F1-max and IoU-max, which take
the best of all thresholds on the test images.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from loco_tools.metrics.roc import Confusion
from loco_tools.metrics.score_histogram import Entries, ScoreHistogram, score_of

Figures = dict[str, Any]

DEFAULT_FPR = 0.05
"""The share of good validation images, and of their pixels, above the threshold."""


class ValidationMaps(NamedTuple):
    """Good validation images: image score by name, and what reads the (H, W) map of a name."""

    scores: Mapping[str, float]
    read_map_of: Callable[[str], npt.NDArray[np.floating[Any]]]


class Validation:
    """The counts of good validation images."""

    def __init__(self) -> None:
        self.scores: dict[str, float] = {}  # image score by name
        self.pixels = ScoreHistogram()

    def merge(self, other: "Validation") -> None:
        """Add the counts of other images."""
        self.scores.update(other.scores)
        self.pixels.merge(other.pixels)


def image_level(
    validation: Validation, good: Sequence[float], anomalous: Sequence[float], fpr: float
) -> Figures:
    """The figures of image scores at the threshold, good against all anomalous ones."""
    if not validation.scores:
        return _unknown(fpr)
    scores = np.sort(list(validation.scores.values()))
    threshold = scores[_place(np.ones(scores.size), fpr)]
    taken = [int(np.count_nonzero(np.asarray(side) > threshold)) for side in (good, anomalous)]
    confusion = Confusion(len(good), len(anomalous), *taken)
    return _known(float(threshold), f"{scores.size} good validation images", fpr, confusion)


def pixel_level(
    validation: Validation, negatives: ScoreHistogram, positives: ScoreHistogram, fpr: float
) -> Figures:
    """The figures of pixel scores at the threshold, over all pixels of all test images."""
    if not validation.scores:
        return _unknown(fpr)
    lost_bits = max(histogram.lost_bits for histogram in (validation.pixels, negatives, positives))
    seen = validation.pixels.entries(lost_bits)
    key = int(seen.keys[_place(seen.totals, fpr)])
    low, high = negatives.entries(lost_bits), positives.entries(lost_bits)
    confusion = Confusion(low.totals.sum(), high.totals.sum(), _above(low, key), _above(high, key))
    what = f"pixels of {len(validation.scores)} good validation images"
    return _known(score_of(key, lost_bits), what, fpr, confusion)


def _place(counts: npt.NDArray[np.float64], fpr: float) -> int:
    """Where among ascending scores the lowest is above which at most a share of `fpr` lies."""
    above = counts.sum() - np.cumsum(counts)
    return int(np.flatnonzero(above <= fpr * counts.sum() + 1e-9)[0])


def _above(entries: Entries, key: int) -> float:
    return float(entries.totals[entries.keys > np.uint32(key)].sum())


def _known(threshold: float, what: str, fpr: float, confusion: Confusion) -> Figures:
    return {
        "threshold": threshold,
        "rule": f"the lowest score above which at most {fpr:g} of the {what} score; anomalous is "
        "what scores above the threshold",
        "validation_fpr": fpr,
        **confusion.rates(),
    }


def _unknown(fpr: float) -> Figures:
    return {
        "threshold": None,
        "rule": "none: no scores of good validation images were given; expected their anomaly maps "
        "in validation/good beside test",
        "validation_fpr": fpr,
        **Confusion(0, 0, 0, 0).rates(),
    }
