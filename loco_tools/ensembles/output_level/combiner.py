"""What every combiner is: calibrated scores of several detectors become one.

Scores come as arrays whose last axis is the members, (N, K) for images and (B, h, w, K) for maps;
that axis is combined. Combiners that are fitted on anomalies are given synthetic ones made from
held-out good images, each kind counting half.
"""

from abc import ABC, abstractmethod
from typing import ClassVar, Self

import numpy as np
import numpy.typing as npt

from loco_tools.ensembles.output_level.calibrators import State
from loco_tools.ensembles.output_level.logistic import Array
from loco_tools.errors import MethodError


class Combiner(ABC):
    """A function of the members' scores.

    Attributes:
        needs_anomalies: it is fitted on anomalous scores too.
        gives_probabilities: whatever it is given.
        keeps_probabilities: given probabilities, it gives one.
        for_maps: the name of the combiner that judges patches where this one judges images.
        state: what was learned, as plain arrays; setting it is all that loading takes.
    """

    needs_anomalies: ClassVar[bool] = False
    gives_probabilities: ClassVar[bool] = False
    keeps_probabilities: ClassVar[bool] = False
    for_maps: ClassVar[str | None] = None

    def __init__(
        self,
        state: State | None = None,
        *,
        vote_quantile: float = 0.95,
        alpha: float = 4.0,
        seed: int = 0,
    ) -> None:
        """What some of them can be told.

        Args:
            state: as learned before.
            vote_quantile: of the good scores, beyond which a member votes "anomalous".
            alpha: the power of CAWPE.
            seed: of a forest.
        """
        self.state: State = {} if state is None else dict(state)
        self.vote_quantile = vote_quantile
        self.alpha = alpha
        self.seed = seed

    def fit(self, good: npt.ArrayLike, anomalous: npt.ArrayLike | None = None) -> Self:
        """Learn from calibrated scores (N, K) of good and, where needed, (M, K) of anomalous ones.

        Raises:
            MethodError: scores of another shape, or none where they are needed.
        """
        values = _checked(good, "good")
        if not self.needs_anomalies:
            self.state = self._fit(values, values[:0])
            return self
        others = _checked(np.zeros((0, 0)) if anomalous is None else anomalous, "anomalous")
        self.state = self._fit(values, others)
        return self

    def _fit(self, good: Array, anomalous: Array) -> State:
        del good, anomalous
        return {}

    @abstractmethod
    def combine(self, scores: Array) -> Array:
        """One score from each (..., K): (...)."""

    def margin(self, scores: Array) -> Array:
        """As `combine`, in the same order, but never saturating; what maps are made of."""
        return self.combine(scores)


def squeezed(scores: Array) -> Array:
    """The mean over members (..., K) in 0..1, rising and slow to saturate: it tells ties apart."""
    mean = scores.mean(axis=-1)
    return np.asarray(0.5 + 0.5 * mean / (1 + np.abs(mean)))


def _checked(scores: npt.ArrayLike, kind: str) -> Array:
    values = np.asarray(scores, np.float64)
    if values.ndim != 2 or 0 in values.shape:
        raise MethodError(
            f"combination: expected {kind} scores (N, members) with N at least 1, got shape "
            f"{values.shape}"
        )
    return values
