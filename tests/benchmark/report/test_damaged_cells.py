"""Whatever lies in a cell's folder, the report is written or says in one line what is wrong."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from loco_tools.benchmark.report import write_report
from loco_tools.benchmark.run.runner import run
from loco_tools.benchmark.suite import Suite
from loco_tools.errors import BenchmarkError


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("damaged")


@pytest.fixture
def cell(
    kept: Path, make_loco_class: Callable[..., Path], make_suite: Callable[..., Suite]
) -> Path:
    """The folder of a finished cell, run once for all of these tests."""
    if not (kept / "run").is_dir():
        run(make_suite(), [make_loco_class(root=kept)], kept / "run")
    return kept / "run" / "cells" / "bright" / "plate" / "0"


def with_metrics(record: dict[str, Any], **metrics: Any) -> dict[str, Any]:
    return {**record, "metrics": {**record["metrics"], **metrics}}


def maps_of_another_size(path: Path) -> None:
    np.savez(path, **{f"map{n}": np.zeros((3, 3, 3), np.uint8) for n in range(9)})


DAMAGES: dict[str, tuple[str, Callable[[Path], object]]] = {
    "a score that is no number": (
        "scores.csv",
        lambda path: path.write_text(
            path.read_text().replace("good,good,[],", "good,good,[],nan#")
        ),
    ),
    "a score that is not finite": (
        "scores.csv",
        lambda path: path.write_text(
            "id,kind,kind_folder,defects,score,part\n000,good,good,[],inf,\n"
        ),
    ),
    "no scores": ("scores.csv", lambda path: path.unlink()),
    "curves of nothing": (
        "curves.json",
        lambda path: path.write_text('{"image_roc": {"pooled": {"x": [], "y": []}}}'),
    ),
    "curves that are not finite": (
        "curves.json",
        lambda path: path.write_text('{"image_roc": {"pooled": {"x": [0, NaN], "y": [0, 1]}}}'),
    ),
    "curves that are a list": ("curves.json", lambda path: path.write_text("[1, 2]")),
    "maps of another shape": ("thumbnails.npz", maps_of_another_size),
    "maps that are a pickle": (
        "thumbnails.npz",
        lambda path: np.savez(path, map0=np.array([{}], dtype=object)),
    ),
    "a training of another form": (
        "training.json",
        lambda path: path.write_text('{"schema_version": 1, "curves": [{"name": 3}]}'),
    ),
    "a threshold that is a list": (
        "result.json",
        lambda path: path.write_text(
            json.dumps(
                with_metrics(
                    json.loads(path.read_text()),
                    localization={"at_threshold": {"threshold": ["<script>"]}},
                )
            )
        ),
    ),
    "defects that are a text": (
        "result.json",
        lambda path: path.write_text(
            json.dumps(with_metrics(json.loads(path.read_text()), defects="<script>"))
        ),
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_is_one_clear_error_and_the_old_report_stays(
    cell: Path, damage: str
) -> None:
    name, spoil = DAMAGES[damage]
    out = cell.parents[3]
    before = write_report(out).read_bytes()
    path = cell / name
    whole = path.read_bytes() if path.exists() else None
    try:
        spoil(path)
        with pytest.raises(BenchmarkError, match="next step: remove the cell's folder") as caught:
            write_report(out)
        assert "bright" in str(caught.value)
        assert "\n" not in str(caught.value)
        assert (out / "report.html").read_bytes() == before
    finally:
        path.unlink(missing_ok=True)
        if whole is not None:
            path.write_bytes(whole)


def test_a_record_that_cannot_be_read_counts_as_not_finished(cell: Path) -> None:
    whole = (cell / "result.json").read_bytes()
    try:
        (cell / "result.json").write_text("{")
        assert "No cell has finished yet" in write_report(cell.parents[3]).read_text()
    finally:
        (cell / "result.json").write_bytes(whole)
