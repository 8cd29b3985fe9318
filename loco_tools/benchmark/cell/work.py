"""One cell's work: fit, predict, evaluate, keep.

`execute` takes plain data and leaves everything in the cell's folder, so that it can run in this
process, in another one or on another machine.
"""

import filecmp
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
import numpy.typing as npt

from loco_tools import files
from loco_tools.benchmark.cell import thumbnails
from loco_tools.benchmark.cell.backbone_source import BackboneSource
from loco_tools.benchmark.cell.cost import PeakMemory, Stopwatch, hardware
from loco_tools.benchmark.cell.record import (
    Cell,
    CellRecord,
    Cost,
    Stamp,
    read_record,
    write_scores,
)
from loco_tools.benchmark.cell.training_log import write_curves
from loco_tools.datasets import load
from loco_tools.datasets.maps import map_path, read_map, validation_map_path, write_map
from loco_tools.datasets.sample import DatasetClass, Images, Sample
from loco_tools.datasets.splits import hold_out_validation
from loco_tools.ensembles import ENSEMBLES, create_ensemble, ensemble_class
from loco_tools.errors import BenchmarkError
from loco_tools.evaluation import Evaluation, ValidationMaps, evaluate_maps, sample_key
from loco_tools.evaluation.metric_table import metrics_by_cell_key
from loco_tools.methods import Resize
from loco_tools.metrics.roc import Curve, auroc, rank
from loco_tools.progress import SILENT, Progress

if TYPE_CHECKING:
    from loco_tools.methods.backbones import Backbone
    from loco_tools.methods.detector import Detector

SYNTHETIC_IMAGES = 24
"""Anomalies made to see how well a detector tells them from good validation images."""

SYNTHETIC_SEED = 70_000
"""Added to the cell's seed, so that they are others than those that ensembles learn from."""


@dataclass(frozen=True)
class Job:
    """A cell to be worked on, as plain data.

    `method` is what `loco_tools.methods.create` takes, or `create_ensemble` for one that is built
    from `members`, label -> method; `keep_maps` keeps the anomaly maps beside the cells;
    `backbones`, by label, are those of the method and of its members.
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
        """The cell that it fills."""
        return Cell(self.stamp.method, self.stamp.class_name, self.stamp.seed)

    @property
    def needs(self) -> tuple[Cell, ...]:
        """The cells that have to be finished before: those of the members."""
        return tuple(
            Cell(member, self.stamp.class_name, self.stamp.seed) for member in self.members
        )

    @property
    def training_folder(self) -> Path:
        """Where a training is kept until the cell is finished; another key, another folder."""
        folder = self.cell.folder(self.out)
        return folder.with_name(f".{folder.name}.{self.stamp.key[:12]}.training")

    def reusable(self) -> CellRecord | None:
        """The cell's record when it is finished and nothing that determines it has changed."""
        record = self.previous()
        return record if record is not None and record.status == "ok" else None

    def previous(self) -> CellRecord | None:
        """The cell's record, finished or failed, if nothing that determines it has changed."""
        record = read_record(self.cell, self.out)
        return record if record is not None and record.key == self.stamp.key else None

    @property
    def maps_missing(self) -> bool:
        """Whether maps are to be kept and are not there."""
        return self.keep_maps and not self.cell.maps_folder(self.out).is_dir()


