import dataclasses
import itertools
import json
import os
from pathlib import Path

import numpy as np
import pytest

import loco_tools
from loco_tools.datasets.maps import write_map
from loco_tools.datasets.masks import PackedMask
from loco_tools.errors import DatasetError
from loco_tools.evaluation import Evaluator, evaluate_folder, evaluate_maps, sample_key

DATA = os.environ.get("LOCO_TOOLS_TEST_DATA")
needs_data = pytest.mark.skipif(not DATA, reason="LOCO_TOOLS_TEST_DATA is not set")
LIMITS = ("0.01", "0.05", "0.1", "0.3", "1.0")


def slow_au_spro(samples, noisy_map, limit: float) -> float:
    """By the definition: every threshold, every defect, then trapezoids up to the limit."""
    maps = {s: noisy_map(s) for s in samples}
    outside = np.concatenate([maps[s][~s.ground_truth()] for s in samples])
    defects = [(maps[s][d.mask], d.saturation_px) for s in samples for d in s.defects]
    thresholds = [99.0, *np.unique(np.concatenate([m.ravel() for m in maps.values()]))[::-1], -1.0]
    fpr = [np.mean(outside > t) for t in thresholds]
    found = [np.mean([min((m > t).sum() / s, 1) for m, s in defects]) for t in thresholds]
    fine = np.unique([*np.linspace(0, limit, 3), *(x for x in fpr if x < limit)])
    # Where the curve is vertical it has two heights; a trapezoid takes the one on its own side.
    area = 0.0
    for left, right in itertools.pairwise(fine):
        inner = np.array([left + 1e-9 * (right - left), right - 1e-9 * (right - left)])
        area += (right - left) * np.interp(inner, fpr, found).mean()
    return area / limit


def same(left, right) -> bool:
    """Equal figures, up to the rounding of sums that were made in another order."""
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(same(left[k], right[k]) for k in left)
    return left == pytest.approx(right, abs=1e-12)


@needs_data
def test_loco_metrics_agree_with_the_official_evaluator():
    root = Path(DATA) / "golden_metrics"
    expected = json.loads((root / "expected.json").read_text())["loco"]
    dataset = loco_tools.load(root / "loco/plate")
    metrics = loco_tools.evaluate(root / "loco_maps/plate", dataset).metrics
    for kind, areas in expected["localization"]["auc_spro"].items():
        assert metrics["localization"]["auc_spro"][kind] == pytest.approx(areas, abs=1e-3), kind
    assert metrics["classification"]["auc_roc"] == pytest.approx(
        expected["classification"]["auc_roc"], abs=1e-12
    )


@needs_data
def test_ad_metrics_agree_with_the_official_evaluator():
    root = Path(DATA) / "golden_metrics"
    expected = json.loads((root / "expected.json").read_text())["ad"]
    dataset = loco_tools.load(root / "ad/bottle")
    metrics = loco_tools.evaluate(root / "ad_maps/bottle", dataset).metrics
    area = metrics["localization"]["au_pro"]["0.3"]
    assert area == pytest.approx(expected["au_pro@0.3"], abs=1e-5)
    auroc = metrics["classification"]["auc_roc"]["all"]
    assert auroc == pytest.approx(expected["image_auroc"], abs=1e-12)


def test_au_spro_equals_its_definition(make_loco_class, noisy_map):
    dataset = loco_tools.load(make_loco_class())
    areas = evaluate_maps(dataset.test, noisy_map).metrics["localization"]["auc_spro"]
    for kind in ("logical_anomalies", "structural_anomalies"):
        samples = [s for s in dataset.test if s.kind_folder in ("good", kind)]
        for limit in LIMITS:
            expected = slow_au_spro(samples, noisy_map, float(limit))
            assert areas[kind][limit] == pytest.approx(expected, abs=1e-6), (kind, limit)


def test_the_mean_is_the_plain_mean_of_both_kinds(make_loco_class, noisy_map):
    metrics = evaluate_maps(loco_tools.load(make_loco_class()).test, noisy_map).metrics
    areas, aurocs = metrics["localization"]["auc_spro"], metrics["classification"]["auc_roc"]
    for limit in LIMITS:
        both = areas["logical_anomalies"][limit], areas["structural_anomalies"][limit]
        assert areas["mean"][limit] == pytest.approx(sum(both) / 2)
    assert aurocs["mean"] == (aurocs["logical_anomalies"] + aurocs["structural_anomalies"]) / 2


def test_perfect_maps_have_metrics_of_1(make_loco_class):
    dataset = loco_tools.load(make_loco_class())
    evaluation = evaluate_maps(dataset.test, lambda s: s.ground_truth().astype(np.float32))
    metrics = evaluation.metrics
    assert set(metrics["localization"]["auc_spro"]["mean"].values()) == {1.0}
    assert metrics["localization"]["au_pro"] == {"0.3": 1.0}
    assert metrics["localization"]["pixel_auroc"] == 1.0
    assert metrics["classification"]["auc_roc"]["mean"] == 1.0
    assert metrics["classification"]["auc_roc_pooled"] == 1.0
    json.dumps(metrics, allow_nan=False)


