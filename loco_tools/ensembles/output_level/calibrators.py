"""Calibrators bring the scores of different detectors to one scale.

Calibrators that are fitted to good scores alone give deviations from good. Those fitted to good and
anomalous scores give the probability of an anomaly where both are equally frequent, whatever their
numbers were in the fit (for another prevalence, add the difference of the log odds). None is fitted
to test scores. All but isotonic regression are strictly increasing, so that they keep the order of
a detector's scores.
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
"""Interquartile range of the standard normal distribution."""
_MOST_KNOTS = 2000


class Calibrator(ABC):
    """A function of one detector's scores, fitted to held-out good and perhaps anomalous scores.

    Attributes:
        needs_anomalies: it is fitted to anomalous scores too, and gives probabilities.
        state: the learned arrays; setting it is all that loading takes.
    """

    needs_anomalies: ClassVar[bool] = False

    def __init__(self, state: State | None = None) -> None:
        self.state: State = {} if state is None else dict(state)

    def fit(self, good: npt.ArrayLike, anomalous: npt.ArrayLike | None = None) -> Self:
        """Fit to scores (N,) of held-out good images and, where needed, (M,) of anomalous ones.

        Raises:
            MethodError: no scores, scores that are not finite, or no anomalous scores where they
                are needed.
        """
        values = {"good": np.asarray(good, np.float64)}
        if self.needs_anomalies:
            values["anomalous"] = np.asarray(() if anomalous is None else anomalous, np.float64)
        for kind, scores in values.items():
            finite = np.isfinite(scores)
            if scores.ndim != 1 or len(scores) == 0 or not finite.all():
                raise MethodError(
                    f"calibration: expected finite {kind} scores (N,) with N at least 1, got "
                    f"shape {scores.shape}, {int(finite.sum())} of them finite"
                )
        self.state = self._fit(values["good"], values.get("anomalous", np.zeros(0)))
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
    """(score - offset) / scale, with both in `state`."""

    def _transform(self, scores: Array) -> Array:
        return np.asarray((scores - self.state["offset"]) / self.state["scale"])


class ZScore(_Linear):
    """Z-score: mean and standard deviation (divided by N) of the good scores, as in PUAD."""

    def _fit(self, good: Array, anomalous: Array) -> State:
        del anomalous
        return _linear_state(float(good.mean()), float(good.std()), good)


class RobustZ(_Linear):
    """Robust z-score: median and interquartile range / 1.349, which outliers do not move."""

    def _fit(self, good: Array, anomalous: Array) -> State:
        del anomalous
        low, middle, high = np.quantile(good, [0.25, 0.5, 0.75])
        return _linear_state(float(middle), float(high - low) / _NORMAL_IQR, good)


class QuantileScale(_Linear):
    """Linear scale on which the median of the good scores is 0 and their 0.95 quantile is 1.

    Deviation: EfficientAD uses the quantiles 0.9 and 0.995 of pixels; with the few tens of images
    of a class, such extreme quantiles cannot be estimated.
    """

    def _fit(self, good: Array, anomalous: Array) -> State:
        del anomalous
        low, high = np.quantile(good, [0.5, 0.95])
        return _linear_state(float(low), float(high - low), good)


class LeaveOneOut(_Linear):
    """Scores divided by the largest good score, so that good images reach exactly 1.

    Deviation: PSAD divides by the largest leave-one-out nearest-neighbour distance among training
    images. Other detectors cannot leave an image out without being fitted again; the largest score
    of held-out good images stands for it. Where good scores can be negative, scores are counted
    from the smallest good score, because division by a negative number would reverse their order.
    """

    def _fit(self, good: Array, anomalous: Array) -> State:
        del anomalous
        low = min(0.0, float(good.min()))
        return _linear_state(low, float(good.max()) - low, good)


class Empirical(Calibrator):
    """Normal deviate of the score's quantile among good scores, with a fitted tail.

    Up to a threshold u, quantiles are interpolated between the good scores at their mid-ranks and
    extrapolated below the smallest one with the mean slope. Above u lie about a tenth of the good
    scores (at least five). There, the share of good scores above s is that of a generalised Pareto
    distribution, P(u) (1 + shape (s - u) / scale)^(-1 / shape), so that anomalies above all good
    scores do not tie. The shape is estimated by probability-weighted moments (Hosking and Wallis
    1987) and limited to 0..0.5, so that the distribution has no upper end. With fewer than 20 good
    scores above u it cannot be estimated, and the tail is exponential (shape 0).
    """

    def _fit(self, good: Array, anomalous: Array) -> State:
        del anomalous
        count = len(good)
        tail = min(max(-(-count // 10), 5), count // 2)
        ordered = np.sort(good)
        knots, first = np.unique(ordered[: count - tail], return_index=True)
        quantiles = (rankdata(ordered) - 0.5)[first] / count
        excess = ordered[ordered > knots[-1]] - knots[-1]
        shape, scale = _fit_pareto(excess) if len(excess) else (0.0, 0.0)
        unit = _positive(float(good.std()), good)
        scale = _positive(scale, excess) if len(excess) else unit
        deviates = ndtri(quantiles)
        span = float(knots[-1] - knots[0])
        slope = (deviates[-1] - deviates[0]) / span if span > 0 else 1 / unit
        kept = np.unique(np.linspace(0, len(knots) - 1, _MOST_KNOTS).round().astype(int))
        return {
            "knots": knots[kept],
            "deviates": deviates[kept],
            "slope": np.array(slope),
            "tail": np.array([shape, scale, np.log1p(-quantiles[-1])]),
        }

    def _transform(self, scores: Array) -> Array:
        knots, deviates = self.state["knots"], self.state["deviates"]
        transformed = np.asarray(np.interp(scores, knots, deviates))
        below, above = scores < knots[0], scores > knots[-1]
        transformed[below] += self.state["slope"] * (scores[below] - knots[0])
        shape, scale, log_share = self.state["tail"]
        beyond = (scores[above] - knots[-1]) / scale
        excess = np.log1p(shape * beyond) / shape if shape > 0 else beyond
        transformed[above] = -ndtri_exp(log_share - excess)
        return transformed


class _Logistic(Calibrator):
    """Sigmoid of a function of arcsinh(z-score).

    Deviation of all subclasses: arcsinh is linear near the good scores and logarithmic far away,
    where a strong anomaly may be a thousand standard deviations off. On a linear scale a few such
    scores would determine the slope at the border between good and anomalous.
    """

    needs_anomalies = True

    def _compress(self, scores: Array) -> Array:
        """Arcsinh of the z-scores; `state` holds their offset and scale."""
        return np.asarray(np.arcsinh((scores - self.state["offset"]) / self.state["scale"]))

    def _compress_and_label(
        self, good: Array, anomalous: Array
    ) -> tuple[Array, Array, tuple[Array, Array, Array]]:
        """Set offset and scale; the compressed scores of both kinds, and both `labelled`."""
        self.state = _linear_state(good.mean(), float(good.std()), good)
        good, anomalous = self._compress(good), self._compress(anomalous)
        return good, anomalous, labelled(good, anomalous, smooth=True)


class Platt(_Logistic):
    """Platt scaling: sigmoid(a s + b), with targets (n+ + 1) / (n+ + 2) and 1 / (n- + 2).

    Deviation: a stays positive, so that the scores of a detector that misses the synthetic
    anomalies are flattened but not reversed.
    """

    def _fit(self, good: Array, anomalous: Array) -> State:
        _, _, (scores, targets, weights) = self._compress_and_label(good, anomalous)
        slope, intercept = fit_logistic(scores[:, None], targets, weights, lowest=SMALLEST)
        return self.state | {"slope": slope, "intercept": np.array(intercept)}

    def _transform(self, scores: Array) -> Array:
        logits = self.state["slope"] * self._compress(scores) + self.state["intercept"]
        return np.asarray(expit(logits))


class Temperature(_Logistic):
    """Temperature scaling: sigmoid((s - b) / T), b half-way between the medians of both kinds.

    T minimises the log loss for Platt's targets.
    """

    def _fit(self, good: Array, anomalous: Array) -> State:
        good, anomalous, (scores, targets, weights) = self._compress_and_label(good, anomalous)
        middle = (np.median(good) + np.median(anomalous)) / 2
        # A mirrored copy of the scores makes the intercept of the fit 0.
        mirrored = np.concatenate([scores - middle, -(scores - middle)])[:, None]
        slope, _ = fit_logistic(
            mirrored,
            np.concatenate([targets, 1 - targets]),
            np.concatenate([weights, weights]),
            lowest=SMALLEST,
        )
        temperature = np.array(1 / float(slope[0]))
        return self.state | {"middle": np.array(middle), "temperature": temperature}

    def _transform(self, scores: Array) -> Array:
        logits = (self._compress(scores) - self.state["middle"]) / self.state["temperature"]
        return np.asarray(expit(logits))


class Beta(_Logistic):
    """Beta calibration: sigmoid(a ln p - b ln(1 - p) + c) (Kull, Silva Filho and Flach 2017).

    a and b are not negative. p is the sigmoid of the compressed score, because detectors give no
    probabilities; the targets are Platt's. Unlike Platt's, the curve may be steeper on one side.
    """

    def _fit(self, good: Array, anomalous: Array) -> State:
        _, _, (scores, targets, weights) = self._compress_and_label(good, anomalous)
        exponents, intercept = fit_logistic(_log_odds(scores), targets, weights, lowest=SMALLEST)
        return self.state | {"exponents": exponents, "intercept": np.array(intercept)}

    def _transform(self, scores: Array) -> Array:
        logits = _log_odds(self._compress(scores)) @ self.state["exponents"]
        return np.asarray(expit(logits + self.state["intercept"]))


class Isotonic(Calibrator):
    """Isotonic regression: the increasing least-squares step function, interpolated.

    It gives different scores the same probability, and needs about a thousand scores of each kind.
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
"""Calibrators by the name that settings use; see `needs_anomalies` of each."""


