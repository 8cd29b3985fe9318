"""The sections on where results come from: failed cells, rules, the honesty stamp."""

from collections.abc import Sequence

from markupsafe import Markup

from loco_tools.benchmark.analysis.run_data import ReportData
from loco_tools.benchmark.cell.record import CellRecord
from loco_tools.benchmark.cell.thumbnails import HIGH_PERCENTILE, LOW_PERCENTILE
from loco_tools.benchmark.report.html import render
from loco_tools.benchmark.report.tables import Table, TableRow, names, text
from loco_tools.benchmark.run.results_csv import RESULTS_FILE, row_of
from loco_tools.wording import plural

STAMPED = (
    *("method", "class", "seed", "status", "preset", "backbone", "weights", "input_size_px"),
    *("resize", "device", "threads", "selection", "score_rule", "level", "members", "overrides"),
    *("train_images", "validation_images", "test_images", "data_hash", "code_hash", "versions"),
)
"""Columns of results.csv that the report repeats."""

_LAYOUTS = {"mvtec_loco": "MVTec LOCO AD layout", "mvtec_ad": "MVTec AD layout"}


def failures(data: ReportData) -> Markup | None:
    """The section with the cells that failed or lack their maps, each with its error; or None."""
    records = [*data.failures, *data.without_maps]
    if not records:
        return None
    titles = [f"{plural(len(data.failures), 'cell')} failed"] if data.failures else []
    if data.without_maps:
        titles.append(f"{plural(len(data.without_maps), 'finished cell')} without maps")
    return render("failures.html", title=", ".join(titles), records=records)


def accepted_faults(data: ReportData) -> Markup | None:
    """The section with the faults of the data in spite of which the run was started."""
    faulty = [info for info in data.run.classes if info.data_errors]
    return render("data_faults.html", classes=faulty) if faulty else None


def failed(data: ReportData) -> Table | None:
    """The same as a table; None without any."""
    columns = names("method", "class", "seed", "error")
    rows = [
        TableRow((*map(text, (s.method, s.class_name, str(s.seed), error)),))
        for record in (*data.failures, *data.without_maps)
        for s in [record.stamp]
        for error in [record.error or f"result kept, maps missing: {record.maps_error}"]
    ]
    title = "Cells that failed or lack their maps" if data.without_maps else "Cells that failed"
    return Table("failed", title, columns, tuple(rows)) if rows else None


def origin(data: ReportData) -> Markup:
    """The section with rules, hardware, data, and the honesty stamp of every row."""
    classes = []
    for info, one in zip(data.run.classes, data.classes, strict=True):
        counts = one.done[0].counts if one.done else {}
        words = [_LAYOUTS.get(one.layout, ""), *(f"{n} {name}" for name, n in counts.items())]
        classes.append((info.name, ", ".join(words), info.data_hash[:16], info.findings))
    stamped = []
    for method in data.methods:
        records = [record for record in data.records if record.stamp.method == method]
        if records:
            first, key = records[0].stamp, f"stamp-{data.style(method)}"
            backbone, cells = first.backbone.partition(":")[0], plural(len(records), "cell")
            summary = f"{method}: preset {first.preset}, {backbone}, {cells}"
            stamped.append((key, summary, stamps(records, key)))
    return render(
        "origin.html",
        run=data.run,
        classes=classes,
        stamps=stamped,
        results_file=RESULTS_FILE,
        low=f"{LOW_PERCENTILE:g}",
        high=f"{HIGH_PERCENTILE:g}",
    )


def stamps(records: Sequence[CellRecord], key: str = "stamps") -> Table:
    """Every row of results.csv that says how a figure came about."""
    rows = [row_of(record) for record in records]
    return Table(
        key,
        "Honesty stamp of every cell",
        names(*(name.replace("_", " ") for name in STAMPED)),
        tuple(TableRow(tuple(text(row[name]) for name in STAMPED)) for row in rows),
    )
