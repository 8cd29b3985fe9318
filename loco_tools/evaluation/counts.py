"""The data kept of anomaly maps: histograms of scores, and a sample of scores for intervals."""

from collections import Counter
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from loco_tools.errors import DatasetError
from loco_tools.evaluation.parts import ImageOrigin
from loco_tools.metrics import bootstrap
from loco_tools.metrics.score_histogram import ScoreHistogram, Scores

Weights = npt.NDArray[np.float64]

TYPE_EXACT_SCORES, TYPE_COARSE_BITS = 1 << 18, 12
"""Size of the histogram of one defect type: smaller than others, as a class may have many types.

Beyond so many scores the area of a type is exact to about 1e-5, those of kinds to about 1e-8.
"""

SAMPLED_DEFECT_SCORES = 512
"""Scores that represent the defect pixels of an image in a sample."""


def type_histogram() -> ScoreHistogram:
    """An empty histogram for the scores of one defect type."""
    return ScoreHistogram(exact_scores=TYPE_EXACT_SCORES, coarse_bits=TYPE_COARSE_BITS)


class WeightedScores(NamedTuple):
    """Scores at which the overlap (sPRO or PRO) rises, and the rise at each."""

    scores: Scores  # (K,)
    weights: Weights  # (K,); their sum is the number of defects


class ScoreSample(NamedTuple):
    """A sample of the scores of one image that represents it in the bootstrap over images.

    It holds at most `bootstrap.SAMPLED_PIXELS` and twice `SAMPLED_DEFECT_SCORES` scores: 28 KB.
    """

    negatives: Scores  # sorted scores of defect-free pixels
    negatives_px: int  # number of defect-free pixels of the image
    saturating: WeightedScores
    components: WeightedScores


NO_SCORES = WeightedScores(np.empty(0, np.float32), np.empty(0))


def sample_scores(
    negatives: Scores, saturating: WeightedScores, components: WeightedScores
) -> ScoreSample:
    """Sample an image's scores: (N,) outside of its defects, and those inside in any order."""
    picked = negatives[bootstrap.spread_indices(negatives.size)]
    picked.sort()
    return ScoreSample(picked, negatives.size, _thin(saturating), _thin(components))


def _thin(given: WeightedScores) -> WeightedScores:
    """At most `SAMPLED_DEFECT_SCORES` of the scores, with the same sum of weights."""
    scores, weights = given
    if scores.size > 8 * SAMPLED_DEFECT_SCORES:  # sorting all would take too long
        indices = bootstrap.spread_indices(scores.size, 8 * SAMPLED_DEFECT_SCORES)
        picked = weights[indices]
        scores, weights = scores[indices], picked * (weights.sum() / picked.sum())
    order = np.argsort(scores)
    scores, weights = scores[order], weights[order]
    if scores.size > SAMPLED_DEFECT_SCORES:
        sums = np.cumsum(weights)
        levels = (np.arange(SAMPLED_DEFECT_SCORES) + 0.5) / SAMPLED_DEFECT_SCORES * sums[-1]
        scores = scores[np.searchsorted(sums, levels).clip(max=scores.size - 1)]
        weights = np.full(SAMPLED_DEFECT_SCORES, sums[-1] / SAMPLED_DEFECT_SCORES)
    return WeightedScores(scores, weights)


class Narrowing(NamedTuple):
    """Maps whose float64 scores the ranking of pixels narrows to float32.

    `distinct` is the number of distinct scores, map by map, and `merged` the number of those that
    equal another one of their map as float32.
    """

    maps: int = 0
    distinct: int = 0
    merged: int = 0

    @staticmethod
    def of_map(scores: Scores) -> "Narrowing":
        """The narrowing of one map; nothing for a map of float32."""
        if scores.dtype == np.float32:
            return Narrowing()
        ordered = np.sort(scores, axis=None)
        distinct, left = (
            1 + int(np.count_nonzero(np.diff(values))) for values in (ordered, np.float32(ordered))
        )
        return Narrowing(1, distinct, distinct - left)

    def plus(self, other: "Narrowing") -> "Narrowing":
        """The narrowing of both."""
        return Narrowing(*(a + b for a, b in zip(self, other, strict=True)))


class FolderCounts:
    """The counts of the test images in one kind folder."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.scores: dict[str, float] = {}  # image score by key
        self.negatives = ScoreHistogram()  # scores of defect-free pixels
        self.components = ScoreHistogram()  # of defect pixels, weight 1 / area of their component
        self.types: dict[str, set[str]] = {}  # keys of images by name of their defects
        self.masks: Counter[str] = Counter()  # number of masks by name of the defect
        self.saturating = ScoreHistogram()  # of pixels where an sPRO rises, weight 1 / s
        self.saturating_types: dict[str, ScoreHistogram] = {}  # the same by name of the defect
        self.score_samples: dict[str, ScoreSample] = {}  # by key; empty without intervals

    def merge(self, other: "FolderCounts") -> None:
        """Add the counts of other images of the folder."""
        self.scores.update(other.scores)
        self.negatives.merge(other.negatives)
        self.components.merge(other.components)
        for name, keys in other.types.items():
            self.types.setdefault(name, set()).update(keys)
        self.masks.update(other.masks)
        self.saturating.merge(other.saturating)
        for name, histogram in other.saturating_types.items():
            self.saturating_types.setdefault(name, type_histogram()).merge(histogram)
        self.score_samples.update(other.score_samples)


class Counts:
    """The counts of all test images."""

    def __init__(self) -> None:
        self.folders: dict[str, FolderCounts] = {}
        self.positives = ScoreHistogram()  # scores of defect pixels of all folders
        self.origins: dict[str, ImageOrigin] = {}  # by key of the image
        self.narrowing = Narrowing()
        self._remarks: dict[str, set[str]] = {}  # images or masks by remark

    def add_remark(self, remark: str, key: str) -> None:
        """Keep a remark about an image or mask for the notes of the evaluation."""
        self._remarks.setdefault(remark, set()).add(key)

    def merge(self, other: "Counts") -> None:
        """Add the counts of other images."""
        for name, folder in other.folders.items():
            self.folders.setdefault(name, FolderCounts(folder.kind)).merge(folder)
        self.positives.merge(other.positives)
        self.narrowing = self.narrowing.plus(other.narrowing)
        self.origins.update(other.origins)
        for remark, keys in other._remarks.items():
            self._remarks.setdefault(remark, set()).update(keys)

    def notes(self) -> list[str]:
        """One line per remark, with the images or masks that it concerns."""
        lines = []
        for remark, keys in sorted(self._remarks.items()):
            listed = ", ".join(sorted(keys)[:5]) + (", ..." if len(keys) > 5 else "")
            lines.append(f"{remark} ({len(keys)}): {listed}")
        return lines

    def by_kind(self) -> tuple[list[FolderCounts], dict[str, FolderCounts]]:
        """The folders of good images, and those of anomalous ones by name.

        Raises:
            DatasetError: there are no good or no anomalous images.
        """
        good = [folder for folder in self.folders.values() if folder.kind == "good"]
        anomalous = {n: f for n, f in sorted(self.folders.items()) if f.kind != "good"}
        require_both(bool(good), bool(anomalous))
        return good, anomalous


def require_both(good: bool, anomalous: bool) -> None:
    """Raise DatasetError unless there are both good and anomalous test images."""
    for kind, is_present in (("good", good), ("anomalous", anomalous)):
        if not is_present:
            raise DatasetError(
                f"expected at least one {kind} test image, got none; every metric compares "
                "good with anomalous images"
            )
