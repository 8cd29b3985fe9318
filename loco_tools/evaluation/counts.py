"""What is kept of anomaly maps once they were looked at: counts, and a sketch for intervals."""

from collections import Counter
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from loco_tools.metrics import bootstrap
from loco_tools.metrics.tally import Tally

Scores = npt.NDArray[np.float32]
Weights = npt.NDArray[np.float64]

TYPE_EXACT_SCORES = 1 << 18

POINTS = 512
"""Scores that stand for the defect pixels of an image in a sketch."""


def type_tally() -> Tally:
    """A tally for one defect type: exact for fewer scores, because a class may have many types."""
    return Tally(exact_scores=TYPE_EXACT_SCORES)


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
    picked = negatives[bootstrap.spread_places(negatives.size)]
    picked.sort()
    return Sketch(picked, negatives.size, _thinned(saturating), _thinned(components))


def _thinned(rising: Rising) -> Rising:
    """At most `POINTS` of the scores, with the same sum of weights."""
    scores, weights = rising
    if scores.size > 8 * POINTS:  # sorting them all would take longer than counting the image
        places = bootstrap.spread_places(scores.size, 8 * POINTS)
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
        self.negatives = Tally()  # pixels without a defect
        self.components = Tally()  # defect pixels, weighing 1 / area of their component
        self.types: dict[str, set[str]] = {}  # keys of the images with a defect of that name
        self.masks: Counter[str] = Counter()  # masks by name of the defect
        self.saturating = Tally()  # pixels where the sPRO of a defect rises, weighing 1 / s
        self.saturating_types: dict[str, Tally] = {}  # the same by name of the defect
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
        for name, tally in other.saturating_types.items():
            self.saturating_types.setdefault(name, type_tally()).merge(tally)
        self.sketches.update(other.sketches)
