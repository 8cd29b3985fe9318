"""Combiners that weigh members by how well each tells held-out good from synthetic anomalies."""

from abc import abstractmethod

import numpy as np
from scipy.special import ndtri

from loco_tools.ensembles.output_level.calibrators import State
from loco_tools.ensembles.output_level.combiner import Combiner
from loco_tools.ensembles.output_level.logistic import Array
from loco_tools.metrics.roc import auroc, rank

_FOLDS = 10
_SHRINKAGE = 10.0
"""Images that "all members weigh the same" counts for."""


class _Weighted(Combiner):
    """Mean with weights that sum to 1."""

    needs_anomalies = True
    keeps_probabilities = True

    def _fit(self, good: Array, anomalous: Array) -> State:
        weights = self._weights(good, anomalous)
        total = weights.sum()
        return {
            "weights": weights / total if total > 0 else np.full_like(weights, 1 / len(weights))
        }

    def combine(self, scores: Array) -> Array:
        """See `Combiner`."""
        return np.asarray(scores @ self.state["weights"])

    @abstractmethod
    def _weights(self, good: Array, anomalous: Array) -> Array: ...


class WeightedMean(_Weighted):
    """Each member weighs what it tells apart: the normal deviate of its AUROC.

    For members with independent normal scores of equal spread that is the best linear combination.
    One that is no better than chance gets nothing, but for the shrinkage towards equal weights:
    as if ten images said that all are the same.
    """

    def _weights(self, good: Array, anomalous: Array) -> Array:
        members = range(good.shape[1])
        areas = np.array([auroc(rank(good[:, k], anomalous[:, k])) for k in members])
        ends = 1 / (2 * len(good) * len(anomalous))  # as if half a pair were out of order
        worth = np.maximum(ndtri(np.clip(areas, ends, 1 - ends)), 0)
        if not worth.any():
            return np.ones_like(worth)
        known = min(len(good), len(anomalous))
        share = _SHRINKAGE / (_SHRINKAGE + known)
        return np.asarray((1 - share) * worth / worth.sum() + share / len(worth))


class Cawpe(_Weighted):
    """Probabilities weighted by accuracy^alpha (Large, Lines and Bagnall 2019; alpha = 4).

    The accuracy is balanced and cross-validated in ten folds: of a threshold on the member's score
    chosen on the other folds. Deviation: the paper's is that of a classifier on labelled training
    data, which there is none of here; good held-out images and synthetic anomalies stand for it.
    """

    def _weights(self, good: Array, anomalous: Array) -> Array:
        accuracies = [
            cross_validated_accuracy(g, a) for g, a in zip(good.T, anomalous.T, strict=True)
        ]
        return np.asarray(np.array(accuracies) ** self.alpha)


def cross_validated_accuracy(good: Array, anomalous: Array) -> float:
    """Balanced accuracy of a threshold on scores (N,) and (M,), chosen on nine tenths each time.

    >>> cross_validated_accuracy(np.arange(20.0), np.arange(20.0) + 50)
    1.0
    """
    folds = min(_FOLDS, len(good), len(anomalous))
    if folds < 2:
        return auroc(rank(good, anomalous))
    # Every tenth of the ordered scores, so that each fold has the whole range.
    good, anomalous = np.sort(good), np.sort(anomalous)
    right = np.zeros(2)
    for fold in range(folds):
        out = [np.arange(len(scores)) % folds == fold for scores in (good, anomalous)]
        threshold = _best_threshold(good[~out[0]], anomalous[~out[1]])
        right += [(good[out[0]] < threshold).sum(), (anomalous[out[1]] >= threshold).sum()]
    return float((right / [len(good), len(anomalous)]).mean())


def _best_threshold(good: Array, anomalous: Array) -> float:
    """Half-way between the scores that balanced accuracy is best split between."""
    scores = np.unique(np.concatenate([good, anomalous]))
    missed = np.searchsorted(np.sort(anomalous), scores) / len(anomalous)
    passed = np.searchsorted(np.sort(good), scores) / len(good)
    best = int(np.argmax(passed - missed))
    return float(scores[best] if best == 0 else (scores[best - 1] + scores[best]) / 2)
