import dataclasses
import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loco_tools.metrics import roc, spro
from loco_tools.metrics.score_histogram import ScoreHistogram

pixels = st.lists(st.integers(0, 8), min_size=1, max_size=15)  # few values, hence many ties
defect = pixels.flatmap(lambda scores: st.tuples(st.just(scores), st.integers(1, len(scores))))
limits = st.sampled_from([0.01, 0.05, 0.1, 0.3, 0.37, 1.0])


def ranking_of(negatives, defects) -> roc.Ranking:
    low, rising = ScoreHistogram(), ScoreHistogram()
    low.add(np.float32(negatives))
    for scores, saturation_px in defects:
        rising.add(spro.saturating_scores(np.float32(scores), saturation_px), 1.0 / saturation_px)
    return roc.rank_histograms(low, rising)


def slow_curve(negatives, defects):
    """The definition: FPR and mean sPRO at every threshold, P_t = (map > t)."""
    every = [*negatives, *(score for scores, _ in defects for score in scores)]
    points = []
    for threshold in [max(every), *sorted(set(every), reverse=True)[1:], min(every) - 1]:
        fpr = np.mean(np.array(negatives) > threshold)
        found = [min((np.array(scores) > threshold).sum() / s, 1) for scores, s in defects]
        points.append((fpr, np.mean(found)))
    return points


def slow_area(points, limit) -> float:
    """Trapezoids up to the limit, where the curve is interpolated linearly."""
    area = 0.0
    for (x0, y0), (x1, y1) in itertools.pairwise(points):
        if x0 >= limit or x1 == x0:
            continue
        end = min(x1, limit)
        y_end = y0 + (y1 - y0) * (end - x0) / (x1 - x0)
        area += (end - x0) * (y0 + y_end) / 2
    return area / limit


@given(pixels, st.lists(defect, min_size=1, max_size=4), limits)
def test_the_closed_form_equals_the_area_under_the_curve_at_every_threshold(
    negatives, defects, limit
):
    expected = slow_area(slow_curve(negatives, defects), limit)
    assert spro.au_spro(ranking_of(negatives, defects), limit) == pytest.approx(expected, abs=1e-9)


@given(pixels, st.lists(defect, min_size=1, max_size=4))
def test_the_point_of_every_threshold_lies_on_the_curve(negatives, defects):
    curve = spro.spro_curve(ranking_of(negatives, defects))
    pieces = list(itertools.pairwise(zip(curve.x, curve.y, strict=True)))
    for x, y in slow_curve(negatives, defects):
        assert any(
            x0 - 1e-9 <= x <= x1 + 1e-9
            and y0 - 1e-9 <= y <= y1 + 1e-9
            and (x - x0) * (y1 - y0) == pytest.approx((y - y0) * (x1 - x0), abs=1e-9)
            for (x0, y0), (x1, y1) in pieces
        )


@given(pixels, st.lists(defect, min_size=1, max_size=4), limits)
def test_the_area_lies_in_0_to_1_and_within_the_bound_of_any_way_to_break_ties(
    negatives, defects, limit
):
    ranking = ranking_of(negatives, defects)
    area = spro.au_spro(ranking, limit)
    bound = spro.rounding_bound(dataclasses.replace(ranking, is_exact=False), limit)
    assert 0 <= area <= 1
    for direction in (-0.5, 0.5):  # every defect pixel loses or wins all its ties
        broken = [(np.array(scores) + direction, s) for scores, s in defects]
        other = spro.au_spro(ranking_of(negatives, broken), limit)
        assert abs(other - area) <= bound + 1e-9


def test_rounded_scores_come_with_a_bound_and_exact_ones_need_none():
    rng = np.random.default_rng(0)
    negatives, scores = rng.random(9000, np.float32), rng.random(900, np.float32)
    few, every = ScoreHistogram(exact_scores=100), ScoreHistogram()
    few.add(negatives)
    every.add(negatives)
    rising = ScoreHistogram()
    rising.add(scores, 1 / 900)
    rounded, exact = roc.rank_histograms(few, rising), roc.rank_histograms(every, rising)
    bound = spro.rounding_bound(rounded, 0.05)
    assert 0 < bound < 1e-3
    assert abs(spro.au_spro(rounded, 0.05) - spro.au_spro(exact, 0.05)) < bound
    assert spro.rounding_bound(exact, 0.05) == 0


@given(pixels, st.lists(pixels, min_size=1, max_size=4))
def test_with_the_area_as_threshold_and_limit_1_one_defect_is_an_auroc(negatives, defects):
    whole = [(scores, len(scores)) for scores in defects]
    mean = np.mean([roc.auroc(roc.rank(negatives, scores)) for scores in defects])
    assert spro.au_spro(ranking_of(negatives, whole), 1.0) == pytest.approx(mean, abs=1e-9)


def test_pixels_beyond_saturation_do_not_matter():
    few = spro.au_spro(ranking_of([0, 1, 2, 3], [([9, 9, 0, 0], 2)]), 0.3)
    all_found = spro.au_spro(ranking_of([0, 1, 2, 3], [([9, 9, 9, 9], 2)]), 0.3)
    assert few == all_found == 1.0


def test_a_perfect_map_scores_1_and_a_constant_one_half_the_limit():
    assert spro.au_spro(ranking_of([0, 0], [([1, 1], 2)]), 0.05) == 1.0
    assert spro.au_spro(ranking_of([0, 0], [([0, 0], 1)]), 0.05) == pytest.approx(0.025)
    assert spro.au_spro(ranking_of([0, 0], [([0, 0], 1)]), 1.0) == 0.5


@pytest.mark.parametrize("saturation_px", [0, 4])
def test_a_saturation_area_outside_the_defect_is_refused(saturation_px):
    with pytest.raises(ValueError, match=f"from 1 to the defect's 3 pixels, got {saturation_px}"):
        spro.saturating_scores(np.float32([1, 2, 3]), saturation_px)


@pytest.mark.parametrize("limit", [0.0, 1.5])
def test_a_limit_outside_0_to_1_is_refused(limit):
    with pytest.raises(ValueError, match=rf"FPR limit in \(0, 1\], got {limit}"):
        spro.au_spro(ranking_of([0], [([1], 1)]), limit)


@given(st.lists(st.lists(st.booleans(), min_size=7, max_size=7), min_size=6, max_size=6))
@settings(max_examples=50)
def test_pixel_weights_sum_to_1_over_each_8_connected_component(rows):
    mask = np.array(rows)
    weights = np.zeros(mask.shape)
    weights[mask] = spro.pixel_weights(mask)
    unseen = {(int(y), int(x)) for y, x in np.argwhere(mask)}
    while unseen:  # a plain flood fill
        pending = component = {unseen.pop()}
        while pending:
            near = {(y + i, x + j) for y, x in pending for i in (-1, 0, 1) for j in (-1, 0, 1)}
            pending = near & unseen
            unseen, component = unseen - pending, component | pending
        assert sum(weights[place] for place in component) == pytest.approx(1)
        assert len({weights[place] for place in component}) == 1
