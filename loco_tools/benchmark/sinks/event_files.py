"""TensorBoard: one event file per finished cell, with training curves and metrics."""

import importlib
from pathlib import Path
from typing import Any

from loco_tools import files
from loco_tools.benchmark.run.runner import read_run
from loco_tools.benchmark.sinks.ended_cells import EndedCell, ended_cells, sanitize, summarize
from loco_tools.benchmark.suite import folder_name
from loco_tools.errors import BenchmarkError
from loco_tools.progress import SILENT, Progress


def write_events(out: Path, folder: Path, progress: Progress = SILENT) -> str:
    """Write `folder/<method>/<class>/<seed>/events.out.tfevents.*` for every finished cell.

    Training curves are scalars under "training/" at their steps; metrics and costs are scalars
    under "figures/" at the last step. Files that are up to date are left alone, older ones are
    replaced.

    Args:
        out: the run's folder.
        folder: for the event files; created when needed.
        progress: advances by one per cell.

    Returns:
        What was done, for a person.

    Raises:
        BenchmarkError: `out` holds no run, or `folder` cannot be written.
    """
    cells = [cell for cell in ended_cells(out, read_run(out)) if cell.record.status == "ok"]
    written = 0
    with progress.task("TensorBoard", len(cells)) as advance:
        for cell in cells:
            written += _write_cell(cell, folder)
            advance(1)
    return summarize(written, len(cells))


def _write_cell(cell: EndedCell, folder: Path) -> bool:
    """Write the event file of a cell; False if it was up to date."""
    tensorboard: Any = importlib.import_module("torch.utils.tensorboard")
    stamp = cell.record.stamp
    target = folder / folder_name(stamp.method) / stamp.class_name / str(stamp.seed)
    name = f"events.out.tfevents.{int(cell.ended_s)}.{cell.digest}"
    if (target / name).is_file():
        return False
    last_step = max((int(curve.x[-1]) for curve in cell.curves if curve.x), default=0)
    try:
        with files.folder_swapped_in(target) as fresh:
            with tensorboard.SummaryWriter(str(fresh)) as writer:
                for curve in cell.curves:
                    tag = f"training/{sanitize(curve.name)}"
                    for x, y in zip(curve.x, curve.y, strict=True):
                        writer.add_scalar(tag, y, int(x), cell.ended_s)
                for metric, value in cell.metrics.items():
                    tag = f"figures/{sanitize(metric)}"
                    writer.add_scalar(tag, value, last_step, cell.ended_s)
            (written,) = fresh.iterdir()
            written.rename(fresh / name)  # torch's own name contains the name of the machine
    except OSError as error:
        raise BenchmarkError(
            f"TensorBoard, {target}: cannot be written ({error.strerror or error}); the results "
            "are complete in the run's folder; next step: name another folder with --tensorboard"
        ) from error
    return True
