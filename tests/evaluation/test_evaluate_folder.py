import copy
import dataclasses
import json
import os
import re

import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import loco_tools
from loco_tools.datasets.maps import write_map
from loco_tools.errors import DatasetError
from loco_tools.evaluation import (
    Evaluator,
    Settings,
    evaluate_folder,
    evaluate_maps,
    evaluation,
    map_evaluation,
)

CONFIG = [
    {
        "defect_name": "dust",
        "pixel_value": 255,
        "saturation_threshold": 0.01,
        "relative_saturation": True,
    },
    {
        "defect_name": "scratch",
        "pixel_value": 100,
        "saturation_threshold": 500,
        "relative_saturation": False,
    },
]

one_class = settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def same(left, right) -> bool:
    """Equal figures, up to the rounding of sums that were made in another order."""
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(same(left[k], right[k]) for k in left)
    if isinstance(left, list) and left and isinstance(left[0], float):
        return left == pytest.approx(right, abs=1e-12)
    return left == (pytest.approx(right, abs=1e-12) if isinstance(right, float) else right)


def numbers(figures) -> list[float]:
    if isinstance(evaluation, dict):
        return [number for value in evaluation.values() for number in numbers(value)]
    return [evaluation] if isinstance(evaluation, float) else []


def random_maps(samples, seed: int, levels: int) -> dict:
    """Maps with that many different scores, somewhat higher on defects."""
    rng = np.random.default_rng(seed)
    return {
        s: np.float32(
            rng.integers(0, levels, s.size) + rng.integers(0, levels, s.size) * s.ground_truth()
        )
        for s in samples
    }


def metrics_of(samples, scored, draws: int = 0) -> dict:
    return evaluate_maps(samples, scored.__getitem__, bootstrap=draws).metrics


@pytest.fixture
def samples(make_loco_class):
    return loco_tools.load(make_loco_class(size=(16, 24), logical=((255,),))).test


def test_several_processes_give_the_same_metrics(make_loco_class, write_maps):
    dataset = loco_tools.load(make_loco_class())
    folder = write_maps(dataset, validation=True)
    alone, both = (evaluate_folder(folder, dataset, jobs=jobs) for jobs in (1, 2))
    assert same(both.metrics, alone.metrics)
    assert both.scores == alone.scores
    assert json.loads(json.dumps(both.metrics, allow_nan=False)) == both.metrics


def test_an_error_in_another_process_is_raised_as_usual(make_loco_class, write_maps):
    dataset = loco_tools.load(make_loco_class())
    folder = write_maps(dataset)
    write_map(folder / "test/good/001.tiff", np.zeros((16, 24)))
    with pytest.raises(DatasetError, match=r"good/001\.tiff: expected a map of \(32, 48\)"):
        evaluate_folder(folder, dataset, jobs=2)


def vanish(items, settings) -> None:
    os._exit(1)


def test_a_process_that_dies_is_reported_with_a_next_step(make_loco_class, write_maps, monkeypatch):
    dataset = loco_tools.load(make_loco_class())
    monkeypatch.setattr(map_evaluation, "_count", vanish)
    with pytest.raises(DatasetError, match="a worker process died while evaluating maps"):
        evaluate_folder(write_maps(dataset), dataset, jobs=2)


def test_fewer_than_one_process_is_refused(make_loco_class, write_maps):
    dataset = loco_tools.load(make_loco_class())
    with pytest.raises(DatasetError, match="jobs: expected 1 process or more, got 0"):
        evaluate_folder(write_maps(dataset), dataset, jobs=0)


@one_class
@given(seed=st.integers(0, 999), levels=st.sampled_from([1, 3, 500]), data=st.data())
def test_any_split_and_any_order_give_the_same_metrics(samples, seed, levels, data):
    scored = random_maps(samples, seed, levels)
    whole = metrics_of(samples, scored, draws=20)
    order = data.draw(st.permutations(samples))
    pieces = data.draw(st.lists(st.integers(0, 2), min_size=len(order), max_size=len(order)))
    evaluators = [Evaluator(Settings(bootstrap=20)) for _ in range(3)]
    for piece, sample in zip(pieces, order, strict=True):
        evaluators[piece].add(sample, scored[sample])
    first, *others = copy.deepcopy(evaluators)  # which pickles, as sending them does
    for other in others:
        first.merge(other)
    assert same(first.result().metrics, whole)


