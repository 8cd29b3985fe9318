"""Calibration of probabilities: reliability curve, expected calibration error and Brier score.

Probabilities are calibrated when, of all images with probability p, the share p is anomalous.
Reliability curve and expected calibration error: Naeini, Cooper and Hauskrecht, "Obtaining well
calibrated probabilities using Bayesian binning" (AAAI 2015). Brier score (1950) and its
decomposition: Murphy (1973).
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

BINS = 10

Spacing = Literal["width", "mass"]
"""Bins of equal width over [0, 1], or with equal numbers of images as far as ties allow."""


@dataclass(frozen=True)
class ReliabilityCurve:
    """Predicted and observed shares of anomalous images, per bin that holds an image; all (B,).

    `counts` are numbers of images, `predicted` their mean probabilities, `observed` the shares of
    them that are anomalous.
    """

    counts: npt.NDArray[np.int64]
    predicted: Array
    observed: Array


@dataclass(frozen=True)
class BrierParts:
    """Score = reliability - resolution + uncertainty (Murphy 1973), exactly.

    `reliability` (0 is best) is the squared distance of the reliability curve from the diagonal,
    `uncertainty` the score of always predicting the share of anomalous images. `resolution`
    (higher is better) includes the variation within the bins, as in Stephenson, Coelho and Jolliffe
    (2008), which makes the sum exact.
    """

    score: float
    reliability: float
    resolution: float
    uncertainty: float


def reliability_curve(
    probabilities: npt.ArrayLike,
    outcomes: npt.ArrayLike,
    *,
    bins: int = BINS,
    spacing: Spacing = "width",
) -> ReliabilityCurve:
    """Group probabilities into bins and compare each bin with the observed outcomes.

    Args:
        probabilities: (N,) in [0, 1], probability that an image is anomalous.
        outcomes: (N,) bool, whether it is anomalous.
        bins: the maximum number of bins.
        spacing: "width": [0, 1/bins), ..., [1 - 1/bins, 1]; "mass": the same number of images in
            each bin as far as possible, with equal probabilities in one bin.

    Raises:
        ValueError: there are no images, shapes differ, or a number is not a probability.

    >>> curve = reliability_curve([0.1, 0.2, 0.9, 1.0], [False, True, True, True], bins=2)
    >>> curve.counts.tolist(), curve.predicted.round(2).tolist(), curve.observed.tolist()
    ([2, 2], [0.15, 0.95], [0.5, 1.0])
    """
    values, truth = _checked_pair(probabilities, outcomes)
    if bins < 1:
        raise ValueError(f"expected at least 1 bin, got {bins}")
    if spacing == "width":
        bin_of = np.minimum((values * bins).astype(np.intp), bins - 1)
    else:
        order = np.sort(values)
        edges = order[(np.arange(1, bins) * values.size) // bins]
        bin_of = np.searchsorted(edges, values, side="right")
    counts = np.bincount(bin_of, minlength=bins)
    filled = counts > 0
    predicted = np.bincount(bin_of, values, minlength=bins)[filled] / counts[filled]
    observed = np.bincount(bin_of, truth, minlength=bins)[filled] / counts[filled]
    return ReliabilityCurve(counts[filled], predicted, observed)


def expected_calibration_error(curve: ReliabilityCurve) -> float:
    """The mean distance of the bins from the diagonal, weighted by their images; in [0, 1].

    Below, two images are off by 0.35 and two by 0.05.

    >>> curve = reliability_curve([0.1, 0.2, 0.9, 1.0], [False, True, True, True], bins=2)
    >>> round(expected_calibration_error(curve), 6)
    0.2
    """
    gaps = np.abs(curve.predicted - curve.observed)
    return float((curve.counts * gaps).sum() / curve.counts.sum())


def calibration_error_by_chance(
    probabilities: npt.ArrayLike,
    *,
    bins: int = BINS,
    spacing: Spacing = "width",
    draws: int = 200,
    seed: int = 0,
) -> float:
    """The mean calibration error that perfectly calibrated probabilities have on as few images.

    It is above 0 because the shares of few images scatter. Outcomes are drawn with the given
    probabilities, and the errors of all draws are averaged.

    >>> calibration_error_by_chance([0.0, 1.0], draws=5)
    0.0
    >>> calibration_error_by_chance([0.5], draws=5)
    0.5
    """
    values = np.asarray(probabilities, dtype=np.float64)
    rng = np.random.default_rng(seed)
    errors = [
        expected_calibration_error(
            reliability_curve(values, rng.random(values.shape) < values, bins=bins, spacing=spacing)
        )
        for _ in range(draws)
    ]
    return float(np.mean(errors))


def brier_score(probabilities: npt.ArrayLike, outcomes: npt.ArrayLike) -> float:
    """The mean squared difference of probabilities and outcomes; 0 is best, 1 is worst.

    Always predicting 0.5 scores 0.25.

    Raises:
        ValueError: as `reliability_curve`.

    >>> round(brier_score([0.1, 0.8], [False, True]), 6)
    0.025
    """
    values, truth = _checked_pair(probabilities, outcomes)
    return float(((values - truth) ** 2).mean())


def brier_parts(
    probabilities: npt.ArrayLike,
    outcomes: npt.ArrayLike,
    *,
    bins: int = BINS,
    spacing: Spacing = "width",
) -> BrierParts:
    """The Brier score decomposed by the bins of the reliability curve.

    The bins predict 0.2 and 0.8 and observe 0.5 and 1; three of four images are anomalous.

    >>> parts = brier_parts([0.2, 0.2, 0.8, 0.8], [False, True, True, True], bins=2)
    >>> round(parts.reliability, 6), round(parts.resolution, 6), parts.uncertainty
    (0.065, 0.0625, 0.1875)
    >>> round(parts.score, 6)
    0.19
    """
    curve = reliability_curve(probabilities, outcomes, bins=bins, spacing=spacing)
    images, score = curve.counts.sum(), brier_score(probabilities, outcomes)
    share = float((curve.counts * curve.observed).sum() / images)
    reliability = float((curve.counts * (curve.predicted - curve.observed) ** 2).sum() / images)
    uncertainty = share * (1 - share)
    return BrierParts(score, reliability, reliability + uncertainty - score, uncertainty)


def shift_prior(probabilities: npt.ArrayLike, *, assumed: float, actual: float) -> Array:
    """Probabilities adjusted to another share of anomalous images.

    logit p' = logit p + logit actual - logit assumed (Saerens, Latinne and Decaestecker 2002). This
    is correct as long as good images have the same distribution in both cases, and anomalous ones
    too. The order of the images does not change.

    Args:
        probabilities: any shape, in [0, 1]; 0 and 1 stay as they are.
        assumed: the share for which they were computed, in (0, 1).
        actual: the share to adjust them to, in (0, 1).

    Raises:
        ValueError: a share is outside (0, 1), or a number is not a probability.

    Odds of 1 become odds of 1/9, odds of 9 become odds of 1:

    >>> shift_prior([0.5, 0.9, 1.0], assumed=0.5, actual=0.1).round(6).tolist()
    [0.1, 0.5, 1.0]
    """
    for name, share in (("assumed", assumed), ("actual", actual)):
        if not 0 < share < 1:
            raise ValueError(f"{name}: expected a share between 0 and 1, got {share}")
    values = _probabilities(probabilities)
    times = actual / (1 - actual) * (1 - assumed) / assumed
    shifted: Array = values * times / (values * times + 1 - values)
    return shifted


def _checked_pair(probabilities: npt.ArrayLike, outcomes: npt.ArrayLike) -> tuple[Array, Array]:
    values, truth = _probabilities(probabilities), np.asarray(outcomes, dtype=bool)
    if values.ndim != 1 or values.shape != truth.shape or not values.size:
        raise ValueError(
            "expected one probability and one outcome for each of at least 1 image, "
            f"got shapes {values.shape} and {truth.shape}"
        )
    return values, truth.astype(np.float64)


def _probabilities(given: npt.ArrayLike) -> Array:
    values = np.asarray(given, dtype=np.float64)
    if not ((values >= 0) & (values <= 1)).all():
        raise ValueError("expected probabilities between 0 and 1, got others or NaN")
    return values
