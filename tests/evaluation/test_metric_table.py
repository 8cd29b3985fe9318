import csv
from pathlib import Path
from typing import Any

import pytest

import loco_tools
from loco_tools.benchmark.cell.record import CellRecord, Stamp
from loco_tools.benchmark.run.results_csv import write_results
from loco_tools.evaluation import evaluate_maps
from loco_tools.evaluation.metric_table import METRICS, Metric, metrics_by_cell_key
from loco_tools.metrics.roc import Ranking


def test_metrics_come_from_the_official_keys_of_a_loco_class() -> None:
    metrics = metrics_by_cell_key(
        {
            "classification": {
                "auc_roc": {"logical_anomalies": 0.5, "structural_anomalies": 1.0, "mean": 0.75},
                "auc_roc_pooled": 0.8,
            },
            "localization": {"auc_spro": {"mean": {"0.05": 0.3}}, "pixel_auroc": 0.9},
        }
    )
    assert metrics == {
        "image_auroc_mean": 0.75,
        "image_auroc_logical": 0.5,
        "image_auroc_structural": 1.0,
        "image_auroc_pooled": 0.8,
        "image_ap": None,
        "pixel_ap": None,
        "pixel_auroc": 0.9,
        "au_pro": None,
        "au_spro": 0.3,
    }


@pytest.mark.parametrize(
    ("images", "mean"),
    [
        ({"all": 0.9}, 0.9),
        ({"structural_anomalies": 0.6, "mean": None}, 0.6),
        ({"logical_anomalies": 0.7, "mean": None}, 0.7),
        ({}, None),
    ],
)
def test_a_class_of_one_kind_has_that_kind_as_its_mean(
    images: dict[str, float | None], mean: float | None
) -> None:
    assert metrics_by_cell_key({"classification": {"auc_roc": images}})["image_auroc_mean"] == mean


@pytest.mark.parametrize("name", METRICS)
def test_every_metric_is_computed_in_exactly_one_way(name: str) -> None:
    metric = METRICS[name]
    ways = (metric.of_images, metric.of_pixels, metric.of_evaluation)
    assert sum(way is not None for way in ways) == 1
    assert metric.meaning.endswith(".")


def test_an_entry_of_the_table_is_all_that_a_new_metric_takes(
    make_loco_class: Any, noisy_map: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def prevalence(ranking: Ranking) -> float:
        positives, negatives = ranking.positives.sum(), ranking.negatives.sum()
        return float(positives / (positives + negatives))

    entry = Metric("pixel_prevalence", "prevalence", "Share of defects.", of_pixels=prevalence)
    monkeypatch.setitem(METRICS, "pixel_prevalence", entry)

    evaluation = evaluate_maps(loco_tools.load(make_loco_class()).test, noisy_map).metrics
    value = evaluation["localization"]["pixel_prevalence"]
    assert 0 < value < 1

    stamp = Stamp(
        method="patchcore", class_name="plate", seed=0, overrides={}, members={}, backbone="none",
        preset="fast", input_size_px=None, resize="keep", device="cpu", data_hash="d",
        code_hash="c", versions={},
    )  # fmt: skip
    figures = metrics_by_cell_key(evaluation)
    record = CellRecord(key=stamp.key, stamp=stamp, status="ok", figures=figures)
    assert record.metric("pixel_prevalence") == value
    with write_results(tmp_path, [record]).open(newline="") as stream:
        row = next(csv.DictReader(stream))
    assert row["pixel_prevalence"] == f"{value:.6f}"
