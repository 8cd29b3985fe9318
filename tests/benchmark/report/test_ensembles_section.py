"""What the results and the report say of ensembles and their members."""

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from finished_runs import KINDS, make_run
from page_outline import Outline

from loco_tools.benchmark.analysis.ensemble_diversity import diversity_of, reliability_of
from loco_tools.benchmark.analysis.ensemble_gains import comparisons, gains_of, write_ensembles
from loco_tools.benchmark.analysis.paired import paired_difference
from loco_tools.benchmark.report import write_report
from loco_tools.benchmark.report.charts import Gain, gain_chart
from loco_tools.benchmark.report.ensembles import ensembles

TRUTH = np.array([kind != "good" for kind in KINDS])


def scores(seed: int, gap: float) -> list[float]:
    """Made up, in 0..1; a larger gap tells good from anomalous better."""
    noise = np.random.default_rng(seed).random(len(KINDS))
    return (0.5 * noise + gap * TRUTH).round(4).tolist()


def cells(*seeds: int, class_name: str = "plate", **changes: Any) -> list[dict[str, Any]]:
    """Two members and their ensemble, which is better than both; validation prefers "weak"."""
    made: list[dict[str, Any]] = []
    for seed in seeds or (0,):
        common = {"seed": seed, "class_name": class_name}
        made += [
            {"method": "strong", "scores": scores(seed, 0.25), "separation": 0.7} | common,
            {"method": "weak", "scores": scores(10 + seed, 0.0), "separation": 0.8} | common,
            {
                "method": "both",
                "scores": scores(20 + seed, 0.5),
                "au_spro": 0.6,
                "members": ("strong", "weak"),
                "separation": 1.0,
                **common,
            },
        ]
    return [one | changes for one in made]


def test_an_ensemble_is_compared_with_its_best_member_and_with_that_of_validation(
    tmp_path: Path,
) -> None:
    data = make_run(tmp_path, cells(0, 1))
    found = comparisons(data, data.classes, "image_auroc_mean")
    assert list(found) == [("both", "best"), ("both", "chosen")]
    assert found["both", "best"].members == {"strong": 2}
    assert found["both", "chosen"].members == {"weak": 2}
    own, other = data.classes[0].of("both"), data.classes[0].of("strong")
    assert found["both", "best"].difference == paired_difference(own, other, tmp_path)
    assert found["both", "best"].difference.mean > 0


def test_validation_may_choose_another_member_for_another_seed(tmp_path: Path) -> None:
    made = cells(0, 1)
    made[3]["separation"] = 0.9  # strong, seed 1
    data = make_run(tmp_path, made)
    found = comparisons(data, data.classes, "image_auroc_mean")["both", "chosen"]
    assert found.members == {"weak": 1, "strong": 1}


def test_only_seeds_that_the_ensemble_has_finished_count(tmp_path: Path) -> None:
    data = make_run(tmp_path, cells(0, 1)[:-1])
    found = comparisons(data, data.classes, "image_auroc_mean")["both", "best"]
    (own,) = data.classes[0].of("both")
    assert found.members == {"strong": 1}
    assert found.difference.one == own.metric("image_auroc_mean")
    assert found.difference.other == data.classes[0].of("strong")[0].metric("image_auroc_mean")


def test_without_figures_of_validation_nothing_is_chosen_by_it(tmp_path: Path) -> None:
    data = make_run(tmp_path, cells(separation=None))
    assert list(comparisons(data, data.classes, "au_spro")) == [("both", "best")]


def test_the_verdict_is_what_the_interval_allows(tmp_path: Path) -> None:
    def verdict(ensemble: float, *members: float) -> str:
        made = cells(*range(len(members)))
        for seed, member in enumerate(members):
            made[3 * seed]["au_spro"] = member
            made[3 * seed + 1]["au_spro"] = 0.1
            made[3 * seed + 2]["au_spro"] = ensemble
        data = make_run(tmp_path / f"{ensemble}{members}", made)
        return comparisons(data, data.classes, "au_spro")["both", "best"].verdict

    assert verdict(0.6, 0.5, 0.51, 0.5) == "better"
    assert verdict(0.4, 0.5, 0.51, 0.5) == "worse"
    assert verdict(0.6, 0.5, 0.9, 0.3) == "not told apart"
    assert verdict(0.6, 0.5) == "", "one seed says nothing about AU-sPRO"


def test_the_table_of_several_classes_opens_with_their_mean(tmp_path: Path) -> None:
    data = make_run(tmp_path, [*cells(0, 1), *cells(0, 1, class_name="angle")])
    path = write_ensembles(tmp_path, gains_of(data))
    assert path == tmp_path / "ensembles.csv"
    with path.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["class"] for row in rows] == ["all classes"] * 4 + ["plate"] * 4 + ["angle"] * 4
    first = rows[0]
    assert (first["figure"], first["member"]) == ("image AUROC", "strong")
    assert first["compared_with"] == "best member on test images"
    gap = float(first["ensemble_mean"]) - float(first["member_mean"])
    assert float(first["difference"]) == pytest.approx(gap, abs=2e-6)
    assert float(first["low"]) < gap < float(first["high"])
    assert first["interval"] == "bootstrap over test images and 2 seeds, 2000 draws"
    spro = next(row for row in rows if row["figure"] == "AU-sPRO 0.05")
    assert spro["interval"] == "Student's t over 2 seeds; test images held fixed"