@one_class
@given(seed=st.integers(0, 999), levels=st.sampled_from([1, 3, 500]))
def test_metrics_lie_between_0_and_1_and_do_not_change_with_the_scale(samples, seed, levels):
    scored = random_maps(samples, seed, levels)
    plain = metrics_of(samples, scored, draws=20)
    rescaled = {sample: np.sqrt(scores) * 7 - 3 for sample, scores in scored.items()}
    assert same(metrics_of(samples, rescaled, draws=20), plain)
    found = {**plain["classification"], **plain["localization"]}
    assert all(0 <= number <= 1 for number in numbers(found))


@one_class
@given(seed=st.integers(0, 999), levels=st.sampled_from([3, 500]))
def test_metrics_do_not_decrease_when_defects_score_higher(samples, seed, levels):
    scored = random_maps(samples, seed, levels)
    higher = {
        s: scores + np.float32(levels // 2 * s.ground_truth()) for s, scores in scored.items()
    }
    before, after = metrics_of(samples, scored), metrics_of(samples, higher)
    for kind, areas in before["localization"]["auc_spro"].items():
        for limit, area in areas.items():
            assert after["localization"]["auc_spro"][kind][limit] >= area - 1e-12
    for name in ("au_pro", "pixel_auroc", "pixel_average_precision", "pixel_f1_max"):
        pairs = zip(
            numbers({"": after["localization"][name]}),
            numbers({"": before["localization"][name]}),
            strict=True,
        )
        assert all(high >= low - 1e-12 for high, low in pairs)


@one_class
@given(seed=st.integers(0, 999))
def test_spro_is_pro_when_every_defect_saturates_at_its_area(samples, seed):
    whole = [
        dataclasses.replace(
            s, defects=tuple(dataclasses.replace(d, threshold=full(d)) for d in s.defects)
        )
        for s in samples
        if s.kind != "logical"
    ]
    scored = random_maps(whole, seed, 40)
    found = metrics_of(whole, scored)["localization"]  # every mask is one component
    area = found["auc_spro"]["structural_anomalies"]["0.3"]
    assert area == pytest.approx(found["au_pro"]["0.3"], abs=1e-12)


def full(defect):
    return dataclasses.replace(defect.threshold, value=1.0, relative=True)


def test_counting_does_not_change_the_maps(samples):
    scored = random_maps(samples, 0, 9)
    before = copy.deepcopy(scored)
    metrics_of(samples, scored, draws=5)
    assert all((scored[s] == before[s]).all() for s in samples)


def test_maps_that_are_nan_or_infinite_are_named_with_a_count(make_loco_class, write_maps):
    dataset = loco_tools.load(make_loco_class())
    folder = write_maps(dataset)
    broken = np.zeros((32, 48), np.float32)
    broken[0, :3] = np.nan, np.inf, -np.inf
    tifffile.imwrite(folder / "test/good/002.tiff", broken)
    with pytest.raises(
        DatasetError, match=r"good/002\.tiff: expected finite scores, got 3 of 1536"
    ):
        evaluate_folder(folder, dataset)


def test_a_tiff_of_several_pages_is_refused(make_loco_class, write_maps):
    dataset = loco_tools.load(make_loco_class())
    folder = write_maps(dataset)
    with tifffile.TiffWriter(folder / "test/good/002.tiff") as writer:
        for _ in range(2):
            writer.write(np.zeros((32, 48), np.float32))
    with pytest.raises(DatasetError, match=r"002\.tiff: expected a TIFF of one page, got 2 pages"):
        evaluate_folder(folder, dataset)


def test_missing_and_surplus_maps_are_all_named_at_once(make_loco_class, write_maps):
    dataset = loco_tools.load(make_loco_class())
    folder = write_maps(dataset)
    (folder / "test/good/001.tiff").rename(folder / "test/good/1.tiff")
    (folder / "test/logical_anomalies/000.tiff").unlink()
    with pytest.raises(
        DatasetError,
        match=re.escape(
            "got none for 2: good/001, logical_anomalies/000; got 1 map without an image: "
            "good/1.tiff"
        ),
    ):
        evaluate_folder(folder, dataset)


def test_a_class_without_good_test_images_is_refused_before_a_map_is_read(
    make_loco_class, write_maps
):
    dataset = loco_tools.load(make_loco_class(good=0))
    folder = write_maps(dataset)
    for path in folder.rglob("*.tiff"):
        path.write_bytes(b"")
    with pytest.raises(DatasetError, match="at least one good test image, got none"):
        evaluate_folder(folder, dataset)


def test_constant_maps_are_mentioned(make_loco_class, noisy_map):
    test = loco_tools.load(make_loco_class()).test
    flat = {"good/000", "logical_anomalies/001"}
    metrics = evaluate_maps(
        test,
        lambda s: np.ones(s.size) if f"{s.kind_folder}/{s.id}" in flat else noisy_map(s),
    ).metrics
    assert metrics["notes"] == [
        "constant maps, of which all pixels tie (2): good/000, logical_anomalies/001"
    ]


def test_saturation_areas_that_are_odd_are_mentioned(make_loco_class, noisy_map):
    dataset = loco_tools.load(
        make_loco_class(logical=((255, 255),), structural=((100,),), config=CONFIG)
    )
    metrics = evaluate_maps(dataset.test, noisy_map).metrics
    assert metrics["notes"] == [
        "masks smaller than their saturation threshold, counted by their area (1): "
        "structural_anomalies/000/000.png",
        "masks whose relative saturation threshold rounds to 0 px, counted as 1 px (2): "
        "logical_anomalies/000/000.png, logical_anomalies/000/001.png",
    ]
    assert dataset.test[3].defects[0].saturation_px == 1


def test_the_table_of_defects_counts_images_and_masks(make_loco_class, noisy_map):
    dataset = loco_tools.load(make_loco_class(logical=((255, 255), (255,))))
    row = evaluate_maps(dataset.test, noisy_map).metrics["defects"]["missing_hole"]
    assert (row["count"], row["masks"]) == (2, 3)


def test_image_auroc_has_both_conventions(make_loco_class, make_ad_class, noisy_map):
    found = evaluate_maps(loco_tools.load(make_loco_class()).test, noisy_map).metrics
    image = found["classification"]["image_auroc"]
    assert image["mean_ls"] == found["classification"]["auc_roc"]["mean"]
    assert image["pooled"] == found["classification"]["auc_roc_pooled"]
    ad = evaluate_maps(loco_tools.load(make_ad_class()).test, noisy_map).metrics["classification"]
    assert ad["image_auroc"]["mean_ls"] is None
    assert ad["image_auroc"]["pooled"] == ad["auc_roc"]["all"]


def test_scores_that_are_rounded_too_much_are_mentioned(make_loco_class, noisy_map, monkeypatch):
    test = loco_tools.load(make_loco_class()).test
    assert evaluate_maps(test, noisy_map).metrics["notes"] == []
    monkeypatch.setattr(evaluation, "COARSE_BOUND", -1.0)
    (note,) = evaluate_maps(test, noisy_map).metrics["notes"]
    assert "rounding them to 15 of 23 bits may change an area by up to 0; spread" in note


def test_maps_narrowed_to_float32_are_said_to_be_and_bounded(make_loco_class, tmp_path):
    dataset = loco_tools.load(make_loco_class())
    rng = np.random.default_rng(0)
    maps = {s: 1e7 + s.ground_truth() * 0.3 + rng.random(s.size) for s in dataset.test}
    exact = evaluate_maps(dataset.test, lambda s: (maps[s] - 1e7).astype(np.float32))
    for name in ("000.npy", "array"):
        for sample, scores in maps.items():
            path = tmp_path / "test" / sample.kind_folder / f"{sample.id}.npy"
            path.parent.mkdir(parents=True, exist_ok=True)
            np.save(path, scores)
        evaluation_ = (
            evaluate_maps(dataset.test, maps.__getitem__)
            if name == "array"
            else evaluate_folder(tmp_path, dataset, bootstrap=0)
        )
        localization = evaluation_.metrics["localization"]
        change = abs(localization["au_pro"]["0.3"] - exact.metrics["localization"]["au_pro"]["0.3"])
        assert 0.01 < change <= localization["rounding_bound"]
        assert localization["merged_scores"] > 1000
        note = next(line for line in evaluation_.metrics["notes"] if "narrowed" in line)
        assert f"{len(maps)} maps of float64 or integers were narrowed" in note
        assert f"{localization['merged_scores']} were merged" in note
        for key, score in evaluation_.scores.items():  # not narrowed, so ranked without loss
            assert score - 1e7 == pytest.approx(exact.scores[key], abs=1e-6)


def test_float64_maps_that_float32_holds_are_not_narrowed(make_loco_class):
    dataset = loco_tools.load(make_loco_class())
    maps = {s: np.random.default_rng(1).random(s.size, np.float32) for s in dataset.test}
    narrow = evaluate_maps(dataset.test, maps.__getitem__)
    wide = evaluate_maps(dataset.test, lambda s: maps[s].astype(np.float64))
    assert wide.metrics == narrow.metrics
    assert wide.metrics["localization"]["rounding_bound"] == 0
    assert wide.metrics["localization"]["merged_scores"] == 0
