"""Combiners that learn from good images and synthetic anomalies how to judge scores."""

from abc import abstractmethod

import numpy as np
from scipy.special import expit

from loco_tools.ensembles.output_level.calibrators import State
from loco_tools.ensembles.output_level.combiner import Combiner, squeezed
from loco_tools.ensembles.output_level.logistic import SMALLEST, Array, fit_logistic, labelled
from loco_tools.ensembles.output_level.trees import leaf_values, tree_arrays


class Stack(Combiner):
    """Logistic regression on the members' scores, no weight negative.

    Each keeps a thousandth per deviation, so that where no member sees the synthetic anomalies at
    all, their scores still decide and not nothing.
    L2 as scikit-learn's default (C = 1) on scores that are of unit deviation over good images.
    """

    needs_anomalies = True
    gives_probabilities = True

    def _fit(self, good: Array, anomalous: Array) -> State:
        rows, targets, weights = labelled(good, anomalous)
        scale = good.std(axis=0)
        scale = np.where(scale > 0, scale, 1)
        found, intercept = fit_logistic(rows / scale, targets, weights, l2=1.0, lowest=SMALLEST)
        return {"weights": found / scale, "intercept": np.array(intercept)}

    def combine(self, scores: Array) -> Array:
        """See `Combiner`."""
        return np.asarray(expit(self.margin(scores)))

    def margin(self, scores: Array) -> Array:
        """See `Combiner`: the log odds."""
        return np.asarray(scores @ self.state["weights"] + self.state["intercept"])


class _Trees(Combiner):
    """What trees say of an image, and the mean of the members' scores as if it were one tree more.

    A few hundred leaves let many images tie, and all that lie beyond the last; the mean tells them
    apart. Patches, of which there are many more, are judged by `Stack` instead.
    """

    needs_anomalies = True
    gives_probabilities = True
    for_maps = "stack"

    def combine(self, scores: Array) -> Array:
        """See `Combiner`."""
        leaves = leaf_values(self.state, scores.reshape(-1, scores.shape[-1]))
        count = leaves.shape[1]
        said = self._together(leaves).reshape(scores.shape[:-1])
        return np.asarray((count * said + squeezed(scores)) / (count + 1))

    @abstractmethod
    def _together(self, leaves: Array) -> Array:
        """What each tree says (N, T) -> a probability (N,)."""


class Forest(_Trees):
    """A random forest, 200 trees of up to four levels; no member's rising score reassures it."""

    def _fit(self, good: Array, anomalous: Array) -> State:
        from sklearn.ensemble import RandomForestClassifier

        rows, targets, weights = labelled(good, anomalous)
        forest = RandomForestClassifier(
            n_estimators=200,
            max_depth=4,
            min_samples_leaf=3,
            monotonic_cst=[1] * rows.shape[1],
            random_state=self.seed,
        )
        forest.fit(rows, targets.astype(int), sample_weight=weights)
        return tree_arrays(forest.estimators_)

    def _together(self, leaves: Array) -> Array:
        return np.asarray(leaves.mean(axis=1))


class Boost(_Trees):
    """Gradient boosting: 100 trees of two levels, each a tenth of a step on half of the images."""

    def _fit(self, good: Array, anomalous: Array) -> State:
        from sklearn.ensemble import GradientBoostingClassifier

        rows, targets, weights = labelled(good, anomalous)
        boost = GradientBoostingClassifier(
            n_estimators=100,
            max_depth=2,
            min_samples_leaf=3,
            subsample=0.5,
            init="zero",
            random_state=self.seed,
        )
        boost.fit(rows, targets.astype(int), sample_weight=weights)
        found = tree_arrays([tree for (tree,) in boost.estimators_])
        return found | {"value": found["value"] * boost.learning_rate}

    def _together(self, leaves: Array) -> Array:
        return np.asarray(expit(leaves.sum(axis=1)))
