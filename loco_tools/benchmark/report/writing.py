"""Writing a run's report into its folder: the page, and its tables as text."""

from pathlib import Path

from loco_tools import files
from loco_tools.benchmark.analysis.ensemble_gains import gains_of, write_ensembles
from loco_tools.benchmark.analysis.run_data import ReportData, gather
from loco_tools.benchmark.report.image_sections import pictured
from loco_tools.benchmark.report.page import page, tables_of
from loco_tools.benchmark.report.tables import Table
from loco_tools.benchmark.report.text_tables import (
    as_csv,
    as_latex,
    as_markdown,
    latex_document,
)
from loco_tools.progress import SILENT, Progress

REPORT_FILE = "report.html"
MARKDOWN_FILE = "report.md"
TABLES_FOLDER = "tables"

NOT_PRINTED = ("stamps", "failed")
"""Tables that are too wide for paper, and not written as LaTeX."""


def write_report(out: Path, progress: Progress = SILENT) -> Path:
    """Write `report.html` into a run's folder and return its path.

    Beside it: `report.md`, every table as `tables/KEY.csv` and `tables/KEY.tex` (for `booktabs`),
    `tables/all.tex`, a document of all of them, and `ensembles.csv`.

    Raises:
        BenchmarkError: the folder holds no run, or a cell in it is damaged.
    """
    data = gather(out)
    gains = gains_of(data)
    classes = pictured(data, progress)
    tables = tables_of(data, gains, classes)
    text, written = page(data, gains, classes, tables), tables.all()
    write_ensembles(out, gains)  # nothing is written before everything is known to be sound
    _write_tables(out / TABLES_FOLDER, written)
    files.write_text(out / MARKDOWN_FILE, _markdown(data, written))
    files.write_text(out / REPORT_FILE, text)
    return out / REPORT_FILE


def _write_tables(folder: Path, tables: list[Table]) -> None:
    """All or none: tables of an earlier report do not stay beside those of this one."""
    with files.folder_swapped_in(folder) as fresh:
        for table in tables:
            files.write_text(fresh / f"{table.key}.csv", as_csv(table))
        printed = [table for table in tables if table.key not in NOT_PRINTED]
        for table in printed:
            files.write_text(fresh / f"{table.key}.tex", as_latex(table))
        files.write_text(fresh / "all.tex", latex_document(printed))


def _markdown(data: ReportData, tables: list[Table]) -> str:
    done = sum(1 for record in data.records if record.status == "ok")
    facts = [
        f"{done} of {len(data.run.cells)} cells are finished.",
        f"Command: `{data.run.command.replace('`', '')}`." if data.run.command else "",
        f"Hardware: {data.hardware}." if data.hardware else "",
        "Nothing was fitted, chosen, stopped or scaled on test images. The same figures, with "
        "curves and pictures, are in report.html.",
    ]
    simulated = [info.name for info in data.run.classes if info.simulated]
    if simulated:
        facts.insert(0, "**Simulated images, not photographs.**")
    lead = " ".join(" ".join(fact.split()) for fact in facts if fact)
    return "\n".join([f"# {data.title}", "", lead, "", *map(as_markdown, tables)])
