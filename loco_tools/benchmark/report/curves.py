"""The report's sections with curves: ROC, precision-recall, coverage; trainings; histograms."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from loco_tools.benchmark.analysis.run_data import KIND_NAMES, ClassResults, Points, ReportData
from loco_tools.benchmark.cell.training_log import read_training_log
from loco_tools.benchmark.report import charts
from loco_tools.benchmark.report.html import Markup, captioned, element, join, section, seed_note

_Curves = Mapping[str, Mapping[str, Mapping[str, Points]]]


def curves(data: ReportData) -> Markup:
    """Curves of the image scores and of the maps, per class."""
    note = (
        "ROC: every threshold on the image score is one point; the dotted diagonal is guessing. "
        "Precision-recall: the same thresholds, but asking how many of the alarms are right. "
        "Coverage: every threshold on the maps is one point; the headline figure counts the shaded "
        "part only. The closer a curve hugs the upper corner (left; of precision-recall right), "
        f"the better. {seed_note(data)}"
    )
    blocks = [
        join(
            element("h3", one.name),
            element("div", list(_class_curves(data, one)), class_="charts"),
        )
        for one in data.classes
        if one.done
    ]
    return section("curves", "Curves", note, legend(data), blocks)


def legend(data: ReportData) -> Markup:
    """Every method with its line."""
    items = [
        element("li", charts.line_sample(data.style(method)), method) for method in data.methods
    ]
    return element("ul", items, class_="legend")


def trainings(data: ReportData) -> Markup | None:
    """How losses went, for methods that learn by steps; None where no cell kept that."""
    blocks = []
    for one in data.classes:
        figures = [figure for method in data.methods for figure in _trained(data, one, method)]
        if figures:
            blocks.append(join(element("h3", one.name), element("div", figures, class_="charts")))
    if not blocks:
        return None
    note = (
        "The loss of each method that learns by steps, one line per seed, and how it went on good "
        "validation images where the method looks at them. A loss that still falls at the end "
        "wants more steps; one that jumps about wants smaller ones. Losses of different methods "
        "have nothing to do with each other."
    )
    return section("training", "Training", note, blocks)


def scores(data: ReportData) -> Markup:
    """Histograms of the image scores by kind, per class and method."""
    note = (
        "How many images got which score, from least to most suspicious. A good detector puts the "
        "good images left and everything else right, with no overlap. Scores of different methods "
        f"are on different scales. {seed_note(data)}"
    )
    blocks = []
    for one in data.classes:
        figures = []
        for record in one.shown:
            found = data.scores(record.cell)
            lanes = [
                charts.Lane(kind, kind, np.array([s.score for s in found if s.kind == kind]))
                for kind in ("good", "logical", "structural")
                if any(s.kind == kind for s in found)
            ]
            name = f"Histogram of scores, {record.stamp.method} on {one.name}"
            figures.append(captioned(record.stamp.method, charts.score_lanes(lanes, name=name)))
        if figures:
            blocks.append(join(element("h3", one.name), element("div", figures, class_="charts")))
    return section("scores", "Scores", note, blocks)


def _class_curves(data: ReportData, one: ClassResults) -> Iterator[Markup]:
    found = {record.stamp.method: data.curves(record.cell) for record in one.shown}
    first = next(iter(found.values()))
    kinds = [
        name
        for name in ("logical_anomalies", "structural_anomalies")
        if name in first.get("image_roc", {})
    ]
    names: list[str] = [*kinds] or ["pooled"]
    for name in names:
        lines = _lines(data, found, "image_roc", name)
        yield captioned(
            f"Good against {KIND_NAMES[name]} (ROC)",
            charts.line_chart(
                lines,
                name=f"ROC curves, {one.name}, {KIND_NAMES[name]}",
                x_label="good images flagged by mistake",
                y_label="defective images found",
            ),
        )
    for name in names:
        lines = _lines(data, found, "image_pr", name)
        if lines:
            yield captioned(
                f"Good against {KIND_NAMES[name]} (precision-recall)",
                charts.line_chart(
                    [_staircase(line) for line in lines],
                    name=f"Precision-recall curves, {one.name}, {KIND_NAMES[name]}",
                    x_label="defective images found (recall)",
                    y_label="alarms that are right (precision)",
                    diagonal=False,
                ),
            )
    yield from _coverage(data, one, found, kinds)


def _coverage(
    data: ReportData, one: ClassResults, found: _Curves, kinds: Sequence[str]
) -> Iterator[Markup]:
    first = next(iter(found.values()))
    saturating = [name for name in kinds if name in first.get("overlap", {})]
    covered: list[str] = [*saturating] or ["pro"]
    for name in covered:
        kind, limit = ("sPRO", 0.05) if saturating else ("PRO", 0.3)
        yield captioned(
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


def _lines(data: ReportData, curves: _Curves, group: str, name: str) -> list[charts.Line]:
    return [
        charts.Line(method, data.style(method), *found[group][name])
        for method, found in curves.items()
        if name in found.get(group, {})
    ]


def _staircase(line: charts.Line) -> charts.Line:
    """Precision holds back to the recall before, see `loco_tools.metrics.roc.pr_curve`."""
    x = np.repeat(line.x, 2)[1:-1] if line.x.size > 1 else line.x
    y = np.repeat(line.y[1:], 2) if line.x.size > 1 else line.y
    return charts.Line(line.label, line.style, x, y)


def _trained(data: ReportData, one: ClassResults, method: str) -> Iterator[Markup]:
    """A chart of the loss, and one of what was measured on validation images."""
    of_seeds = {
        record.stamp.seed: read_training_log(record.cell.folder(data.out)).curves
        for record in one.of(method)
    }
    for name in ("loss", "validation"):
        found = {
            seed: curve
            for seed, curves in of_seeds.items()
            for curve in curves
            if curve.name == name and curve.x
        }
        if found:
            lines = [
                charts.Line(f"seed {seed}", place, np.array(curve.x), np.array(curve.y))
                for place, (seed, curve) in enumerate(found.items())
            ]
            unit = next(iter(found.values())).unit
            said = f"Training of {method} on {one.name}: {name}"
            drawn = charts.series_chart(lines, name=said, x_label=f"{unit}s")
            yield captioned(f"{method}, {name}", drawn)
