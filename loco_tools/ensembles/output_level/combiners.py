"""Combiners by name, and those that need no anomalies: mean, median, maximum, votes and ranks."""

from abc import abstractmethod

import numpy as np

from loco_tools.ensembles.output_level.calibrators import State, calibrator_class
from loco_tools.ensembles.output_level.combiner import Combiner, squeezed
from loco_tools.ensembles.output_level.learned_combiners import Boost, Forest, Stack
from loco_tools.ensembles.output_level.logistic import Array
from loco_tools.ensembles.output_level.weighting import Cawpe, WeightedMean
from loco_tools.errors import MethodError, did_you_mean

_RANKS = 1000
"""Good scores that ranks are told from; of more, so many quantiles."""


class Mean(Combiner):
    """The arithmetic mean."""

    keeps_probabilities = True

    def combine(self, scores: Array) -> Array:
        """See `Combiner`."""
        return np.asarray(scores.mean(axis=-1))


class Median(Combiner):
    """The median; of two members, their mean."""

    keeps_probabilities = True

    def combine(self, scores: Array) -> Array:
        """See `Combiner`."""
        return np.asarray(np.median(scores, axis=-1))


class Maximum(Combiner):
    """The score of whoever is most alarmed."""

    keeps_probabilities = True

    def combine(self, scores: Array) -> Array:
        """See `Combiner`."""
        return np.asarray(scores.max(axis=-1))


class _Counted(Combiner):
    """Counts that tie, told apart by the mean of the calibrated scores.

    The mean is squeezed so that it never outweighs one step of the count.
    """

    def combine(self, scores: Array) -> Array:
        """See `Combiner`."""
        steps = self._most(scores.shape[-1]) + 1
        return np.asarray((self._count(scores) + squeezed(scores)) / steps)

    @abstractmethod
    def _count(self, scores: Array) -> Array: ...

    @abstractmethod
    def _most(self, members: int) -> int: ...


class Vote(_Counted):
    """How many members find the image beyond a quantile of their good scores."""

    def _fit(self, good: Array, anomalous: Array) -> State:
        del anomalous
        return {"thresholds": np.quantile(good, self.vote_quantile, axis=0)}

    def _count(self, scores: Array) -> Array:
        return np.asarray((scores > self.state["thresholds"]).sum(axis=-1))

    def _most(self, members: int) -> int:
        return members


class RankMean(_Counted):
    """The mean of the scores' ranks among the good ones: never among other test images."""

    def _fit(self, good: Array, anomalous: Array) -> State:
        del anomalous
        if len(good) > _RANKS:
            return {"good": np.quantile(good, (np.arange(_RANKS) + 0.5) / _RANKS, axis=0)}
        return {"good": np.sort(good, axis=0)}

    def _count(self, scores: Array) -> Array:
        ranks = [
            np.searchsorted(self.state["good"][:, k], scores[..., k], side="right")
            for k in range(scores.shape[-1])
        ]
        return np.asarray(np.sum(ranks, axis=0))

    def _most(self, members: int) -> int:
        return len(self.state["good"]) * members


COMBINERS: dict[str, type[Combiner]] = {
    "mean": Mean,
    "weighted": WeightedMean,
    "max": Maximum,
    "median": Median,
    "vote": Vote,
    "rank": RankMean,
    "stack": Stack,
    "forest": Forest,
    "boost": Boost,
    "cawpe": Cawpe,
}
"""By the name that settings use."""


def combiner_class(name: str) -> type[Combiner]:
    """The combiner of a name; MethodError with the nearest one when there is none."""
    if name not in COMBINERS:
        raise MethodError(f'unknown combiner "{name}"; {did_you_mean(name, COMBINERS)}')
    return COMBINERS[name]


def gives_probabilities(calibrator: str, combiner: str) -> bool:
    """Whether what a combiner makes of a calibrator's scores are probabilities of an anomaly."""
    found = combiner_class(combiner)
    return found.gives_probabilities or (
        found.keeps_probabilities and calibrator_class(calibrator).needs_anomalies
    )
