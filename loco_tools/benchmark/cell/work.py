"""Running one cell: fit, predict, evaluate, and write everything into the cell's folder.

Every executor calls `run_cell` with a `Job`, which is plain data, so that a cell can run in this
process, in another process or on another machine.
"""

import filecmp
import gc
import math
import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import numpy as np

from loco_tools import files
from loco_tools.benchmark.cell import thumbnails
from loco_tools.benchmark.cell.backbone_source import BackboneSource
from loco_tools.benchmark.cell.cost import PeakMemory, Stopwatch, hardware
from loco_tools.benchmark.cell.failures import (
    controlled_state,
    explain,
    explain_full_disk,
    record_failure,
)
from loco_tools.benchmark.cell.hashes import check_code
from loco_tools.benchmark.cell.record import (
    Cell,
    CellRecord,
    Cost,
    Stamp,
    has_maps,
    read_record,
    read_scores,
    write_maps_record,
    write_scores,
)
from loco_tools.benchmark.cell.training_log import write_training_log
from loco_tools.datasets import load
from loco_tools.datasets.images import Pixels
from loco_tools.datasets.maps import map_path, read_map, validation_map_path, write_map
from loco_tools.datasets.reading import Images
from loco_tools.datasets.sample import DatasetClass, Sample
from loco_tools.datasets.splits import hold_out_validation
from loco_tools.ensembles import ENSEMBLES, create_ensemble, ensemble_class
from loco_tools.errors import BenchmarkError
from loco_tools.evaluation import Evaluation, ValidationMaps, evaluate_maps, sample_key
from loco_tools.evaluation.metric_table import metrics_by_cell_key
from loco_tools.methods import Resize
from loco_tools.metrics.roc import auroc, rank
from loco_tools.progress import SILENT, Progress

if TYPE_CHECKING:
    from loco_tools.methods.backbones import Backbone
    from loco_tools.methods.detector import Detector

SYNTHETIC_IMAGES = 24
"""Number of synthetic anomalies that measure how well a detector separates them from good ones."""

SYNTHETIC_SEED = 70_000
"""Added to the cell's seed, so that they differ from the anomalies that ensembles learn from."""

TOLERANCE = (1e-3, 1e-5)
"""Relative and absolute difference up to which scores that are predicted again are the same."""


@dataclass(frozen=True)
class Job:
    """A cell that is to be run, as plain data.

    Attributes:
        stamp: everything that determines the cell's metrics.
        method: the implementation, as `loco_tools.methods.create` takes it, or `create_ensemble`
            for an ensemble.
        members: of an ensemble, entry name -> implementation.
        class_path: the folder of the dataset class.
        out: the run's folder.
        keep_maps: whether the anomaly maps are kept, next to the cells.
        backbones: entry name -> backbone, for the method and for its members.
    """

    stamp: Stamp
    method: str
    members: Mapping[str, str]
    class_path: Path
    out: Path
    keep_maps: bool = False
    backbones: Mapping[str, BackboneSource] = field(default_factory=dict)

    @property
    def cell(self) -> Cell:
        """The cell that the job fills."""
        return Cell(self.stamp.method, self.stamp.class_name, self.stamp.seed)

    @property
    def needs(self) -> tuple[Cell, ...]:
        """The cells that must be finished first: those of the members."""
        return tuple(
            Cell(member, self.stamp.class_name, self.stamp.seed) for member in self.members
        )

    @property
    def training_folder(self) -> Path:
        """The folder for checkpoints of an unfinished training; it belongs to one key."""
        folder = self.cell.folder(self.out)
        return folder.with_name(f".{folder.name}.{self.stamp.key[:12]}.training")

    def reusable(self) -> CellRecord | None:
        """The record of the finished cell, if nothing that determines it has changed."""
        record = self.previous()
        return record if record is not None and record.status == "ok" else None

    def previous(self) -> CellRecord | None:
        """The cell's record, finished or failed, if nothing that determines it has changed."""
        record = read_record(self.cell, self.out)
        return record if record is not None and record.key == self.stamp.key else None

    @property
    def maps_missing(self) -> bool:
        """Whether the maps are to be kept, but are missing or those of another key."""
        return self.keep_maps and not has_maps(self.cell.maps_folder(self.out), self.stamp.key)


