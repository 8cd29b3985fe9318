"""Calibrators: scores of different detectors brought to one scale.

Those fitted on good scores alone give deviations from good; those fitted on good and anomalous
scores give the probability of an anomaly where both are equally frequent, whatever their numbers
were in the fit (to move it to another prevalence, add the difference of the log odds). None looks
at test scores. All but isotonic regression are strictly increasing, so they leave the order of one
detector's scores as it is.
"""

from abc import ABC, abstractmethod
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
from scipy.special import expit, log_expit, ndtri, ndtri_exp
from scipy.stats import rankdata

from loco_tools.ensembles.output_level.logistic import SMALLEST, Array, fit_logistic, labelled
from loco_tools.errors import MethodError, did_you_mean

State = dict[str, npt.NDArray[Any]]

_NORMAL_IQR = 1.349
"""Interquartile range of the normal distribution with deviation 1."""
_MOST_KNOTS = 2000


class Calibrator(ABC):
    """A function of one detector's scores, fitted on held-out good ones and perhaps anomalous.

    Attributes:
        needs_anomalies: it is fitted on anomalous scores too, and gives probabilities.
        state: what was learned, as plain arrays; setting it is all that loading takes.
    """

    needs_anomalies: ClassVar[bool] = False

    def __init__(self, state: State | None = None) -> None:
        self.state: State = {} if state is None else dict(state)

    def fit(self, good: npt.ArrayLike, anomalous: npt.ArrayLike | None = None) -> Self:
        """Learn from scores (N,) of held-out good images and, where needed, of anomalous ones.

        Raises:
            MethodError: no scores, scores that are not finite, or no anomalous ones where needed.
        """
        values = _checked(good, "good")
        others: Array = np.zeros(0)
        if self.needs_anomalies:
            others = _checked(() if anomalous is None else anomalous, "anomalous")
        self.state = self._fit(values, others)
        return self

    def transform(self, scores: npt.ArrayLike) -> Array:
        """Scores of any shape on the common scale, float64 of that shape."""
        if not self.state:
            raise MethodError("calibrator has not been fitted; next step: call fit")
        return self._transform(np.asarray(scores, np.float64))

    @abstractmethod
    def _fit(self, good: Array, anomalous: Array) -> State: ...

    @abstractmethod
    def _transform(self, scores: Array) -> Array: ...


class _Linear(Calibrator):
    """(score - offset) / scale."""

    def _fit(self, good: Array, anomalous: Array) -> State:
        del anomalous
        offset, scale = self._place(good)
        return {"offset": np.array(offset), "scale": np.array(_positive(scale, good))}

    def _transform(self, scores: Array) -> Array:
        return np.asarray((scores - self.state["offset"]) / self.state["scale"])

    @abstractmethod
    def _place(self, good: Array) -> tuple[float, float]: ...


class ZScore(_Linear):
    """Mean and deviation (divided by N) of the good scores, as PUAD fuses its two scores."""

    def _place(self, good: Array) -> tuple[float, float]:
        return float(good.mean()), float(good.std())


class RobustZ(_Linear):
    """Median and interquartile range over 1.349: a z-score that a few odd images do not move."""

    def _place(self, good: Array) -> tuple[float, float]:
        low, middle, high = np.quantile(good, [0.25, 0.5, 0.75])
        return float(middle), float(high - low) / _NORMAL_IQR


class QuantileScale(_Linear):
    """The median becomes 0 and the 0.95 quantile 1.

    Deviation: EfficientAD takes the quantiles 0.9 and 0.995 of pixels; of the few tens of images
    that a class has, such extremes say nothing.
    """

    def _place(self, good: Array) -> tuple[float, float]:
        low, high = np.quantile(good, [0.5, 0.95])
        return float(low), float(high - low)


class LeaveOneOut(_Linear):
    """Scores over the largest that a good image gets, so that good images reach exactly 1.

    PSAD divides by the largest leave-one-out nearest-neighbour distance among the training images.
    Detectors in general cannot leave one image out without being fitted again; what stands for it
    is the largest score on held-out good images, which none of them has seen either.
    Deviation: scores that can be negative are counted from the smallest good one, since dividing
    by a number below zero would turn their order round.
    """

    def _place(self, good: Array) -> tuple[float, float]:
        low = min(0.0, float(good.min()))
        return low, float(good.max()) - low


