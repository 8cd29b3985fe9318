"""The cell: one method on one class with one seed, and the files in which its outcome is kept.

    DIR/cells/<method>/<class>/<seed>/result.json    the record: status, metrics, honesty stamp
                                      scores.csv     one row per test image
                                      validation_scores.csv
                                                     one row per good validation image
                                      curves.json    ROC and sPRO or PRO curves
                                      training.json  losses over the training, if any
                                      thumbnails.npz thumbnails of the maps, for the report
                                      model/         the fitted detector

A cell's folder is written under another name and then renamed, so it is complete or absent. Where
anomaly maps are kept, they have a folder of their own, written in the same way:

    DIR/maps/<method>/<seed>/<class>/maps.json     the key and the class of their cell
                                     test/, validation/
"""

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import Field

from loco_tools import files
from loco_tools.benchmark.suite import folder_name
from loco_tools.datasets.sample import Kind, Sample
from loco_tools.errors import BenchmarkError, DefinitionError
from loco_tools.evaluation.metric_table import METRICS, metrics_by_cell_key
from loco_tools.schema import Schema, loads_json, read_json
from loco_tools.wording import csv_rows, csv_text, json_text

MAPS_FILE = "maps.json"


@dataclass(frozen=True)
class Cell:
    """One method x class x seed."""

    method: str
    class_name: str
    seed: int

    def __str__(self) -> str:
        return f"{self.method} on {self.class_name}, seed {self.seed}"

    def folder(self, out: Path) -> Path:
        """The folder of the outcome."""
        return out / "cells" / folder_name(self.method) / self.class_name / str(self.seed)

    def maps_folder(self, out: Path) -> Path:
        """The folder of the anomaly maps of the class, as the official evaluators take it."""
        return out / "maps" / folder_name(self.method) / str(self.seed) / self.class_name


class Stamp(Schema):
    """Everything that determines a cell's metrics; its hash is the cell's key.

    `method` is the name of the entry in the suite. `selection` says how the checkpoint was chosen
    ("last": after a fixed number of epochs, never by test data), `score_rule` where image scores
    come from, and `level` that metrics count images and not parts.
    """

    method: str
    class_name: str
    seed: int
    overrides: dict[str, Any]
    members: dict[str, str]
    """The members of an ensemble: name -> key of the cell."""
    backbone: str
    preset: str
    input_size_px: int | None
    resize: str
    """An ensemble has those of its members, joined by "+"."""
    device: str
    threads: int | None = None
    """CPU threads of the cell; None in the records of versions that did not fix them."""
    data_hash: str
    sidecar_hash: str = ""
    """Of the parts and views that the sidecar of the class names."""
    code_hash: str
    versions: dict[str, str]
    selection: Literal["last"] = "last"
    score_rule: Literal["detector"] = "detector"
    level: Literal["image"] = "image"

    @property
    def key(self) -> str:
        """The SHA-256 of all fields."""
        canonical = json.dumps(self.model_dump(mode="json"), sort_keys=True)
        return hashlib.sha256(canonical.encode()).hexdigest()


class Cost(Schema):
    """Time and memory of a cell; `ms_per_image` is the time to read and predict an image."""

    fit_s: float
    ms_per_image: float
    peak_mb: float
    peak_of: Literal["process", "gpu"]
    parameters: int | None = None
    """See `Detector.parameter_count`."""
    held_out_s: float = 0.0
    """Predicting validation images and synthetic anomalies, which no other time includes."""
    total_s: float | None = None
    """The whole cell, including reading and evaluating."""

    @property
    def images_per_s(self) -> float:
        """Images predicted per second."""
        return 1000 / max(self.ms_per_image, 1e-9)


class CellRecord(Schema):
    """`result.json`: how a cell ended."""

    schema_version: Literal[1] = 1
    key: str
    stamp: Stamp
    status: Literal["ok", "failed"]
    error: str = ""
    layout: str = ""
    category: str = ""
    """Kind of method, see `Detector.category`; no key depends on it."""
    counts: dict[str, int] = Field(default_factory=dict)
    """Numbers of images: "train", "validation", and "test/<kind folder>"."""
    figures: dict[str, float | None] = Field(default_factory=lambda: metrics_by_cell_key({}))
    """`Metric.cell_key` -> value, None where a metric does not apply to the class."""
    cost: Cost | None = None
    probabilities: bool = False
    """Whether image scores are probabilities of being anomalous."""
    separation: float | None = None
    """The AUROC of good validation images against synthetic anomalies made from them."""
    metrics: dict[str, Any] = Field(default_factory=dict)
    """The evaluation as `loco-tools evaluate --json` writes it."""
    config: dict[str, Any] = Field(default_factory=dict)
    """The detector's configuration as it was run."""
    input_size: tuple[int, int] | None = None
    """(h, w) of the detector's input."""
    hardware: dict[str, str] = Field(default_factory=dict)
    """The machine, see `loco_tools.benchmark.cell.cost.hardware`."""
    maps_error: str = Field("", exclude=True)
    """Why the maps that a run asked for could not be made; `run.json` has it, not this file."""

    def metric(self, name: str) -> float | None:
        """A metric by its name in `METRICS`; None where it does not apply or is not known."""
        return self.figures.get(METRICS[name].cell_key)

    @property
    def test_images(self) -> int:
        """Number of test images."""
        return sum(count for name, count in self.counts.items() if name.startswith("test/"))

    @property
    def cell(self) -> Cell:
        """The cell that the record belongs to."""
        return Cell(self.stamp.method, self.stamp.class_name, self.stamp.seed)


