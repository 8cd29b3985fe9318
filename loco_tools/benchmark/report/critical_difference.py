"""Critical-difference plots: mean ranks over classes, and which methods do not differ.

The diagram is that of Demsar 2006, figure 1.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup

from loco_tools.benchmark.analysis.run_data import ReportData
from loco_tools.benchmark.report.html import element
from loco_tools.benchmark.report.tables import Table, TableColumn, TableRow, names, number, text
from loco_tools.evaluation.metric_table import HEADLINES, Metric
from loco_tools.metrics import ranks

FEWEST_METHODS = 3
"""A critical-difference plot of fewer methods says nothing."""


def rank_tables(data: ReportData) -> list[Table]:
    """Mean ranks over classes, for each metric that three methods have on two classes."""
    tables = []
    for metric in HEADLINES:
        ranked = _rank_methods(data, metric)
        if ranked is not None:
            rows = [
                TableRow((text(method), number(rank, 2)))
                for method, rank in sorted(ranked.mean.items(), key=lambda item: item[1])
            ]
            caption = f"Mean ranks over {ranked.classes} classes, {metric.title}: 1 is best"
            note = f"Critical difference {ranked.difference:.2f}. {ranked.verdict}"
            columns = (*names("method"), TableColumn("mean rank"))
            tables.append(Table(f"ranks_{metric.name}", caption, columns, tuple(rows), (note,)))
    return tables


def critical_differences(data: ReportData) -> list[tuple[str, Markup, str]] | None:
    """A plot per metric: caption, drawing and verdict; None for a single method."""
    if len(data.methods) < 2 or not any(one.done for one in data.classes):
        return None
    drawn = []
    for metric in HEADLINES:
        ranked = _rank_methods(data, metric)
        if ranked is not None:
            order = sorted(ranked.mean.items(), key=lambda item: item[1])
            groups = ranks.indistinct_groups([rank for _name, rank in order], ranked.difference)
            name = f"Critical-difference plot of {metric.title}"
            drawing = rank_chart(order, groups, ranked.difference, name=name)
            drawn.append((f"{metric.title}, {ranked.classes} classes", drawing, ranked.verdict))
    return drawn


@dataclass(frozen=True)
class _Ranked:
    """The methods that all classes have a metric of, with their mean ranks."""

    mean: dict[str, float]
    classes: int
    difference: float
    verdict: str


def _rank_methods(data: ReportData, metric: Metric) -> _Ranked | None:
    """The mean ranks of a metric; None with fewer than two classes or three methods."""
    classes = data.classes_with(metric.name)
    methods = list(data.means(classes, metric.name))
    if len(classes) < 2 or len(methods) < FEWEST_METHODS:
        return None
    rows = [data.means([each], metric.name) for each in classes]
    values = np.array([[row[method] for method in methods] for row in rows])
    difference = ranks.critical_difference(len(methods), len(classes))
    test = ranks.friedman(values)
    p = "< 0.001" if test.p < 0.001 else f"= {test.p:.3f}"
    differ = "methods differ" if test.p <= ranks.LEVEL else "no difference is shown"
    verdict = f"Friedman's test (Iman and Davenport's F = {test.f:.2f}, p {p}): {differ}."
    if difference >= len(methods) - 1:
        verdict += (
            f" With {len(classes)} classes the critical difference, {difference:.2f}, is as large "
            f"as ranks of {len(methods)} methods can be apart, so no pair can differ significantly."
        )
    mean = dict(zip(methods, ranks.mean_ranks(values).tolist(), strict=True))
    return _Ranked(mean, len(classes), difference, verdict)


_WIDTH, _SIDE, _TOP = 640, 150, 54
_BAR, _STEP = 14, 20
"""Between the bars of groups, and between the lines of methods."""


def rank_chart(
    ranks: Sequence[tuple[str, float]],
    groups: Sequence[tuple[int, int]],
    difference: float,
    *,
    name: str,
) -> Markup:
    """Mean ranks on a line, 1 on the left, and bars over those that do not differ.

    Args:
        ranks: method and mean rank, lowest first.
        groups: first and last place of those that a bar joins.
        difference: the critical difference, drawn to scale above the line.
        name: what a screen reader says.
    """
    count = len(ranks)

    def x(rank: float) -> float:
        return _SIDE + (_WIDTH - 2 * _SIDE) * (rank - 1) / max(1, count - 1)

    scale = [element("path", d=f"M{_SIDE} {_TOP}H{_WIDTH - _SIDE}", class_="axisline")]
    for place in range(1, count + 1):
        tick = f"M{x(place):.1f} {_TOP - 5}V{_TOP + 5}"
        scale.append(element("path", d=tick, class_="axisline"))
        at = round(x(place), 1)
        scale.append(element("text", str(place), x=at, y=_TOP - 9, class_="tick middle"))
    # the ruler starts at rank 1 and is never longer than the scale
    end = round(x(1 + min(difference, count - 1.0)), 1)
    ruler = element("path", d=f"M{_SIDE} 14V22M{_SIDE} 18H{end}M{end} 14V22", class_="axisline")
    ruler_end = {"x": float(_SIDE), "y": 11} if end > _WIDTH / 2 else {"x": end + 6, "y": 22}
    length = element("text", f"critical difference {difference:.2f}", class_="mark", **ruler_end)
    bars = [
        element(
            "path",
            d=f"M{x(ranks[first][1]) - 4:.1f} {_TOP + _BAR * (row + 1)}"
            f"H{x(ranks[last][1]) + 4:.1f}",
            class_="joined",
        )
        for row, (first, last) in enumerate(groups)
    ]
    below, half = _TOP + _BAR * len(groups) + 20, (count + 1) // 2
    leaders = []
    for index, (label, rank) in enumerate(ranks):
        # a line from the rank down and outwards to the name of the method
        left = index < half
        y = below + _STEP * (index if left else count - 1 - index)
        edge = _SIDE - 10 if left else _WIDTH - _SIDE + 10
        name_x, look = (edge - 5, "mark end") if left else (edge + 5, "mark")
        leaders.append(element("path", d=f"M{x(rank):.1f} {_TOP}V{y}H{edge}", class_="leader"))
        leaders.append(element("text", label, x=name_x, y=y + 4, class_=look))
    return element(
        "svg",
        *(scale, ruler, length, bars, leaders),
        viewBox=f"0 0 {_WIDTH} {below + _STEP * half}",
        role="img",
        aria_label=name,
        class_="chart ranks",
    )
