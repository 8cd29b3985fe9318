"""Estimates of what a cell will take, from earlier cells or else from a shipped table."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

from loco_tools.benchmark.cell.record import CellRecord, Cost, read_record
from loco_tools.benchmark.run.runner import RUN_FILE, read_run
from loco_tools.datasets import load
from loco_tools.datasets.reading import Images
from loco_tools.datasets.sample import DatasetClass
from loco_tools.datasets.splits import hold_out_validation
from loco_tools.ensembles import ENSEMBLES, FEATURE_LEVEL, ensemble_definition
from loco_tools.errors import LocoToolsError
from loco_tools.schema import Schema, read_toml

if TYPE_CHECKING:
    from loco_tools.benchmark.cell.work import Job

TABLE = Path(__file__).with_name("reference_costs.toml")

Growth = Literal["images", "images_squared", "constant"]


class MethodCost(Schema):
    """The cost of a method on one kind of device, with `ReferenceCosts.train_images` images."""

    method: str
    device: Literal["cpu", "cuda"]
    input_px: float
    fit_s: float
    ms_per_image: float
    peak_mb: float
    fit_grows: Growth
    memory_grows: Growth


class ReferenceCosts(Schema):
    """`reference_costs.toml`."""

    schema_version: Literal[1] = 1
    train_images: int
    evaluation_s_per_megapixel: float
    """Reading, predicting held-out images and evaluating, per megapixel of the test images."""
    cpu_base_mb: float
    """Memory of a process before it has read an image; it is constant."""
    costs: tuple[MethodCost, ...]


class Estimate(NamedTuple):
    """Time and memory that a cell will take, None where unknown, and where the estimate is from."""

    total_s: float | None
    peak_mb: float | None
    source: str


@dataclass(frozen=True)
class Workload:
    """The size of a cell.

    Attributes:
        train_images: number of training images.
        test_images: number of test images.
        input_pixels: height times width of the detector's input.
        test_megapixels: total size of the test images.
    """

    train_images: int
    test_images: int
    input_pixels: float
    test_megapixels: float


class Workloads:
    """The sizes of the cells of a run; every class is read once, and its images are not."""

    def __init__(self) -> None:
        self._classes: dict[Path, tuple[DatasetClass, list[tuple[int, int]]]] = {}

    def of(self, job: "Job", members: Sequence["Job"]) -> Workload:
        """The size of a cell; an ensemble has the largest input of its members."""
        from loco_tools.methods import method_class
        from loco_tools.methods.batch import input_size

        if job.class_path not in self._classes:
            dataset = hold_out_validation(load(job.class_path, warn=False), seed=job.stamp.seed)
            self._classes[job.class_path] = dataset, Images(dataset.train).sizes()
        dataset, image_sizes = self._classes[job.class_path]
        pixels = []
        for single in members or [job]:
            stamp = single.stamp
            size = {} if stamp.input_size_px is None else {"size_px": stamp.input_size_px}
            settings = {"resize": stamp.resize, **size, **stamp.overrides}
            config = method_class(single.method).configure(stamp.preset, settings)
            height, width = input_size(image_sizes, config.size_px, config.resize)
            pixels.append(float(height * width))
        return Workload(
            train_images=len(dataset.train),
            test_images=len(dataset.test),
            input_pixels=max(pixels),
            test_megapixels=sum(h * w for h, w in Images(dataset.test).sizes()) / 1e6,
        )


@dataclass(frozen=True)
class FinishedCell:
    """A finished cell, the name of its run, and its implementation."""

    run: str
    method: str
    record: CellRecord


def finished_cells(out: Path) -> list[FinishedCell]:
    """The finished cells in a run's folder and in the runs next to it."""
    cells = []
    for path in sorted(out.resolve().parent.glob(f"*/{RUN_FILE}")):
        try:
            run = read_run(path.parent)
            methods = {entry.name: entry.implementation for entry in run.suite.entries()}
        except LocoToolsError:
            continue  # the run was written by another version
        for planned in run.cells:
            record = read_record(planned.cell, path.parent)
            if record is not None and record.status == "ok" and record.cost is not None:
                method = methods.get(planned.method, planned.method)
                cells.append(FinishedCell(path.parent.name, method, record))
    return cells


