"""TensorBoard: one event file per finished cell, with training curves and figures."""

import importlib
from pathlib import Path
from typing import Any

from loco_tools import files
from loco_tools.benchmark.run.runner import read_run
from loco_tools.benchmark.sinks.kept_cells import KeptCell, kept_cells, safe, told
from loco_tools.benchmark.suite import folder_name
from loco_tools.errors import BenchmarkError
from loco_tools.progress import SILENT, Progress


def write_events(out: Path, folder: Path, progress: Progress = SILENT) -> str:
    """Write `folder/<method>/<class>/<seed>/events.out.tfevents.*` for every finished cell.

    Curves are under "training/", at their steps; figures and cost under "figures/", at the last
    step. A cell that is there as it is in the run's folder is left alone, an older one is replaced.

    Args:
        out: the run's folder.
        folder: where the event files go; made when needed.
        progress: advances by one per cell.

    Returns:
        what was done, in words.

    Raises:
        BenchmarkError: no run there, or the folder cannot be written.
    """
    cells = [cell for cell in kept_cells(out, read_run(out)) if cell.record.status == "ok"]
    written = 0
    with progress.task("TensorBoard", len(cells)) as advance:
        for cell in cells:
            written += _write(cell, folder)
            advance(1)
    return told(written, len(cells))


def _write(cell: KeptCell, folder: Path) -> bool:
    """Whether the cell had to be written."""
    stamp = cell.record.stamp
    place = folder / folder_name(stamp.method) / stamp.class_name / str(stamp.seed)
    name = f"events.out.tfevents.{int(cell.ended_s)}.{cell.mark}"
    if (place / name).is_file():
        return False
    try:
        with files.folder_swapped_in(place) as fresh:
            _write_scalars(cell, fresh)
            (written,) = fresh.iterdir()
            written.rename(fresh / name)  # torch's own name has the machine's in it
    except OSError as error:
        raise BenchmarkError(
            f"TensorBoard, {place}: cannot be written ({error.strerror or error}); the results are "
            "complete in the run's folder; next step: name another folder with --tensorboard"
        ) from error
    return True


def _write_scalars(cell: KeptCell, folder: Path) -> None:
    tensorboard: Any = importlib.import_module("torch.utils.tensorboard")
    curves = cell.curves
    last = max((int(curve.x[-1]) for curve in curves if curve.x), default=0)
    with tensorboard.SummaryWriter(str(folder)) as writer:
        for curve in curves:
            for x, y in zip(curve.x, curve.y, strict=True):
                writer.add_scalar(f"training/{safe(curve.name)}", y, int(x), cell.ended_s)
        for name, value in cell.figures.items():
            writer.add_scalar(f"figures/{safe(name)}", value, last, cell.ended_s)