def execute(
    job: Job, backbones: Mapping[str, "Backbone"], progress: Progress = SILENT
) -> CellRecord:
    """Fill a cell: its folder is complete when this returns, and untouched when it raises.

    Maps are written to the disk one by one and read back for the evaluation; never are all of
    them in memory. A finished cell that only lacks its maps is predicted again, not fitted again.
    A training that was interrupted goes on where it was.

    Args:
        job: the cell.
        backbones: by label, of the method and of its members.
        progress: told how far it is.

    Raises:
        LocoToolsError: the class or the method cannot be used as it is.
    """
    began = time.perf_counter()
    dataset = _dataset(job)
    with ExitStack() as stack:
        folder = stack.enter_context(files.folder_swapped_in(job.cell.folder(job.out)))
        maps = folder / "maps"
        if job.keep_maps:
            maps = stack.enter_context(files.folder_swapped_in(job.cell.maps_folder(job.out)))
        with PeakMemory(job.stamp.device) as memory:
            detector, fit_s = _fitted(job, dataset, backbones, progress)
            list(detector.predict(Images(dataset.train[:1])))  # start-up costs are not counted
            scores, predict_s = _predict(detector, dataset.test, maps, progress)
        held_out = _held_out(detector, dataset.validation, maps, job.stamp.seed)
        detector.save(folder / "model")
        share_members(job, folder / "model")
        cost = Cost(
            fit_s=fit_s,
            ms_per_image=1000 * predict_s / len(dataset.test),
            peak_mb=memory.peak_mb,
            peak_of=memory.of,
            parameters=detector.parameter_count(),
            held_out_s=held_out.took_s,
        )
        evaluation = _evaluate(dataset, maps, scores, held_out.scores, progress)
        _check_probabilities(detector, scores + held_out.scores)
        cost = cost.model_copy(update={"total_s": time.perf_counter() - began})
        record = _record(job, dataset, detector, cost, evaluation).model_copy(
            update={"separation": held_out.separation}
        )
        write_scores(folder / "scores.csv", dataset.test, scores)
        write_scores(folder / "validation_scores.csv", dataset.validation, held_out.scores)
        files.write_json(folder / "curves.json", _curves(evaluation))
        write_curves(folder, detector.training_log)
        thumbnails.write_maps(folder / "thumbnails.npz", dataset.test, _reader(maps))
        files.write_json(folder / "result.json", record.model_dump(mode="json"))
        if not job.keep_maps:
            shutil.rmtree(maps)
    return record


def _dataset(job: Job) -> DatasetClass:
    dataset = hold_out_validation(load(job.class_path), seed=job.stamp.seed)
    if not dataset.test:
        raise BenchmarkError(f"{job.class_path}: expected test images to compare on, got none")
    return dataset


def _fitted(
    job: Job, dataset: DatasetClass, backbones: Mapping[str, "Backbone"], progress: Progress
) -> tuple["Detector", float]:
    """The detector of the cell, and the seconds that fitting it took."""
    before = job.reusable()
    if before is not None and before.cost is not None:
        return _load(job, job.cell, job.method, backbones), before.cost.fit_s
    detector = _unfitted(job, backbones)
    with Stopwatch() as watch:
        detector.fit(
            Images(dataset.train),
            Images(dataset.validation),
            seed=job.stamp.seed,
            progress=progress,
            keep=job.training_folder,
        )
    return detector, watch.total_s


def _unfitted(job: Job, backbones: Mapping[str, "Backbone"]) -> "Detector":
    if job.members:
        members = {
            label: _load(job, Cell(label, job.stamp.class_name, job.stamp.seed), method, backbones)
            for label, method in job.members.items()
        }
        return create_ensemble(
            members,
            job.method,
            preset=job.stamp.preset,
            overrides=job.stamp.overrides,
            device=job.stamp.device,
        )
    from loco_tools.methods import create

    return create(
        job.method,
        backbone=backbones.get(job.stamp.method),
        preset=job.stamp.preset,
        overrides=job.stamp.overrides,
        input_size_px=job.stamp.input_size_px,
        resize=cast(Resize, job.stamp.resize),  # of a single method one of the three
        device=job.stamp.device,
    )


def _load(job: Job, cell: Cell, method: str, backbones: Mapping[str, "Backbone"]) -> "Detector":
    """The fitted detector of a finished cell."""
    record = read_record(cell, job.out)
    if record is None or record.status != "ok":
        raise BenchmarkError(member_missing(cell, record))
    folder = cell.folder(job.out) / "model"
    if method in ENSEMBLES:
        members = {label: backbones[label] for label in job.members if label in backbones}
        return ensemble_class(method).load(folder, members, device=job.stamp.device)
    from loco_tools.methods import method_class

    backbone = backbones.get(cell.method)
    return method_class(method).load(folder, backbone, device=job.stamp.device)


def member_missing(cell: Cell, record: CellRecord | None) -> str:
    """Why an ensemble cannot be built without this member."""
    reason = record.error if record is not None else "it has not run"
    return f"member {cell} is not available: {reason}"


def share_members(job: Job, model: Path) -> None:
    """Make the members in an ensemble's model hard links to those of their own cells.

    Members are most of a run's bytes, and every ensemble has them. Where the disk knows no hard
    links, the copies stay.
    """
    for number, label in enumerate(job.members):
        cell = Cell(label, job.stamp.class_name, job.stamp.seed)
        for original in (cell.folder(job.out) / "model").glob("detector.*"):
            copy = model / "members" / str(number) / original.name
            if copy.is_file() and filecmp.cmp(original, copy, shallow=False):
                files.link_in_place(original, copy)


