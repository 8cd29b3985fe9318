"""The report's section on cost: time and memory, and what quality they buy."""

import statistics
from collections.abc import Sequence

from markupsafe import Markup

from loco_tools.benchmark.analysis.run_data import ReportData
from loco_tools.benchmark.cell.record import Cost
from loco_tools.benchmark.report import charts
from loco_tools.benchmark.report.html import render
from loco_tools.benchmark.report.tables import (
    Table,
    TableCell,
    TableColumn,
    TableRow,
    names,
    number,
    text,
)

_COLUMNS = (
    TableColumn("fit s", tip="Seconds to learn from the good images"),
    TableColumn("ms/image", tip="Milliseconds to judge one image, reading it included"),
    TableColumn("images/s", tip="Images judged per second, reading them included"),
    TableColumn("peak MB", tip="Highest memory in use while fitting and predicting"),
    TableColumn("M numbers", tip="Millions of numbers that predicting uses: backbone, nets, bank"),
)

_AXES = (
    ("ms_per_image", "milliseconds per image", "Time per image"),
    ("peak_mb", "peak megabytes", "Memory"),
    ("fit_s", "seconds to fit", "Time to learn"),
)


def costs(data: ReportData) -> Table:
    """Time and memory per class and method, means over seeds."""
    rows = []
    for one in data.classes:
        for method in data.methods:
            costs = [record.cost for record in one.of(method) if record.cost is not None]
            if costs:
                rows.append(TableRow((text(one.name), text(method), *_average_cells(costs))))
    caption = "Cost per class and method: means over seeds; of memory and numbers, the maximum"
    return Table("cost", caption, (*names("class", "method"), *_COLUMNS), tuple(rows))


def costs_by_method(data: ReportData) -> Table:
    """The same over all classes."""
    rows = []
    for method in data.methods:
        costs = [r.cost for one in data.classes for r in one.of(method) if r.cost is not None]
        if costs:
            rows.append(TableRow((text(method), *_average_cells(costs))))
    caption = "Cost per method: means over classes and seeds; of memory and numbers, the maximum"
    return Table("cost_by_method", caption, (*names("method"), *_COLUMNS), tuple(rows))


def _average_cells(costs: Sequence[Cost]) -> tuple[TableCell, ...]:
    return (
        number(statistics.fmean(cost.fit_s for cost in costs), 1),
        number(statistics.fmean(cost.ms_per_image for cost in costs), 1),
        number(statistics.fmean(cost.images_per_s for cost in costs), 1),
        number(max(cost.peak_mb for cost in costs), 0),
        number(max((cost.parameters or 0) / 1e6 for cost in costs), 1),
    )


def cost(data: ReportData, by_method: Table, by_class: Table) -> Markup:
    """The section on cost: drawings against quality, and the tables."""
    quality = data.means(data.classes_with("image_auroc_mean"), "image_auroc_mean")
    drawings = []
    for field, label, title in _AXES:
        spent = data.typical_costs(field)
        dots = [
            charts.Dot(method, data.style(method), spent[method], quality[method])
            for method in data.methods
            if method in spent and method in quality
        ]
        if dots:
            name, y_label = f"{title} against mean image AUROC", "mean image AUROC"
            drawing = charts.cost_chart(dots, name=name, x_label=label, y_label=y_label)
            drawings.append((title, drawing))
    return render(
        "cost.html",
        hardware=data.hardware,
        drawings=drawings,
        methods=data.methods,
        by_method=by_method,
        by_class=by_class if len(data.classes) > 1 else None,
    )
