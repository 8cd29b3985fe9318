"""Logistic regression with bounded weights on few columns, for calibration and stacking."""

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize
from scipy.special import expit

from loco_tools.errors import MethodError

Array = npt.NDArray[np.float64]

SMALLEST = 1e-3
"""Least weight, per standard deviation, of a column whose order must not be lost."""


def fit_logistic(
    columns: Array,
    targets: Array,
    sample_weights: Array,
    *,
    l2: float = 0.0,
    lowest: float = 0.0,
) -> tuple[Array, float]:
    """Fit sigmoid(columns @ weights + intercept); the weights (K,) and the intercept.

    Minimises the weighted log loss plus l2 / 2 times the squared weights by L-BFGS-B; the loss is
    convex, so there is one minimum. The intercept is not penalised.

    Args:
        columns: (N, K), each of about unit deviation.
        targets: (N,) in 0..1, may be fractions.
        sample_weights: (N,), the weight of each row in the loss.
        l2: factor of the penalty; the loss is summed over rows.
        lowest: lower bound of every weight.

    Raises:
        MethodError: a value is not finite.
    """
    if not np.isfinite(columns).all():
        raise MethodError("expected finite scores to calibrate on, got NaN or infinity")

    def loss(parameters: Array) -> tuple[float, Array]:
        weights, intercept = parameters[:-1], parameters[-1]
        logits = columns @ weights + intercept
        # log(1 + exp(logit)) - target * logit is the log loss of a soft target.
        terms = np.logaddexp(0, logits) - targets * logits
        slopes = sample_weights * (expit(logits) - targets)
        gradient = np.append(columns.T @ slopes + l2 * weights, slopes.sum())
        return float(sample_weights @ terms + l2 / 2 * weights @ weights), gradient

    count = columns.shape[1]
    start = np.append(np.full(count, max(lowest, 1 / count)), 0.0)
    bounds = [(lowest, None)] * count + [(None, None)]
    minimum = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds).x
    return np.asarray(minimum[:-1], np.float64), float(minimum[-1])


def labelled(good: Array, anomalous: Array, *, smooth: bool = False) -> tuple[Array, Array, Array]:
    """Scores of both kinds (N, ...), their targets (N,) and sample weights (N,).

    Both kinds have the same total weight; the weights sum to N. Targets are 0 and 1, or with
    `smooth` Platt's 1 / (n- + 2) and (n+ + 1) / (n+ + 2), without which the loss of separable
    scores has no minimum.
    """
    counts = [len(good), len(anomalous)]
    ends = [1 / (counts[0] + 2), (counts[1] + 1) / (counts[1] + 2)] if smooth else [0.0, 1.0]
    scores = np.concatenate([good, anomalous])
    halves = np.array([len(scores) / 2 / count for count in counts])
    return scores, np.repeat(ends, counts), np.repeat(halves, counts)
