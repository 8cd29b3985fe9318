"""Writing a run's report into its folder: the page, and its tables as text."""

import shlex
from collections.abc import Iterable, Mapping
from pathlib import Path

from loco_tools import files
from loco_tools.benchmark.analysis.ensemble_gains import (
    ENSEMBLES_FILE,
    gains_of,
    write_ensembles,
)
from loco_tools.benchmark.analysis.run_data import ClassResults, ReportData, gather
from loco_tools.benchmark.report.image_sections import pictured
from loco_tools.benchmark.report.page import page, tables_of
from loco_tools.benchmark.report.tables import (
    Table,
    TableColumn,
    TableRow,
    as_csv,
    as_latex,
    as_markdown,
    latex_document,
    names,
    number,
    text,
)
from loco_tools.benchmark.run.results_csv import RESULTS_FILE
from loco_tools.cards.marked_sections import with_sections
from loco_tools.errors import BenchmarkError
from loco_tools.progress import SILENT, Progress
from loco_tools.wording import markdown, plural, visible

REPORT_FILE = "report.html"
MARKDOWN_FILE = "report.md"
TABLES_FOLDER = "tables"

NOT_PRINTED = ("stamps", "failed")
"""Tables that are too wide for paper, and not written as LaTeX."""


def write_report(out: Path, progress: Progress = SILENT) -> Path:
    """Write `report.html` into a run's folder and return its path.

    The folder also gets `report.md`, every table as `tables/KEY.csv` and `tables/KEY.tex` (for
    `booktabs`), `tables/all.tex`, a document of all of them, and `ensembles.csv`. They
    replace those of an earlier report all together.

    Raises:
        BenchmarkError: the folder holds no run, or a cell in it is damaged.
    """
    data = gather(out)
    gains = gains_of(data)
    classes = pictured(data, progress)
    tables = tables_of(data, gains, classes)
    text, written = page(data, gains, classes, tables), tables.all()
    targets = (TABLES_FOLDER, MARKDOWN_FILE, REPORT_FILE, ENSEMBLES_FILE)
    with files.swapped_in(*(out / name for name in targets)) as (folder, text_md, html, ensembles):
        _write_tables(folder, written)
        files.write_text(text_md, _markdown(data, written))
        files.write_text(html, text)
        has_ensembles = write_ensembles(ensembles.parent, gains) is not None
    if not has_ensembles:
        (out / ENSEMBLES_FILE).unlink(missing_ok=True)
    return out / REPORT_FILE


def _write_tables(folder: Path, tables: list[Table]) -> None:
    for table in tables:
        files.write_text(folder / f"{table.key}.csv", as_csv(table))
    printed = [table for table in tables if table.key not in NOT_PRINTED]
    for table in printed:
        files.write_text(folder / f"{table.key}.tex", as_latex(table))
    files.write_text(folder / "all.tex", latex_document(printed))


def _markdown(data: ReportData, tables: list[Table]) -> str:
    done = sum(1 for record in data.records if record.status == "ok")
    facts = [
        f"{done} of {len(data.run.cells)} cells are finished.",
        f"Command: {_code(data.run.command)}." if data.run.command else "",
        f"Hardware: {markdown(data.hardware)}." if data.hardware else "",
        "Nothing was fitted, chosen, stopped or scaled on test images. The same figures, with "
        "curves and pictures, are in report.html.",
    ]
    errors = sum(info.data_errors for info in data.run.classes)
    warnings = sum(info.data_warnings for info in data.run.classes)
    if errors:
        facts.insert(0, f"**{plural(errors, 'error')} of the data accepted: results differ.**")
    if warnings:
        facts.append(f"{plural(warnings, 'warning')} about the data, listed there too.")
    simulated = [info.name for info in data.run.classes if info.simulated]
    if simulated:
        facts.insert(0, "**Simulated images, not photographs.**")
    lead = " ".join(" ".join(fact.split()) for fact in facts if fact)
    return "\n".join([f"# {markdown(data.title)}", "", lead, "", *map(as_markdown, tables)])


