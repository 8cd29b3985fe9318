"""How far probabilities can be taken at their word.

A probability p is reliable when, of all images that get it, the share p is anomalous. Reliability
curve and expected calibration error: Naeini, Cooper and Hauskrecht, "Obtaining well calibrated
probabilities using Bayesian binning" (AAAI 2015). Score and its parts: Brier (1950), Murphy (1973).
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

BINS = 10

Spacing = Literal["width", "mass"]
"""Bins of equal width over [0, 1], or of as equal a number of images as ties allow."""


@dataclass(frozen=True)
class ReliabilityCurve:
    """What was said and what happened, per bin that holds an image; all (B,).

    `counts` are the images, `predicted` their mean probability, `observed` the share of them that
    is anomalous.
    """

    counts: npt.NDArray[np.int64]
    predicted: Array
    observed: Array


@dataclass(frozen=True)
class BrierParts:
    """Score = reliability - resolution + uncertainty (Murphy 1973), exactly.

    `reliability` (0 is best) is the squared distance of the reliability curve from the diagonal,
    `uncertainty` what always saying the share of anomalous images would score. `resolution`
    (higher is better) takes in what happens within the bins, as in Stephenson, Coelho and Jolliffe
    (2008), which is what makes the sum exact.
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
    """Group probabilities into bins and compare each bin with what happened.

    Args:
        probabilities: (N,) in [0, 1], that an image is anomalous.
        outcomes: (N,) bool, whether it is.
        bins: at most that many.
        spacing: "width": [0, 1/bins), ..., [1 - 1/bins, 1]; "mass": as many images in each as
            can be, equal probabilities always in one bin.

    Raises:
        ValueError: no images, shapes that differ, or numbers that are no probabilities.

    >>> curve = reliability_curve([0.1, 0.2, 0.9, 1.0], [False, True, True, True], bins=2)
    >>> curve.counts.tolist(), curve.predicted.round(2).tolist(), curve.observed.tolist()
    ([2, 2], [0.15, 0.95], [0.5, 1.0])
    """
    said, truth = _checked(probabilities, outcomes)
    if bins < 1:
        raise ValueError(f"expected at least 1 bin, got {bins}")
    if spacing == "width":
        places = np.minimum((said * bins).astype(np.intp), bins - 1)
    else:
        order = np.sort(said)
        edges = order[(np.arange(1, bins) * said.size) // bins]
        places = np.searchsorted(edges, said, side="right")
    counts = np.bincount(places, minlength=bins)
    filled = counts > 0
    predicted = np.bincount(places, said, minlength=bins)[filled] / counts[filled]
    observed = np.bincount(places, truth, minlength=bins)[filled] / counts[filled]
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
    """The calibration error that perfectly reliable probabilities would show on as few images.

    It is never 0, because shares of a few images scatter: outcomes are drawn with the very
    probabilities given, and the errors of all draws averaged.

    >>> calibration_error_by_chance([0.0, 1.0], draws=5)
    0.0
    >>> calibration_error_by_chance([0.5], draws=5)
    0.5
    """
    said = np.asarray(probabilities, dtype=np.float64)
    rng = np.random.default_rng(seed)
    errors = [
        expected_calibration_error(
            reliability_curve(said, rng.random(said.shape) < said, bins=bins, spacing=spacing)
        )
        for _ in range(draws)
    ]
    return float(np.mean(errors))


def brier_score(probabilities: npt.ArrayLike, outcomes: npt.ArrayLike) -> float:
    """The mean squared distance of the probabilities from what happened; 0 is best, 1 is worst.

    Always saying 0.5 scores 0.25.

    Raises:
        ValueError: as `reliability_curve`.

    >>> round(brier_score([0.1, 0.8], [False, True]), 6)
    0.025
    """
    said, truth = _checked(probabilities, outcomes)
    return float(((said - truth) ** 2).mean())


def brier_parts(
    probabilities: npt.ArrayLike,
    outcomes: npt.ArrayLike,
    *,
    bins: int = BINS,
    spacing: Spacing = "width",
) -> BrierParts:
    """The Brier score taken apart by the bins of the reliability curve.

    The bins say 0.2 and 0.8 where 0.5 and 1 is seen; three of four images are anomalous.

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
    """What probabilities become where another share of images is anomalous.

    logit p' = logit p + logit actual - logit assumed (Saerens, Latinne and Decaestecker 2002):
    right as long as good images look alike in both places, and anomalous ones too. The order of
    the images stays as it is.

    Args:
        probabilities: any shape, in [0, 1]; 0 and 1 stay as they are.
        assumed: the share that they were made for, in (0, 1).
        actual: the share that they are wanted for, in (0, 1).

    Raises:
        ValueError: a share outside (0, 1), or numbers that are no probabilities.

    Odds of 1 become odds of 1/9, odds of 9 become odds of 1:

    >>> shift_prior([0.5, 0.9, 1.0], assumed=0.5, actual=0.1).round(6).tolist()
    [0.1, 0.5, 1.0]
    """
    for name, share in (("assumed", assumed), ("actual", actual)):
        if not 0 < share < 1:
            raise ValueError(f"{name}: expected a share between 0 and 1, got {share}")
    said = _probabilities(probabilities)
    times = actual / (1 - actual) * (1 - assumed) / assumed
    shifted: Array = said * times / (said * times + 1 - said)
    return shifted


def _checked(probabilities: npt.ArrayLike, outcomes: npt.ArrayLike) -> tuple[Array, Array]:
    said, truth = _probabilities(probabilities), np.asarray(outcomes, dtype=bool)
    if said.ndim != 1 or said.shape != truth.shape or not said.size:
        raise ValueError(
            "expected one probability and one outcome for each of at least 1 image, "
            f"got shapes {said.shape} and {truth.shape}"
        )
    return said, truth.astype(np.float64)


def _probabilities(values: npt.ArrayLike) -> Array:
    said = np.asarray(values, dtype=np.float64)
    if not ((said >= 0) & (said <= 1)).all():
        raise ValueError("expected probabilities between 0 and 1, got others or NaN")
    return said
