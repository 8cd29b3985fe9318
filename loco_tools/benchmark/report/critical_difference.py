"""The report's critical-difference plots: mean ranks over classes, and who is not told apart."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from loco_tools.benchmark.analysis.run_data import ReportData
from loco_tools.benchmark.report.html import Markup, captioned, element, join
from loco_tools.benchmark.report.tables import Column, Row, Table, names, number, text
from loco_tools.evaluation.metric_table import HEADLINES, Metric
from loco_tools.metrics import ranks

_FEWEST_METHODS = 3


def rank_tables(data: ReportData) -> list[Table]:
    """Mean ranks over classes, per figure that there are two classes and three methods for."""
    return [table for metric in HEADLINES if (table := _table(data, metric)) is not None]


def critical_differences(data: ReportData) -> Markup | None:
    """A plot per figure; a sentence where there is too little; None for a single method."""
    if len(data.methods) < 2 or not any(one.done for one in data.classes):
        return None
    drawn = [figure for metric in HEADLINES if (figure := _figure(data, metric)) is not None]
    title = element("h3", "Which methods can be told apart over classes?")
    note = element(
        "p",
        "Each class ranks the methods by their mean over seeds; further left is better. Methods "
        "joined by a bar are closer than the critical difference (Friedman's test, then Nemenyi's, "
        f"level {ranks.LEVEL:g}; Demšar 2006). Classes count as trials and seeds do not, for "
        "seeds of one class see the same images.",
        class_="quiet",
    )
    if drawn:
        return join(title, note, drawn)
    few = (
        f"Too little to say anything: it takes {_FEWEST_METHODS} methods on two classes or more "
        "that share a figure."
    )
    return join(title, element("p", few, class_="quiet"))


def _ranked(data: ReportData, metric: Metric) -> tuple[list[str], npt.NDArray[np.float64]] | None:
    """The methods that all classes have the figure of, and (classes, methods) figures."""
    classes = data.classes_with(metric.name)
    methods = list(data.means(classes, metric.name))
    if len(classes) < 2 or len(methods) < _FEWEST_METHODS:
        return None
    figures = [[data.means([each], metric.name)[method] for method in methods] for each in classes]
    return methods, np.array(figures)


def _figure(data: ReportData, metric: Metric) -> Markup | None:
    found = _ranked(data, metric)
    if found is None:
        return None
    methods, figures = found
    mean = ranks.mean_ranks(figures)
    order = sorted(range(len(methods)), key=lambda place: mean[place])
    ranked = [(methods[place], float(mean[place])) for place in order]
    difference = ranks.critical_difference(len(methods), len(figures))
    groups = ranks.indistinct_groups([rank for _name, rank in ranked], difference)
    drawn = rank_chart(
        ranked, groups, difference, name=f"Critical-difference plot of {metric.title}"
    )
    says = element("p", _verdict(figures, difference), class_="quiet")
    return captioned(f"{metric.title}, {len(figures)} classes", drawn, says)


def _verdict(figures: npt.NDArray[np.float64], difference: float) -> str:
    sets, methods = figures.shape
    test = ranks.friedman(figures)
    p = "< 0.001" if test.p < 0.001 else f"= {test.p:.3f}"
    differ = "methods differ" if test.p <= ranks.LEVEL else "no difference is shown"
    told = f"Friedman's test (Iman and Davenport's F = {test.f:.2f}, p {p}): {differ}."
    if difference >= methods - 1:
        told += (
            f" With {sets} classes the critical difference, {difference:.2f}, is as large as ranks "
            f"of {methods} methods can lie apart: no pair could be told apart, whatever happened."
        )
    return told


def _table(data: ReportData, metric: Metric) -> Table | None:
    found = _ranked(data, metric)
    if found is None:
        return None
    methods, figures = found
    mean = dict(zip(methods, ranks.mean_ranks(figures).tolist(), strict=True))
    rows = [
        Row((text(method), number(mean[method], 2)))
        for method in sorted(mean, key=mean.__getitem__)
    ]
    difference = ranks.critical_difference(len(methods), len(figures))
    return Table(
        f"ranks_{metric.name}",
        f"Mean ranks over {len(figures)} classes, {metric.title}: 1 is best",
        (*names("method"), Column("mean rank")),
        tuple(rows),
        (f"Critical difference {difference:.2f}. {_verdict(figures, difference)}",),
    )


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
    """Mean ranks on a line, 1 on the left, and bars over those that are not told apart.

    Args:
        ranks: method and mean rank, lowest first.
        groups: first and last place of those that a bar joins.
        difference: the critical difference, drawn to scale above the line.
        name: what a screen reader says.
    """
    count = len(ranks)
    bars = [
        element(
            "path",
            d=f"M{_x(ranks[first][1], count) - 4:.1f} {_TOP + _BAR * (row + 1)}"
            f"H{_x(ranks[last][1], count) + 4:.1f}",
            class_="joined",
        )
        for row, (first, last) in enumerate(groups)
    ]
    below = _TOP + _BAR * len(groups) + 20
    half = (count + 1) // 2
    methods = [
        _method(label, _x(rank, count), place, below, left=place < half, count=count)
        for place, (label, rank) in enumerate(ranks)
    ]
    return element(
        "svg",
        _scale(count),
        _difference(difference, count),
        bars,
        methods,
        viewBox=f"0 0 {_WIDTH} {below + _STEP * half}",
        role="img",
        aria_label=name,
        class_="chart ranks",
    )


def _x(rank: float, count: int) -> float:
    return _SIDE + (_WIDTH - 2 * _SIDE) * (rank - 1) / max(1, count - 1)


def _scale(count: int) -> Markup:
    line = element("path", d=f"M{_SIDE} {_TOP}H{_WIDTH - _SIDE}", class_="axisline")
    ticks = [
        join(
            element("path", d=f"M{_x(rank, count):.1f} {_TOP - 5}V{_TOP + 5}", class_="axisline"),
            element(
                "text", str(rank), x=round(_x(rank, count), 1), y=_TOP - 9, class_="tick middle"
            ),
        )
        for rank in range(1, count + 1)
    ]
    return join(line, ticks)


def _difference(difference: float, count: int) -> Markup:
    """Its length from rank 1 on; never longer than the scale."""
    end = round(_x(1 + min(difference, count - 1.0), count), 1)
    ruler = element("path", d=f"M{_SIDE} 14V22M{_SIDE} 18H{end}M{end} 14V22", class_="axisline")
    says = f"critical difference {difference:.2f}"
    if end > _WIDTH / 2:
        return join(ruler, element("text", says, x=_SIDE, y=11, class_="mark"))
    return join(ruler, element("text", says, x=end + 6, y=22, class_="mark"))


def _method(label: str, x: float, place: int, below: int, *, left: bool, count: int) -> Markup:
    """A line from the rank down and outwards to the method's name."""
    y = below + _STEP * (place if left else count - 1 - place)
    end = _SIDE - 10 if left else _WIDTH - _SIDE + 10
    at, look = (end - 5, "mark end") if left else (end + 5, "mark")
    return join(
        element("path", d=f"M{x:.1f} {_TOP}V{y}H{end}", class_="leader"),
        element("text", label, x=at, y=y + 4, class_=look),
    )
