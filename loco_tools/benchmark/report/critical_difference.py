"""The report's critical-difference plots: mean ranks over classes, and who is not told apart."""

import numpy as np
import numpy.typing as npt

from loco_tools.benchmark.analysis.run_data import ReportData
from loco_tools.benchmark.report.html import Markup, element, join
from loco_tools.benchmark.report.rank_chart import rank_chart
from loco_tools.benchmark.report.section import captioned
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
