"""The report's section on what others have published."""

from collections.abc import Sequence

from loco_tools.benchmark.analysis.published import (
    NAMES,
    Beside,
    beside_ours,
    read_published,
    settings_of,
)
from loco_tools.benchmark.analysis.run_data import ReportData
from loco_tools.benchmark.report.html import Markup, html_table, section
from loco_tools.benchmark.report.tables import Column, Row, Table, names, number, text
from loco_tools.benchmark.run.results_csv import Spread
from loco_tools.evaluation.metric_table import METRICS

NOTE = (
    "Figures that others have published on the classes of this run, recognised by name, layout and "
    "number of test images. They come from other code, hardware, weights and often other protocols "
    "(some choose the best epoch on the test set), so a gap of a point or two means nothing. Ours "
    "stand beside them where the method is the same; the last column says with which settings. "
    "A mean over a data set is shown only when the run has all of its classes."
)


def published(data: ReportData) -> Table | None:
    """Published figures beside ours; None where no class is an official one."""
    found = beside_ours(data, read_published())
    if not found:
        return None
    rows = [row for one in found for row in _rows(data, one)]
    columns = (
        *names("data set", "class", "figure", "method"),
        *(Column("published %"), Column("ours %"), Column("difference")),
        *names("our settings", "source"),
    )
    return Table(
        "published", "What others have published, and ours beside it", columns, tuple(rows)
    )


def published_section(table: Table | None) -> Markup | None:
    """The section; None without such figures."""
    if table is None:
        return None
    return section("published", "What others have published", NOTE, html_table(table))


def _rows(data: ReportData, one: Beside) -> Sequence[Row]:
    of, known = one.published, METRICS.get(one.published.figure)
    figure = known.title if known is not None else of.figure
    places = [NAMES[of.dataset], of.class_name or "mean of all", figure, of.method]
    source = f"{of.source}; {of.note}" if of.note else of.source
    ours: list[tuple[str, Spread | None]] = [
        (f"{title}: {settings_of(data, title)}", mean) for title, mean in one.ours.items()
    ]
    return [
        Row(
            (
                *map(text, places),
                number(of.value, 1),
                number(None if mean is None else 100 * mean.mean, 1),
                number(None if mean is None else 100 * mean.mean - of.value, 1, signed=True),
                text(settings),
                text(source),
            )
        )
        for settings, mean in ours or [("", None)]
    ]