def test_constant_maps_have_metrics_of_one_half(make_loco_class):
    dataset = loco_tools.load(make_loco_class())
    metrics = evaluate_maps(dataset.test, lambda s: np.ones(s.size)).metrics
    assert metrics["classification"]["auc_roc"]["mean"] == 0.5
    assert metrics["localization"]["pixel_auroc"] == 0.5
    assert metrics["localization"]["auc_spro"]["mean"]["1.0"] == 0.5


def test_each_defect_type_has_its_row(make_loco_class, noisy_map):
    metrics = evaluate_maps(loco_tools.load(make_loco_class()).test, noisy_map).metrics
    rows = metrics["defects"]
    assert {name: row["count"] for name, row in rows.items()} == {
        "extra_hole": 1,
        "missing_hole": 2,
        "scratch": 2,
    }
    assert rows["extra_hole"]["kind_folder"] == "logical_anomalies"
    structural = metrics["localization"]["auc_spro"]["structural_anomalies"]["0.05"]
    assert rows["scratch"]["au_spro_0.05"] == structural  # the only structural type


def test_a_type_that_both_kinds_have_has_two_rows(make_loco_class, noisy_map):
    dataset = loco_tools.load(make_loco_class(structural=((255,), (100,))))
    rows = evaluate_maps(dataset.test, noisy_map).metrics["defects"]
    assert {name: row["count"] for name, row in rows.items()} == {
        "extra_hole": 1,
        "logical_anomalies/missing_hole": 2,
        "scratch": 1,
        "structural_anomalies/missing_hole": 1,
    }


def test_a_class_with_one_kind_of_anomaly_has_no_mean(make_loco_class, noisy_map):
    dataset = loco_tools.load(make_loco_class(structural=()))
    metrics = evaluate_maps(dataset.test, noisy_map).metrics
    assert metrics["classification"]["auc_roc"].keys() == {"logical_anomalies", "mean"}
    assert metrics["classification"]["auc_roc"]["mean"] is None
    assert metrics["localization"]["auc_spro"]["mean"]["0.05"] is None


def test_an_ad_class_has_the_official_metrics_and_a_row_per_defect(make_ad_class, noisy_map):
    metrics = evaluate_maps(loco_tools.load(make_ad_class()).test, noisy_map).metrics
    assert "auc_spro" not in metrics["localization"]
    assert metrics["classification"]["auc_roc"].keys() == {"all"}
    assert {name: row["count"] for name, row in metrics["defects"].items()} == {
        "crack": 2,
        "scratch2": 1,
    }
    assert "au_pro_0.3" in metrics["defects"]["crack"]


def test_image_scores_are_the_maximum_unless_they_are_given(make_ad_class, noisy_map):
    test = loco_tools.load(make_ad_class()).test
    assert evaluate_maps(test, noisy_map).scores["crack/001"] == noisy_map(test[4]).max()
    given = {sample_key(s): float(s.kind == "good") for s in test}
    evaluation = evaluate_maps(test, noisy_map, scores=given)
    assert evaluation.scores == given
    assert evaluation.metrics["classification"]["auc_roc"]["all"] == 0.0


def test_the_curves_of_the_report_are_there(make_loco_class, make_ad_class, noisy_map):
    loco = evaluate_maps(loco_tools.load(make_loco_class()).test, noisy_map)
    assert loco.image_roc.keys() == {"logical_anomalies", "structural_anomalies", "pooled"}
    assert loco.overlap.keys() == {"logical_anomalies", "structural_anomalies", "pro"}
    ad = evaluate_maps(loco_tools.load(make_ad_class()).test, noisy_map)
    assert ad.overlap.keys() == {"pro"}
    for curve in (*loco.image_roc.values(), *loco.overlap.values(), loco.pixel_roc):
        assert (curve.x[0], curve.y[0]) == (0, 0)
        assert (curve.x[-1], curve.y[-1]) == pytest.approx((1, 1))
        assert (np.diff(curve.x) >= 0).all()


@pytest.mark.parametrize("parts", [1, 2, 4])
def test_order_and_split_make_no_difference(make_loco_class, parts, noisy_map):
    test = loco_tools.load(make_loco_class()).test
    whole = evaluate_maps(test, noisy_map).metrics
    evaluators = [Evaluator() for _ in range(parts)]
    for number, sample in enumerate(reversed(test)):
        evaluators[number % parts].add(sample, noisy_map(sample))
    first, *others = evaluators
    for other in others:
        first.merge(other)
    assert same(first.result().metrics, whole)


def test_a_strictly_rising_change_of_scores_makes_no_difference(make_loco_class, noisy_map):
    test = loco_tools.load(make_loco_class()).test
    plain = evaluate_maps(test, noisy_map).metrics
    assert same(evaluate_maps(test, lambda s: np.exp(5 * noisy_map(s)) - 700).metrics, plain)


