"""The report's tables: the comparison, defect types, cost, and where figures come from."""

import statistics
from collections.abc import Iterable, Mapping, Sequence

from loco_tools.benchmark.cells import CellRecord
from loco_tools.benchmark.report.markup import Markup, breakable, element, join
from loco_tools.benchmark.report_data import ClassResults, ReportData
from loco_tools.benchmark.results import RESULTS_FILE, Spread, figure, row_of, spread

EXPLAINED = {
    "image AUROC": "The chance that a defective image gets a higher score than a good one. "
    "0.5 is guessing, 1 is perfect.",
    "AU-sPRO 0.05": "How much of each defect is covered by the map, while at most 5 % of the "
    "defect-free area lights up by mistake. A defect counts as found once its saturation area is "
    "covered. 0.025 is guessing, 1 is perfect. The headline figure of MVTec LOCO AD.",
    "AU-PRO 0.3": "How much of each defective region is covered by the map, while at most 30 % of "
    "the defect-free area lights up by mistake. 0.15 is guessing, 1 is perfect. The headline "
    "figure of MVTec AD.",
    "pixel AUROC": "The chance that a defective pixel scores higher than a defect-free one. Large "
    "defects dominate it, so it flatters; read it beside the coverage figures.",
}
"""A figure in one line each, for headings, tooltips and the glossary."""

STAMPED = (
    *("method", "class", "seed", "status", "preset", "backbone", "weights", "input_size_px"),
    *("resize", "device", "selection", "score_rule", "level", "members", "overrides"),
    *("data_hash", "code_hash"),
)
"""Columns of results.csv that the report repeats."""


def comparison(
    data: ReportData, classes: Sequence[ClassResults], name: str, field: str, guess: float
) -> Markup | None:
    """Class x method for one figure; None where no class has it.

    Args:
        data: the run.
        classes: the rows.
        name: the figure's name.
        field: its field in `Figures`.
        guess: what guessing earns; the bars begin there.
    """
    classes = [one for one in classes if one.has(field)]
    if not classes:
        return None
    rows = [
        (one.name, {m: figure(one.of(m), field) for m in data.methods}, _failed(one))
        for one in classes
    ]
    if len(rows) > 1:
        means = {
            m: spread(found.mean if (found := values[m]) else None for _n, values, _f in rows)
            for m in data.methods
        }
        complete = {m: s for m, s in means.items() if all(v[m] for _n, v, _f in rows)}
        rows.append(("Mean", {m: _plain(complete.get(m)) for m in data.methods}, set()))
    head = [element("th", m, scope="col", class_="num") for m in data.methods]
    body = [
        element(
            "tr",
            element("th", breakable(row_name), scope="row"),
            [_value(values[m], values, guess, failed=m in failed) for m in data.methods],
            class_="total" if row_name == "Mean" and number == len(classes) else None,
        )
        for number, (row_name, values, failed) in enumerate(rows)
    ]
    return data_table(f"{name} per class and method", ["class"], head, body)


def defect_types(data: ReportData, results: ClassResults) -> Markup:
    """Image AUROC per kind and per defect type of one class, with the number of images."""
    shown, records = results.shown, {m: results.of(m) for m in data.methods}
    counts = _counts(data, results)
    rows: list[Markup] = []
    for kind in ("logical", "structural"):
        if not counts.get(kind):
            continue
        field = f"image_auroc_{kind}"
        values = {m: figure(records[m], field) for m in data.methods}
        rows.append(_type_row(f"all {kind}", counts[kind][""], values, data.methods, "total"))
        for name in sorted(set(counts[kind]) - {""}):
            values = {m: spread(_type_auroc(r, name) for r in records[m]) for m in data.methods}
            rows.append(_type_row(name, counts[kind][name], values, data.methods))
    head = [element("th", m, scope="col", class_="num") for m in data.methods]
    first = shown[0].counts if shown else {}
    good = first.get("test/good", 0)
    caption = (
        f"{results.name}: after each name its number of images; each row against the same {good} "
        "good images"
    )
    return data_table(caption, ["defect type"], head, rows, visible=True)


