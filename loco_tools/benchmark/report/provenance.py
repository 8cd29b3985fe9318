"""The report's sections on where figures come from: failures, rules, the honesty stamp."""

from collections.abc import Sequence

from loco_tools.benchmark.analysis.run_data import ClassResults, ReportData
from loco_tools.benchmark.cell.record import CellRecord
from loco_tools.benchmark.cell.thumbnails import HIGH_PERCENTILE, LOW_PERCENTILE
from loco_tools.benchmark.report.html import Markup, element, folded, html_table, section
from loco_tools.benchmark.report.tables import Row, Table, names, text
from loco_tools.benchmark.run.results_csv import RESULTS_FILE, row_of

STAMPED = (
    *("method", "class", "seed", "status", "preset", "backbone", "weights", "input_size_px"),
    *("resize", "device", "selection", "score_rule", "level", "members", "overrides"),
    *("train_images", "validation_images", "test_images", "data_hash", "code_hash", "versions"),
)
"""Columns of results.csv that the report repeats."""

_LAYOUTS = {"mvtec_loco": "MVTec LOCO AD layout", "mvtec_ad": "MVTec AD layout"}


def failures(records: Sequence[CellRecord]) -> Markup | None:
    """The cells that failed, each with its error."""
    if not records:
        return None
    items = [
        element("li", element("b", str(record.cell)), element("br"), record.error)
        for record in records
    ]
    title = f"{len(records)} of the cells failed"
    listed = element("ul", items)
    return element("section", element("h2", title), listed, class_="failures", id="failures")


def failed(records: Sequence[CellRecord]) -> Table | None:
    """The same as a table; None without any."""
    if not records:
        return None
    rows = [
        Row((*map(text, (r.stamp.method, r.stamp.class_name, str(r.stamp.seed), r.error)),))
        for r in records
    ]
    columns = names("method", "class", "seed", "error")
    return Table("failed", "Cells that failed", columns, tuple(rows))


def origin(data: ReportData) -> Markup:
    """Rules, the machine, the data, and the honesty stamp of every row."""
    rules = [
        "Nothing was fitted, chosen, stopped or scaled on test images: every detector is the one "
        "after its last epoch (selection “last”), and one checkpoint serves all figures. Published "
        "protocols that pick the best epoch by test results, like SimpleNet's, are not followed.",
        "Only what you look at uses test results: the colour scale of the maps "
        f"({LOW_PERCENTILE:g} % to {HIGH_PERCENTILE:g} %) and which images are shown. Thresholds "
        "come from good validation images.",
        "Figures count images, not parts, and are never pooled over classes.",
        "AU-sPRO and AU-PRO are different figures and are never in one column.",
    ]
    rows = [
        element("tr", element("th", k, scope="row"), element("td", v))
        for k, v in _facts(data).items()
    ]
    rows += [
        element(
            "tr",
            element("th", f"data {info.name}", scope="row"),
            element("td", _counted(one), element("br"), element("code", info.data_hash[:16])),
        )
        for info, one in zip(data.run.classes, data.classes, strict=True)
    ]
    note = f"The same and more, machine-readable, is in {RESULTS_FILE} beside this report."
    return section(
        "origin",
        "Where the figures come from",
        "",
        element("ul", [element("li", rule) for rule in rules]),
        element("div", element("table", element("tbody", rows)), class_="scroll"),
        element("h3", "Honesty stamp of every row"),
        element("p", note, class_="quiet"),
        [_stamp(data, method) for method in data.methods],
    )


def stamps(records: Sequence[CellRecord], key: str = "stamps") -> Table:
    """Every row of results.csv that says how a figure came about."""
    rows = [row_of(record) for record in records]
    return Table(
        key,
        "Honesty stamp of every cell",
        names(*(name.replace("_", " ") for name in STAMPED)),
        tuple(Row(tuple(text(row[name]) for name in STAMPED)) for row in rows),
    )


def _stamp(data: ReportData, method: str) -> Markup | None:
    records = [record for record in data.records if record.stamp.method == method]
    if not records:
        return None
    first = records[0].stamp
    backbone = first.backbone.partition(":")[0]
    summary = f"{method}: preset {first.preset}, {backbone}, {len(records)} cells"
    key = f"stamp-{data.style(method)}"
    return folded(summary, html_table(stamps(records, key)), key=key)


def _facts(data: ReportData) -> dict[str, str | Markup]:
    run = data.run
    return {
        "command": element("code", run.command) if run.command else "–",
        "started": run.started,
        "finished": run.finished or "not finished",
        **{name.replace("_", " "): text for name, text in run.hardware.items()},
        "versions": ", ".join(f"{name} {version}" for name, version in run.versions.items()),
    }


def _counted(one: ClassResults) -> str:
    counts = one.done[0].counts if one.done else {}
    listed = (f"{count} {name}" for name, count in counts.items())
    return ", ".join([_LAYOUTS.get(one.layout, ""), *listed])
