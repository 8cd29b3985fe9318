"""The report's sections with curves: ROC, precision-recall, coverage; trainings; histograms."""

from collections.abc import Iterator, Mapping

import numpy as np
from markupsafe import Markup

from loco_tools.benchmark.analysis.run_data import KIND_NAMES, ClassResults, Points, ReportData
from loco_tools.benchmark.cell.training_log import read_training_log
from loco_tools.benchmark.report import charts
from loco_tools.benchmark.report.html import render

_Curves = Mapping[str, Mapping[str, Mapping[str, Points]]]


def curves(data: ReportData) -> Markup:
    """Curves of the image scores and of the maps, per class."""
    note = (
        "ROC: every threshold on the image score is one point; the dotted diagonal is guessing. "
        "Precision-recall: the same thresholds, but asking how many of the alarms are right. "
        "Coverage: every threshold on the maps is one point; the headline metric is the shaded "
        "area. The closer a curve comes to the upper corner (left, and for precision-recall "
        f"right), the better. {data.seed_note}"
    )
    blocks = [(one.name, list(_class_curves(data, one))) for one in data.classes if one.done]
    lines = [(charts.line_sample(data.style(method)), method) for method in data.methods]
    return render(
        "charts.html", key="curves", title="Curves", note=note, lines=lines, blocks=blocks
    )


def trainings(data: ReportData) -> Markup | None:
    """The losses of methods that learn by steps; None where no cell kept them."""
    blocks = []
    for one in data.classes:
        drawings = [pair for method in data.methods for pair in _training_curves(data, one, method)]
        if drawings:
            blocks.append((one.name, drawings))
    if not blocks:
        return None
    note = (
        "The loss of each method that learns by steps, one line per seed, and its value on good "
        "validation images where the method computes it. A loss that still falls at the end needs "
        "more steps; one that jumps about needs smaller steps. Losses of different methods cannot "
        "be compared."
    )
    return render(
        "charts.html", key="training", title="Training", note=note, lines=[], blocks=blocks
    )


def scores(data: ReportData) -> Markup:
    """Histograms of the image scores by kind, per class and method."""
    note = (
        "How many images got which score, from least to most suspicious. A good detector puts the "
        "good images on the left and everything else on the right, with no overlap. Scores of "
        f"different methods are on different scales. {data.seed_note}"
    )
    blocks = []
    for one in data.classes:
        drawings = []
        for record in one.shown:
            of_images = data.scores(record.cell)
            lanes = [
                charts.Lane(kind, kind, np.array([s.score for s in of_images if s.kind == kind]))
                for kind in ("good", "logical", "structural")
                if any(s.kind == kind for s in of_images)
            ]
            name = f"Histogram of scores, {record.stamp.method} on {one.name}"
            drawings.append((record.stamp.method, charts.score_lanes(lanes, name=name)))
        if drawings:
            blocks.append((one.name, drawings))
    return render("charts.html", key="scores", title="Scores", note=note, lines=[], blocks=blocks)


def _class_curves(data: ReportData, one: ClassResults) -> Iterator[tuple[str, Markup]]:
    """Caption and drawing of the ROC, precision-recall and coverage curves of a class."""
    by_method = {record.stamp.method: data.curves(record.cell) for record in one.shown}
    first = next(iter(by_method.values()))
    kinds: list[str] = [
        name
        for name in ("logical_anomalies", "structural_anomalies")
        if name in first.get("image_roc", {})
    ]
    for name in kinds or ["pooled"]:
        yield (
            f"Good against {KIND_NAMES[name]} (ROC)",
            charts.line_chart(
                _lines(data, by_method, "image_roc", name),
                name=f"ROC curves, {one.name}, {KIND_NAMES[name]}",
                x_label="good images called defective",
                y_label="defective images found",
            ),
        )
    for name in kinds or ["pooled"]:
        lines = _lines(data, by_method, "image_pr", name)
        if lines:
            yield (
                f"Good against {KIND_NAMES[name]} (precision-recall)",
                charts.line_chart(
                    [_staircase(line) for line in lines],
                    name=f"Precision-recall curves, {one.name}, {KIND_NAMES[name]}",
                    x_label="defective images found (recall)",
                    y_label="alarms that are right (precision)",
                    diagonal=False,
                ),
            )
    saturating = [name for name in kinds if name in first.get("overlap", {})]
    kind, limit = ("sPRO", 0.05) if saturating else ("PRO", 0.3)
    for name in saturating or ["pro"]:
        yield (
            f"Coverage of {KIND_NAMES[name]} ({kind})",
            charts.line_chart(
                _lines(data, by_method, "overlap", name),
                name=f"{kind} curves, {one.name}, {KIND_NAMES[name]}",
                x_label="defect-free area above the threshold",
                y_label=f"defects covered ({kind})",
                x_max=0.3,
                shade_to=limit,
            ),
        )


def _lines(data: ReportData, curves: _Curves, group: str, name: str) -> list[charts.Line]:
    return [
        charts.Line(method, data.style(method), *of_method[group][name])
        for method, of_method in curves.items()
        if name in of_method.get(group, {})
    ]


def _staircase(line: charts.Line) -> charts.Line:
    """Precision holds back to the recall before, see `loco_tools.metrics.roc.pr_curve`."""
    x = np.repeat(line.x, 2)[1:-1] if line.x.size > 1 else line.x
    y = np.repeat(line.y[1:], 2) if line.x.size > 1 else line.y
    return charts.Line(line.label, line.style, x, y)


def _training_curves(
    data: ReportData, one: ClassResults, method: str
) -> Iterator[tuple[str, Markup]]:
    """A chart of the loss, and one of what was measured on validation images."""
    by_seed = {
        record.stamp.seed: read_training_log(record.cell.folder(data.out)).curves
        for record in one.of(method)
    }
    for name in ("loss", "validation"):
        known = {
            seed: curve
            for seed, of_seed in by_seed.items()
            for curve in of_seed
            if curve.name == name and curve.x
        }
        if known:
            lines = [
                charts.Line(f"seed {seed}", style, np.array(curve.x), np.array(curve.y))
                for style, (seed, curve) in enumerate(known.items())
            ]
            unit = next(iter(known.values())).unit
            label = f"Training of {method} on {one.name}: {name}"
            yield f"{method}, {name}", charts.series_chart(lines, name=label, x_label=f"{unit}s")
