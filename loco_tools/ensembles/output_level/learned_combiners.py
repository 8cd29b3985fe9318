"""Combiners that are trained on good images and synthetic anomalies: stacking and trees."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import expit

from loco_tools.ensembles.output_level.calibrators import State
from loco_tools.ensembles.output_level.combiners import Combiner, squashed_mean
from loco_tools.ensembles.output_level.logistic import SMALLEST, Array, fit_logistic, labelled


class Stack(Combiner):
    """Logistic regression on the members' scores with non-negative weights (stacking).

    The L2 penalty is scikit-learn's default (C = 1) for scores with standard deviation 1 over good
    images. Every weight is at least a thousandth per standard deviation: where no member detects
    the synthetic anomalies, the members' scores still decide.
    """

    needs_anomalies = True
    gives_probabilities = True

    def _fit(self, good: Array, anomalous: Array) -> State:
        rows, targets, sample_weights = labelled(good, anomalous)
        scale = good.std(axis=0)
        scale = np.where(scale > 0, scale, 1)
        weights, intercept = fit_logistic(
            rows / scale, targets, sample_weights, l2=1.0, lowest=SMALLEST
        )
        return {"weights": weights / scale, "intercept": np.array(intercept)}

    def combine(self, scores: Array) -> Array:
        """See `Combiner.combine`."""
        return np.asarray(expit(self.margin(scores)))

    def margin(self, scores: Array) -> Array:
        """See `Combiner.margin`; the log odds."""
        return np.asarray(scores @ self.state["weights"] + self.state["intercept"])


class _Trees(Combiner):
    """Decision trees, and the mean of the members' scores with the weight of one more tree.

    A few hundred leaves give many images the same score, and all images beyond the last split; the
    mean breaks these ties. Patches, of which there are many more, are combined by `Stack` instead.
    """

    needs_anomalies = True
    gives_probabilities = True
    for_maps = "stack"

    def _add_mean(self, probabilities: Array, scores: Array) -> Array:
        trees = len(self.state["roots"])
        return np.asarray((trees * probabilities + squashed_mean(scores)) / (trees + 1))


class Forest(_Trees):
    """Random forest of 200 trees of up to four levels, monotonic in every member's score."""

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

    def combine(self, scores: Array) -> Array:
        """See `Combiner.combine`."""
        return self._add_mean(leaf_values(self.state, scores).mean(axis=-1), scores)


class Boost(_Trees):
    """Gradient boosting: 100 trees of two levels on half of the images each, learning rate 0.1."""

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
        arrays = tree_arrays([tree for (tree,) in boost.estimators_])
        return arrays | {"value": arrays["value"] * boost.learning_rate}

    def combine(self, scores: Array) -> Array:
        """See `Combiner.combine`."""
        return self._add_mean(expit(leaf_values(self.state, scores).sum(axis=-1)), scores)


def tree_arrays(trees: Sequence[Any]) -> State:
    """The nodes of scikit-learn's trees in plain arrays, saved without an executable format.

    Args:
        trees: fitted `DecisionTreeClassifier`s of two classes or `DecisionTreeRegressor`s.

    Returns:
        `roots` (T,), and for every node of all trees `left` and `right` (indices of its children,
        -1 at a leaf), `feature`, `threshold` and `value`: the share of the second class, or the
        mean.
    """
    nodes = [tree.tree_ for tree in trees]
    roots = np.cumsum([0, *(node.node_count for node in nodes[:-1])])
    arrays: dict[str, list[npt.NDArray[Any]]] = {
        name: [] for name in ("left", "right", "feature", "threshold", "value")
    }
    for node, root in zip(nodes, roots, strict=True):
        for name, children in (("left", node.children_left), ("right", node.children_right)):
            arrays[name].append(np.where(children >= 0, children + root, -1).astype(np.int64))
        arrays["feature"].append(node.feature.astype(np.int64))
        arrays["threshold"].append(node.threshold.astype(np.float64))
        value = node.value[:, 0]  # (nodes, classes), or (nodes, 1) of a regressor
        share = value[:, 0] if value.shape[1] == 1 else value[:, 1] / value.sum(axis=1)
        arrays["value"].append(np.asarray(share, np.float64))
    return {
        "roots": roots.astype(np.int64),
        **{name: np.concatenate(parts) for name, parts in arrays.items()},
    }


def leaf_values(trees: State, scores: Array) -> Array:
    """The value of the leaf that each row of scores (..., K) reaches in each tree: (..., T)."""
    rows = scores.reshape(-1, scores.shape[-1]).astype(np.float32)  # compared as in scikit-learn
    node = np.broadcast_to(trees["roots"], (len(rows), len(trees["roots"]))).copy()
    row = np.arange(len(rows))[:, None]
    while True:
        is_inner = trees["left"][node] >= 0
        if not is_inner.any():
            return np.asarray(trees["value"][node]).reshape(*scores.shape[:-1], -1)
        value = rows[row, np.where(is_inner, trees["feature"][node], 0)]
        is_left = value <= trees["threshold"][node]
        child = np.where(is_left, trees["left"][node], trees["right"][node])
        node = np.where(is_inner, child, node)
