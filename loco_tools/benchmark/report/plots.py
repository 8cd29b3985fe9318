"""The report's sections with pictures: curves, score histograms, the gallery, cost."""

from collections.abc import Iterator, Mapping

import numpy as np

from loco_tools.benchmark.report import charts
from loco_tools.benchmark.report import results_tables as tables
from loco_tools.benchmark.report.gallery import RULE, gallery, heat_legend
from loco_tools.benchmark.report.markup import Child, Markup, element, join
from loco_tools.benchmark.report_data import KIND_NAMES, ClassResults, Points, ReportData
from loco_tools.benchmark.thumbnails import HIGH_PERCENTILE
from loco_tools.progress import Progress


def section(key: str, title: str, note: str, *content: Child) -> Markup:
    """One section of the page, which the navigation leads to by its key."""
    text = element("p", note, class_="quiet") if note else None
    return element("section", element("h2", title), text, *content, id=key)


def _figure(caption: str, picture: Markup) -> Markup:
    return element("figure", element("figcaption", caption), picture)


def _legend(data: ReportData) -> Markup:
    items = [
        element("li", charts.line_sample(data.style(method)), method) for method in data.methods
    ]
    return element("ul", items, class_="legend")


def curves(data: ReportData) -> Markup:
    """ROC curves of the image scores and coverage curves of the maps, per class."""
    note = (
        "ROC: every threshold on the image score is one point; the dotted diagonal is guessing. "
        "Coverage: every threshold on the maps is one point; the headline figure counts the shaded "
        "part only. The closer a curve hugs the upper left corner, the better. "
        f"{_seed_note(data)}"
    )
    return section(
        "curves",
        "Curves",
        note,
        _legend(data),
        [
            join(
                element("h3", one.name),
                element("div", list(_class_curves(data, one)), class_="charts"),
            )
            for one in data.classes
            if one.done
        ],
    )


def _class_curves(data: ReportData, one: ClassResults) -> Iterator[Markup]:
    found = {record.stamp.method: data.curves(record.cell) for record in one.shown}
    first = next(iter(found.values()))
    kinds = [
        name for name in ("logical_anomalies", "structural_anomalies") if name in first["image_roc"]
    ]
    names: list[str] = [*kinds] or ["pooled"]
    for name in names:
        yield _figure(
            f"Good against {KIND_NAMES[name]} (ROC)",
            charts.line_chart(
                _lines(data, found, "image_roc", name),
                name=f"ROC curves, {one.name}, {KIND_NAMES[name]}",
                x_label="good images flagged by mistake",
                y_label="defective images found",
            ),
        )
    saturating = [name for name in kinds if name in first["overlap"]]
    covered: list[str] = [*saturating] or ["pro"]
    for name in covered:
        kind, limit = ("sPRO", 0.05) if saturating else ("PRO", 0.3)
        yield _figure(
            f"Coverage of {KIND_NAMES[name]} ({kind})",
            charts.line_chart(
                _lines(data, found, "overlap", name),
                name=f"{kind} curves, {one.name}, {KIND_NAMES[name]}",
                x_label="defect-free area lit up by mistake",
                y_label=f"defects covered ({kind})",
                x_max=0.3,
                shade_to=limit,
            ),
        )


def _lines(
    data: ReportData,
    curves: Mapping[str, Mapping[str, Mapping[str, Points]]],
    group: str,
    name: str,
) -> list[charts.Line]:
    return [
        charts.Line(method, data.style(method), *found[group][name])
        for method, found in curves.items()
        if name in found[group]
    ]


def scores(data: ReportData) -> Markup:
    """Histograms of the image scores by kind, per class and method."""
    note = (
        "How many images got which score, from least to most suspicious. A good detector puts the "
        "good images left and everything else right, with no overlap. Scores of different methods "
        f"are on different scales. {_seed_note(data)}"
    )
    blocks = []
    for one in data.classes:
        figures = []
        for record in one.shown:
            scores = data.scores(record.cell)
            lanes = [
                charts.Lane(kind, kind, np.array([s.score for s in scores if s.kind == kind]))
                for kind in ("good", "logical", "structural")
                if any(s.kind == kind for s in scores)
            ]
            name = f"Histogram of scores, {record.stamp.method} on {one.name}"
            figures.append(_figure(record.stamp.method, charts.score_lanes(lanes, name=name)))
        if figures:
            blocks.append(join(element("h3", one.name), element("div", figures, class_="charts")))
    return section("scores", "Scores", note, blocks)


def images(data: ReportData, progress: Progress) -> Markup:
    """The galleries of all classes."""
    blocks = []
    with progress.task("report: images", len(data.classes)) as advance:
        for one in data.classes:
            if one.done:
                blocks.append(join(element("h3", one.name), gallery(data, one)))
            advance(1)
    scale = (
        "Each method's colours run from the median of its own maps of the class (transparent) to "
        f"their {HIGH_PERCENTILE:g} % point (brightest); this scale, set after the fact, is for "
        "looking only. The line is the true defect: solid for structural, dashed for logical. "
        "Select a picture to enlarge it; the arrow keys go to the next one."
    )
    return section(
        "images", "Images", f"{RULE} {_seed_note(data)}", element("p", scale), _controls(), blocks
    )


def _controls() -> Markup:
    kinds = ("all", "logical", "structural", "good")
    return element(
        "div",
        element(
            "label",
            "Show ",
            element("select", [element("option", k, value=k) for k in kinds], id="kind"),
        ),
        element(
            "label",
            "Heat ",
            element("input", type="range", id="heat", min="0", max="100", value="75"),
        ),
        element(
            "label",
            element("input", type="checkbox", id="truth", checked=True),
            " true defect",
        ),
        element("span", "cold ", heat_legend(), " hot"),
        class_="controls",
    )


def cost(data: ReportData) -> Markup:
    """Time and memory, and time against quality."""
    note = (
        "Measured here, one cell after the other; milliseconds include reading the image. Memory "
        "is the whole process on a CPU, what torch allocated on a GPU."
    )
    speeds, quality = data.speeds(), data.means(data.classes, "image_auroc_mean")
    dots = [
        charts.Dot(method, data.style(method), speeds[method], quality[method])
        for method in data.methods
        if method in speeds and method in quality
    ]
    chart = None
    if dots:
        drawn = charts.cost_chart(
            dots, name="Time per image against mean image AUROC", y_label="mean image AUROC"
        )
        chart = _figure("Cost against quality: up and to the left is better", drawn)
    return section("cost", "Cost", note, element("div", tables.costs(data), chart, class_="pair"))


def _seed_note(data: ReportData) -> str:
    seeds = data.run.suite.seeds
    return f"Shown for seed {seeds[0]}." if len(seeds) > 1 else ""