def calibrator_class(name: str) -> type[Calibrator]:
    """The class of a name in `CALIBRATORS`; MethodError with the nearest name when unknown."""
    if name not in CALIBRATORS:
        raise MethodError(f'unknown calibrator "{name}"; {did_you_mean(name, CALIBRATORS)}')
    return CALIBRATORS[name]


def _linear_state(offset: Any, scale: float, good: Array) -> State:
    return {"offset": np.array(offset), "scale": np.array(_positive(scale, good))}


def _positive(scale: float, values: Array) -> float:
    """The scale; where values do not vary, their largest absolute value, or 1 when they are 0."""
    size = float(np.abs(values).max())
    if scale > 1e-9 * size:
        return scale
    return size if size > 0 else 1.0


def _fit_pareto(excess: Array) -> tuple[float, float]:
    """Shape and scale of a generalised Pareto distribution, from ascending values above 0."""
    count, mean = len(excess), float(excess.mean())
    if count < 20:
        return 0.0, mean
    quantiles = (np.arange(1, count + 1) - 0.35) / count
    moment = float(((1 - quantiles) * excess).mean())
    shape = float(np.clip(2 - mean / max(mean - 2 * moment, 1e-12 * mean), 0, 0.5))
    return shape, mean * (1 - shape)  # the scale that keeps the mean


def _log_odds(scores: Array) -> Array:
    """The columns ln p and -ln(1 - p) of p = sigmoid(score), on a new last axis."""
    return np.stack([log_expit(scores), -log_expit(-scores)], axis=-1)
