"""One threshold from good validation scores, and the metrics of the test images at it.

The threshold does not depend on any test image, unlike that of F1-max and IoU-max, which use the
best of all thresholds on the test images.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from loco_tools.metrics.roc import Confusion
from loco_tools.metrics.score_histogram import Entries, ScoreHistogram, score_of

Metrics = dict[str, Any]

DEFAULT_FPR = 0.05
"""False-positive rate on good validation images, and on their pixels, that sets the threshold."""


class ValidationMaps(NamedTuple):
    """Image scores of good validation images by name, and a function that reads the (H, W) map."""

    scores: Mapping[str, float]
    read_map_of: Callable[[str], npt.NDArray[np.floating[Any]]]


class ValidationCounts:
    """The image scores and the pixel scores of good validation images."""

    def __init__(self) -> None:
        self.scores: dict[str, float] = {}  # image score by name
        self.pixels = ScoreHistogram()

    def merge(self, other: "ValidationCounts") -> None:
        """Add the counts of other images."""
        self.scores.update(other.scores)
        self.pixels.merge(other.pixels)


def image_level(
    validation: ValidationCounts, good: Sequence[float], anomalous: Sequence[float], fpr: float
) -> Metrics:
    """The metrics of image scores at the threshold, good against all anomalous images."""
    if not validation.scores:
        return _without_threshold(fpr)
    scores = np.sort(list(validation.scores.values()))
    threshold = scores[_threshold_index(np.ones(scores.size), fpr)]
    exceeding = [int(np.count_nonzero(np.asarray(side) > threshold)) for side in (good, anomalous)]
    confusion = Confusion(len(good), len(anomalous), *exceeding)
    return _at_threshold(float(threshold), f"{scores.size} good validation images", fpr, confusion)


def pixel_level(
    validation: ValidationCounts, negatives: ScoreHistogram, positives: ScoreHistogram, fpr: float
) -> Metrics:
    """The metrics of pixel scores at the threshold, over all pixels of all test images."""
    if not validation.scores:
        return _without_threshold(fpr)
    lost_bits = max(histogram.lost_bits for histogram in (validation.pixels, negatives, positives))
    keys, totals = validation.pixels.entries(lost_bits)
    key = int(keys[_threshold_index(totals, fpr)])
    low, high = negatives.entries(lost_bits), positives.entries(lost_bits)
    exceeding = (_total_above(low, key), _total_above(high, key))
    confusion = Confusion(low.totals.sum(), high.totals.sum(), *exceeding)
    what = f"pixels of {len(validation.scores)} good validation images"
    return _at_threshold(score_of(key, lost_bits), what, fpr, confusion)


def _threshold_index(counts: npt.NDArray[np.float64], fpr: float) -> int:
    """The index of the lowest of ascending scores with at most a share of `fpr` above it."""
    above = counts.sum() - np.cumsum(counts)
    return int(np.flatnonzero(above <= fpr * counts.sum() + 1e-9)[0])


def _total_above(entries: Entries, key: int) -> float:
    return float(entries.totals[entries.keys > np.uint32(key)].sum())


def _at_threshold(threshold: float, what: str, fpr: float, confusion: Confusion) -> Metrics:
    return {
        "threshold": threshold,
        "rule": f"the lowest score above which at most {fpr:g} of the {what} score; anomalous is "
        "what scores above the threshold",
        "validation_fpr": fpr,
        **confusion.rates(),
    }


def _without_threshold(fpr: float) -> Metrics:
    return {
        "threshold": None,
        "rule": "none: no scores of good validation images were given; expected their anomaly maps "
        "in validation/good next to test",
        "validation_fpr": fpr,
        **Confusion(0, 0, 0, 0).rates(),
    }
