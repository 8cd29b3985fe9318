import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import loco_tools
from loco_tools.datasets.maps import write_map
from loco_tools.errors import DatasetError
from loco_tools.evaluation import ValidationMaps, evaluate_folder, evaluate_maps
from loco_tools.evaluation.thresholds import ValidationCounts, image_level, pixel_level
from loco_tools.metrics.score_histogram import ScoreHistogram

scores = st.lists(st.integers(-5, 9), min_size=1, max_size=30)
rates = st.sampled_from([0.0, 0.05, 0.1, 0.5, 0.9])


def validation_of(values) -> ValidationCounts:
    validation = ValidationCounts()
    validation.scores = {str(n): float(value) for n, value in enumerate(values)}
    validation.pixels.add(np.float32(values))
    return validation


def histogram_of(values) -> ScoreHistogram:
    histogram = ScoreHistogram()
    histogram.add(np.float32(values))
    return histogram


@given(scores, rates)
def test_the_threshold_is_the_lowest_score_that_keeps_the_rate(values, fpr):
    threshold = image_level(validation_of(values), [0], [1], fpr)["threshold"]
    held = [v for v in sorted(set(values)) if np.mean(np.array(values) > v) <= fpr + 1e-12]
    assert threshold == held[0]
    pixels = pixel_level(validation_of(values), histogram_of([0]), histogram_of([1]), fpr)
    assert pixels["threshold"] == threshold


@given(scores, scores, scores, rates)
def test_the_metrics_are_those_of_a_plain_count(values, good, anomalous, fpr):
    for figures in (
        image_level(validation_of(values), good, anomalous, fpr),
        pixel_level(validation_of(values), histogram_of(good), histogram_of(anomalous), fpr),
    ):
        false = sum(score > figures["threshold"] for score in good)
        true = sum(score > figures["threshold"] for score in anomalous)
        assert figures["recall"] == figures["tpr"] == true / len(anomalous)
        assert figures["fpr"] == false / len(good)
        assert figures["precision"] == (true / (true + false) if true + false else None)
        assert figures["f1"] == pytest.approx(2 * true / (true + false + len(anomalous)))
        assert figures["iou"] == pytest.approx(true / (false + len(anomalous)))


def test_a_rounded_threshold_selects_the_same_pixels_as_its_rounded_scores():
    rng = np.random.default_rng(0)
    validation, low, high = ValidationCounts(), ScoreHistogram(exact_scores=10), ScoreHistogram()
    validation.scores = {"0": 1.0}
    values = rng.random(1000, np.float32)
    validation.pixels.add(values)
    low.add(values)
    high.add(values + np.float32(0.5))
    figures = pixel_level(validation, low, high, 0.05)
    assert figures["fpr"] == pytest.approx(np.mean(values > figures["threshold"]), abs=0)
    assert 0.04 < figures["fpr"] <= 0.05


def test_maps_of_good_validation_images_give_the_threshold(make_loco_class, write_maps, noisy_map):
    dataset = loco_tools.load(make_loco_class(validation=3))
    metrics = evaluate_folder(write_maps(dataset, validation=True), dataset).metrics
    for group in ("classification", "localization"):
        figures = metrics[group]["at_threshold"]
        assert figures["validation_fpr"] == 0.05
        assert "3 good validation images" in figures["rule"]
        assert None not in figures.values()
    highest = max(float(noisy_map(s).max()) for s in dataset.validation)
    assert metrics["classification"]["at_threshold"]["threshold"] == highest
    assert any("fewer than 1 / 0.05" in note for note in metrics["notes"])
    maps = {s.id: noisy_map(s) for s in dataset.validation}
    validation = ValidationMaps({n: float(m.max()) for n, m in maps.items()}, maps.__getitem__)
    given = evaluate_maps(dataset.test, noisy_map, validation=validation).metrics
    for group in ("classification", "localization"):
        assert given[group]["at_threshold"] == metrics[group]["at_threshold"]


def test_a_higher_rate_lowers_the_threshold(make_loco_class, write_maps):
    dataset = loco_tools.load(make_loco_class(validation=6))
    folder = write_maps(dataset, validation=True)
    low, high = (
        evaluate_folder(folder, dataset, fpr=fpr, bootstrap=0).metrics["localization"]
        for fpr in (0.01, 0.5)
    )
    assert low["at_threshold"]["threshold"] > high["at_threshold"]["threshold"]
    assert low["at_threshold"]["fpr"] < high["at_threshold"]["fpr"]


def test_without_validation_maps_the_metrics_are_empty_with_a_reason(make_loco_class, noisy_map):
    metrics = evaluate_maps(loco_tools.load(make_loco_class()).test, noisy_map).metrics
    figures = metrics["classification"]["at_threshold"]
    assert figures["threshold"] is None
    assert figures["f1"] is None
    assert "no scores of good validation images were given" in figures["rule"]
    json.dumps(metrics, allow_nan=False)


def test_validation_maps_must_be_complete(make_loco_class, write_maps):
    dataset = loco_tools.load(make_loco_class(validation=3))
    folder = write_maps(dataset, validation=True)
    (folder / "validation/good/001.tiff").unlink()
    write_map(folder / "validation/good/777.tiff", np.zeros((32, 48)))
    with pytest.raises(
        DatasetError,
        match=r"each of 3 validation images.*none for 1: good/001; "
        r"got 1 map without an image.*good/777\.tiff",
    ):
        evaluate_folder(folder, dataset)


def test_a_class_without_validation_split_takes_the_maps_of_held_out_images(
    make_ad_class, write_maps
):
    dataset = loco_tools.load(make_ad_class())
    folder = write_maps(dataset)
    write_map(folder / "validation/good/held.tiff", np.linspace(0, 1, 1536).reshape(32, 48))
    metrics = evaluate_folder(folder, dataset, bootstrap=0).metrics
    assert metrics["classification"]["at_threshold"]["threshold"] == 1.0
    assert metrics["localization"]["at_threshold"]["threshold"] == pytest.approx(0.95, abs=1e-3)


def test_validation_scores_that_are_not_finite_are_refused(make_loco_class, noisy_map):
    test = loco_tools.load(make_loco_class()).test
    with pytest.raises(DatasetError, match="map of validation/a: expected finite scores, got 6"):
        evaluate_maps(test, noisy_map, validation=({"a": 1.0}, lambda _: np.full((2, 3), np.inf)))
    with pytest.raises(DatasetError, match="validation/a: expected a finite image score, got nan"):
        evaluate_maps(test, noisy_map, validation=({"a": np.nan}, lambda _: np.ones((2, 3))))
