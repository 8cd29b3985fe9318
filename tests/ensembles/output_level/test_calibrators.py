import numpy as np
import numpy.typing as npt
import pytest
from scipy.special import expit
from scipy.stats import genpareto, norm

from loco_tools.ensembles.output_level.calibrators import (
    CALIBRATORS,
    Calibrator,
    Empirical,
    LeaveOneOut,
    Platt,
    QuantileScale,
    RobustZ,
    Temperature,
    ZScore,
    calibrator_class,
)
from loco_tools.errors import MethodError

Scores = npt.NDArray[np.float64]
WITH_ANOMALIES = [name for name, calibrator in CALIBRATORS.items() if calibrator.needs_anomalies]


def make_scores(seed: int = 0, good: int = 60, anomalous: int = 40) -> tuple[Scores, Scores]:
    draw = np.random.default_rng(seed)
    return draw.gamma(4, 2, good), draw.gamma(4, 2, anomalous) + 9


def fitted(name: str, seed: int = 0) -> Calibrator:
    return calibrator_class(name)().fit(*make_scores(seed))


def test_four_need_synthetic_anomalies() -> None:
    assert WITH_ANOMALIES == ["platt", "temperature", "beta", "isotonic"]


@pytest.mark.parametrize("name", [name for name in CALIBRATORS if name != "isotonic"])
@pytest.mark.parametrize("seed", range(5))
def test_the_order_of_scores_is_kept_even_above_all_good_scores(name: str, seed: int) -> None:
    good, anomalous = make_scores(seed)
    far = np.array([good.min() - 50, good.min() - 1, good.max() + 1, good.max() + 40])
    scores = np.unique(np.concatenate([good, anomalous, far]))
    assert (np.diff(fitted(name, seed).transform(scores)) > 0).all()


def test_isotonic_regression_never_falls() -> None:
    values = fitted("isotonic").transform(np.linspace(-50, 80, 300))
    assert (np.diff(values) >= 0).all()
    assert (values[0], values[-1]) == (0, 1)


@pytest.mark.parametrize("name", WITH_ANOMALIES)
def test_calibrators_fitted_to_anomalies_give_probabilities(name: str) -> None:
    good, anomalous = make_scores()
    calibrator = fitted(name)
    assert 0 <= calibrator.transform(good).mean() < 0.3
    assert 0.7 < calibrator.transform(anomalous).mean() <= 1


@pytest.mark.parametrize("name", WITH_ANOMALIES)
def test_many_copies_of_the_anomalies_do_not_make_anomalies_likelier(name: str) -> None:
    good, anomalous = make_scores(good=400, anomalous=400)
    once = calibrator_class(name)().fit(good, anomalous).transform(np.array([12.0]))
    often = calibrator_class(name)().fit(good, np.tile(anomalous, 9)).transform(np.array([12.0]))
    assert once == pytest.approx(often, abs=0.03)


@pytest.mark.parametrize("name", CALIBRATORS)
def test_a_calibrator_is_restored_from_its_state(name: str) -> None:
    calibrator = fitted(name)
    scores = np.linspace(-5, 40, 30).reshape(2, 3, 5)
    assert all(isinstance(value, np.ndarray) for value in calibrator.state.values())
    again = calibrator_class(name)(calibrator.state).transform(scores)
    assert again.shape == scores.shape
    np.testing.assert_array_equal(again, calibrator.transform(scores))


@pytest.mark.parametrize("name", CALIBRATORS)
@pytest.mark.parametrize("good", [[3.0], [0.0, 0.0, 0.0], [-2.0] * 40])
def test_scores_that_do_not_vary_are_transformed_to_finite_values(
    name: str, good: list[float]
) -> None:
    calibrator = calibrator_class(name)().fit(good, [5.0, 6.0])
    assert np.isfinite(calibrator.transform([-9.0, good[0], 9.0])).all()


def test_z_score_by_hand() -> None:
    assert ZScore().fit([1, 3]).transform([2, 4]).tolist() == [0, 2]


def test_robust_z_ignores_one_odd_image() -> None:
    calibrator = RobustZ().fit([1, 2, 3, 4, 900])
    assert calibrator.transform([3, 5]).tolist() == pytest.approx([0, 1.349])


def test_quantile_scaling_by_hand() -> None:
    good = np.arange(101.0)
    assert QuantileScale().fit(good).transform([50, 95, 140]).tolist() == [0, 1, 2]


def test_leave_one_out_brings_the_largest_good_score_to_one() -> None:
    good, _ = make_scores()
    assert LeaveOneOut().fit(good).transform(good).max() == 1
    assert LeaveOneOut().fit([1, 4]).transform([1, 8]).tolist() == [0.25, 2]
    assert LeaveOneOut().fit([-3, -1]).transform([-3, -1, 1]).tolist() == [0, 1, 2]