def publish(out: Path, target: Path) -> Path:
    """Write a run's conditions and tables into a Markdown file, and `results.csv` into its folder.

    The tables are the report's, without those about single images. Cells that are not finished
    are left out of them and named. Every row of the CSV carries its honesty stamp.

    Args:
        out: the run's folder.
        target: the Markdown file; what people wrote in it stays.

    Raises:
        BenchmarkError: no run there, none of its cells is finished, or one is damaged.
        DefinitionError: the marks in `target` are not as they were written.
    """
    data = gather(out)
    if not any(record.status == "ok" for record in data.records):
        raise BenchmarkError(f"{out}: no cell is finished, so there is nothing to publish")
    gains = gains_of(data)
    tables = tables_of(data, gains, ()).all()  # without those of single images
    shown = [as_markdown(table) for table in tables if table.key not in NOT_PRINTED]
    before = (
        target.read_text(encoding="utf-8") if target.is_file() else f"# {markdown(data.title)}\n"
    )
    sections = {"conditions": conditions(data), "figures": "\n".join(shown).rstrip()}
    written = with_sections(before, sections, origin=str(target))
    results = (out / RESULTS_FILE).read_bytes()
    with files.swapped_in(target, target.with_suffix(".csv")) as (page_file, table):
        files.write_text(page_file, written)
        files.write_bytes(table, results)
    return target


def conditions(data: ReportData) -> str:
    """The run's conditions in Markdown; they do not identify the machine or its user."""
    run = data.run
    done = sum(record.status == "ok" for record in data.records)
    stamps = [record.stamp for record in data.records]
    errors = sum(info.data_errors for info in run.classes)
    facts = {
        "Command": _code(without_folders(run.command)) if run.command else "not recorded",
        "Seeds": ", ".join(str(seed) for seed in run.suite.seeds),
        "Preset": _distinct(stamp.preset for stamp in stamps),
        "Backbone": _distinct(stamp.backbone for stamp in stamps if not stamp.members),
        "Hardware": _facts(run.hardware),
        "Versions": _facts(run.versions),
        "Started": run.started,
        "Finished": run.finished or "not finished",
        "Cells": f"{done} of {len(run.cells)} (method x class x seed)",
        "Left out": markdown(_left_out(data) or "nothing"),
        **({"Errors of the data that were accepted": str(errors)} if errors else {}),
    }
    listing = "\n".join(f"- {name}: {value}" for name, value in facts.items())
    simulated = any(info.simulated for info in run.classes)
    warning = "**Simulated images, not photographs.**\n\n" if simulated else ""
    return f"{warning}{listing}\n\n{as_markdown(_classes(data)).rstrip()}"


def without_folders(command: str) -> str:
    """A command line with absolute paths cut down to their last part.

    >>> without_folders("loco-tools bench --weights /home/me/net.pth --out runs/x")
    'loco-tools bench --weights net.pth --out runs/x'
    """
    words = shlex.split(command.replace("`", ""))
    return shlex.join(Path(word).name if Path(word).is_absolute() else word for word in words)


def _left_out(data: ReportData) -> str:
    """Cells that have no figures, gathered: "angle, seed 1, 2: draem, ast"."""
    done = {record.cell for record in data.records if record.status == "ok"}
    seeds: dict[tuple[str, str], list[str]] = {}
    for planned in data.run.cells:
        if planned.cell not in done:
            seeds.setdefault((planned.class_name, planned.method), []).append(str(planned.seed))
    methods: dict[tuple[str, str], list[str]] = {}
    for (class_name, method), missing in seeds.items():
        methods.setdefault((class_name, ", ".join(missing)), []).append(method)
    return "; ".join(
        f"{class_name}, seed {missing}: {', '.join(absent)}"
        for (class_name, missing), absent in methods.items()
    )


def _classes(data: ReportData) -> Table:
    """Number of training and test images per class."""
    kinds = list(dict.fromkeys(kind for one in data.classes for kind in _counts(one)))
    digests = {info.name: info.data_hash[:16] for info in data.run.classes}
    rows = [
        TableRow(
            (
                text(one.name),
                *(number(_counts(one).get(kind), 0) for kind in kinds),
                text(digests[one.name]),
            )
        )
        for one in data.classes
    ]
    columns = (*names("class"), *map(TableColumn, kinds), *names("data hash"))
    return Table("classes", "Images per class", columns, tuple(rows))


def _counts(one: ClassResults) -> dict[str, int]:
    return dict(one.done[0].counts) if one.done else {}


def _distinct(values: Iterable[str]) -> str:
    return markdown(", ".join(dict.fromkeys(values)))


def _facts(facts: Mapping[str, object]) -> str:
    return markdown(", ".join(f"{name} {value}" for name, value in facts.items()))


def _code(command: str) -> str:
    return f"`{visible(command.replace('`', ''), keep='')}`"