def run_cell(job: Job, progress: Progress = SILENT) -> CellRecord:
    """Run a cell, or make only the maps that a finished one lacks.

    Every error except a full disk becomes the cell's failed record, or the `maps_error` of a
    finished cell, which is left as it is. Maps that belong to another key are removed.

    Raises:
        BenchmarkError: the disk is full.
    """
    try:
        with controlled_state(job.stamp.threads):
            check_code(job.stamp, job.method)
            finished = job.reusable()
            record = finished or execute(job, progress)
            if finished is not None and job.maps_missing:
                _predict_maps(job, progress)
    except (Exception, SystemExit) as error:
        if full_disk := explain_full_disk(error, job):
            raise BenchmarkError(full_disk) from error
        record = record_failure(job, *explain(error, job.method))
    finally:
        gc.collect()
        torch: Any = sys.modules.get("torch")
        if torch is not None and torch.cuda.is_available():
            torch.cuda.empty_cache()
    maps = job.cell.maps_folder(job.out)
    if maps.is_dir() and not has_maps(maps, job.stamp.key):
        shutil.rmtree(maps)
    return record


def execute(job: Job, progress: Progress = SILENT) -> CellRecord:
    """Fill a cell: its folder is complete when this returns, and untouched when it raises.

    Anomaly maps are written to disk one by one and read back for the evaluation, so that at most
    one is in memory. An interrupted training is resumed.

    Args:
        job: the cell.
        progress: receives progress.

    Raises:
        LocoToolsError: the class, the backbone or the method cannot be used.
    """
    began_s = time.perf_counter()
    dataset = _load_class(job)
    backbones = {name: source.load() for name, source in job.backbones.items()}
    with ExitStack() as stack:
        folder = stack.enter_context(files.folder_swapped_in(job.cell.folder(job.out)))
        maps = folder / "maps"
        if job.keep_maps:
            maps = stack.enter_context(files.folder_swapped_in(job.cell.maps_folder(job.out)))
        with PeakMemory(job.stamp.device) as memory:
            detector = _create(job, backbones)
            with Stopwatch() as fitting:
                detector.fit(
                    Images(dataset.train),
                    Images(dataset.validation),
                    seed=job.stamp.seed,
                    progress=progress,
                    keep=job.training_folder,
                )
            list(detector.predict(Images(dataset.train[:1])))  # start-up costs are not counted
            scores, predicting_s = _predict(detector, dataset.test, maps, progress)
        with Stopwatch() as predicting_held_out:
            synthetic = _make_synthetic_anomalies(Images(dataset.validation), job.stamp.seed)
            validation_scores, _ = _predict(detector, dataset.validation, maps)
            anomalous = [float(prediction.score) for prediction in detector.predict(synthetic)]
        cost = Cost(
            fit_s=fitting.total_s,
            ms_per_image=1000 * predicting_s / len(dataset.test),
            peak_mb=memory.peak_mb,
            peak_of=memory.of,
            parameters=detector.parameter_count(),
            held_out_s=predicting_held_out.total_s,
        )
        separation = auroc(rank(validation_scores, anomalous))
        predicted = Predicted(dataset, detector, scores, validation_scores, separation, cost)
        record = _write_cell(job, predicted, folder, maps, began_s=began_s, progress=progress)
        if job.keep_maps:
            write_maps_record(maps, job.stamp)
        else:
            shutil.rmtree(maps)
    return record


def _predict_maps(job: Job, progress: Progress) -> None:
    """Predict with the detector of a finished cell, to keep its maps; its folder is only read.

    Raises:
        LocoToolsError: the class, the backbone or the saved detector cannot be used, or its image
            scores are not those of the cell.
    """
    dataset = _load_class(job)
    backbones = {name: source.load() for name, source in job.backbones.items()}
    detector = _load(job, job.cell, job.method, backbones)
    folder = job.cell.folder(job.out)
    with files.folder_swapped_in(job.cell.maps_folder(job.out)) as maps:
        for name, samples in (
            ("scores.csv", dataset.test),
            ("validation_scores.csv", dataset.validation),
        ):
            scores, _ = _predict(detector, samples, maps, progress)
            expected = [score.score for score in read_scores(folder / name)]
            if len(scores) != len(expected) or not np.allclose(scores, expected, *TOLERANCE):
                raise BenchmarkError(
                    f"{folder / name}: the saved detector no longer gives these image scores, so "
                    "that its maps would not be those of the cell; next step: remove the cell's "
                    "folder and run the command again"
                )
        write_maps_record(maps, job.stamp)