class MapsRecord(Schema):
    """`maps.json`, next to the maps of a cell: its key, its class, and the number of maps."""

    schema_version: Literal[1] = 1
    key: str
    class_name: str | None = None
    """None in the records of versions that did not write it; `loco-tools evaluate` reads it."""
    maps: int


@dataclass(frozen=True)
class Score:
    """The score of one image, a row of `scores.csv`; `part` is None where it is unknown."""

    id: str
    kind: str
    kind_folder: str
    defects: tuple[str, ...]
    score: float
    part: str | None = None


def read_record(cell: Cell, out: Path) -> CellRecord | None:
    """Read a cell's record; None when there is none, or this version cannot read it."""
    files.settle(cell.folder(out))
    path = cell.folder(out) / "result.json"
    if not path.is_file():
        return None
    try:
        return read_json(CellRecord, path)
    except DefinitionError:
        return None


def write_maps_record(folder: Path, stamp: Stamp) -> None:
    """Write `maps.json` when all maps are in the folder."""
    record = MapsRecord(key=stamp.key, class_name=stamp.class_name, maps=_count_maps(folder))
    files.write_json(folder / MAPS_FILE, record.model_dump(mode="json"))


def has_maps(folder: Path, key: str) -> bool:
    """Whether a folder holds all maps of the cell with this key."""
    try:
        record = read_json(MapsRecord, folder / MAPS_FILE)
    except DefinitionError:
        return False
    return record.key == key and record.maps == _count_maps(folder)


def _count_maps(folder: Path) -> int:
    return sum(1 for _ in folder.rglob("*.tiff"))


def write_failure(stamp: Stamp, error: str, trace: str, out: Path) -> CellRecord:
    """Record that a cell failed; this replaces what its folder held before.

    `trace`, when not empty, is written to `traceback.txt` for whoever repairs the method.
    """
    record = CellRecord(key=stamp.key, stamp=stamp, status="failed", error=error)
    with files.folder_swapped_in(record.cell.folder(out)) as folder:
        if trace:
            files.write_text(folder / "traceback.txt", trace)
        files.write_json(folder / "result.json", record.model_dump(mode="json"))
    return record


def write_scores(path: Path, samples: Sequence[Sample], scores: Sequence[float]) -> None:
    """Write `scores.csv`, one row per image in the order of the set."""
    rows = [["id", "kind", "kind_folder", "defects", "score", "part"]]
    for sample, score in zip(samples, scores, strict=True):
        names = json_text(defect_types(sample))
        columns = [sample.id, sample.kind, sample.kind_folder, names]
        rows.append([*columns, repr(float(score)), sample.part or ""])
    files.write_text(path, csv_text(rows))


def read_scores(path: Path) -> list[Score]:
    """Read `scores.csv`.

    Raises:
        BenchmarkError: it is missing or damaged.
    """
    try:
        scores = [_read_score(row) for row in csv_rows(files.read_text(path))]
        if not scores:
            raise ValueError("no scores")
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise BenchmarkError(
            f"{path}: expected the scores of a finished cell, got {error!r}; "
            "next step: remove the cell's folder and run the benchmark again"
        ) from error
    return scores


def _read_score(row: Mapping[str, str]) -> Score:
    """A row of `scores.csv`; ValueError, KeyError or TypeError if it is damaged."""
    defects = loads_json(row["defects"] or "")
    if not isinstance(defects, list) or not all(isinstance(name, str) for name in defects):
        raise ValueError(f"defects {row['defects']}")
    if row["kind"] not in get_args(Kind):
        raise ValueError(f"kind {row['kind']}")
    score = float(row["score"])
    if not math.isfinite(score):
        raise ValueError(f"a score of {row['score']}")
    part = row.get("part") or None
    return Score(row["id"], row["kind"], row["kind_folder"], tuple(defects), score, part)


def defect_types(sample: Sample) -> list[str]:
    """The defect types of an image: its defects, or its folder where masks are missing."""
    if sample.kind == "good":
        return []
    return sorted({defect.name for defect in sample.defects}) or [sample.kind_folder]
