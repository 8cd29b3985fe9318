"""Decision trees as plain arrays: what a fitted forest knows, saved without executable formats."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from loco_tools.ensembles.output_level.logistic import Array

TreeArrays = dict[str, npt.NDArray[Any]]


def tree_arrays(trees: Sequence[Any]) -> TreeArrays:
    """The nodes of scikit-learn's trees one after another, children as places in the whole.

    Args:
        trees: fitted `DecisionTreeClassifier`s of two classes or `DecisionTreeRegressor`s.

    Returns:
        `roots` (T,), and per node `left`, `right` (-1 at a leaf), `feature`, `threshold` and
        `value`: the share of the second class, or the mean.
    """
    nodes = [tree.tree_ for tree in trees]
    roots = np.cumsum([0, *(node.node_count for node in nodes[:-1])])
    return {
        "roots": roots.astype(np.int64),
        "left": np.concatenate(
            [_moved(n.children_left, r) for n, r in zip(nodes, roots, strict=True)]
        ),
        "right": np.concatenate(
            [_moved(n.children_right, r) for n, r in zip(nodes, roots, strict=True)]
        ),
        "feature": np.concatenate([node.feature for node in nodes]).astype(np.int64),
        "threshold": np.concatenate([node.threshold for node in nodes]).astype(np.float64),
        "value": np.concatenate([_values(node.value[:, 0]) for node in nodes]),
    }


def leaf_values(trees: TreeArrays, rows: Array) -> Array:
    """What each tree says about each row: rows (N, K) -> (N, T)."""
    seen = rows.astype(np.float32)  # as scikit-learn compares them
    place = np.broadcast_to(trees["roots"], (len(rows), len(trees["roots"]))).copy()
    every = np.arange(len(rows))[:, None]
    while True:
        inner = trees["left"][place] >= 0
        if not inner.any():
            return np.asarray(trees["value"][place])
        value = seen[every, np.where(inner, trees["feature"][place], 0)]
        below = value <= trees["threshold"][place]
        child = np.where(below, trees["left"][place], trees["right"][place])
        place = np.where(inner, child, place)


def _moved(children: npt.NDArray[Any], root: int) -> npt.NDArray[np.int64]:
    return np.where(children >= 0, children + root, -1).astype(np.int64)


def _values(value: Array) -> Array:
    """(nodes, classes) or (nodes, 1) -> (nodes,)."""
    if value.shape[1] == 1:
        return value[:, 0].astype(np.float64)
    return np.asarray(value[:, 1] / value.sum(axis=1), np.float64)
