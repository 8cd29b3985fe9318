"""Writing a run's report into its folder."""

from pathlib import Path

from loco_tools import files
from loco_tools.benchmark.ensemble_gains import gains_of, write_ensembles
from loco_tools.benchmark.report.page import page
from loco_tools.benchmark.report_data import gather
from loco_tools.progress import SILENT, Progress

REPORT_FILE = "report.html"


def write_report(out: Path, progress: Progress = SILENT) -> Path:
    """Write `report.html` into a run's folder and return its path; `ensembles.csv` beside it.

    Raises:
        BenchmarkError: the folder holds no run, or a cell in it is damaged.
    """
    path, data = out / REPORT_FILE, gather(out)
    gains = gains_of(data)
    write_ensembles(out, gains)
    files.write_text(path, page(data, gains, progress))
    return path
