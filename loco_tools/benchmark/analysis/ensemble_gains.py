"""Compare ensembles with their members, for `ensembles.csv` and the report."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from loco_tools import files
from loco_tools.benchmark.analysis.paired import Difference, paired_difference
from loco_tools.benchmark.analysis.run_data import ClassResults, ReportData
from loco_tools.benchmark.cell.record import Cell, CellRecord
from loco_tools.evaluation.metric_table import HEADLINES
from loco_tools.metrics.diversity import chosen_by_validation
from loco_tools.wording import csv_text

ENSEMBLES_FILE = "ensembles.csv"

ALL_CLASSES = "all classes"

COMPARED = {metric.name: metric.title for metric in HEADLINES}
"""The name of each headline metric -> its title."""

Reference = Literal["best", "chosen"]

REFERENCES: dict[Reference, str] = {
    "best": "best member on test images",
    "chosen": "member that validation would have chosen",
}


@dataclass(frozen=True)
class Comparison:
    """An ensemble against one of its members, on one figure.

    `members` are those compared with -> on how many class-seed pairs; several only where validation
    chooses another one for another seed.
    """

    ensemble: str
    field: str
    reference: Reference
    members: dict[str, int]
    difference: Difference

    @property
    def verdict(self) -> Literal["better", "worse", "not told apart", ""]:
        """The verdict that the interval supports; empty if there is no interval."""
        if self.difference.low is None or self.difference.high is None:
            return ""
        if self.difference.low > 0:
            return "better"
        return "worse" if self.difference.high < 0 else "not told apart"


@dataclass(frozen=True)
class Gains:
    """The comparisons on one figure: `scope` is a class, or all that have the figure."""

    scope: str
    field: str
    classes: tuple[ClassResults, ...]
    comparisons: dict[tuple[str, Reference], Comparison]


def ensembles_of(records: Iterable[CellRecord]) -> dict[str, tuple[str, ...]]:
    """The finished ensembles among some records -> their members, in the order of the run."""
    return {r.stamp.method: tuple(r.stamp.members) for r in records if r.stamp.members}


def members_of(results: ClassResults) -> tuple[str, ...]:
    """Every finished method that is a member of a finished ensemble."""
    names = {name for members in ensembles_of(results.done).values() for name in members}
    return tuple(record.stamp.method for record in results.shown if record.stamp.method in names)


def comparisons(
    data: ReportData, classes: Sequence[ClassResults], field: str
) -> dict[tuple[str, Reference], Comparison]:
    """Every ensemble against its best member and the one that validation would have chosen.

    Args:
        data: the run.
        classes: the figure's mean is over them; they have it.
        field: the name of a metric.

    Raises:
        BenchmarkError: scores of a cell are missing or damaged.
    """
    done = [record for one in classes for record in one.done]
    found: dict[tuple[str, Reference], Comparison] = {}
    means = data.means(classes, field)
    for ensemble, members in ensembles_of(done).items():
        own = [record for record in done if record.stamp.method == ensemble]
        places = {_place(record) for record in own}
        known = {name: means[name] for name in members if name in means}
        if not known:
            continue
        best = max(known, key=lambda name: known[name])
        others: dict[Reference, list[CellRecord]] = {
            "best": [record for record in done if record.stamp.method == best],
            "chosen": list(_chosen([r for r in done if r.stamp.method in members], members)),
        }
        computed: dict[frozenset[Cell], Difference | None] = {}
        for reference, records in others.items():
            key = frozenset(record.cell for record in records)
            if key not in computed:
                computed[key] = paired_difference(
                    own, records, data.out, field, redraws=data.redraws
                )
            difference = computed[key]
            if difference is not None:
                found[ensemble, reference] = Comparison(
                    ensemble,
                    field,
                    reference,
                    dict(Counter(r.stamp.method for r in records if _place(r) in places)),
                    difference,
                )
    return found


def gains_of(data: ReportData) -> list[Gains]:
    """Every comparison of a run: of "all classes" first where there are several, then of each.

    Raises:
        BenchmarkError: scores of a cell are missing or damaged.
    """
    found = []
    for scope, classes in _scopes(data):
        for field in COMPARED:
            having = [one for one in classes if one in data.classes_with(field)]
            if having and (scope != ALL_CLASSES or len(having) > 1):
                compared = comparisons(data, having, field)
                if compared:
                    found.append(Gains(scope, field, tuple(having), compared))
    return found


def write_ensembles(out: Path, gains: Sequence[Gains]) -> Path | None:
    """Write `ensembles.csv`, one row per comparison, and return its path.

    None, and no such file, for a run without ensembles.
    """
    path = out / ENSEMBLES_FILE
    rows = [_row(of, comparison) for of in gains for comparison in of.comparisons.values()]
    if not rows:
        path.unlink(missing_ok=True)
        return None
    table = [list(rows[0]), *(list(row.values()) for row in rows)]
    files.write_text(path, csv_text(table))
    return path


def _scopes(data: ReportData) -> list[tuple[str, list[ClassResults]]]:
    """What figures are the means over: everything where there are several classes, then each."""
    single = [(one.name, [one]) for one in data.classes]
    return [(ALL_CLASSES, list(data.classes)), *single] if len(single) > 1 else single


def _row(gains: Gains, comparison: Comparison) -> dict[str, str]:
    gap = comparison.difference
    return {
        "class": gains.scope,
        "ensemble": comparison.ensemble,
        "figure": COMPARED[comparison.field],
        "compared_with": REFERENCES[comparison.reference],
        "member": "+".join(comparison.members),
        "ensemble_mean": f"{gap.one:.6f}",
        "member_mean": f"{gap.other:.6f}",
        "difference": f"{gap.mean:.6f}",
        "low": "" if gap.low is None else f"{gap.low:.6f}",
        "high": "" if gap.high is None else f"{gap.high:.6f}",
        "cells": str(gap.cells),
        "verdict": comparison.verdict,
        "interval": gap.rule,
    }


def _place(record: CellRecord) -> tuple[str, int]:
    return record.stamp.class_name, record.stamp.seed


def _chosen(records: Iterable[CellRecord], members: Sequence[str]) -> Iterable[CellRecord]:
    """Per class and seed the member that validation chooses, where all of them are measured."""
    by_place: dict[tuple[str, int], dict[str, CellRecord]] = {}
    for record in records:
        by_place.setdefault(_place(record), {})[record.stamp.method] = record
    for found in by_place.values():
        separations = {name: found[name].separation if name in found else None for name in members}
        chosen = chosen_by_validation(separations)
        if chosen is not None:
            yield found[chosen]
