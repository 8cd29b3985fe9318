import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loco_tools.metrics import reliability

pairs = st.lists(st.tuples(st.integers(0, 20), st.booleans()), min_size=1, max_size=30)


def taken_apart(drawn):
    return np.array([p / 20 for p, _ in drawn]), np.array([y for _, y in drawn])


def slow_curve(said, truth, bins):
    """Bin after bin, image after image."""
    rows = []
    for number in range(bins):
        low, high = number / bins, (number + 1) / bins
        inside = [
            i for i, p in enumerate(said) if low <= p < high or (number == bins - 1 and p == 1)
        ]
        if inside:
            rows.append(
                (len(inside), sum(said[inside]) / len(inside), sum(truth[inside]) / len(inside))
            )
    return rows


@given(pairs, st.sampled_from([1, 2, 4, 5]))
def test_the_curve_is_what_counting_bin_after_bin_gives(drawn, bins):
    said, truth = taken_apart(drawn)
    curve = reliability.reliability_curve(said, truth, bins=bins)
    rows = slow_curve(said, truth, bins)
    assert curve.counts.tolist() == [row[0] for row in rows]
    assert curve.predicted == pytest.approx([row[1] for row in rows])
    assert curve.observed == pytest.approx([row[2] for row in rows])
    error = sum(n * abs(p - y) for n, p, y in rows) / len(said)
    assert reliability.expected_calibration_error(curve) == pytest.approx(error)


@given(pairs, st.integers(1, 6))
def test_bins_of_equal_mass_hold_every_image_once_and_keep_ties_together(drawn, bins):
    said, truth = taken_apart(drawn)
    curve = reliability.reliability_curve(said, truth, bins=bins, spacing="mass")
    assert curve.counts.sum() == said.size
    assert len(curve.counts) <= bins
    assert (np.diff(curve.predicted) > 0).all()
    assert (curve.counts @ curve.predicted) == pytest.approx(said.sum())
    assert (curve.counts @ curve.observed) == pytest.approx(truth.sum())


def test_bins_of_equal_mass_are_equal_without_ties():
    said = np.linspace(0, 1, 12) ** 3
    curve = reliability.reliability_curve(said, said > 0.5, bins=4, spacing="mass")
    assert curve.counts.tolist() == [3, 3, 3, 3]


@given(pairs, st.sampled_from(["width", "mass"]), st.integers(1, 8))
def test_the_parts_of_the_brier_score_add_up_and_are_those_of_murphy_where_bins_hold_one_value(
    drawn, spacing, bins
):
    said, truth = taken_apart(drawn)
    parts = reliability.brier_parts(said, truth, bins=bins, spacing=spacing)
    score = sum((p - y) ** 2 for p, y in zip(said, truth, strict=True)) / len(said)
    assert parts.score == pytest.approx(score)
    assert parts.reliability - parts.resolution + parts.uncertainty == pytest.approx(score)
    fine = reliability.brier_parts(said, truth, bins=1000)
    expected = 0.0
    for value in set(said.tolist()):
        inside = said == value
        expected += inside.sum() * (truth[inside].mean() - truth.mean()) ** 2 / len(said)
    assert fine.resolution == pytest.approx(expected)


@given(st.lists(st.floats(0.01, 0.99), min_size=1), st.floats(0.05, 0.95), st.floats(0.05, 0.95))
def test_a_shift_of_the_prior_adds_log_odds_and_can_be_taken_back(said, assumed, actual):
    def logit(p):
        return np.log(p) - np.log1p(-np.asarray(p))

    moved = reliability.shift_prior(said, assumed=assumed, actual=actual)
    assert logit(moved) == pytest.approx(logit(said) + logit(actual) - logit(assumed), abs=1e-9)
    back = reliability.shift_prior(moved, assumed=actual, actual=assumed)
    assert back == pytest.approx(np.array(said))


def test_a_shift_of_the_prior_makes_probabilities_reliable_at_another_share():
    rng = np.random.default_rng(0)

    def drawn(share, count):
        truth = rng.random(count) < share
        score = rng.normal(truth * 1.5, 1.0)  # log-likelihood ratio: 1.5 score - 1.125
        return score, truth

    score, truth = drawn(0.1, 200_000)
    at_half = 1 / (1 + np.exp(-(1.5 * score - 1.125)))
    errors = [
        reliability.expected_calibration_error(reliability.reliability_curve(said, truth))
        for said in (at_half, reliability.shift_prior(at_half, assumed=0.5, actual=0.1))
    ]
    assert errors[0] > 0.1
    assert errors[1] < 0.01


def test_reliable_probabilities_of_few_images_have_an_error_that_chance_explains():
    rng = np.random.default_rng(1)
    said = rng.random(40)
    found = np.mean(
        [
            reliability.expected_calibration_error(
                reliability.reliability_curve(said, rng.random(40) < said)
            )
            for _ in range(400)
        ]
    )
    assert reliability.calibration_error_by_chance(said) == pytest.approx(found, abs=0.02)
    assert found > 0.08


@pytest.mark.parametrize(
    ("said", "truth", "message"),
    [
        ([], [], "at least 1 image"),
        ([0.5], [True, False], r"shapes \(1,\) and \(2,\)"),
        ([1.5], [True], "probabilities between 0 and 1"),
        ([float("nan")], [True], "NaN"),
    ],
)
def test_values_that_are_not_probabilities_are_refused(said, truth, message):
    with pytest.raises(ValueError, match=message):
        reliability.reliability_curve(said, truth)


def test_impossible_bins_and_shares_are_refused():
    with pytest.raises(ValueError, match="at least 1 bin"):
        reliability.reliability_curve([0.5], [True], bins=0)
    with pytest.raises(ValueError, match="actual: expected a share"):
        reliability.shift_prior([0.5], assumed=0.5, actual=1.0)
