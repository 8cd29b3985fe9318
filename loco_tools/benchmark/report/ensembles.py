"""The report's section on ensembles: what they add to their members, and why."""

import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from markupsafe import Markup

from loco_tools.benchmark.analysis.ensemble_diversity import (
    ASSUMED_SHARE,
    Decisions,
    Diversity,
    MethodReliability,
    diversity_of,
    reliability_of,
)
from loco_tools.benchmark.analysis.ensemble_gains import (
    ALL_CLASSES,
    COMPARED,
    ENSEMBLES_FILE,
    REFERENCES,
    Gains,
    Reference,
    ensembles_of,
)
from loco_tools.benchmark.analysis.run_data import ClassResults, ReportData
from loco_tools.benchmark.report import charts
from loco_tools.benchmark.report.html import render
from loco_tools.benchmark.report.tables import (
    Table,
    TableColumn,
    TableRow,
    key_of,
    names,
    number,
    text,
)
from loco_tools.benchmark.run.results_csv import mean_over_seeds, metric_over_seeds
from loco_tools.metrics.diversity import GOOD_SHARE

PAIRS_SHOWN = 15
"""More pairs of members than this are folded away."""

_HEADS: dict[Reference, tuple[str, str]] = {
    "best": ("against its best member", "The best on these test images, known only afterwards"),
    "chosen": (
        "against validation's choice",
        "The member that one would have used without looking",
    ),
}

_SPEARMAN = "Spearman's rank correlation of their scores of"

_VERDICTS = {
    "better": "▲ better",
    "worse": "▼ worse",
    "not told apart": "≈ no significant difference",
}


def ensembles(data: ReportData, gains: Sequence[Gains]) -> Markup | None:
    """The section; None for a run without ensembles."""
    if not gains:
        return None
    rules = dict.fromkeys(
        (COMPARED[of.field], one.difference.rule) for of in gains for one in of.comparisons.values()
    )
    scopes = []
    for scope in dict.fromkeys(of.scope for of in gains):
        of_scope = [of for of in gains if of.scope == scope]
        content: dict[str, Any] = {
            "name": "Mean over classes" if scope == ALL_CLASSES else scope,
            "gains": [_gain_rows(data, of) for of in of_scope],
            "charts": [_gain_chart(data, of) for of in of_scope],
            "diversity": None,
            "reliability": None,
        }
        for one in data.classes:
            if one.name == scope and scope != ALL_CLASSES:
                content["diversity"] = _diversity(data, one, diversity_of(data, one))
                content["reliability"] = _reliability(one, reliability_of(data, one))
        scopes.append(content)
    return render(
        "ensembles.html",
        rules=list(rules),
        file=ENSEMBLES_FILE,
        heads=list(_HEADS.values()),
        scopes=scopes,
        good_share=f"{GOOD_SHARE:.0%}",
        pairs_shown=PAIRS_SHOWN,
    )


def gain_tables(gains: Sequence[Gains]) -> list[Table]:
    """The comparisons as tables: one per metric and scope."""
    tables = []
    for of in gains:
        rows = []
        for (ensemble, reference), comparison in of.comparisons.items():
            gap = comparison.difference
            rows.append(
                TableRow(
                    (
                        text(ensemble),
                        text(REFERENCES[reference]),
                        text(" / ".join(comparison.members)),
                        number(gap.one),
                        number(gap.other),
                        *(number(v, signed=True) for v in (gap.mean, gap.low, gap.high)),
                        text(comparison.verdict),
                    )
                )
            )
        name = COMPARED[of.field]
        numeric = ("ensemble mean", "member mean", "difference", "low", "high")
        columns = (
            *names("ensemble", "compared with", "member"),
            *map(TableColumn, numeric),
            *names("verdict"),
        )
        caption = f"Ensembles against their members, {name}, {of.scope}: with 95 % intervals"
        tables.append(Table(key_of("ensembles", of.scope, name), caption, columns, tuple(rows)))
    return tables


def _gain_rows(data: ReportData, gains: Gains) -> dict[str, Any]:
    """The table of one metric: ensembles with their differences, then the members."""
    done = [record for one in gains.classes for record in one.done]
    members = {member for of in ensembles_of(done).values() for member in of}
    compared = _compared_methods(data, gains)
    rows = []
    for method in [*compared, *(m for m in data.methods if m in members)]:
        if len(gains.classes) == 1:
            mean = metric_over_seeds(gains.classes[0].of(method), gains.field)
        else:
            mean = mean_over_seeds([data.means(gains.classes, gains.field).get(method)])
        differences = [
            gains.comparisons.get((method, reference)) if method in compared else None
            for reference in _HEADS
        ]
        rows.append((method, method in compared, mean, differences))
    return {"name": COMPARED[gains.field], "rows": rows, "verdicts": _VERDICTS}


