import itertools

import numpy as np
import pytest

import loco_tools
from loco_tools.errors import DatasetError
from loco_tools.evaluation import Settings, evaluate_folder, evaluate_maps, sample_key
from loco_tools.evaluation.counts import SAMPLED_DEFECT_SCORES, WeightedScores, sample_scores
from loco_tools.metrics import bootstrap, roc, spro


def leaves(figures) -> list:
    """Every pair of numbers in nested figures."""
    if isinstance(figures, dict):
        return list(itertools.chain(*(leaves(value) for value in figures.values())))
    return [figures] if isinstance(figures, list) else []


def rich_class(make_loco_class):
    return loco_tools.load(
        make_loco_class(good=8, logical=[(255, 254)] * 6, structural=[(100,)] * 6)
    )


def test_folders_get_intervals_and_maps_only_when_asked(make_loco_class, noisy_map, write_maps):
    dataset = rich_class(make_loco_class)
    intervals = evaluate_folder(write_maps(dataset), dataset).metrics["intervals"]
    assert (intervals["draws"], intervals["level"], intervals["unit"]) == (1000, 0.95, "image")
    assert evaluate_maps(dataset.test, noisy_map).metrics["intervals"] is None
    assert evaluate_maps(dataset.test, noisy_map, bootstrap=1000).metrics["intervals"] == intervals


def test_each_interval_contains_its_metric(make_loco_class, noisy_map):
    metrics = evaluate_maps(rich_class(make_loco_class).test, noisy_map, bootstrap=300).metrics
    intervals = metrics["intervals"]
    areas = intervals["localization"]["auc_spro"]
    assert areas.keys() == {"logical_anomalies", "structural_anomalies", "mean"}
    for name, limits in areas.items():
        low, high = limits["0.05"]
        assert low < metrics["localization"]["auc_spro"][name]["0.05"] < high
    low, high = intervals["localization"]["au_pro"]["0.3"]
    assert low < metrics["localization"]["au_pro"]["0.3"] < high
    for name in ("logical_anomalies", "structural_anomalies", "mean_ls", "pooled"):
        low, high = intervals["classification"]["image_auroc"][name]
        assert low <= metrics["classification"]["image_auroc"][name] <= high
    assert all(0 <= low <= high <= 1 for low, high in leaves(intervals))


def test_an_ad_class_has_intervals_of_its_own_metrics(make_ad_class, noisy_map):
    metrics = evaluate_maps(loco_tools.load(make_ad_class()).test, noisy_map, bootstrap=50).metrics
    intervals = metrics["intervals"]
    assert intervals["localization"].keys() == {"au_pro"}
    assert intervals["classification"]["auc_roc"].keys() == {"all"}
    assert intervals["classification"]["image_auroc"]["mean_ls"] is None


def test_the_area_interval_equals_that_of_counting_every_draw(make_loco_class):
    test = rich_class(make_loco_class).test
    rng = np.random.default_rng(5)
    maps = {s: np.float32(rng.random(s.size) + 0.6 * s.ground_truth()) for s in test}
    metrics = evaluate_maps(test, maps.__getitem__, bootstrap=60).metrics
    samples = sorted(test, key=sample_key)
    keys, strata = [sample_key(s) for s in samples], [(s.kind_folder,) for s in samples]
    areas = []
    for times in bootstrap.draws(keys, strata, 60, seed=0):
        low, high, weights = [], [], []
        for sample, count in zip(samples, times, strict=True):
            if sample.kind == "structural" or not count:
                continue
            low += [maps[sample][~sample.ground_truth()]] * count
            for defect in sample.defects:
                rising = spro.saturating_scores(maps[sample][defect.mask], defect.saturation_px)
                high += [rising] * count
                weights += [np.full(rising.size, 1 / rising.size)] * count
        areas.append(slow_area(np.concatenate(low), np.concatenate(high), np.concatenate(weights)))
    expected = bootstrap.percentile_interval(np.array(areas), 0.95)
    found = metrics["intervals"]["localization"]["auc_spro"]["logical_anomalies"]["0.05"]
    assert found == pytest.approx(expected, abs=2e-3)


