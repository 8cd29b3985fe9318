"""Combiners: the calibrated scores of several detectors become one score.

Scores are arrays whose last axis is the members, (N, K) for images and (B, h, w, K) for maps; that
axis is reduced. Combiners that are fitted to anomalies get synthetic ones made from held-out good
images; good and anomalous images have the same total weight.
"""

from abc import ABC, abstractmethod
from typing import ClassVar, Self

import numpy as np
import numpy.typing as npt
from scipy.special import ndtri

from loco_tools.ensembles.output_level.calibrators import State
from loco_tools.ensembles.output_level.logistic import Array
from loco_tools.errors import MethodError
from loco_tools.metrics.roc import auroc, rank

_RANKS = 1000
"""Largest number of good scores that ranks refer to; more are reduced to as many quantiles."""
_FOLDS = 10
_SHRINKAGE = 10.0
"""Number of images for which equal weights count in the weights of `WeightedMean`."""


class Combiner(ABC):
    """A function of the members' scores.

    Attributes:
        needs_anomalies: it is fitted to anomalous scores too.
        gives_probabilities: its scores are probabilities whatever its input is.
        keeps_probabilities: its scores are probabilities when its input is.
        for_maps: the name of the combiner that is used for patches instead of this one.
        state: the learned arrays; setting it is all that loading takes.
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
        """Create a combiner; every combiner ignores the settings that it does not need.

        Args:
            state: learned arrays of an earlier fit.
            vote_quantile: quantile of the good scores above which a member votes "anomalous".
            alpha: exponent of CAWPE.
            seed: seed of a forest.
        """
        self.state: State = {} if state is None else dict(state)
        self.vote_quantile = vote_quantile
        self.alpha = alpha
        self.seed = seed

    def fit(self, good: npt.ArrayLike, anomalous: npt.ArrayLike | None = None) -> Self:
        """Fit to calibrated scores (N, K) of good and, where needed, (M, K) of anomalous images.

        Raises:
            MethodError: scores of another shape, or no anomalous scores where they are needed.
        """
        values = {"good": np.asarray(good, np.float64)}
        if self.needs_anomalies:
            no_scores = np.zeros((0, 0))
            others = no_scores if anomalous is None else anomalous
            values["anomalous"] = np.asarray(others, np.float64)
        for kind, scores in values.items():
            if scores.ndim != 2 or 0 in scores.shape:
                raise MethodError(
                    f"combination: expected {kind} scores (N, members) with N at least 1, got "
                    f"shape {scores.shape}"
                )
        self.state = self._fit(values["good"], values.get("anomalous", values["good"][:0]))
        return self

    def _fit(self, good: Array, anomalous: Array) -> State:
        del good, anomalous
        return {}

    @abstractmethod
    def combine(self, scores: Array) -> Array:
        """Combined scores (...) of scores (..., K)."""

    def margin(self, scores: Array) -> Array:
        """Scores in the same order as those of `combine` that never saturate; used for maps."""
        return self.combine(scores)


class Mean(Combiner):
    """Arithmetic mean over members."""

    keeps_probabilities = True

    def combine(self, scores: Array) -> Array:
        """See `Combiner.combine`."""
        return np.asarray(scores.mean(axis=-1))


class Median(Combiner):
    """Median over members; the mean of two members."""

    keeps_probabilities = True

    def combine(self, scores: Array) -> Array:
        """See `Combiner.combine`."""
        return np.asarray(np.median(scores, axis=-1))


class Maximum(Combiner):
    """Maximum over members."""

    keeps_probabilities = True

    def combine(self, scores: Array) -> Array:
        """See `Combiner.combine`."""
        return np.asarray(scores.max(axis=-1))


class Vote(Combiner):
    """Number of members whose score exceeds a quantile of their good scores."""

    def _fit(self, good: Array, anomalous: Array) -> State:
        del anomalous
        return {"thresholds": np.quantile(good, self.vote_quantile, axis=0)}

    def combine(self, scores: Array) -> Array:
        """See `Combiner.combine`; from 0 to 1, ties are broken by the mean score."""
        votes = np.asarray((scores > self.state["thresholds"]).sum(axis=-1))
        return _break_ties(votes, scores, most=scores.shape[-1])


class RankMean(Combiner):
    """Mean over members of the score's rank among good scores, never among other test images."""

    def _fit(self, good: Array, anomalous: Array) -> State:
        del anomalous
        if len(good) > _RANKS:
            return {"good": np.quantile(good, (np.arange(_RANKS) + 0.5) / _RANKS, axis=0)}
        return {"good": np.sort(good, axis=0)}

    def combine(self, scores: Array) -> Array:
        """See `Combiner.combine`; from 0 to 1, ties are broken by the mean score."""
        good, members = self.state["good"], range(scores.shape[-1])
        ranks = [np.searchsorted(good[:, k], scores[..., k], side="right") for k in members]
        most = len(good) * len(members)
        return _break_ties(np.asarray(np.sum(ranks, axis=0)), scores, most)