def test_a_folder_of_maps_is_evaluated_with_or_without_the_class_in_its_path(
    make_loco_class, tmp_path, noisy_map, write_maps
):
    dataset = loco_tools.load(make_loco_class())
    folder = write_maps(dataset, tmp_path / "maps")
    expected = evaluate_maps(dataset.test, noisy_map).metrics
    assert evaluate_folder(folder, dataset, bootstrap=0).metrics == expected
    assert evaluate_folder(tmp_path / "maps", dataset, bootstrap=0).metrics == expected


def test_progress_advances_with_every_image(make_ad_class, noisy_map):
    import contextlib

    class Steps:
        done = 0

        @contextlib.contextmanager
        def task(self, description, total=None):
            assert total == 6

            def advance(steps):
                self.done += steps

            yield advance

        def note(self, message): ...

    steps = Steps()
    evaluate_maps(loco_tools.load(make_ad_class()).test, noisy_map, progress=steps)
    assert steps.done == 6


def test_a_folder_without_maps_is_refused_with_the_expected_path(make_ad_class, tmp_path):
    dataset = loco_tools.load(make_ad_class())
    with pytest.raises(DatasetError, match=r"expected anomaly maps in .*absent/test, got no such"):
        evaluate_folder(tmp_path / "absent", dataset)


def test_a_missing_map_of_a_good_image_is_refused(make_loco_class, tmp_path, write_maps):
    dataset = loco_tools.load(make_loco_class())
    folder = write_maps(dataset, tmp_path / "maps")
    (folder / "test/good/001.tiff").unlink()
    with pytest.raises(DatasetError, match="also the good ones, got none for 1: good/001"):
        evaluate_folder(folder, dataset)


def test_a_map_of_another_size_is_named_with_both_sizes(make_loco_class, tmp_path, write_maps):
    dataset = loco_tools.load(make_loco_class())
    folder = write_maps(dataset, tmp_path / "maps")
    write_map(folder / "test/good/001.tiff", np.zeros((16, 24)))
    with pytest.raises(
        DatasetError, match=r"good/001\.tiff: expected a map of \(32, 48\).*got \(16, 24\)"
    ):
        evaluate_folder(folder, dataset)
    with pytest.raises(DatasetError, match=r"map of good/000: expected shape \(32, 48\).*\(2, 2\)"):
        evaluate_maps(dataset.test, lambda _: np.zeros((2, 2)))


def test_scores_that_are_not_finite_are_refused(make_loco_class, noisy_map):
    test = loco_tools.load(make_loco_class()).test
    with pytest.raises(DatasetError, match="map of good/000: expected finite scores, got 1536"):
        evaluate_maps(test, lambda s: np.full(s.size, np.nan))
    with pytest.raises(DatasetError, match="good/000: expected a finite image score, got nan"):
        evaluate_maps(test, noisy_map, {sample_key(s): np.nan for s in test})
    with pytest.raises(DatasetError, match="good/000: expected an image score"):
        evaluate_maps(test, noisy_map, {})


def test_a_class_without_good_or_without_anomalous_images_is_refused(make_loco_class, noisy_map):
    test = loco_tools.load(make_loco_class()).test
    with pytest.raises(DatasetError, match="at least one good test image, got none"):
        evaluate_maps(test[3:], noisy_map)
    with pytest.raises(DatasetError, match="at least one anomalous test image, got none"):
        evaluate_maps(test[:3], noisy_map)


def test_an_image_that_is_counted_twice_is_refused(make_ad_class, noisy_map):
    sample = loco_tools.load(make_ad_class()).test[0]
    one, other = Evaluator(), Evaluator()
    one.add(sample, noisy_map(sample))
    other.add(sample, noisy_map(sample))
    with pytest.raises(DatasetError, match="good/000: expected one anomaly map per image"):
        one.add(sample, noisy_map(sample))
    with pytest.raises(DatasetError, match="good/000: expected one anomaly map per image"):
        one.merge(other)


def test_masks_that_do_not_fit_are_refused(make_ad_class, noisy_map):
    crack = loco_tools.load(make_ad_class()).test[3]
    with pytest.raises(DatasetError, match="expected at least one mask, got none"):
        Evaluator().add(dataclasses.replace(crack, defects=()), noisy_map(crack))
    for mask, told in (
        (np.zeros((32, 48), np.uint8), "expected at least one positive pixel, got none"),
        (np.ones((3, 4), np.uint8), r"expected a mask of \(32, 48\).*got \(3, 4\)"),
    ):
        packed = PackedMask.pack(mask)
        defect = dataclasses.replace(crack.defects[0], packed=packed)
        with pytest.raises(DatasetError, match=told):
            Evaluator().add(dataclasses.replace(crack, defects=(defect,)), noisy_map(crack))
