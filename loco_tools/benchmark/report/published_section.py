"""The report's section on what others have published."""

from markupsafe import Markup

from loco_tools.benchmark.analysis.published import (
    NAMES,
    compare_with_published,
    read_published,
    settings_of,
)
from loco_tools.benchmark.analysis.run_data import ReportData
from loco_tools.benchmark.report.html import render
from loco_tools.benchmark.report.tables import Table, TableColumn, TableRow, names, number, text
from loco_tools.benchmark.run.results_csv import MeanOverSeeds
from loco_tools.evaluation.metric_table import METRICS


def published(data: ReportData) -> Table | None:
    """Compare published figures with ours; None if no class is an official one."""
    found = compare_with_published(data, read_published())
    if not found:
        return None
    rows = []
    for comparison in found:
        theirs, known = comparison.published, METRICS.get(comparison.published.figure)
        metric = known.title if known is not None else theirs.figure
        first = [NAMES[theirs.dataset], theirs.class_name or "mean of all", metric, theirs.method]
        source = f"{theirs.source}; {theirs.note}" if theirs.note else theirs.source
        ours: list[tuple[str, MeanOverSeeds | None]] = [
            (f"{title}: {settings_of(data, title)}", mean)
            for title, mean in comparison.ours.items()
        ]
        for settings, mean in ours or [("", None)]:
            percent = None if mean is None else 100 * mean.mean
            gap = None if percent is None else percent - theirs.value
            numbers = (number(theirs.value, 1), number(percent, 1), number(gap, 1, signed=True))
            rows.append(TableRow((*map(text, first), *numbers, text(settings), text(source))))
    columns = (
        *names("data set", "class", "figure", "method"),
        *(TableColumn("published %"), TableColumn("ours %"), TableColumn("difference")),
        *names("our settings", "source"),
    )
    return Table("published", "Published figures compared with ours", columns, tuple(rows))


def published_section(table: Table | None) -> Markup | None:
    """The section; None without such figures."""
    if table is None:
        return None
    return render("published.html", published=table)
