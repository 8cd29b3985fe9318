"""Scores of several members become one: each is calibrated, then all are combined."""

from collections.abc import Mapping
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from loco_tools.ensembles.output_level.calibrators import Calibrator, State, calibrator_class
from loco_tools.ensembles.output_level.combiner import Combiner
from loco_tools.ensembles.output_level.logistic import Array

_COMBINER = "combiner"


class ScoreFusion:
    """One calibrator per member and the combiner of what they give, for images or for patches."""

    def __init__(self, calibrator: str, combiner: Combiner) -> None:
        """`calibrator` by its name; the combiner as it was made, not yet fitted.

        Raises:
            MethodError: no such calibrator.
        """
        self._calibrator = calibrator_class(calibrator)
        self._calibrators: list[Calibrator] = []
        self.combiner = combiner

    @property
    def needs_anomalies(self) -> bool:
        """Whether `fit` must be given anomalous scores."""
        return self._calibrator.needs_anomalies or self.combiner.needs_anomalies

    def fit(self, good: Array, anomalous: Array | None = None) -> Self:
        """Learn from members' scores (N, K) of good and, where needed, (M, K) of anomalous ones.

        Raises:
            MethodError: scores that are not finite, or none where they are needed.
        """
        columns = [None] * good.shape[1] if anomalous is None else anomalous.T
        self._calibrators = [
            self._calibrator().fit(one, other) for one, other in zip(good.T, columns, strict=True)
        ]
        self.combiner.fit(
            self.calibrated(good), None if anomalous is None else self.calibrated(anomalous)
        )
        return self

    def calibrated(self, scores: Array) -> Array:
        """The members' scores (..., K) on one scale."""
        parts = [c.transform(scores[..., k]) for k, c in enumerate(self._calibrators)]
        return np.stack(parts, axis=-1)

    def combine(self, scores: Array) -> Array:
        """One score from each (..., K): (...)."""
        return self.combiner.combine(self.calibrated(scores))

    def margin(self, scores: Array) -> Array:
        """As `combine`, but never saturating; what maps are made of."""
        return self.combiner.margin(self.calibrated(scores))

    def arrays(self) -> State:
        """All that was learned, by "<member's number>.<name>" and "combiner.<name>"."""
        named = {str(number): one.state for number, one in enumerate(self._calibrators)}
        return {
            f"{place}.{name}": value
            for place, state in {**named, _COMBINER: self.combiner.state}.items()
            for name, value in state.items()
        }

    def restore(self, arrays: Mapping[str, npt.NDArray[Any]], members: int) -> None:
        """Take over what `arrays` gave; KeyError when a member's are missing."""
        states: dict[str, State] = {}
        for key, value in arrays.items():
            place, _, name = key.partition(".")
            states.setdefault(place, {})[name] = value
        self._calibrators = [self._calibrator(states[str(k)]) for k in range(members)]
        self.combiner.state = states.get(_COMBINER, {})
