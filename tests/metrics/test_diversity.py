import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loco_tools.metrics import diversity


def matrices(elements):
    return st.integers(2, 9).flatmap(
        lambda images: st.lists(
            st.lists(elements, min_size=images, max_size=images), min_size=2, max_size=4
        )
    )


def slow_rank(values, value):
    """How many are smaller, plus half of the others that are equal, from 1."""
    return 1 + sum(v < value for v in values) + (sum(v == value for v in values) - 1) / 2


@given(matrices(st.integers(0, 5)))
def test_rank_correlation_is_the_correlation_of_ranks_that_are_counted_out(scores):
    found = diversity.rank_correlation(scores)
    for i, one in enumerate(scores):
        ranks_one = [slow_rank(one, value) for value in one]
        assert diversity.rankdata(one).tolist() == ranks_one
        for j, other in enumerate(scores):
            ranks_other = [slow_rank(other, value) for value in other]
            if len(set(one)) == 1 or len(set(other)) == 1:
                assert np.isnan(found[i, j])
            else:
                expected = np.corrcoef(ranks_one, ranks_other)[0, 1]
                assert found[i, j] == pytest.approx(expected, abs=1e-12)


def test_rank_correlation_agrees_with_scipy():
    stats = pytest.importorskip("scipy.stats")
    rng = np.random.default_rng(0)
    scores = rng.integers(0, 8, (2, 50))
    expected = stats.spearmanr(*scores).statistic
    assert diversity.rank_correlation(scores)[0, 1] == pytest.approx(expected)


def test_rank_correlation_does_not_depend_on_scales():
    scores = np.random.default_rng(0).random((3, 20))
    bent = np.stack([scores[0] * 100, np.exp(scores[1]), scores[2] ** 3])
    assert diversity.rank_correlation(bent) == pytest.approx(diversity.rank_correlation(scores))


@given(matrices(st.booleans()))
def test_oracle_and_q_are_what_counting_image_after_image_gives(right):
    images = list(zip(*right, strict=True))
    assert diversity.oracle_accuracy(right) == pytest.approx(
        sum(any(one) for one in images) / len(images)
    )
    found = diversity.q_statistic(right)
    for i in range(len(right)):
        for j in range(len(right)):
            pairs = [(image[i], image[j]) for image in images]
            both, none = pairs.count((True, True)), pairs.count((False, False))
            first, second = pairs.count((True, False)), pairs.count((False, True))
            total = both * none + first * second
            if total:
                assert found[i, j] == pytest.approx((both * none - first * second) / total)
            else:
                assert np.isnan(found[i, j])


def test_a_threshold_lets_its_share_of_good_images_pass():
    scores = np.random.default_rng(0).random(1001)
    threshold = diversity.good_threshold(scores)
    assert (scores > threshold).sum() == 50


def test_members_that_err_on_different_images_have_a_perfect_oracle_and_a_negative_q():
    truth = np.array([False, False, False, True, True, True])
    scores = np.array([[0, 0, 9, 9, 9, 0], [9, 0, 0, 0, 9, 9]])
    right = diversity.right_decisions(scores, [5, 5], truth)
    assert right.mean(axis=1).tolist() == [4 / 6, 4 / 6]
    assert diversity.oracle_accuracy(right) == 1
    assert diversity.q_statistic(right)[0, 1] == -1


def test_no_member_is_chosen_where_one_of_them_was_not_measured():
    assert diversity.chosen_by_validation({"a": 0.9, "b": None}) is None
    assert diversity.chosen_by_validation({}) is None
    assert diversity.gain_over_chosen(0.9, {"a": 0.8}, {"a": None}) is None


@pytest.mark.parametrize(
    ("scores", "message"),
    [([1.0, 2.0], "members x images"), ([[1.0, float("nan")]], "finite")],
)
def test_values_that_are_not_scores_are_refused(scores, message):
    with pytest.raises(ValueError, match=message):
        diversity.rank_correlation(scores)


def test_a_threshold_needs_scores():
    with pytest.raises(ValueError, match="scores of good images"):
        diversity.good_threshold([])
