import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from page_outline import Outline

from loco_tools.benchmark.analysis.run_data import share_of_good_below
from loco_tools.benchmark.cell.record import Score
from loco_tools.benchmark.report import write_report
from loco_tools.benchmark.report.images import select_images
from loco_tools.benchmark.run.runner import RunReport, run
from loco_tools.benchmark.suite import Suite
from loco_tools.errors import BenchmarkError

Make = Callable[..., Path]
MakeSuite = Callable[..., Suite]


@pytest.fixture
def finished(
    tmp_path: Path, make_loco_class: Make, make_ad_class: Make, make_suite: MakeSuite
) -> RunReport:
    suite = make_suite("bright", "dark", overrides={"dark": {"sign": -1.0}})
    return run(suite, [make_loco_class(), make_ad_class()], tmp_path / "out", command="bench <x>")


def test_the_report_is_one_file_that_asks_for_nothing_else(finished: RunReport) -> None:
    path = write_report(finished.out)
    assert path == finished.out / "report.html"
    text = path.read_text()
    assert not re.search(
        r"https?://|//[a-z]|@import|<link|<iframe", re.sub(r"base64,[^\"]+", "", text)
    )
    page = Outline(text)
    sources = page.values("src") + page.values("href")
    assert sources
    assert all(source.startswith(("#", "data:image/")) for source in sources)
    ids = page.values("id")
    assert len(ids) == len(set(ids))
    places = {source[1:] for source in sources if source.startswith("#")}
    images = {place for place in places if place.startswith("image=")}
    assert images
    assert places - images <= set(ids)


def test_the_report_shows_figures_types_curves_scores_images_cost_and_stamps(
    finished: RunReport,
) -> None:
    text = write_report(finished.out).read_text()
    for wanted in (
        *("image AUROC", "AU-sPRO 0.05", "AU-PRO 0.3", "missing_hole", "scratch2", "(ROC)"),
        *(
            "(sPRO)",
            "(PRO)",
            "Histogram of scores",
            "map of dark",
            "above 100%",
            ", false area ",
            "fit s",
        ),
        *("Honesty stamp", "bench &lt;x&gt;", "scattering", "Nothing was fitted, chosen"),
    ):
        assert wanted in text, wanted
    page = Outline(text)
    assert all(("aria-label" in t) for t in re.findall(r'<svg[^>]*role="img"[^>]*>', text))
    assert "en" in page.values("lang")


def test_hostile_names_are_shown_and_not_run(
    tmp_path: Path, make_ad_class: Make, make_suite: MakeSuite
) -> None:
    evil = "<img src=x onerror=alert(1)>"
    data = make_ad_class(f'{evil}"', defects={"<script>alert(2)<": 2})
    run(make_suite("</script><b>"), [data], tmp_path / "out")
    text = write_report(tmp_path / "out").read_text()
    page = Outline(text)
    assert text.count("<script>") == 1
    assert evil not in text
    assert "&lt;img src=x onerror=alert(1)&gt;" in text
    assert "onerror" not in {name for _tag, name, _value in page.attributes}


def test_a_failed_cell_is_listed_with_its_error(
    tmp_path: Path, make_loco_class: Make, make_suite: MakeSuite
) -> None:
    fault = tmp_path / "fault"
    fault.write_text("crash")
    suite = make_suite("a", "b", overrides={"a": {"fault": str(fault)}})
    run(suite, [make_loco_class()], tmp_path / "out")
    text = write_report(tmp_path / "out").read_text()
    assert "1 cell failed" in text
    assert "boom &lt;b&gt;crash&lt;/b&gt;" in text
    assert "1 of 2 cells, 1 failed" in text


def test_a_run_that_was_interrupted_at_once_has_a_report_too(
    tmp_path: Path, make_loco_class: Make, make_suite: MakeSuite
) -> None:
    fault = tmp_path / "fault"
    fault.write_text("interrupt")
    suite = make_suite("a", overrides={"a": {"fault": str(fault)}})
    with pytest.raises(KeyboardInterrupt):
        run(suite, [make_loco_class()], tmp_path / "out")
    text = write_report(tmp_path / "out").read_text()
    assert "No cell has finished yet" in text
    assert "not finished" in text


def test_the_report_is_written_without_the_images_when_they_are_gone(finished: RunReport) -> None:
    (finished.out.parent / "data" / "plate").rename(finished.out.parent / "moved")
    text = write_report(finished.out).read_text()
    assert "The images cannot be shown" in text
    assert "AU-sPRO 0.05" in text


def test_a_folder_without_a_run_is_refused_with_the_next_step(tmp_path: Path) -> None:
    with pytest.raises(BenchmarkError, match=r"without run\.json; next step"):
        write_report(tmp_path)


def test_damaged_curves_are_named(finished: RunReport) -> None:
    curves = finished.out / "cells" / "bright" / "plate" / "0" / "curves.json"
    curves.write_text('{"image_roc": {"pooled": {"x": [0]}}}')
    with pytest.raises(BenchmarkError, match=r"curves\.json.*next step"):
        write_report(finished.out)


def score(kind: str, value: float, *defects: str) -> Score:
    return Score("000", kind, kind, defects, value)


def test_a_score_is_placed_among_the_good_images_without_itself() -> None:
    scores = [score("good", 1), score("good", 2), score("good", 3), score("structural", 2, "dent")]
    assert share_of_good_below(scores) == [0.0, 0.5, 1.0, 0.5]


def test_the_gallery_takes_hardest_easiest_and_middle_of_each_type_and_suspicious_good_ones() -> (
    None
):
    scores = [score("good", i) for i in range(10)]
    scores += [score("structural", i, "dent") for i in (1, 5, 9)]
    scores += [score("logical", i, "missing") for i in (2, 3)]
    chosen = select_images(scores, {"m": share_of_good_below(scores)})
    assert [(one.index, one.reason) for one in chosen] == [
        (13, "hardest of missing"),
        (14, "easiest of missing"),
        (10, "hardest of dent"),
        (11, "in the middle of dent"),
        (12, "easiest of dent"),
        (9, "good, but suspicious"),
        (8, "good, but suspicious"),
        (7, "good, but suspicious"),
    ]
    few = select_images(scores, {"m": share_of_good_below(scores)}, limit=4)
    assert [one.reason for one in few] == [
        *("hardest of missing", "easiest of missing", "hardest of dent", "good, but suspicious"),
    ]


def test_the_benchmark_is_imported_without_torch() -> None:
    code = (
        "import sys, loco_tools.benchmark, loco_tools.benchmark.run.runner, "
        "loco_tools.benchmark.report; sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_simulated_classes_are_called_so_at_the_top_and_at_their_images(
    tmp_path: Path, make_loco_class: Make, make_suite: MakeSuite
) -> None:
    data = make_loco_class()
    run(make_suite(), [data], tmp_path / "out")
    assert "Simulated images" not in write_report(tmp_path / "out").read_text()
    data.with_name("plate.jsonl").write_text('{"image": "test/good/000.png", "simulated": true}\n')
    run(make_suite(), [data], tmp_path / "out")
    text = write_report(tmp_path / "out").read_text()
    assert text.count("Simulated images, not photographs") == 2


def test_several_seeds_are_shown_with_their_spread(
    tmp_path: Path, make_loco_class: Make, make_suite: MakeSuite
) -> None:
    run(make_suite(seeds=[0, 1]), [make_loco_class()], tmp_path / "out")
    text = write_report(tmp_path / "out").read_text()
    assert "±0.000" in text
    assert "Shown for seed 0." in text