class _WeightedSum(Combiner):
    """Weighted mean with the weights of `state`, which sum to 1."""

    needs_anomalies = True
    keeps_probabilities = True

    def combine(self, scores: Array) -> Array:
        """See `Combiner.combine`."""
        return np.asarray(scores @ self.state["weights"])


class WeightedMean(_WeightedSum):
    """Mean weighted by the normal deviate of each member's AUROC.

    For members with independent normal scores of equal variance this is the best linear
    combination. A member that is no better than chance gets weight 0. The weights are then shrunk
    towards equal weights, which count as ten images.
    """

    def _fit(self, good: Array, anomalous: Array) -> State:
        areas = np.array(
            [auroc(rank(g, a)) for g, a in zip(good.T, anomalous.T, strict=True)],
        )
        least = 1 / (2 * len(good) * len(anomalous))  # as if half a pair were in the wrong order
        deviates = np.maximum(ndtri(np.clip(areas, least, 1 - least)), 0)
        if not deviates.any():
            return {"weights": _normalise(np.ones_like(deviates))}
        images = min(len(good), len(anomalous))
        equal_share = _SHRINKAGE / (_SHRINKAGE + images)
        weights = (1 - equal_share) * deviates / deviates.sum() + equal_share / len(deviates)
        return {"weights": _normalise(np.asarray(weights))}


class Cawpe(_WeightedSum):
    """Mean of probabilities weighted by accuracy^alpha (Large, Lines and Bagnall 2019; alpha = 4).

    The accuracy is the balanced accuracy, in ten-fold cross-validation, of a threshold on the
    member's score that is chosen on the other folds. Deviation: the paper takes the accuracy of a
    classifier on labelled training data, which do not exist here; held-out good images and
    synthetic anomalies stand for them.
    """

    def _fit(self, good: Array, anomalous: Array) -> State:
        accuracies = [
            cross_validated_accuracy(g, a) for g, a in zip(good.T, anomalous.T, strict=True)
        ]
        return {"weights": _normalise(np.array(accuracies) ** self.alpha)}


def cross_validated_accuracy(good: Array, anomalous: Array) -> float:
    """Balanced accuracy of a threshold on scores (N,) and (M,) in ten-fold cross-validation.

    The threshold lies half-way between the two scores that give the best balanced accuracy on the
    other folds.

    >>> cross_validated_accuracy(np.arange(20.0), np.arange(20.0) + 50)
    1.0
    """
    folds = min(_FOLDS, len(good), len(anomalous))
    if folds < 2:
        return auroc(rank(good, anomalous))
    # Every tenth of the ordered scores, so that each fold covers the whole range.
    good, anomalous = np.sort(good), np.sort(anomalous)
    correct = np.zeros(2)
    for fold in range(folds):
        is_test = [np.arange(len(scores)) % folds == fold for scores in (good, anomalous)]
        train_good, train_anomalous = good[~is_test[0]], anomalous[~is_test[1]]
        scores = np.unique(np.concatenate([train_good, train_anomalous]))
        missed = np.searchsorted(train_anomalous, scores) / len(train_anomalous)
        passed = np.searchsorted(train_good, scores) / len(train_good)
        best = int(np.argmax(passed - missed))
        threshold = float(scores[best] if best == 0 else (scores[best - 1] + scores[best]) / 2)
        correct += [
            (good[is_test[0]] < threshold).sum(),
            (anomalous[is_test[1]] >= threshold).sum(),
        ]
    return float((correct / [len(good), len(anomalous)]).mean())


def squashed_mean(scores: Array) -> Array:
    """The mean over members (..., K) mapped to 0..1, increasing and slow to saturate."""
    mean = scores.mean(axis=-1)
    return np.asarray(0.5 + 0.5 * mean / (1 + np.abs(mean)))


def _break_ties(counts: Array, scores: Array, most: int) -> Array:
    """Counts of at most `most`, divided by `most` + 1; ties are broken by the squashed mean."""
    return np.asarray((counts + squashed_mean(scores)) / (most + 1))


def _normalise(weights: Array) -> Array:
    """Weights (K,) divided by their sum; equal weights when they are all 0."""
    total = weights.sum()
    return weights / total if total > 0 else np.full_like(weights, 1 / len(weights))