def _compared_methods(data: ReportData, gains: Gains) -> list[str]:
    return [m for m in data.methods if any((m, r) in gains.comparisons for r in _HEADS)]


def _gain_chart(data: ReportData, gains: Gains) -> tuple[str, Markup]:
    """Caption and drawing of the differences of one metric."""
    drawn, name = [], COMPARED[gains.field]
    for method in _compared_methods(data, gains):
        best = gains.comparisons.get((method, "best"))
        chosen = gains.comparisons.get((method, "chosen"))
        if best is not None and chosen is not None and best.members == chosen.members:
            chosen = None
        for comparison, hollow in ((best, False), (chosen, True)):
            if comparison is not None:
                gap, label = comparison.difference, f"{method} − {' / '.join(comparison.members)}"
                drawn.append(charts.Gain(label, gap.mean, gap.low, gap.high, hollow=hollow))
    drawing = charts.gain_chart(
        drawn, name=f"Differences in {name}, {gains.scope}", x_label=f"difference in {name}"
    )
    caption = "Right of the dashed line the ensemble is better"
    if any(gain.hollow for gain in drawn):
        caption += "; filled: against its best member, hollow: against validation's choice"
    return caption, drawing


def _diversity(
    data: ReportData, one: ClassResults, found: Diversity | None
) -> dict[str, Any] | None:
    """Decisions of the members, and how alike every two of them are."""
    if found is None:
        return None
    rows: list[tuple[str, bool, float | None, Decisions | None]] = []
    others = [m for m in data.methods if m in found.decisions and m not in found.members]
    for name in (*found.members, *others):
        records = one.of(name)
        separation = None
        if not any(record.stamp.members for record in records):
            separation = mean_over_seeds(record.separation for record in records)
        mean = None if separation is None else separation.mean
        rows.append((name, False, mean, found.decisions.get(name)))
    if found.oracle is not None:
        rows.insert(len(found.members), ("at least one member", True, None, found.oracle))
    kinds = [
        ("order of good", f"{_SPEARMAN} good test images"),
        ("order of defective", f"{_SPEARMAN} defective test images"),
    ]
    matrices = [found.good, found.anomalous]
    if found.q is not None:
        q = "Yule's Q: 1 when all errors of one are errors of the other, 0 when independent"
        kinds.append(("errors (Q)", q))
        matrices.append(found.q)
    pairs = list(itertools.combinations(range(len(found.members)), 2))
    pairs.sort(key=lambda pair: np.nan_to_num(found.anomalous[pair], nan=np.inf))
    return {
        "decisions": rows if found.decisions else [],
        "kinds": kinds,
        "pairs": [
            (
                f"{found.members[i]} and {found.members[j]}",
                [None if math.isnan(m[i, j]) else float(m[i, j]) for m in matrices],
            )
            for i, j in pairs
        ],
    }


def _reliability(one: ClassResults, found: Sequence[MethodReliability]) -> dict[str, Any] | None:
    """The reliability diagrams of a class; None where no scores are probabilities."""
    if not found:
        return None
    diagrams = []
    for reliable in found:
        calibrations = {
            "uncorrected": reliable.uncorrected,
            f"for {reliable.share:.0%} defective": reliable.corrected,
        }
        lines = [
            charts.Line(label, style, of.curve.predicted, of.curve.observed, of.curve.counts)
            for style, (label, of) in enumerate(calibrations.items())
        ]
        drawing = charts.line_chart(
            lines,
            name=f"Reliability of {reliable.method} on {one.name}",
            x_label="predicted probability of a defect",
            y_label="share that is defective",
        )
        legend = [
            (charts.line_sample(style), f"{label}: ECE {of.error}, Brier {of.brier}")
            for style, (label, of) in enumerate(calibrations.items())
        ]
        diagrams.append((reliable.method, drawing, legend, f"{reliable.by_chance:.3f}"))
    return {
        "assumed": f"{ASSUMED_SHARE:.0%}",
        "share": f"{found[0].share:.0%}",
        "diagrams": diagrams,
    }
