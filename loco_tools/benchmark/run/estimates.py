"""About what a cell will take: from what it took before, else from a shipped table."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

from loco_tools.benchmark.cell.record import CellRecord, Cost, read_record
from loco_tools.benchmark.run.workload import Workload
from loco_tools.ensembles import ENSEMBLES, FEATURE_LEVEL, ensemble_definition
from loco_tools.errors import LocoToolsError
from loco_tools.schema import Schema, read_toml

if TYPE_CHECKING:
    from loco_tools.benchmark.cell.work import Job

TABLE = Path(__file__).with_name("reference_costs.toml")

Growth = Literal["images", "images_squared", "constant"]


class MethodCost(Schema):
    """What one method took on one kind of device, with the reference's number of images."""

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
    """Reading, judging held-out images and evaluating, per megapixel of the test images."""
    cpu_base_mb: float
    """Of a process before it has seen an image; grows with nothing."""
    costs: tuple[MethodCost, ...]


class Estimate(NamedTuple):
    """What a cell will take; None where nothing is known."""

    total_s: float | None
    peak_mb: float | None
    source: str


@dataclass(frozen=True)
class Earlier:
    """A finished cell, the run that it is of, and the method behind its label."""

    run: str
    method: str
    record: CellRecord


def earlier_cells(out: Path) -> list[Earlier]:
    """The finished cells of a run's folder and of the runs beside it."""
    from loco_tools.benchmark.run.runner import RUN_FILE, read_run

    found = []
    for path in sorted(out.resolve().parent.glob(f"*/{RUN_FILE}")):
        try:
            run = read_run(path.parent)
            names = {entry.title: entry.name for entry in run.suite.entries()}
        except LocoToolsError:
            continue  # of another version
        for planned in run.cells:
            record = read_record(planned.cell, path.parent)
            if record is not None and record.status == "ok" and record.cost is not None:
                method = names.get(planned.method, planned.method)
                found.append(Earlier(path.parent.name, method, record))
    return found


def estimate(job: "Job", workload: Workload, earlier: Sequence[Earlier]) -> Estimate:
    """About what a cell will take.

    From the most similar finished cell with the same method, preset, backbone, device and settings;
    else from the table. Both are scaled by images and by the input's pixels.

    Args:
        job: the cell.
        workload: its size.
        earlier: finished cells of other runs, from `earlier_cells`.
    """
    alike = [one for one in earlier if _is_alike(job, one)]
    reference = reference_cost(job.method, job.stamp.preset, job.stamp.device)
    if alike:
        nearest = min(alike, key=lambda one: _distance(job, workload, one.record))
        return _from_record(workload, nearest, reference)
    if reference is None:
        return Estimate(None, None, "nothing is known")
    return _from_table(job, workload, reference)


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


def _is_alike(job: "Job", one: Earlier) -> bool:
    then, now = one.record.stamp, job.stamp
    fields = ("preset", "backbone", "device", "overrides")
    same = all(getattr(then, name) == getattr(now, name) for name in fields)
    return same and one.method == job.method and set(then.members) == set(now.members)


def _distance(job: "Job", workload: Workload, record: CellRecord) -> tuple[bool, bool, float]:
    """How unlike an earlier cell is: another class, another input size, other numbers of images."""
    then, now = record.stamp, job.stamp
    return (
        then.class_name != now.class_name,
        (then.input_size_px, then.resize) != (now.input_size_px, now.resize),
        abs(record.counts.get("train", 0) - workload.train_images),
    )


def _from_record(workload: Workload, nearest: Earlier, reference: MethodCost | None) -> Estimate:
    record = nearest.record
    cost = record.cost or Cost(fit_s=0, ms_per_image=0, peak_mb=0, peak_of="process")
    tested = max(1, record.test_images)
    images = workload.train_images / max(1, record.counts.get("train", 0))
    pixels = workload.input_pixels / _pixels_then(record, workload)
    rest_s = max(0.0, (cost.total_s or 0) - cost.fit_s - tested * cost.ms_per_image / 1000)
    fit = cost.fit_s * _grown(images, reference.fit_grows if reference else "images") * pixels
    predict = workload.test_images * cost.ms_per_image / 1000 * pixels
    growth = _grown(images, reference.memory_grows if reference else "images") * pixels
    return Estimate(
        total_s=fit + predict + rest_s * workload.test_images / tested,
        peak_mb=_memory(cost.peak_mb, growth, on_gpu=cost.peak_of == "gpu"),
        source=f"as in {nearest.run} on {record.stamp.class_name}, seed {record.stamp.seed}",
    )


def _from_table(job: "Job", workload: Workload, row: MethodCost) -> Estimate:
    table = reference_costs()
    images = workload.train_images / table.train_images
    pixels = workload.input_pixels / row.input_px**2
    fit = row.fit_s * _grown(images, row.fit_grows) * pixels
    predict = workload.test_images * row.ms_per_image / 1000 * pixels
    rest = workload.test_megapixels * table.evaluation_s_per_megapixel
    if job.method in ENSEMBLES:
        fit, predict = fit / pixels, predict / pixels  # members differ in their inputs
        pixels = 1.0
    growth = _grown(images, row.memory_grows) * pixels
    return Estimate(
        total_s=fit + predict + rest,
        peak_mb=_memory(row.peak_mb, growth, on_gpu=row.device == "cuda"),
        source="table, rough",
    )


def _pixels_then(record: CellRecord, workload: Workload) -> float:
    """The input's pixels of an earlier cell; of one that does not say them, as now."""
    if record.input_size is None:
        return workload.input_pixels
    return float(record.input_size[0] * record.input_size[1])


def _grown(images: float, growth: Growth) -> float:
    """The factor that `images` times as many images bring."""
    return {"images": images, "images_squared": images**2, "constant": 1.0}[growth]


def _memory(peak_mb: float, growth: float, *, on_gpu: bool) -> float:
    """The peak when all that is not the bare process grows."""
    base = 0.0 if on_gpu else min(peak_mb, reference_costs().cpu_base_mb)
    return base + (peak_mb - base) * growth