def test_a_run_without_ensembles_has_no_table_and_no_section(tmp_path: Path) -> None:
    (tmp_path / "ensembles.csv").write_text("of an earlier run")
    data = make_run(tmp_path, cells()[:2])
    assert gains_of(data) == []
    assert write_ensembles(tmp_path, []) is None
    assert not (tmp_path / "ensembles.csv").exists()
    assert ensembles(data, []) is None
    text = write_report(tmp_path).read_text()
    assert 'href="#ensembles"' not in text


def test_diversity_counts_at_each_members_own_threshold(tmp_path: Path) -> None:
    good, bad = [0.0] * 8, [0.99] * 8
    made = cells()
    made[0]["scores"] = [0.99, *good[1:], *bad[:4], *[0.5] * 4]  # 1 good wrong, 4 missed
    made[1]["scores"] = [*good, *[0.5] * 4, *bad[:3], 0.5]  # the other 4 missed, and one more
    made[2]["scores"] = [*good, *bad]
    data = make_run(tmp_path, made)
    found = diversity_of(data, data.classes[0])
    assert found is not None
    assert found.members == ("strong", "weak")
    strong = found.decisions["strong"]
    assert (strong.good, strong.anomalous, strong.everything) == (7 / 8, 4 / 8, 11 / 16)
    assert found.decisions["both"].everything == 1
    assert found.oracle is not None
    assert (found.oracle.good, found.oracle.anomalous) == (1, 7 / 8)
    assert found.q is not None
    assert found.q[0, 1] < 0, "they err on different images"
    assert np.isnan(found.good[0, 1]), "weak gives all good images the same score"
    assert found.anomalous[0, 1] < 0


def test_without_validation_scores_there_are_orders_but_no_decisions(tmp_path: Path) -> None:
    data = make_run(tmp_path, cells(validation=None))
    found = diversity_of(data, data.classes[0])
    assert found is not None
    assert found.decisions == {}
    assert found.oracle is None
    assert np.isfinite(found.good).all()
    shown = ensembles(data, gains_of(data))
    assert shown is not None
    assert "scores of the validation images were not kept" in shown


def test_one_member_has_no_diversity(tmp_path: Path) -> None:
    made = [one | {"members": ("strong",)} if "members" in one else one for one in cells()]
    data = make_run(tmp_path, made)
    assert diversity_of(data, data.classes[0]) is None
    assert ensembles(data, gains_of(data)) is not None


def test_reliability_is_of_methods_whose_scores_are_probabilities(tmp_path: Path) -> None:
    made = cells(0, 1)
    for one in made:
        if one["method"] == "both":
            one |= {"probabilities": True, "scores": [0.25] * 8 + [0.75] * 8}
    data = make_run(tmp_path, made)
    (found,) = reliability_of(data, data.classes[0])
    assert (found.method, found.share) == ("both", 0.5)
    assert found.uncorrected.error.mean == pytest.approx(0.25)
    assert found.uncorrected.brier.mean == pytest.approx(0.0625)
    assert found.corrected.error == found.uncorrected.error, "half of the images are anomalous"
    assert 0 < found.by_chance < 0.25


def test_the_section_shows_tables_charts_and_diagrams_and_is_well_formed(tmp_path: Path) -> None:
    made = cells(0, 1)
    for one in made:
        one["probabilities"] = one["method"] == "both"
    data = make_run(tmp_path, made)
    shown = ensembles(data, gains_of(data))
    assert shown is not None
    page = Outline(shown)
    for wanted in (
        *("against its best member", "validation&#39;s choice", "strong and weak", "errors (Q)"),
        *("at least one member", "Reliability of both on plate", "ECE", "Brier", "50%"),
        *("Differences in image AUROC", "both − strong", "both − weak", "ensembles.csv"),
        *("Student&#39;s t over 2 seeds", "bootstrap over test images and 2 seeds"),
    ):
        assert wanted in shown, wanted
    assert "ensembles" in page.values("id")
    assert shown.count('role="img"') == 3


def test_the_chart_of_differences_marks_zero_once_and_every_difference() -> None:
    gains = [Gain("all worse", -0.2, None, None), Gain("worse", -0.1, -0.15, -0.05, hollow=True)]
    drawn = gain_chart(gains, name="differences", x_label="difference")
    assert drawn.count(">0</text>") == 1
    assert drawn.count("<circle") == 2
    assert drawn.count('class="line') == 1, "what has no interval has no line"


def test_the_report_leads_to_the_section_and_writes_the_table_beside_it(tmp_path: Path) -> None:
    make_run(tmp_path, cells(0, 1))
    page = Outline(write_report(tmp_path).read_text())
    assert "#ensembles" in page.values("href")
    assert "ensembles" in page.values("id")
    assert (tmp_path / "ensembles.csv").is_file()


def test_many_pairs_of_members_are_folded_away(tmp_path: Path) -> None:
    names = [f"m{n}" for n in range(7)]
    made: list[dict[str, Any]] = [
        {"method": name, "scores": scores(n, 0.2), "separation": 0.5}
        for n, name in enumerate(names)
    ]
    made.append({"method": "all", "scores": scores(9, 0.5), "members": names})
    data = make_run(tmp_path, made)
    shown = ensembles(data, gains_of(data))
    assert shown is not None
    assert "How alike the members are: 21 pairs" in shown