def _load_class(job: Job) -> DatasetClass:
    """The class of the cell, with some training images as validation images where it has none."""
    dataset = hold_out_validation(load(job.class_path, warn=False), seed=job.stamp.seed)
    if not dataset.test:
        raise BenchmarkError(f"{job.class_path}: expected test images, got none")
    return dataset


def _predict(
    detector: "Detector", samples: Sequence[Sample], maps: Path, progress: Progress = SILENT
) -> tuple[list[float], float]:
    """Predict test or validation images and write their maps.

    Returns:
        The image scores, and the seconds that this took without checking and writing.

    Raises:
        BenchmarkError: there is not one prediction for each image, or one has a score that is not
            finite or a map of another form than (H, W) of its image.
    """
    scores: list[float] = []
    stopwatch = Stopwatch()
    predictions = iter(detector.predict(Images(samples), progress=progress))
    for sample in samples:
        with stopwatch:
            prediction = next(predictions, None)
        if prediction is None:
            raise BenchmarkError(
                f"{detector.name}: expected {len(samples)} predictions, got only {len(scores)}"
            )
        score, found = float(prediction.score), np.shape(prediction.map)
        finite = math.isfinite(score) and bool(np.isfinite(prediction.map).all())
        if not finite or found != sample.size:
            raise BenchmarkError(
                f"{detector.name}, {sample.image_path}: expected a finite score and a finite map "
                f"of {sample.size} (height, width), got a score of {score} and a map of {found}"
                f"{'' if finite else ', not all finite'}"
            )
        is_test = sample.split == "test"
        write_map(
            map_path(maps, sample) if is_test else validation_map_path(maps, sample.id),
            prediction.map,
        )
        scores.append(score)
    if next(predictions, None) is not None:
        raise BenchmarkError(f"{detector.name}: expected {len(samples)} predictions, got more")
    return scores, stopwatch.total_s


def _create(job: Job, backbones: Mapping[str, "Backbone"]) -> "Detector":
    """The cell's detector, not fitted yet; an ensemble with its fitted members."""
    stamp = job.stamp
    if job.members:
        members = {
            name: _load(job, Cell(name, stamp.class_name, stamp.seed), method, backbones)
            for name, method in job.members.items()
        }
        return create_ensemble(
            members,
            job.method,
            preset=stamp.preset,
            overrides=stamp.overrides,
            device=stamp.device,
        )
    from loco_tools.methods import create

    return create(
        job.method,
        backbone=backbones.get(stamp.method),
        preset=stamp.preset,
        overrides=stamp.overrides,
        input_size_px=stamp.input_size_px,
        resize=cast(Resize, stamp.resize),  # a single method has one of the three
        device=stamp.device,
    )


def _load(job: Job, cell: Cell, method: str, backbones: Mapping[str, "Backbone"]) -> "Detector":
    """The fitted detector of a finished cell."""
    record = read_record(cell, job.out)
    if record is None or record.status != "ok":
        raise BenchmarkError(explain_missing_member(cell, record))
    folder = cell.folder(job.out) / "model"
    from loco_tools.methods import allow_plugins, method_class

    if method in ENSEMBLES:
        allow_plugins(name for name in job.members.values() if name not in ENSEMBLES)
        members = {name: backbones[name] for name in job.members if name in backbones}
        return ensemble_class(method).load(folder, members, device=job.stamp.device)
    backbone = backbones.get(cell.method)
    return method_class(method).load(folder, backbone, device=job.stamp.device)


def explain_missing_member(cell: Cell, record: CellRecord | None) -> str:
    """The error of an ensemble that cannot be built because this member is missing."""
    reason = record.error if record is not None else "it has not run"
    return f"member {cell} is not available: {reason}"


