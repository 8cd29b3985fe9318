import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from finished_runs import make_run

from loco_tools.benchmark.analysis.run_data import ReportData, gather
from loco_tools.benchmark.report import write_report
from loco_tools.benchmark.report.critical_difference import critical_differences, rank_tables
from loco_tools.benchmark.report.page import page, tables_of
from loco_tools.benchmark.report.results_tables import (
    ad_against_loco,
    overview,
    per_category,
    per_class,
)
from loco_tools.benchmark.report.tables import Table
from loco_tools.benchmark.run.runner import run
from loco_tools.benchmark.suite import Suite
from loco_tools.evaluation.metric_table import METRICS

PERFECT = [0.1] * 8 + [0.9] * 8
BLIND = [0.5] * 16


def half(logical: float) -> list[float]:
    """Structural anomalies are found; of the logical ones a share of four."""
    found = round(4 * logical)
    return [0.1] * 8 + [0.9] * found + [0.0] * (4 - found) + [0.9] * 4


def change(out: Path, method: str, class_name: str, **fields: Any) -> None:
    """Rewrite fields of a cell's record; those of its figures by name."""
    path = out / "cells" / method / class_name / "0" / "result.json"
    record = json.loads(path.read_text())
    figures = {key: fields.pop(key) for key in list(fields) if key in record["figures"]}
    record = {**record, **fields, "figures": {**record["figures"], **figures}}
    path.write_text(json.dumps(record))


def figures_of(table: Table | None) -> dict[str, list[str]]:
    assert table is not None
    return {row.cells[0].text: [cell.figure() for cell in row.cells[1:]] for row in table.rows}


@pytest.fixture
def data(tmp_path: Path) -> ReportData:
    """Two classes, one in each layout, and three methods."""
    scores = {"bank": (PERFECT, half(0.5)), "teacher": (PERFECT, PERFECT), "flow": (BLIND, BLIND)}
    cells = [
        {"method": method, "class_name": name, "scores": of[place], "au_spro": 0.5 + 0.1 * place}
        for method, of in scores.items()
        for place, name in enumerate(("ad", "loco"))
    ]
    make_run(tmp_path, cells)
    for method, category in (("bank", "memory bank"), ("teacher", "teacher-student"), ("flow", "")):
        change(
            tmp_path, method, "ad", layout="mvtec_ad", au_spro=None, category=category, au_pro=0.8
        )
        change(tmp_path, method, "loco", category=category, au_pro=0.6)
    return gather(tmp_path)


def test_the_overview_has_means_over_the_classes_that_have_a_figure(data: ReportData) -> None:
    table = overview(data)
    assert table is not None
    assert [column.name for column in table.columns] == [
        *("method", "image AUROC", "AUROC logical", "AUROC structural"),
        *("AU-sPRO 0.05 (1 of 2 classes)", "AU-PRO 0.3 (1 of 2 classes)", "ms per image"),
    ]
    rows = figures_of(table)
    assert rows["bank"] == ["0.875", "0.750", "1.000", "0.600", "0.800", "10"]
    assert rows["flow"][0] == "0.500"
    marks = {row.cells[0].text: row.cells[1].mark for row in table.rows}
    assert marks["teacher"] == "best"
    assert marks["flow"] == ""
    assert table.rows[0].link == "stamp-0"


def test_each_class_has_its_own_best_and_a_missing_figure_is_a_dash(
    tmp_path: Path, data: ReportData
) -> None:
    change(tmp_path, "flow", "loco", status="failed", error="boom")
    table = per_class(gather(tmp_path), METRICS["image_auroc_mean"])
    rows = figures_of(table)
    assert rows["bank"] == ["1.000", "0.750", "0.875"]
    assert rows["flow"] == ["0.500", "failed", "–"]
    assert table is not None
    assert table.rows[0].cells[1].mark == "best", "1.000 ties with teacher"


def test_what_is_lost_from_ad_to_loco(data: ReportData) -> None:
    rows = figures_of(ad_against_loco(data))
    assert rows["bank"] == ["1.000", "0.750", "+0.250", "0.800", "0.600", "+0.200"]
    assert rows["teacher"][:3] == ["1.000", "1.000", "+0.000"]


