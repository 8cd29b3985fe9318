from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from finished_runs import make_run

from loco_tools.benchmark.analysis.significance import find_best


def separated(seed: int, gap: float) -> list[float]:
    """8 good and 8 defective images; the images' own noise is the same for every method."""
    noise = np.random.default_rng(seed).normal(size=16)
    return (noise + gap * (np.arange(16) >= 8)).tolist()


def cells(
    gaps: dict[str, float], classes: Sequence[str], seeds: int = 1
) -> list[dict[str, object]]:
    return [
        {
            "method": method,
            "class_name": name,
            "seed": seed,
            "scores": separated(place, gap),
            "au_spro": 0.5 + 0.05 * gap + 0.001 * seed,
        }
        for method, gap in gaps.items()
        for place, name in enumerate(classes)
        for seed in range(seeds)
    ]


def test_on_one_class_the_best_and_those_within_chance_are_found(tmp_path: Path) -> None:
    data = make_run(tmp_path, cells({"far": 9.0, "near": 8.0, "blind": 0.0}, ["plate"]))
    found = find_best(data, data.classes, "image_auroc_mean")
    assert found is not None
    assert found.best == {"far", "near"}, "both are perfect"
    assert found.level == {"near"}
    assert "bootstrap over test images; one seed, held fixed" in found.rule


def test_a_figure_without_an_interval_leaves_chance_open(tmp_path: Path) -> None:
    data = make_run(tmp_path, cells({"a": 2.0, "b": 1.0}, ["plate"]))
    found = find_best(data, data.classes, "au_spro")
    assert found is not None
    assert found.best == {"a"}
    assert found.level is None
    assert "nothing can be said about chance (one seed: no interval)" in found.rule


@pytest.mark.parametrize(("seeds", "known"), [(2, False), (3, True)])
def test_two_seeds_alone_tell_nothing_about_chance(tmp_path: Path, seeds: int, known: bool) -> None:
    data = make_run(tmp_path, cells({"a": 2.0, "b": 1.0}, ["plate"], seeds))
    found = find_best(data, data.classes, "au_spro")
    assert found is not None
    assert (found.level is not None) == known
    assert f"Student's t over {seeds} seeds" in found.rule


def test_few_classes_are_said_to_be_too_few_for_a_test_over_classes(tmp_path: Path) -> None:
    data = make_run(tmp_path, cells({"a": 3.0, "b": 2.9}, ["x", "y"]))
    found = find_best(data, data.classes, "image_auroc_mean")
    assert found is not None
    assert "2 classes are too few for a test over classes" in found.rule


def test_over_enough_classes_wilcoxon_decides_and_holm_corrects(tmp_path: Path) -> None:
    classes = [f"class{number}" for number in range(7)]
    made = cells({"best": 3.0, "behind": 1.0, "level": 3.0}, classes)
    of_level = [cell for cell in made if cell["method"] == "level"]
    for cell, gap in zip(of_level, (0.01, -0.02, 0.012, -0.03, 0.02, -0.01, 0.011), strict=True):
        cell["au_spro"] = 0.65 + gap  # now above the best, now below it
    data = make_run(tmp_path, made)
    found = find_best(data, data.classes, "au_spro")
    assert found is not None
    assert found.best == {"best"}
    assert found.level == {"level"}
    assert "over 7 classes" in found.rule
    assert "Holm for 2 comparisons" in found.rule


def test_one_method_has_no_standing(tmp_path: Path) -> None:
    data = make_run(tmp_path, cells({"only": 1.0}, ["plate"]))
    assert find_best(data, data.classes, "image_auroc_mean") is None


def test_the_deviation_over_classes_is_that_of_the_means_of_each_seed(tmp_path: Path) -> None:
    values = {("x", 0): 0.5, ("x", 1): 0.7, ("y", 0): 0.9, ("y", 1): 0.9, ("x", 2): 0.6}
    made = [
        {"method": "a", "class_name": n, "seed": s, "scores": separated(1, 1.0), "au_spro": v}
        for (n, s), v in values.items()
    ]
    data = make_run(tmp_path, made)
    found = data.over_classes(data.classes, "a", "au_spro")
    assert found is not None
    assert found.mean == pytest.approx((0.6 + 0.9) / 2)
    assert found.deviation == pytest.approx(np.std([0.7, 0.8], ddof=1)), "seed 2 lacks a class"