class Empirical(Calibrator):
    """The normal deviate of the score's place among the good ones, with a fitted tail.

    Up to the threshold u it interpolates between the good scores at their mid-ranks and goes on
    below the smallest with the mean slope. Above u, where about a tenth of the good scores lie
    (at least five), the share of good scores beyond s is that of a generalised Pareto distribution,
    P(u) (1 + shape (s - u) / scale)^(-1 / shape), so that anomalies above every good score do not
    tie. The shape is found by probability-weighted moments (Hosking and Wallis 1987) and kept in
    0..0.5, which leaves no end beyond which all would tie; fewer than 20 good scores beyond u
    cannot tell it, and the tail is then exponential (shape 0).
    """

    def _fit(self, good: Array, anomalous: Array) -> State:
        del anomalous
        count = len(good)
        tail = min(max(-(-count // 10), 5), count // 2)
        ordered = np.sort(good)
        knots, first = np.unique(ordered[: count - tail], return_index=True)
        places = (rankdata(ordered) - 0.5)[first] / count
        excess = ordered[ordered > knots[-1]] - knots[-1]
        shape, scale = _pareto(excess) if len(excess) else (0.0, 0.0)
        unit = _positive(float(good.std()), good)
        scale = _positive(scale, excess) if len(excess) else unit
        deviates = ndtri(places)
        span = float(knots[-1] - knots[0])
        slope = (deviates[-1] - deviates[0]) / span if span > 0 else 1 / unit
        kept = np.unique(np.linspace(0, len(knots) - 1, _MOST_KNOTS).round().astype(int))
        return {
            "knots": knots[kept],
            "deviates": deviates[kept],
            "slope": np.array(slope),
            "tail": np.array([shape, scale, np.log1p(-places[-1])]),
        }

    def _transform(self, scores: Array) -> Array:
        knots, deviates = self.state["knots"], self.state["deviates"]
        found = np.asarray(np.interp(scores, knots, deviates))
        below, above = scores < knots[0], scores > knots[-1]
        found[below] += self.state["slope"] * (scores[below] - knots[0])
        shape, scale, log_share = self.state["tail"]
        beyond = (scores[above] - knots[-1]) / scale
        excess = np.log1p(shape * beyond) / shape if shape > 0 else beyond
        found[above] = -ndtri_exp(log_share - excess)
        return found


class _Logistic(Calibrator):
    """sigmoid of what `_logits` gives, in deviations of the good scores from their mean, arcsinh.

    Deviation from all of them: arcsinh leaves the neighbourhood of good scores as it is and takes
    the logarithm far away, where a strong anomaly may lie a thousand deviations off; in a straight
    line, a handful of such would decide the slope at the border between the kinds.
    """

    needs_anomalies = True

    def _standardised(self, scores: Array) -> Array:
        return np.asarray(np.arcsinh((scores - self.state["offset"]) / self.state["scale"]))

    def _fit(self, good: Array, anomalous: Array) -> State:
        scale = np.array(_positive(float(good.std()), good))
        self.state = {"offset": np.array(good.mean()), "scale": scale}
        learned = self._learn(self._standardised(good), self._standardised(anomalous))
        return self.state | learned

    def _transform(self, scores: Array) -> Array:
        return np.asarray(expit(self._logits(self._standardised(scores))))

    @abstractmethod
    def _learn(self, good: Array, anomalous: Array) -> State: ...

    @abstractmethod
    def _logits(self, standardised: Array) -> Array: ...


class Platt(_Logistic):
    """sigmoid(a s + b) with Platt's smoothed targets, (n+ + 1) / (n+ + 2) and 1 / (n- + 2).

    Deviation: a stays positive, so that a detector which misses the synthetic anomalies is made
    flat and not turned round.
    """

    def _learn(self, good: Array, anomalous: Array) -> State:
        scores, targets, weights = labelled(good, anomalous, smooth=True)
        slope, intercept = fit_logistic(scores[:, None], targets, weights, lowest=SMALLEST)
        return {"slope": slope, "intercept": np.array(intercept)}

    def _logits(self, standardised: Array) -> Array:
        return np.asarray(self.state["slope"] * standardised + self.state["intercept"])


class Temperature(_Logistic):
    """sigmoid((s - b) / T): b half-way between the medians of both kinds, T by the log loss.

    The targets are Platt's.
    """

    def _learn(self, good: Array, anomalous: Array) -> State:
        scores, targets, weights = labelled(good, anomalous, smooth=True)
        middle = (np.median(good) + np.median(anomalous)) / 2
        slope = _slope_alone(scores - middle, targets, weights)
        return {"middle": np.array(middle), "temperature": np.array(1 / slope)}

    def _logits(self, standardised: Array) -> Array:
        return np.asarray((standardised - self.state["middle"]) / self.state["temperature"])


class Beta(_Logistic):
    """sigmoid(a ln p - b ln(1 - p) + c) with a, b >= 0 (Kull, Silva Filho and Flach 2017).

    p is the sigmoid of the standardised score, for detectors give no probabilities; the targets
    are smoothed as Platt's. Unlike Platt's, the curve may be steeper on one side.
    """

    def _learn(self, good: Array, anomalous: Array) -> State:
        scores, targets, weights = labelled(good, anomalous, smooth=True)
        found, intercept = fit_logistic(_log_odds(scores), targets, weights, lowest=SMALLEST)
        return {"exponents": found, "intercept": np.array(intercept)}

    def _logits(self, standardised: Array) -> Array:
        logits = _log_odds(standardised) @ self.state["exponents"]
        return np.asarray(logits + self.state["intercept"])


class Isotonic(Calibrator):
    """The increasing step function of least squares (pool adjacent violators), interpolated.

    It ties scores that others keep apart, and wants about a thousand scores of each kind.
    """

    needs_anomalies = True

    def _fit(self, good: Array, anomalous: Array) -> State:
        from sklearn.isotonic import IsotonicRegression

        scores, targets, weights = labelled(good, anomalous)
        fitted = IsotonicRegression(y_min=0, y_max=1, increasing=True, out_of_bounds="clip").fit(
            scores, targets, sample_weight=weights
        )
        return {
            "knots": np.asarray(fitted.X_thresholds_, np.float64),
            "values": np.asarray(fitted.y_thresholds_, np.float64),
        }

    def _transform(self, scores: Array) -> Array:
        return np.asarray(np.interp(scores, self.state["knots"], self.state["values"]))


CALIBRATORS: dict[str, type[Calibrator]] = {
    "z_score": ZScore,
    "robust_z": RobustZ,
    "quantile": QuantileScale,
    "empirical": Empirical,
    "leave_one_out": LeaveOneOut,
    "platt": Platt,
    "temperature": Temperature,
    "beta": Beta,
    "isotonic": Isotonic,
}
"""By the name that settings use; whether one needs anomalies says its `needs_anomalies`."""


def calibrator_class(name: str) -> type[Calibrator]:
    """The calibrator of a name; MethodError with the nearest one when there is none."""
    if name not in CALIBRATORS:
        raise MethodError(f'unknown calibrator "{name}"; {did_you_mean(name, CALIBRATORS)}')
    return CALIBRATORS[name]


def _checked(scores: npt.ArrayLike, kind: str) -> Array:
    values = np.asarray(scores, np.float64)
    if values.ndim != 1 or len(values) == 0 or not np.isfinite(values).all():
        raise MethodError(
            f"calibration: expected finite {kind} scores (N,) with N at least 1, got "
            f"shape {values.shape}, {int(np.isfinite(values).sum())} of them finite"
        )
    return values


def _positive(scale: float, values: Array) -> float:
    """The scale, or where good scores do not vary their size, or 1."""
    size = float(np.abs(values).max())
    if scale > 1e-9 * size:
        return scale
    return size if size > 0 else 1.0


def _pareto(excess: Array) -> tuple[float, float]:
    """Shape and scale of a generalised Pareto distribution, from ascending values above 0."""
    count, mean = len(excess), float(excess.mean())
    if count < 20:
        return 0.0, mean
    places = (np.arange(1, count + 1) - 0.35) / count
    moment = float(((1 - places) * excess).mean())
    shape = float(np.clip(2 - mean / max(mean - 2 * moment, 1e-12 * mean), 0, 0.5))
    return shape, mean * (1 - shape)  # the scale that keeps the mean


def _slope_alone(scores: Array, targets: Array, weights: Array) -> float:
    """The slope of sigmoid(slope * score): of a mirrored copy, the intercept of which is 0."""
    mirrored = np.concatenate([scores, -scores])[:, None]
    both = np.concatenate([targets, 1 - targets])
    slope, _ = fit_logistic(mirrored, both, np.concatenate([weights, weights]), lowest=SMALLEST)
    return float(slope[0])


def _log_odds(standardised: Array) -> Array:
    """The columns ln p and -ln(1 - p) of p = sigmoid(score), on a new last axis."""
    return np.stack([log_expit(standardised), -log_expit(-standardised)], axis=-1)
