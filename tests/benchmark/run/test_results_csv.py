import csv
import io
from pathlib import Path
from typing import Any

from rich.console import Console

from loco_tools.benchmark.cell.record import CellRecord, Cost, Stamp
from loco_tools.benchmark.run.results_csv import mean_over_seeds, tables, write_results
from loco_tools.evaluation.metric_table import metrics_by_cell_key


def make_record(**changes: Any) -> CellRecord:
    stamp = Stamp.model_validate(
        {
            "method": "patchcore",
            "class_name": "plate",
            "seed": 0,
            "overrides": {},
            "members": {},
            "backbone": "resnet18:IMAGENET1K_V1",
            "preset": "fast",
            "input_size_px": None,
            "resize": "keep",
            "device": "cpu",
            "data_hash": "d" * 64,
            "code_hash": "c" * 64,
            "versions": {"torch": "2.5"},
        }
        | changes.pop("stamp", {})
    )
    figures = {"image_auroc_mean": 0.75, "au_spro": 0.5}
    cost = Cost(fit_s=1, ms_per_image=20, peak_mb=300, peak_of="process", parameters=1500)
    fields = {"key": stamp.key, "stamp": stamp, "status": "ok", "figures": figures, "cost": cost}
    return CellRecord.model_validate(fields | changes)


def test_every_part_of_a_stamp_counts_in_its_key() -> None:
    changes: list[dict[str, Any]] = [
        *({}, {"method": "x"}, {"seed": 1}, {"overrides": {"a": 1}}, {"members": {"a": "k"}}),
        *({"backbone": "b:1"}, {"preset": "paper"}, {"input_size_px": 64}, {"device": "cuda"}),
        *({"resize": "square"}, {"data_hash": "e"}, {"code_hash": "e"}, {"versions": {}}),
    ]
    assert len({make_record(stamp=change).key for change in changes}) == len(changes)


def test_results_quote_what_a_spreadsheet_would_run(tmp_path: Path) -> None:
    record = make_record(stamp={"class_name": "=1+1"}, error='a, "b"\nc')
    with write_results(tmp_path, [record]).open(newline="") as stream:
        row = next(csv.DictReader(stream))
    assert row["class"] == "'=1+1"
    assert row["error"] == 'a, "b"\nc'
    assert row["au_pro_0.3"] == ""
    assert row["weights"] == "IMAGENET1K_V1"


def test_results_give_the_rate_and_the_size_of_a_detector(tmp_path: Path) -> None:
    with write_results(tmp_path, [make_record()]).open(newline="") as stream:
        row = next(csv.DictReader(stream))
    assert (row["ms_per_image"], row["images_per_s"]) == ("20.000", "50.000")
    assert row["parameters"] == "1500"


def test_a_mean_comes_with_its_spread_when_there_are_several_seeds() -> None:
    assert str(mean_over_seeds([0.5])) == "0.500"
    assert str(mean_over_seeds([0.4, 0.6])) == "0.500 ± 0.141"
    assert mean_over_seeds([None]) is None


def test_the_terminal_table_fits_80_columns_and_shows_names_as_they_are() -> None:
    records = [
        make_record(
            stamp={"class_name": "[red]x"}, figures=dict.fromkeys(metrics_by_cell_key({}), 0.5)
        ),
        make_record(stamp={"class_name": "[red]x", "method": "b"}, status="failed"),
    ]
    console = Console(width=80, record=True, file=io.StringIO())
    for table in tables(records):
        console.print(table)
    text = console.export_text()
    assert "[red]x" in text
    assert "b (failed)" in text
    assert "…" not in text