def slow_area(negatives, positives, weights) -> float:
    values = np.unique(np.concatenate([negatives, positives]))[::-1]
    low, high = np.zeros(values.size), np.zeros(values.size)
    np.add.at(low, np.searchsorted(-values, -negatives), 1.0)
    np.add.at(high, np.searchsorted(-values, -positives), weights)
    return spro.au_spro(roc.Ranking(low, high), 0.05)


def test_images_of_a_part_are_drawn_together(make_loco_class, noisy_map, write_sidecar):
    class_dir = make_loco_class(good=8, logical=[(255,)] * 4, structural=[(100,)] * 4)
    places = [
        *(f"test/good/{n:03d}.png" for n in range(8)),
        *(
            f"test/{kind}_anomalies/{n:03d}.png"
            for kind in ("logical", "structural")
            for n in range(4)
        ),
    ]
    write_sidecar(
        class_dir,
        {p: {"part": f"p{n // 2}", "view": "ab"[n % 2]} for n, p in enumerate(places)},
    )
    whole = evaluate_maps(loco_tools.load(class_dir).test, noisy_map, bootstrap=100).metrics
    assert whole["intervals"]["unit"] == "part"
    low, high = whole["intervals"]["parts"]["auroc"]["pooled"]
    assert low <= whole["parts"]["auroc"]["pooled"] <= high


def test_parts_of_which_none_is_complete_have_no_interval(
    make_loco_class, noisy_map, write_sidecar
):
    class_dir = make_loco_class()
    write_sidecar(
        class_dir,
        {f"test/good/{n:03d}.png": {"part": f"p{n}", "view": f"v{n}"} for n in range(3)},
    )
    metrics = evaluate_maps(loco_tools.load(class_dir).test, noisy_map, bootstrap=20).metrics
    assert metrics["parts"]["left_out"] == ["p0", "p1", "p2"]
    assert set(metrics["intervals"]["parts"]["auroc"].values()) == {None}
    assert metrics["intervals"]["unit"] == "image"


def test_constant_maps_have_an_interval_too(make_loco_class):
    test = loco_tools.load(make_loco_class()).test
    metrics = evaluate_maps(test, lambda s: np.ones(s.size), bootstrap=20).metrics
    assert metrics["intervals"]["classification"]["image_auroc"]["pooled"] == [0.5, 0.5]
    area = metrics["localization"]["auc_spro"]["mean"]["0.05"]
    assert metrics["intervals"]["localization"]["auc_spro"]["mean"]["0.05"] == pytest.approx(
        [area, area]
    )


def test_a_score_sample_keeps_the_weight_of_the_defects_and_their_scores():
    rng = np.random.default_rng(0)
    scores = rng.random(40_000, np.float32)
    rising = WeightedScores(
        scores, np.where(np.arange(scores.size) < 10_000, 1 / 10_000, 1 / 30_000)
    )
    score_sample = sample_scores(scores, rising, rising)
    assert score_sample.saturating.scores.size == SAMPLED_DEFECT_SCORES
    assert score_sample.saturating.weights.sum() == pytest.approx(2)
    assert np.median(score_sample.saturating.scores) == pytest.approx(0.5, abs=0.02)
    assert score_sample.negatives_px == 40_000
    assert score_sample.negatives.size == bootstrap.SAMPLED_PIXELS


def test_settings_out_of_range_are_refused():
    with pytest.raises(DatasetError, match="bootstrap: expected 0 draws or more, got -1"):
        Settings(bootstrap=-1)
    with pytest.raises(DatasetError, match=r"fpr: expected a false positive rate in \[0, 1\)"):
        Settings(fpr=1.0)
