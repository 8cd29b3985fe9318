"""A finished run written as files, without any detector: scores are made up."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from loco_tools import files
from loco_tools.benchmark.analysis.run_data import ReportData, gather
from loco_tools.benchmark.cell.record import Cell, CellRecord, Cost, Stamp
from loco_tools.benchmark.run.runner import ClassInfo, PlannedCell, Run
from loco_tools.benchmark.suite import Suite
from loco_tools.evaluation.metric_table import metrics_by_cell_key
from loco_tools.metrics import roc

KINDS = ("good",) * 8 + ("logical",) * 4 + ("structural",) * 4
FOLDERS = {
    "good": "good",
    "logical": "logical_anomalies",
    "structural": "structural_anomalies",
}
VALIDATION = tuple(np.linspace(0, 1, 21).tolist())
"""Scores of good validation images; their threshold is 0.95."""


def make_run(out: Path, cells: Sequence[Mapping[str, Any]]) -> ReportData:
    """Write a run of some cells, each given as a mapping of

    method; scores: one per image of `KINDS`; and where wanted seed, class_name, members,
    probabilities, separation, au_spro, validation (None: not kept).
    """
    records = [_keep(out, dict(cell)) for cell in cells]
    methods = list(dict.fromkeys(record.stamp.method for record in records))
    classes = list(dict.fromkeys(record.stamp.class_name for record in records))
    run = Run(
        command="made up",
        started="",
        suite=Suite.model_validate(
            {
                "methods": [{"name": "patchcore", "label": name} for name in methods],
                "seeds": sorted({record.stamp.seed for record in records}),
            }
        ),
        hardware={},
        versions={},
        classes=tuple(
            ClassInfo(name=name, path=str(out / "data" / name), data_hash="") for name in classes
        ),
        cells=tuple(
            PlannedCell(
                method=r.stamp.method, class_name=r.stamp.class_name, seed=r.stamp.seed, key=r.key
            )
            for r in records
        ),
    )
    files.write_json(out / "run.json", run.model_dump(mode="json", by_alias=True))
    return gather(out)


def _keep(out: Path, cell: dict[str, Any]) -> CellRecord:
    scores = np.asarray(cell["scores"], dtype=float)
    place = Cell(cell["method"], cell.get("class_name", "plate"), cell.get("seed", 0))
    stamp = Stamp(
        method=place.method,
        class_name=place.class_name,
        seed=place.seed,
        overrides={},
        members={name: f"key of {name}" for name in cell.get("members", ())},
        backbone="none",
        preset="fast",
        input_size_px=None,
        resize="keep",
        device="cpu",
        data_hash="",
        code_hash="",
        versions={},
    )
    kinds = np.array(KINDS)
    of_kind = {
        kind: roc.auroc(roc.rank(scores[kinds == "good"], scores[kinds == kind]))
        for kind in ("logical", "structural")
    }
    record = CellRecord(
        key=stamp.key,
        stamp=stamp,
        status="ok",
        layout="mvtec_loco",
        counts={"train": 5, "validation": 21, "test/good": 8},
        figures=metrics_by_cell_key({})
        | {
            "image_auroc_logical": of_kind["logical"],
            "image_auroc_structural": of_kind["structural"],
            "image_auroc_mean": sum(of_kind.values()) / 2,
            "au_spro": cell.get("au_spro", 0.5),
        },
        cost=Cost(fit_s=1, ms_per_image=10, peak_mb=100, peak_of="process"),
        probabilities=cell.get("probabilities", False),
        separation=cell.get("separation"),
    )
    folder = place.folder(out)
    files.write_json(folder / "result.json", record.model_dump(mode="json"))
    rows = [
        f"{n:03d},{kind},{FOLDERS[kind]},[],{score!r},"
        for n, (kind, score) in enumerate(zip(KINDS, scores.tolist(), strict=True))
    ]
    _write_scores(folder / "scores.csv", rows)
    validation = cell.get("validation", VALIDATION)
    if validation is not None:
        held_out = [f"{n:03d},good,good,[],{v!r}," for n, v in enumerate(validation)]
        _write_scores(folder / "validation_scores.csv", held_out)
    files.write_json(folder / "curves.json", {"image_roc": {}, "overlap": {}, "pixel_roc": {}})
    return record


def _write_scores(path: Path, rows: Sequence[str]) -> None:
    files.write_text(path, "\n".join(["id,kind,kind_folder,defects,score,part", *rows]) + "\n")