def estimate(job: "Job", workload: Workload, finished: Sequence[FinishedCell]) -> Estimate:
    """Estimate what a cell will take.

    The basis is the most similar finished cell with the same method, preset, backbone, device and
    settings, or else the table. Both are scaled by the numbers of images and of input pixels.

    Args:
        job: the cell.
        workload: its size.
        finished: cells of other runs, from `finished_cells`.
    """
    now = job.stamp
    similar = [
        cell
        for cell in finished
        if cell.method == job.method
        and set(cell.record.stamp.members) == set(now.members)
        and all(
            getattr(cell.record.stamp, field) == getattr(now, field)
            for field in ("preset", "backbone", "device", "overrides")
        )
    ]

    def distance(cell: FinishedCell) -> tuple[bool, bool, float]:
        then = cell.record.stamp
        return (
            then.class_name != now.class_name,
            (then.input_size_px, then.resize) != (now.input_size_px, now.resize),
            abs(cell.record.counts.get("train", 0) - workload.train_images),
        )

    reference = reference_cost(job.method, now.preset, now.device)
    if similar:
        return _scale_finished(min(similar, key=distance), workload, reference)
    if reference is None:
        return Estimate(None, None, "nothing is known")
    return _scale_reference(reference, workload, is_ensemble=job.method in ENSEMBLES)


def estimate_maps(record: CellRecord) -> Estimate:
    """Estimate what predicting again with the detector of a finished cell will take."""
    if record.cost is None:
        return Estimate(None, None, "nothing is known")
    predict_s = record.test_images * record.cost.ms_per_image / 1000
    return Estimate(predict_s + record.cost.held_out_s, record.cost.peak_mb, "as when it was run")


def reference_cost(method: str, preset: str, device: str) -> MethodCost | None:
    """The row of the table: on a CPU for preset "fast", on a GPU for "paper"; None without one."""
    if method in ENSEMBLES:
        is_feature_level = ensemble_definition(method).import_path == FEATURE_LEVEL
        method = "ensemble" if is_feature_level else "ensemble-output"
    kind = device.partition(":")[0]
    if preset != {"cpu": "fast", "cuda": "paper"}.get(kind):
        return None
    rows = (row for row in reference_costs().costs if (row.method, row.device) == (method, kind))
    return next(rows, None)


@cache
def reference_costs() -> ReferenceCosts:
    """The shipped table."""
    return read_toml(ReferenceCosts, TABLE)


def _scale_finished(
    cell: FinishedCell, workload: Workload, reference: MethodCost | None
) -> Estimate:
    record = cell.record
    cost = record.cost or Cost(fit_s=0, ms_per_image=0, peak_mb=0, peak_of="process")
    height, width = record.input_size or (1.0, workload.input_pixels)  # old cells lack their size
    pixels = workload.input_pixels / (height * width)
    images = workload.train_images / max(1, record.counts.get("train", 0))
    tested = max(1, record.test_images)
    rest_s = max(0.0, (cost.total_s or 0) - cost.fit_s - tested * cost.ms_per_image / 1000)
    fit = cost.fit_s * _growth(images, reference.fit_grows if reference else "images") * pixels
    predict = workload.test_images * cost.ms_per_image / 1000 * pixels
    growth = _growth(images, reference.memory_grows if reference else "images") * pixels
    return Estimate(
        total_s=fit + predict + rest_s * workload.test_images / tested,
        peak_mb=_memory(cost.peak_mb, growth, on_gpu=cost.peak_of == "gpu"),
        source=f"as in {cell.run} on {record.stamp.class_name}, seed {record.stamp.seed}",
    )


def _scale_reference(row: MethodCost, workload: Workload, *, is_ensemble: bool) -> Estimate:
    table = reference_costs()
    images = workload.train_images / table.train_images
    # The members of an ensemble differ in their inputs, which the table does not know.
    pixels = 1.0 if is_ensemble else workload.input_pixels / row.input_px**2
    fit = row.fit_s * _growth(images, row.fit_grows) * pixels
    predict = workload.test_images * row.ms_per_image / 1000 * pixels
    rest = workload.test_megapixels * table.evaluation_s_per_megapixel
    growth = _growth(images, row.memory_grows) * pixels
    return Estimate(
        total_s=fit + predict + rest,
        peak_mb=_memory(row.peak_mb, growth, on_gpu=row.device == "cuda"),
        source="table, rough",
    )


def _growth(images: float, growth: Growth) -> float:
    """The factor by which a cost grows with `images` times as many images."""
    return {"images": images, "images_squared": images**2, "constant": 1.0}[growth]


def _memory(peak_mb: float, growth: float, *, on_gpu: bool) -> float:
    """The peak memory when all memory except that of the bare process grows."""
    base = 0.0 if on_gpu else min(peak_mb, reference_costs().cpu_base_mb)
    return base + (peak_mb - base) * growth