def costs(data: ReportData) -> Markup:
    """Time and memory per class and method, means over seeds."""
    rows = []
    for one in data.classes:
        for method in data.methods:
            found = [record.cost for record in one.of(method) if record.cost is not None]
            if found:
                rows.append(
                    element(
                        "tr",
                        element("th", breakable(one.name), scope="row"),
                        element("td", method),
                        _number(statistics.fmean(cost.fit_s for cost in found), 1),
                        _number(statistics.fmean(cost.ms_per_image for cost in found), 1),
                        _number(statistics.fmean(cost.images_per_s for cost in found), 1),
                        _number(max(cost.peak_mb for cost in found), 0),
                        _number(max((cost.parameters or 0) / 1e6 for cost in found), 1),
                    )
                )
    head = [
        element("th", text, scope="col", class_="num", title=tip)
        for text, tip in (
            ("fit s", "Seconds to learn from the good images"),
            ("ms/image", "Milliseconds to judge one image, reading it included"),
            ("images/s", "Images judged per second, reading them included"),
            ("peak MB", "Highest memory in use while fitting and predicting"),
            ("M numbers", "Millions of numbers that predicting uses: backbone, nets, memory bank"),
        )
    ]
    return data_table("Cost of each cell", ["class", "method"], head, rows)


def stamps(data: ReportData) -> Markup:
    """Every row of results.csv that says how a figure came about."""
    rows = [row_of(record) for record in data.records]
    body = [element("tr", [element("td", row[name]) for name in STAMPED]) for row in rows]
    heads = [name.replace("_", " ") for name in STAMPED]
    table = data_table("Honesty stamp of every cell", heads, [], body)
    note = f"The same and more, machine-readable, is in {RESULTS_FILE} beside this report."
    return join(table, element("p", note, class_="quiet"))


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


def data_table(
    caption: str,
    firsts: Sequence[str],
    head: Sequence[Markup],
    body: Iterable[Markup],
    *,
    visible: bool = False,
) -> Markup:
    """A table that scrolls sideways where the page is too narrow for it.

    Args:
        caption: what it shows; read out, and shown above it where `visible`.
        firsts: heads of the columns with names.
        head: heads of the columns with figures.
        body: rows.
        visible: whether the caption is.
    """
    first = [element("th", text, scope="col") for text in firsts]
    table = element(
        "table",
        element("caption", caption, class_=None if visible else "unseen"),
        element("thead", element("tr", first, head)),
        element("tbody", list(body)),
    )
    return element("div", table, class_="scroll", tabindex="0", role="region", aria_label=caption)


def _value(
    found: Spread | None,
    row: Mapping[str, Spread | None],
    guess: float,
    *,
    failed: bool = False,
) -> Markup:
    """A figure with its bar; the best of the row, to three digits, is marked."""
    if found is None:
        text = element("span", "failed", class_="bad") if failed else "–"
        return element("td", text, class_="num")
    means = [round(other.mean, 3) for other in row.values() if other is not None]
    is_best = len(means) > 1 and round(found.mean, 3) == max(means)
    length = max(0.0, (found.mean - guess) / (1 - guess))
    star = element(
        "span", "★", class_="star", title="best of the row", role="img", aria_label="best"
    )
    deviation = None
    if found.deviation is not None:
        deviation = element("small", f" ±{found.deviation:.3f}")
    return element(
        "td",
        element("span", star if is_best else None, f"{found.mean:.3f}", deviation, class_="figure"),
        element("span", element("span", style=f"width:{100 * length:.1f}%"), class_="gauge"),
        class_="num best" if is_best else "num",
    )


def _type_row(
    name: str,
    images: int,
    values: Mapping[str, Spread | None],
    methods: Sequence[str],
    class_: str | None = None,
) -> Markup:
    return element(
        "tr",
        element("th", breakable(name), element("small", f" {images}"), scope="row"),
        [_value(values[m], values, 0.5) for m in methods],
        class_=class_,
    )


def _counts(data: ReportData, results: ClassResults) -> dict[str, dict[str, int]]:
    """Test images per kind and defect type; "" counts all of the kind."""
    counts: dict[str, dict[str, int]] = {}
    for record in results.shown[:1]:
        for score in data.scores(record.cell):
            if score.kind != "good":
                of_kind = counts.setdefault(score.kind, {"": 0})
                for name in ("", *score.defects):
                    of_kind[name] = of_kind.get(name, 0) + 1
    return counts


def _type_auroc(record: CellRecord, name: str) -> float | None:
    value = record.metrics.get("defects", {}).get(name, {}).get("image_auroc")
    return None if value is None else float(value)


def _plain(found: Spread | None) -> Spread | None:
    """A mean over classes has no deviation over seeds."""
    return None if found is None else Spread(found.mean, None)


def _failed(one: ClassResults) -> set[str]:
    return {record.stamp.method for record in one.records if record.status == "failed"}


def _number(value: float, digits: int) -> Markup:
    return element("td", f"{value:,.{digits}f}", class_="num")