def test_empirical_deviates_are_those_of_the_mid_ranks_and_then_of_an_exponential_tail() -> None:
    good = np.arange(1.0, 11)  # five in the tail beyond 5, their mean excess 3
    calibrator = Empirical().fit(good)
    assert calibrator.transform([1, 4.5]).tolist() == pytest.approx(
        [norm.ppf(0.05), (norm.ppf(0.35) + norm.ppf(0.45)) / 2]
    )
    shares = 0.55 * np.exp(-np.array([0.0, 3, 300]) / 3)
    assert calibrator.transform([5, 8, 305]).tolist() == pytest.approx(norm.isf(shares))


def test_the_empirical_tail_is_that_of_a_generalised_pareto_distribution() -> None:
    good = genpareto.rvs(0.3, scale=2, size=20_000, random_state=0)
    shares = norm.sf(Empirical().fit(good).transform([10, 30]))
    assert shares == pytest.approx(genpareto.sf([10, 30], 0.3, scale=2), rel=0.25)


def test_normal_scores_keep_their_deviates() -> None:
    good = np.random.default_rng(0).normal(7, 3, 5000)
    got = Empirical().fit(good).transform([1, 7, 13])
    assert got == pytest.approx([-2, 0, 2], abs=0.15)


def test_platt_is_the_logistic_regression_of_smoothed_targets() -> None:
    from sklearn.linear_model import LogisticRegression

    good, anomalous = make_scores(good=50, anomalous=50)
    rows = np.concatenate([good, anomalous, good, anomalous])[:, None]
    labels = np.repeat([0, 1, 1, 0], 50)
    share = 51 / 52
    weights = np.repeat([share, share, 1 - share, 1 - share], 50)
    bent = np.arcsinh((rows - good.mean()) / good.std())
    exact = LogisticRegression(C=1e9, max_iter=1000).fit(bent, labels, sample_weight=weights)
    np.testing.assert_allclose(
        Platt().fit(good, anomalous).transform(rows[:, 0]),
        exact.predict_proba(bent)[:, 1],
        atol=1e-3,
    )


def test_scores_of_a_detector_that_misses_the_anomalies_are_flattened_but_not_reversed() -> None:
    good, anomalous = make_scores()
    flat = Platt().fit(anomalous, good).transform([0.0, 20.0])
    assert 0 < flat[1] - flat[0] < 0.01


@pytest.mark.parametrize("name", WITH_ANOMALIES)
def test_an_anomaly_far_away_does_not_blur_the_border_of_the_rest(name: str) -> None:
    good, anomalous = make_scores()
    far = calibrator_class(name)().fit(good, [*anomalous, 1e5])
    border = np.array([8.0, 12, 16])
    np.testing.assert_allclose(far.transform(border), fitted(name).transform(border), atol=0.1)


def test_temperature_gives_one_half_midway_between_the_medians() -> None:
    calibrator = Temperature().fit([-1, 0, 0, 1], [4, 5, 6])  # of good: mean 0, variance 1 / 2
    middle = np.sinh(np.arcsinh(5 / np.sqrt(0.5)) / 2) * np.sqrt(0.5)
    assert calibrator.transform([middle]).tolist() == pytest.approx([0.5])


def balanced_log_loss(name: str, good: Scores, anomalous: Scores) -> float:
    calibrator = calibrator_class(name)().fit(good, anomalous)
    of_good = np.log(1 - calibrator.transform(good)).mean()
    return float(-of_good - np.log(calibrator.transform(anomalous)).mean()) / 2


def test_beta_follows_a_curve_that_is_steeper_on_one_side() -> None:
    draw = np.random.default_rng(0)
    scores = draw.normal(0, 1, 40_000)
    labels = draw.random(40_000) < expit(np.where(scores > 0, 0.6, 5) * scores)
    good, anomalous = scores[~labels], scores[labels]
    assert balanced_log_loss("beta", good, anomalous) < 0.98 * balanced_log_loss(
        "platt", good, anomalous
    )


def test_an_unknown_calibrator_is_answered_with_the_nearest() -> None:
    with pytest.raises(MethodError, match='unknown calibrator "plat"; did you mean "platt"'):
        calibrator_class("plat")


@pytest.mark.parametrize("good", [[], [1.0, np.nan], [[1.0, 2.0]]])
def test_scores_that_cannot_be_calibrated_on_are_an_error(good: list[float]) -> None:
    with pytest.raises(MethodError, match="expected finite good scores"):
        ZScore().fit(good)


def test_missing_anomalous_scores_are_an_error() -> None:
    with pytest.raises(MethodError, match=r"expected finite anomalous scores .* got shape \(0,\)"):
        Platt().fit([1.0, 2.0])


def test_transforming_before_fitting_is_an_error() -> None:
    with pytest.raises(MethodError, match="has not been fitted; next step: call fit"):
        ZScore().transform([1.0])
