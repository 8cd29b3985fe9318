"""The report's section on cost: time and memory, and what quality they buy."""

import statistics

from loco_tools.benchmark.report import charts
from loco_tools.benchmark.report.html_table import html_table
from loco_tools.benchmark.report.markup import Markup, element
from loco_tools.benchmark.report.section import captioned, section
from loco_tools.benchmark.report.table import Column, Row, Table, names, number, text
from loco_tools.benchmark.report_data import ReportData

_COLUMNS = (
    Column("fit s", tip="Seconds to learn from the good images"),
    Column("ms/image", tip="Milliseconds to judge one image, reading it included"),
    Column("images/s", tip="Images judged per second, reading them included"),
    Column("peak MB", tip="Highest memory in use while fitting and predicting"),
    Column("M numbers", tip="Millions of numbers that predicting uses: backbone, nets, bank"),
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
            found = [record.cost for record in one.of(method) if record.cost is not None]
            if found:
                cells = (
                    number(statistics.fmean(cost.fit_s for cost in found), 1),
                    number(statistics.fmean(cost.ms_per_image for cost in found), 1),
                    number(statistics.fmean(cost.images_per_s for cost in found), 1),
                    number(max(cost.peak_mb for cost in found), 0),
                    number(max((cost.parameters or 0) / 1e6 for cost in found), 1),
                )
                rows.append(Row((text(one.name), text(method), *cells)))
    caption = "Cost per class and method: means over seeds, of memory and numbers the largest"
    return Table("cost", caption, (*names("class", "method"), *_COLUMNS), tuple(rows))


def cost(data: ReportData, table: Table) -> Markup:
    """The section."""
    hardware = ", ".join(data.run.hardware.values())
    note = (
        f"Measured here ({hardware}); milliseconds include reading the image. Memory is the whole "
        "process on a CPU, what torch allocated on a GPU. Cells that ran beside others took longer "
        "than they would have alone."
    )
    quality = data.means(data.classes_with("image_auroc_mean"), "image_auroc_mean")
    figures = []
    for field, label, title in _AXES:
        spent = data.typical_costs(field)
        dots = [
            charts.Dot(method, data.style(method), spent[method], quality[method])
            for method in data.methods
            if method in spent and method in quality
        ]
        if dots:
            drawn = charts.cost_chart(
                dots, name=f"{title} against mean image AUROC", x_label=label,
                y_label="mean image AUROC",
            )  # fmt: skip
            figures.append(
                captioned(f"{title} against quality: up and to the left is better", drawn)
            )
    return section(
        "cost", "Cost", note, element("div", figures, class_="charts wide"), html_table(table)
    )
