"""What is kept of anomaly maps once they were looked at: counts, and a sketch for intervals."""

from collections import Counter
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from loco_tools.errors import DatasetError
from loco_tools.evaluation.parts import Origin
from loco_tools.metrics import bootstrap
from loco_tools.metrics.score_histogram import ScoreHistogram

Scores = npt.NDArray[np.float32]
Weights = npt.NDArray[np.float64]

TYPE_EXACT_SCORES, TYPE_COARSE_BITS = 1 << 18, 12
"""What a histogram of one defect type keeps: less than others, because a class may have many types.

Beyond so many scores the area of a type holds to about 1e-5, those of kinds to about 1e-8.
"""

POINTS = 512
"""Scores that stand for the defect pixels of an image in a sketch."""


def type_histogram() -> ScoreHistogram:
    """A histogram for one defect type."""
    return ScoreHistogram(exact_scores=TYPE_EXACT_SCORES, coarse_bits=TYPE_COARSE_BITS)


class Rising(NamedTuple):
    """Scores in ascending order at which overlaps rise, and by how much each."""

    scores: Scores  # (K,)
    weights: Weights  # (K,); their sum is the number of defects


class Sketch(NamedTuple):
    """Some scores of one image that stand for all of them when images are drawn again.

    At most `bootstrap.SKETCH_PIXELS` and two times `POINTS` scores: 28 KB.
    """

    negatives: Scores  # sorted scores of pixels without a defect
    negatives_px: int  # how many of these pixels there are
    saturating: Rising
    components: Rising


NOTHING = Rising(np.empty(0, np.float32), np.empty(0))


def sketch_of(negatives: Scores, saturating: Rising, components: Rising) -> Sketch:
    """Sketch an image by (N,) scores outside of its defects, and those inside in any order."""
    picked = negatives[bootstrap.spread_indices(negatives.size)]
    picked.sort()
    return Sketch(picked, negatives.size, _thinned(saturating), _thinned(components))


def _thinned(rising: Rising) -> Rising:
    """At most `POINTS` of the scores, with the same sum of weights."""
    scores, weights = rising
    if scores.size > 8 * POINTS:  # sorting them all would take longer than counting the image
        places = bootstrap.spread_indices(scores.size, 8 * POINTS)
        picked = weights[places]
        scores, weights = scores[places], picked * (weights.sum() / picked.sum())
    order = np.argsort(scores)
    scores, weights = scores[order], weights[order]
    if scores.size > POINTS:
        sums = np.cumsum(weights)
        levels = (np.arange(POINTS) + 0.5) / POINTS * sums[-1]
        scores = scores[np.searchsorted(sums, levels).clip(max=scores.size - 1)]
        weights = np.full(POINTS, sums[-1] / POINTS)
    return Rising(scores, weights)


class FolderCounts:
    """The counts of one kind folder."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.scores: dict[str, float] = {}  # image score by key
        self.negatives = ScoreHistogram()  # pixels without a defect
        self.components = ScoreHistogram()  # defect pixels, weighing 1 / area of their component
        self.types: dict[str, set[str]] = {}  # keys of the images with a defect of that name
        self.masks: Counter[str] = Counter()  # masks by name of the defect
        self.saturating = (
            ScoreHistogram()
        )  # pixels where the sPRO of a defect rises, weighing 1 / s
        self.saturating_types: dict[str, ScoreHistogram] = {}  # the same by name of the defect
        self.sketches: dict[str, Sketch] = {}  # by key, where intervals are asked for

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
        self.sketches.update(other.sketches)


class Counts:
    """Everything counted of test images."""

    def __init__(self) -> None:
        self.folders: dict[str, FolderCounts] = {}
        self.positives = ScoreHistogram()  # defect pixels of all folders
        self.origins: dict[str, Origin] = {}  # by key of the image
        self._remarks: dict[str, set[str]] = {}  # places by what was found there

    def note(self, what: str, place: str) -> None:
        """Remember something that the reader of the figures should know."""
        self._remarks.setdefault(what, set()).add(place)

    def merge(self, other: "Counts") -> None:
        """Add the counts of other images."""
        for name, folder in other.folders.items():
            self.folders.setdefault(name, FolderCounts(folder.kind)).merge(folder)
        self.positives.merge(other.positives)
        self.origins.update(other.origins)
        for what, places in other._remarks.items():
            self._remarks.setdefault(what, set()).update(places)

    def notes(self) -> list[str]:
        """A line for each kind of remark."""
        lines = []
        for what, places in sorted(self._remarks.items()):
            listed = ", ".join(sorted(places)[:5]) + (", ..." if len(places) > 5 else "")
            lines.append(f"{what} ({len(places)}): {listed}")
        return lines

    def by_kind(self) -> tuple[list[FolderCounts], dict[str, FolderCounts]]:
        """The folders of good images, and those of anomalous ones by name.

        Raises:
            DatasetError: there are none of one or the other.
        """
        good = [folder for folder in self.folders.values() if folder.kind == "good"]
        anomalous = {n: f for n, f in sorted(self.folders.items()) if f.kind != "good"}
        require_both(bool(good), bool(anomalous))
        return good, anomalous


def require_both(good: bool, anomalous: bool) -> None:
    """Refuse to compare without something to compare with."""
    for what, found in (("good", good), ("anomalous", anomalous)):
        if not found:
            raise DatasetError(
                f"expected at least one {what} test image, got none; every figure compares "
                "good with anomalous images"
            )