def test_without_both_layouts_nothing_is_said_of_a_drop(tmp_path: Path, data: ReportData) -> None:
    for method in ("bank", "teacher", "flow"):
        change(tmp_path, method, "ad", layout="mvtec_loco")
    assert ad_against_loco(gather(tmp_path)) is None


def test_categories_are_means_of_their_methods_and_unknown_ones_are_called_so(
    tmp_path: Path, data: ReportData
) -> None:
    table = per_category(data)
    rows = figures_of(table)
    assert list(rows) == ["memory bank", "teacher-student", "unknown"]
    assert rows["memory bank"] == ["bank", "0.750", "1.000", "0.875", "0.600", "0.800"]
    for method in ("bank", "teacher"):
        for name in ("ad", "loco"):
            change(tmp_path, method, name, category="flow")
    both = per_category(gather(tmp_path))
    assert both is not None
    cell = both.rows[0].cells[4]
    assert cell.figure() == "0.938", "the mean of 0.875 and 1"
    assert cell.words == "best 1.000 teacher"


def test_ranks_need_two_classes_that_share_a_figure_and_three_methods(data: ReportData) -> None:
    (table,) = rank_tables(data)
    assert figures_of(table) == {"teacher": ["1.25"], "bank": ["1.75"], "flow": ["3.00"]}
    assert "so no pair can differ significantly" in table.notes[0]
    assert "Critical-difference plot of image AUROC" in str(critical_differences(data))


def test_too_little_for_ranks_is_said_and_not_drawn(tmp_path: Path) -> None:
    made = make_run(tmp_path, [{"method": name, "scores": PERFECT} for name in ("a", "b", "c")])
    assert rank_tables(made) == []
    assert critical_differences(made) == []
    text = page(made, (), (), tables_of(made, (), ()))
    assert "There is too little to test" in text
    assert "Critical-difference plot" not in text


def test_every_table_of_the_page_lies_beside_it_in_each_form(
    tmp_path: Path, make_loco_class: Callable[..., Path], make_suite: Callable[..., Suite]
) -> None:
    evil = r"a_b & \input{x} <b>|"
    out = tmp_path / "out"
    (out / "tables").mkdir(parents=True)
    (out / "tables" / "old.csv").write_text("of an earlier report")
    suite = make_suite("bright", "dark", overrides={"dark": {"sign": -1.0}})
    run(suite, [make_loco_class(evil)], out)
    page = write_report(out).read_text()
    names = {path.name for path in (out / "tables").iterdir()}
    assert "old.csv" not in names
    stems = {name.removesuffix(".csv") for name in names if name.endswith(".csv")}
    assert {"overview", "cost", "stamps", "image_auroc_per_class"} <= stems
    assert {"defect_types_a_b_input_x_b", "errors_a_b_input_x_b"} <= stems
    printed = {name.removesuffix(".tex") for name in names if name.endswith(".tex")}
    assert printed - {"all"} == stems - {"stamps"}
    assert (
        r"a\_b \& \textbackslash{}input\{x\} \textless{}b\textgreater{}\textbar{}"
        in (out / "tables" / "image_auroc_per_class.tex").read_text()
    )
    markdown = (out / "report.md").read_text()
    for key in stems - {"stamps"}:
        for figure in (out / "tables" / f"{key}.csv").read_text().split("\n")[1].split(",")[-1:]:
            assert figure.replace("-", "−") in page or figure in page, (key, figure)
    assert "Every method" in markdown
    assert "<b>" not in markdown.replace("\\<b\\>", "")


def test_a_budget_of_bytes_bounds_how_many_images_are_kept(
    tmp_path: Path,
    make_loco_class: Callable[..., Path],
    make_suite: Callable[..., Suite],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out = tmp_path / "out"
    run(make_suite(), [make_loco_class(good=9)], out)
    whole = write_report(out).read_text()
    assert "All 13 test images are in this file." in whole
    for budget in ("GALLERY_BYTES", "ERRORS_BYTES", "VIEW_BYTES"):
        monkeypatch.setattr(f"loco_tools.benchmark.report.image_sections.{budget}", 1)
    small = write_report(out).read_text()
    assert "3 of 13 test images are in this file" in small
    assert len(small) < len(whole)
