import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loco_tools.metrics import bootstrap, roc

scores = st.lists(st.integers(0, 6), min_size=1, max_size=12)  # few values, hence many ties


@given(scores, scores, st.integers(0, 1000))
def test_the_auroc_of_a_draw_is_that_of_the_scores_drawn(negatives, positives, seed):
    values = np.array(negatives + positives)
    truth = np.arange(values.size) >= len(negatives)
    times = bootstrap.draws(range(values.size), truth.tolist(), 4, seed)
    found = bootstrap.weighted_auroc(values, truth, times)
    for row, figure in zip(times, found, strict=True):
        low = np.repeat(values[~truth], row[~truth])
        high = np.repeat(values[truth], row[truth])
        assert figure == pytest.approx(roc.auroc(roc.rank(low, high)), abs=1e-12)


def test_a_draw_without_one_side_has_no_auroc():
    times = np.array([[0, 1], [1, 1]])
    assert np.isnan(bootstrap.weighted_auroc([0.0, 1.0], [False, True], times)).tolist() == [
        True,
        False,
    ]


def test_every_draw_has_as_many_units_of_each_stratum():
    strata = ["good"] * 5 + ["bad"] * 3
    times = bootstrap.draws(range(8), strata, 50, seed=1)
    assert set(times[:, :5].sum(axis=1)) == {5}
    assert set(times[:, 5:].sum(axis=1)) == {3}
    assert times.std() > 0


def test_the_same_seed_draws_the_same_and_another_one_does_not():
    one, same, other = (bootstrap.draws("abcdef", [0] * 6, 20, seed) for seed in (3, 3, 4))
    assert (one == same).all()
    assert (one != other).any()


@given(st.integers(1, 10_000), st.integers(1, 300))
def test_indices_are_in_range_and_spread(size, count):
    places = bootstrap.spread_indices(size, count)
    assert places.size == min(size, count)
    assert places.min() >= 0
    assert places.max() < size
    assert np.diff(np.sort(places), prepend=-1, append=size).max() <= 3 * size / places.size + 1


def test_indices_do_not_repeat_one_column_of_an_image():
    columns = bootstrap.spread_indices(4096 * 1700) % 1700
    assert np.bincount(columns * 10 // 1700).max() < 1.1 * 4096 / 10


@given(st.lists(st.floats(0, 1), min_size=2, max_size=8), st.sampled_from([0.05, 0.3, 1.0]))
def test_the_area_up_to_a_limit_equals_a_fine_sum(steps, limit):
    x = np.concatenate([[0.0], np.sort(np.round(steps, 3))])
    y = np.linspace(0, 1, x.size)
    fine = (np.arange(20000) + 0.5) / 20000 * limit
    # Where the curve is vertical a sum over x sees nothing of it, and neither should the area.
    keep = np.append(np.diff(x) > 0, True) | np.insert(np.diff(x) > 0, 0, True)
    expected = np.interp(fine, x[keep], y[keep]).mean()
    assert bootstrap.area_up_to(x, y, limit) == pytest.approx(expected, abs=2e-3)


def test_an_interval_leaves_out_draws_without_a_value():
    assert bootstrap.percentile_interval(np.array([np.nan, 0.5, 0.5]), 0.95) == (0.5, 0.5)
    assert bootstrap.percentile_interval(np.array([np.nan]), 0.95) is None