def _predict(
    detector: "Detector", samples: Sequence[Sample], maps: Path, progress: Progress
) -> tuple[list[float], float]:
    """Image scores, and the seconds that predicting took (without writing the maps)."""
    scores: list[float] = []
    watch = Stopwatch()
    predictions = iter(detector.predict(Images(samples), progress=progress))
    for sample in samples:
        with watch:
            prediction = next(predictions, None)
        if prediction is None:
            raise BenchmarkError(f"expected {len(samples)} predictions, got only {len(scores)}")
        write_map(map_path(maps, sample), prediction.map)
        scores.append(float(prediction.score))
    return scores, watch.total_s


def _check_probabilities(detector: "Detector", scores: Sequence[float]) -> None:
    if getattr(detector, "probabilities", False) and not (min(scores) >= 0 and max(scores) <= 1):
        raise BenchmarkError(
            f"{detector.name}: says that its image scores are probabilities; expected them between "
            f"0 and 1, got {min(scores):g} to {max(scores):g}"
        )


@dataclass(frozen=True)
class HeldOut:
    """What a fitted detector says of images that it has not learned from, none of them test data.

    `scores` are those of the good validation images, `separation` their AUROC against synthetic
    anomalies made from them.
    """

    scores: list[float]
    separation: float
    took_s: float


def _held_out(detector: "Detector", validation: Sequence[Sample], maps: Path, seed: int) -> HeldOut:
    """Judge them, and write the maps of the good ones beside those of the test images."""
    from loco_tools.synthesis.families import FAMILIES, LEARNED_FROM, synthetic_anomalies

    good = Images(validation)
    families = [name for name in FAMILIES if name not in LEARNED_FROM]
    with Stopwatch() as watch:
        made = synthetic_anomalies(
            good, SYNTHETIC_IMAGES, seed=SYNTHETIC_SEED + seed, families=families
        )
        scores = []
        for sample, one in zip(validation, detector.predict(good), strict=True):
            scores.append(float(one.score))
            write_map(validation_map_path(maps, sample.id), one.map)
        anomalous = [float(one.score) for one in detector.predict([one.image for one in made])]
        separation = auroc(rank(scores, anomalous))
    return HeldOut(scores, separation, watch.total_s)


def _evaluate(
    dataset: DatasetClass,
    maps: Path,
    scores: Sequence[float],
    validation_scores: Sequence[float],
    progress: Progress,
) -> Evaluation:
    """The figures; thresholds are taken from the good validation images."""
    by_key = {sample_key(sample): n for sample, n in zip(dataset.test, scores, strict=True)}
    by_id = {s.id: n for s, n in zip(dataset.validation, validation_scores, strict=True)}
    held_out = ValidationMaps(by_id, lambda name: read_map(validation_map_path(maps, name)))
    return evaluate_maps(dataset.test, _reader(maps), by_key, progress, validation=held_out)


def _curves(evaluation: Evaluation) -> dict[str, dict[str, dict[str, list[float]]]]:
    """The curves as plain data, to five digits."""

    def points(curve: Curve) -> dict[str, list[float]]:
        return {"x": curve.x.round(5).tolist(), "y": curve.y.round(5).tolist()}

    return {
        "image_roc": {name: points(curve) for name, curve in evaluation.image_roc.items()},
        "image_pr": {name: points(curve) for name, curve in evaluation.image_pr.items()},
        "overlap": {name: points(curve) for name, curve in evaluation.overlap.items()},
        "pixel_roc": {"all": points(evaluation.pixel_roc)},
        "pixel_pr": {"all": points(evaluation.pixel_pr)},
    }


def _record(
    job: Job, dataset: DatasetClass, detector: "Detector", cost: Cost, evaluation: Evaluation
) -> CellRecord:
    counts = {"train": len(dataset.train), "validation": len(dataset.validation)}
    for sample in dataset.test:
        counts[f"test/{sample.kind_folder}"] = counts.get(f"test/{sample.kind_folder}", 0) + 1
    return CellRecord(
        key=job.stamp.key,
        stamp=job.stamp,
        status="ok",
        layout=dataset.layout,
        category=detector.category,
        counts=counts,
        figures=metrics_by_cell_key(evaluation.metrics),
        cost=cost,
        probabilities=bool(getattr(detector, "probabilities", False)),
        metrics=evaluation.metrics,
        config=detector.config.model_dump(mode="json"),
        input_size=detector.input_size,
        hardware=hardware(job.stamp.device),
    )


def _reader(maps: Path) -> Callable[[Sample], npt.NDArray[np.float32]]:
    return lambda sample: read_map(map_path(maps, sample))