def share_members(job: Job, model: Path) -> None:
    """Replace the members in an ensemble's model by hard links to those in their own cells.

    Members take most of a run's disk space, and every ensemble contains them. On a file system
    without hard links the copies stay.
    """
    for number, name in enumerate(job.members):
        cell = Cell(name, job.stamp.class_name, job.stamp.seed)
        for original in (cell.folder(job.out) / "model").glob("detector.*"):
            copy = model / "members" / str(number) / original.name
            if copy.is_file() and filecmp.cmp(original, copy, shallow=False):
                files.link_in_place(original, copy)


def _make_synthetic_anomalies(good: Sequence[Pixels], seed: int) -> list[Pixels]:
    """Images with anomalies of the families that no method and no ensemble learns from."""
    from loco_tools.synthesis.families import FAMILIES, LEARNED_FROM, synthetic_anomalies

    families = [name for name in FAMILIES if name not in LEARNED_FROM]
    made = synthetic_anomalies(
        good, SYNTHETIC_IMAGES, seed=SYNTHETIC_SEED + seed, families=families
    )
    return [anomaly.image for anomaly in made]


class Predicted(NamedTuple):
    """A fitted detector and its image scores; its maps are on the disk.

    `separation` is the AUROC of the good validation images against synthetic anomalies made from
    them.
    """

    dataset: DatasetClass
    detector: "Detector"
    scores: list[float]
    validation_scores: list[float]
    separation: float
    cost: Cost


def _write_cell(
    job: Job,
    predicted: Predicted,
    folder: Path,
    maps: Path,
    *,
    began_s: float,
    progress: Progress,
) -> CellRecord:
    """Evaluate the predictions, and write all files of the cell's folder."""
    dataset, detector, scores, validation_scores, separation, cost = predicted
    low, high = min(scores + validation_scores), max(scores + validation_scores)
    probabilities = bool(getattr(detector, "probabilities", False))
    if probabilities and not (low >= 0 and high <= 1):
        raise BenchmarkError(
            f"{detector.name}: declares its image scores to be probabilities; expected values "
            f"between 0 and 1, got {low:g} to {high:g}"
        )
    detector.save(folder / "model")
    share_members(job, folder / "model")
    scores_by_id = dict(zip((s.id for s in dataset.validation), validation_scores, strict=True))
    evaluation = evaluate_maps(
        dataset.test,
        lambda sample: read_map(map_path(maps, sample)),
        dict(zip(map(sample_key, dataset.test), scores, strict=True)),
        progress,
        validation=ValidationMaps(
            scores_by_id, lambda name: read_map(validation_map_path(maps, name))
        ),
    )
    counts = {"train": len(dataset.train), "validation": len(dataset.validation)}
    for sample in dataset.test:
        counts[f"test/{sample.kind_folder}"] = counts.get(f"test/{sample.kind_folder}", 0) + 1
    record = CellRecord(
        key=job.stamp.key,
        stamp=job.stamp,
        status="ok",
        layout=dataset.layout,
        category=detector.category,
        counts=counts,
        figures=metrics_by_cell_key(evaluation.metrics),
        cost=cost.model_copy(update={"total_s": time.perf_counter() - began_s}),
        probabilities=probabilities,
        separation=separation,
        metrics=evaluation.metrics,
        config=detector.config.model_dump(mode="json"),
        input_size=detector.input_size,
        hardware=hardware(job.stamp.device),
    )
    write_scores(folder / "scores.csv", dataset.test, scores)
    write_scores(folder / "validation_scores.csv", dataset.validation, validation_scores)
    _write_curves(folder / "curves.json", evaluation)
    write_training_log(folder, detector.training_log)
    thumbnails.write_maps(
        folder / "thumbnails.npz", dataset.test, lambda sample: read_map(map_path(maps, sample))
    )
    files.write_json(folder / "result.json", record.model_dump(mode="json"))
    return record


def _write_curves(path: Path, evaluation: Evaluation) -> None:
    """Write the curves, rounded to five digits."""
    groups = {
        "image_roc": evaluation.image_roc,
        "image_pr": evaluation.image_pr,
        "overlap": evaluation.overlap,
        "pixel_roc": {"all": evaluation.pixel_roc},
        "pixel_pr": {"all": evaluation.pixel_pr},
    }
    content = {
        group: {
            name: {"x": curve.x.round(5).tolist(), "y": curve.y.round(5).tolist()}
            for name, curve in curves.items()
        }
        for group, curves in groups.items()
    }
    files.write_json(path, content)
