"""The tables of the error analysis: where methods are wrong, and whether together."""

import math
from collections.abc import Mapping

from loco_tools.benchmark.analysis.error_analysis import (
    ClassErrors,
    key_of,
    methods_wrong,
    shares_wrong,
)
from loco_tools.benchmark.report.images import SelectedImage
from loco_tools.benchmark.report.tables import Table, TableColumn, TableRow, names, number, text
from loco_tools.benchmark.report.tables import key_of as table_key
from loco_tools.metrics.diversity import GOOD_SHARE

ROWS_SHOWN = 30
"""Longer lists of images go on in the CSV file."""

NOTE = (
    "Each method calls an image defective when its score exceeds the method's own threshold, which "
    f"{GOOD_SHARE:.0%} of the good validation images stay below; no test image influences it. A "
    "false alarm is a good image called defective, a miss is a defective image called good. "
    "Choosing another method does not help where all methods are wrong: look at those images."
)


def decisions(class_name: str, found: ClassErrors) -> Table:
    """Error rates of each method."""
    anomalous = found.anomalous
    rows = []
    for one in found.decisions:
        alarms, misses = int(one.wrong[~anomalous].sum()), int(one.wrong[anomalous].sum())
        rows.append(
            TableRow(
                (
                    text(one.method),
                    number(one.threshold, 4),
                    number(alarms, 0),
                    number(100 * alarms / max(1, int((~anomalous).sum())), 1),
                    number(misses, 0),
                    number(100 * misses / max(1, int(anomalous.sum())), 1),
                )
            )
        )
    columns = (
        TableColumn("threshold", tip="Image score; scores of methods are on different scales"),
        *(
            TableColumn("false alarms"),
            TableColumn("% of good"),
            TableColumn("misses"),
            TableColumn("% of defective"),
        ),
    )
    caption = (
        f"{class_name}: errors among {int((~anomalous).sum())} good and {int(anomalous.sum())} "
        "defective test images"
    )
    return Table(
        table_key("errors", class_name), caption, (*names("method"), *columns), tuple(rows)
    )


def shared(class_name: str, found: ClassErrors, sizes: Mapping[str, float]) -> Table:
    """Errors by kind, defect type, size and the number of methods that make them."""
    groups = found.groups(sizes)
    wrong = found.wrong
    by_method = shares_wrong(wrong, groups)
    by_all = {name: float(wrong[:, members].all(axis=0).mean()) for name, members in groups.items()}
    rows = []
    for name, members in groups.items():
        shares = [number(100 * share, 0) for share in by_method[name]]
        cells = (number(int(members.sum()), 0), *shares, number(100 * by_all[name], 0))
        rows.append(TableRow((text(name), *cells), total=name.startswith("all ")))
    methods = [TableColumn(one.method) for one in found.decisions]
    return Table(
        table_key("errors shared", class_name),
        f"{class_name}: percent of the images that each method is wrong about",
        (*names("images of"), TableColumn("images"), *methods, TableColumn("every method")),
        tuple(rows),
    )


def overlaps(class_name: str, found: ClassErrors) -> Table | None:
    """Overlap of the erroneous images of two methods; None for a single method."""
    if len(found.decisions) < 2:
        return None
    values = found.overlap()
    methods = [one.method for one in found.decisions]
    rows = [
        TableRow(
            (
                text(name),
                *(number(None if math.isnan(v) else float(v), 2) for v in values[place]),
            )
        )
        for place, name in enumerate(methods)
    ]
    return Table(
        table_key("errors overlap", class_name),
        f"{class_name}: errors that two methods share, of all that either makes (1: the same)",
        (*names("method"), *(TableColumn(name) for name in methods)),
        tuple(rows),
    )


def listing(class_name: str, found: ClassErrors, sizes: Mapping[str, float]) -> Table:
    """Every image that any method errs on, those that most err on first."""
    rows = []
    for image in found.hardest():
        score = found.images[image]
        wrong = list(methods_wrong(found, image))
        size = sizes.get(key_of(score))
        rows.append(
            TableRow(
                (
                    text(key_of(score)),
                    text("false alarm" if score.kind == "good" else "miss"),
                    text(", ".join(score.defects)),
                    number(None if size is None else 100 * size, 2),
                    number(len(wrong), 0),
                    text(", ".join(wrong)),
                )
            )
        )
    columns = (
        *names("image", "error", "defects"),
        *(TableColumn("% defective area"), TableColumn("methods wrong")),
        *names("wrong"),
    )
    return Table(
        table_key("errors images", class_name),
        f"{class_name}: images that a method errs on, of {len(found.decisions)} methods",
        columns,
        tuple(rows),
    )


def hardest(found: ClassErrors, limit: int) -> list[SelectedImage]:
    """The images that most methods are wrong about, misses and false alarms in turn."""
    anomalous = found.anomalous
    misses = [i for i in found.hardest() if anomalous[i]]
    alarms = [i for i in found.hardest() if not anomalous[i]]
    ordered = [i for pair in zip(misses, alarms, strict=False) for i in pair]
    ordered += [*misses[len(alarms) :], *alarms[len(misses) :]]
    count = len(found.decisions)
    return [
        SelectedImage(
            i,
            f"{'missed by' if anomalous[i] else 'false alarm of'} "
            f"{int(found.wrong[:, i].sum())} of {count} methods",
        )
        for i in ordered[:limit]
    ]


def first_rows(table: Table, links: Mapping[str, str]) -> Table:
    """The first rows of the listing, with links from images to the interactive view."""
    rows = [
        TableRow(row.cells, row.total, links.get(row.cells[0].text, ""))
        for row in table.rows[:ROWS_SHOWN]
    ]
    return Table(table.key, table.caption, table.columns, tuple(rows))
