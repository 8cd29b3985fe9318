"""What a cell keeps of images that are no test data."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from loco_tools.benchmark.cell.record import Cell, read_record, read_scores
from loco_tools.benchmark.run.runner import run
from loco_tools.benchmark.suite import Suite

Make = Callable[..., Path]
MakeSuite = Callable[..., Suite]


def test_a_cell_keeps_scores_of_validation_images_and_how_well_it_separates_synthetic_anomalies(
    tmp_path: Path, make_loco_class: Make, make_suite: MakeSuite
) -> None:
    out = tmp_path / "out"
    run(make_suite("a", "b", seeds=[0, 1]), [make_loco_class(size=(64, 96))], out)
    cell = Cell("a", "plate", 0)
    kept = read_scores(cell.folder(out) / "validation_scores.csv")
    assert [(score.id, score.kind) for score in kept] == [("000", "good"), ("001", "good")]
    test = read_scores(cell.folder(out) / "scores.csv")
    assert {score.score for score in kept}.isdisjoint(score.score for score in test)
    records = [read_record(Cell(name, "plate", seed), out) for name in "ab" for seed in (0, 1)]
    separations = [record.separation for record in records if record is not None]
    assert all(value is not None and 0 <= value <= 1 for value in separations)
    assert separations[0] == separations[2], "every method meets the same anomalies"
    first = records[0]
    assert first is not None
    assert first.cost is not None
    assert first.cost.held_out_s > 0
    assert not first.probabilities


def test_parts_are_kept_with_the_scores(
    tmp_path: Path, make_loco_class: Make, make_suite: MakeSuite
) -> None:
    data = make_loco_class()
    lines = [{"image": f"test/good/{n:03d}.png", "part": f"p{n}"} for n in range(2)]
    data.with_name("plate.jsonl").write_text("".join(f"{json.dumps(one)}\n" for one in lines))
    run(make_suite(), [data], tmp_path / "out")
    scores = read_scores(tmp_path / "out" / "cells" / "bright" / "plate" / "0" / "scores.csv")
    assert [s.part for s in scores if s.kind == "good"] == ["p0", "p1", None]


def test_scores_of_an_older_run_have_no_parts(tmp_path: Path) -> None:
    path = tmp_path / "scores.csv"
    path.write_text("id,kind,kind_folder,defects,score\n000,good,good,[],0.5\n")
    assert [(score.score, score.part) for score in read_scores(path)] == [(0.5, None)]


@pytest.mark.parametrize(("sign", "status"), [(1.0, "ok"), (-1.0, "failed")])
def test_scores_that_call_themselves_probabilities_have_to_be_some(
    tmp_path: Path, make_loco_class: Make, sign: float, status: str
) -> None:
    methods = [{"name": "stub_detectors:Sure", "label": "sure", "overrides": {"sign": sign}}]
    suite = Suite.model_validate({"methods": methods, "backbone": "scattering"})
    (record,) = run(suite, [make_loco_class()], tmp_path / "out").records
    assert record.status == status
    if status == "ok":
        assert record.probabilities
    else:
        assert record.error.startswith(
            "brightness: declares its image scores to be probabilities; expected values between 0"
        )
