import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loco_tools.metrics import roc
from loco_tools.metrics.score_histogram import ScoreHistogram

scores = st.lists(st.integers(0, 6), min_size=1, max_size=20)  # few values, hence many ties


def pairs_won(negatives, positives) -> float:
    won = sum((p > n) + 0.5 * (p == n) for p in positives for n in negatives)
    return won / (len(positives) * len(negatives))


@given(scores, scores)
def test_auroc_is_the_share_of_pairs_won_with_ties_half(negatives, positives):
    assert roc.auroc(roc.rank(negatives, positives)) == pytest.approx(
        pairs_won(negatives, positives), abs=1e-12
    )


@given(scores, scores)
def test_average_precision_and_f1_equal_their_definitions_at_every_threshold(negatives, positives):
    low, high = np.array(negatives), np.array(positives)
    area, best, recall_before = 0.0, 0.0, 0.0
    for threshold in sorted({*negatives, *positives}, reverse=True):
        true, false = (high >= threshold).sum(), (low >= threshold).sum()
        precision, recall = true / (true + false), true / high.size
        area += precision * (recall - recall_before)
        best = max(best, 2 * true / (true + false + high.size))
        recall_before = recall
    ranking = roc.rank(negatives, positives)
    assert roc.average_precision(ranking) == pytest.approx(area, abs=1e-12)
    assert roc.f1_max(ranking) == pytest.approx(best, abs=1e-12)


@given(scores, scores)
def test_metrics_do_not_change_when_scores_are_rescaled(negatives, positives):
    rescaled = roc.rank(np.exp(negatives), np.exp(positives))
    for figure in (roc.auroc, roc.average_precision, roc.f1_max):
        assert figure(rescaled) == figure(roc.rank(negatives, positives))


@given(scores, scores)
def test_histograms_rank_like_lists(negatives, positives):
    low, high = ScoreHistogram(), ScoreHistogram()
    low.add(np.float32(negatives))
    high.add(np.float32(positives))
    streamed, plain = roc.rank_histograms(low, high), roc.rank(negatives, positives)
    for figure in (roc.auroc, roc.average_precision, roc.f1_max, roc.iou_max):
        assert figure(streamed) == pytest.approx(figure(plain), abs=1e-12)
    np.testing.assert_array_equal(
        streamed.positives[streamed.positives > 0], plain.positives[plain.positives > 0]
    )
    assert streamed.negatives.sum() == len(negatives)
    assert streamed.negatives.size <= 2 * len(set(positives)) + 1


def test_a_rounded_and_an_exact_histogram_are_compared_by_rounded_scores():
    low, high = ScoreHistogram(exact_scores=1), ScoreHistogram()
    low.add(np.float32([2, 3]))
    high.add(np.nextafter(np.float32([2]), np.float32(3)))
    assert roc.auroc(roc.rank_histograms(low, high)) == 0.25


def test_equal_scores_have_an_auroc_of_one_half():
    assert roc.auroc(roc.rank([1, 1, 1], [1, 1])) == 0.5


def test_double_precision_is_kept_for_image_scores():
    assert roc.auroc(roc.rank([1.0], [1.0 + 1e-12])) == 1.0


@pytest.mark.parametrize("empty", [([], [1.0]), ([1.0], [])])
def test_an_empty_side_is_refused(empty):
    with pytest.raises(ValueError, match="expected at least one negative and one positive"):
        roc.rank(*empty)


def test_scores_that_are_not_finite_are_refused():
    with pytest.raises(ValueError, match="expected finite scores"):
        roc.rank([0.0, np.nan], [1.0])


def test_a_thinned_curve_keeps_its_ends_and_its_shape():
    x = np.linspace(0, 1, 5001)
    curve = roc.Curve(x, np.sqrt(x))
    thin = curve.thinned(200)
    assert thin.x.size <= 200
    assert (thin.x[0], thin.y[0], thin.x[-1], thin.y[-1]) == (0, 0, 1, 1)
    assert np.abs(np.interp(x, thin.x, thin.y) - curve.y).max() < 0.01
    assert curve.thinned(9999) is curve


@given(scores, scores)
def test_iou_max_equals_its_definition_at_every_threshold(negatives, positives):
    low, high = np.array(negatives), np.array(positives)
    ious = [
        (high >= threshold).sum() / ((low >= threshold).sum() + high.size)
        for threshold in {*negatives, *positives}
    ]
    assert roc.iou_max(roc.rank(negatives, positives)) == pytest.approx(max(ious), abs=1e-12)


def test_rates_that_are_0_by_0_are_none():
    rates = roc.Confusion(3, 0, 0, 0).rates()
    assert rates == {
        "precision": None,
        "recall": None,
        "tpr": None,
        "fpr": 0.0,
        "f1": None,
        "iou": None,
    }


@given(scores, scores)
def test_the_area_under_the_precision_recall_steps_is_average_precision(negatives, positives):
    ranking = roc.rank(negatives, positives)
    curve = roc.pr_curve(ranking)
    assert (curve.x[0], curve.x[-1]) == (0.0, 1.0)
    assert (np.diff(curve.x) > 0).all()
    area = (np.diff(curve.x) * curve.y[1:]).sum()
    assert area == pytest.approx(roc.average_precision(ranking), abs=1e-12)


def test_a_thinned_precision_recall_curve_keeps_its_ends_and_its_falls():
    rng = np.random.default_rng(0)
    ranking = roc.rank(rng.normal(0, 1, 20_000), rng.normal(2, 1, 5_000))
    curve = roc.pr_curve(ranking)
    thin = curve.thinned(200)
    assert thin.x.size <= 200
    assert (thin.x[0], thin.y[0]) == (curve.x[0], curve.y[0])
    assert (thin.x[-1], thin.y[-1]) == (curve.x[-1], curve.y[-1])
    assert np.abs(np.interp(curve.x, thin.x, thin.y) - curve.y)[curve.x > 0.05].max() < 0.02
