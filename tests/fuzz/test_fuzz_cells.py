import csv
import io
import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

import pytest
from finished_runs import make_run
from fuzzing import damaged, fuzz, hostile_json, within_bounds
from hypothesis import strategies as st

from loco_tools.benchmark.analysis.run_data import gather
from loco_tools.benchmark.cell.record import Cell
from loco_tools.benchmark.cell.training_log import TRAINING_FILE, read_training_log
from loco_tools.benchmark.report import write_report
from loco_tools.benchmark.run.results_csv import tables, write_results

CELL = Cell("patchcore", "plate", 0)
CURVE = {"x": [0.0, 0.5, 1.0], "y": [0.0, 0.8, 1.0]}
CURVES = {"image_roc": {"pooled": CURVE}, "overlap": {"pooled": CURVE}, "pixel_roc": {}}
TRAINING = {"curves": [{"name": "loss", "unit": "step", "x": [1, 2], "y": [0.5, 0.25]}]}
SCORES = [
    ["id", "kind", "kind_folder", "defects", "score", "part"],
    *([f"{n:03d}", "good", "good", "[]", repr(n / 10), ""] for n in range(4)),
    ["000", "structural", "structural_anomalies", '["scratch"]', "0.9", "p1"],
]


def as_csv(rows: list[list[str]]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode()


def made_run(folder: Path) -> Path:
    out = folder / "run"
    shutil.rmtree(out, ignore_errors=True)
    scores = [0.1, 0.2, 0.3, 0.1, 0.2, 0.3, 0.4, 0.5, 0.3, 0.6, 0.7, 0.8, 0.5, 0.6, 0.9, 1.0]
    make_run(out, [{"method": "patchcore", "scores": scores}])
    return out


def path_in(out: Path, name: str) -> Path:
    return out / name if name == "run.json" else CELL.folder(out) / name


def made_up(name: str) -> Any:
    """The content of a JSON file of a made-up run."""
    with tempfile.TemporaryDirectory() as folder:
        return json.loads(path_in(made_run(Path(folder)), name).read_text())


CONTENTS = {
    "run.json": hostile_json([made_up("run.json")]),
    "result.json": hostile_json([made_up("result.json")]),
    "curves.json": hostile_json([CURVES]),
    TRAINING_FILE: hostile_json([TRAINING]),
    "scores.csv": damaged([as_csv(SCORES)]),
}
CHANGES = st.sampled_from(sorted(CONTENTS)).flatmap(
    lambda name: st.tuples(st.just(name), CONTENTS[name])
)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made_run(tmp_path_factory.mktemp("cells"))


@fuzz(change=CHANGES)
def test_cells(run: Path, change: tuple[str, bytes]) -> None:
    name, content = change
    path = path_in(run, name)
    whole = path.read_bytes() if path.is_file() else None
    path.write_bytes(content)
    try:
        with within_bounds():
            data = gather(run)
            write_results(run, data.run.records(run))
            tables(data.run.records(run))
            for record in data.records:
                data.scores(record.cell)
                data.curves(record.cell)
                read_training_log(record.cell.folder(run))
    finally:
        if whole is None:
            path.unlink()
        else:
            path.write_bytes(whole)


@fuzz(one_in=40, change=CHANGES)
def test_reports(run: Path, change: tuple[str, bytes]) -> None:
    name, content = change
    out = made_run(run.with_name("reported"))
    path_in(out, name).write_bytes(content)
    with within_bounds():
        write_report(out)
