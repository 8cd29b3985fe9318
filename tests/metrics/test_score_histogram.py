import copy

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loco_tools.metrics import score_histogram as module
from loco_tools.metrics.score_histogram import ScoreHistogram, keys_of, merge_histograms, score_of

finite = st.floats(width=32, allow_nan=False, allow_infinity=False)
scores = st.lists(finite, min_size=1, max_size=60).map(np.float32)


@given(scores, scores)
def test_keys_have_the_order_of_the_scores(left, right):
    a, b = left[:, None], right[None]
    keys_a, keys_b = keys_of(a), keys_of(b)
    np.testing.assert_array_equal(a < b, keys_a < keys_b)
    np.testing.assert_array_equal(a == b, keys_a == keys_b)


@given(scores)
def test_a_histogram_counts_like_numpy(values):
    histogram = ScoreHistogram()
    histogram.add(values)
    distinct, counts = np.unique(values + np.float32(0), return_counts=True)
    keys, totals = histogram.entries()
    np.testing.assert_array_equal(keys, keys_of(distinct))
    np.testing.assert_array_equal(totals, counts)


@given(st.lists(scores, min_size=1, max_size=4), st.integers(1, 40))
@settings(deadline=None, max_examples=25)
def test_what_is_kept_depends_neither_on_order_nor_on_split(parts, exact_scores):
    whole, backwards = ScoreHistogram(exact_scores), ScoreHistogram(exact_scores)
    whole.add(np.concatenate(parts))
    backwards.add(np.concatenate(parts)[::-1])
    merged = ScoreHistogram(exact_scores)
    for part in parts:
        one = ScoreHistogram(exact_scores)
        one.add(part)
        merged.merge(one)
    for other in (backwards, merged):
        assert other.lost_bits == whole.lost_bits
        for a, b in zip(other.entries(), whole.entries(), strict=True):
            np.testing.assert_array_equal(a, b)


def test_beyond_its_exact_scores_a_histogram_rounds_keys_and_reports_it():
    histogram = ScoreHistogram(exact_scores=2)
    histogram.add(np.float32([1, 2]))
    assert histogram.lost_bits == 0
    histogram.add(np.float32([2, np.nextafter(np.float32(2), np.float32(3)), 4]))
    assert histogram.lost_bits == 8
    keys, totals = histogram.entries()
    np.testing.assert_array_equal(keys, keys_of([1, 2, 4]))
    assert totals.tolist() == [1, 3, 1]


def test_an_exact_histogram_can_be_asked_for_rounded_keys():
    histogram = ScoreHistogram()
    histogram.add(np.float32([2, np.nextafter(np.float32(2), np.float32(3))]))
    assert histogram.entries().totals.tolist() == [1, 1]
    assert histogram.entries(lost_bits=8).totals.tolist() == [2]


def test_float16_scores_lose_nothing_by_rounding():
    every = np.arange(1 << 16, dtype=np.uint16).view(np.float16)
    every = np.unique(every[np.isfinite(every)].astype(np.float32))
    histogram = ScoreHistogram(exact_scores=1)
    histogram.add(every)
    assert histogram.entries().keys.size == every.size


def test_weights_of_equal_scores_add_up():
    histogram = ScoreHistogram()
    histogram.add(np.float32([3, 1, 3]), np.array([0.5, 1.0, 0.25]))
    histogram.add(np.float32([1]), 2.0)
    assert histogram.entries().totals.tolist() == [3.0, 0.75]
    assert histogram.total == 3.75


def test_many_scores_are_counted_while_they_come(monkeypatch):
    monkeypatch.setattr(module, "_BLOCK", 7)
    values = np.random.default_rng(0).integers(0, 9, (20, 30)).astype(np.float32)
    histogram = ScoreHistogram(exact_scores=25)
    histogram.add(values, np.ones(values.shape))
    np.testing.assert_array_equal(
        histogram.entries().totals, np.bincount(values.astype(int).ravel())
    )


def test_histograms_combine_into_a_new_one():
    one, other = ScoreHistogram(), ScoreHistogram()
    one.add(np.float32([1]))
    other.add(np.float32([1, 2]))
    assert merge_histograms([one, other]).entries().totals.tolist() == [2, 1]
    assert one.total == 1
    assert merge_histograms([]).total == 0


def test_histograms_that_round_in_different_ways_do_not_merge():
    with pytest.raises(ValueError, match="expected a histogram with the same exact_scores"):
        ScoreHistogram().merge(ScoreHistogram(coarse_bits=12))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_scores_that_are_not_finite_are_refused(value):
    with pytest.raises(ValueError, match="expected finite scores, got NaN or infinity"):
        ScoreHistogram().add(np.float32([0, value]))


def test_a_wrong_number_of_weights_is_refused():
    with pytest.raises(ValueError, match=r"expected \(2,\) weights, got \(3,\)"):
        ScoreHistogram().add(np.float32([0, 1]), np.ones(3))


@given(finite)
def test_a_score_can_be_computed_from_its_key(value):
    key = int(keys_of(np.float32([value]))[0])
    assert score_of(key) == np.float32(value)
    assert score_of(key, lost_bits=8) >= np.float32(value)


@pytest.mark.parametrize("exact_scores", [1, 100])
def test_a_histogram_survives_being_sent_to_another_process(exact_scores):
    histogram = ScoreHistogram(exact_scores)
    histogram.add(np.float32([0.5, 2, 2]))
    sent = copy.deepcopy(histogram)  # which pickles, as sending it does
    assert sent.lost_bits == histogram.lost_bits
    histogram.merge(sent)
    assert histogram.entries().totals.tolist() == [2, 4]
