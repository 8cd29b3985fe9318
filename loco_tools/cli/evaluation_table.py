"""The metrics of an evaluation as tables for the terminal."""

from collections.abc import Iterator, Mapping
from typing import Any

from rich.table import Table
from rich.text import Text

from loco_tools.evaluation.metric_table import METRICS
from loco_tools.wording import printable

Metrics = Mapping[str, Any]
"""What `loco_tools.evaluation.Evaluation.metrics` holds."""


def tables(metrics: Metrics) -> Iterator[Table]:
    """Tables of images, parts, overlap, pixels and defect types, as far as they apply."""
    yield _images(metrics)
    if metrics["parts"]:
        yield _auroc("Is the part defective?", metrics["parts"]["auroc"], {})
    if metrics["localization"].get("auc_spro"):
        yield _overlap(metrics)
    yield _pixels(metrics)
    if metrics["defects"]:
        yield _defects(metrics["defects"])


def _images(metrics: Metrics) -> Table:
    images = metrics["classification"]
    intervals = (metrics["intervals"] or {}).get("classification", {})
    table = _auroc(
        "Is the image defective?", images["image_auroc"], intervals.get("image_auroc", {})
    )
    for metric in METRICS.values():
        if metric.of_images is not None:
            table.add_row(metric.title, _number(metric.read(metrics)), "")
    at = images["at_threshold"]
    if at["threshold"] is not None:
        label = f"F1 at {at['validation_fpr']:.0%} false positives on validation"
        table.add_row(label, _number(at["f1"]), "")
    return table


def _auroc(title: str, aurocs: Metrics, intervals: Metrics) -> Table:
    table = _table(title, "95 % interval")
    for name, value in aurocs.items():
        if value is not None:
            table.add_row(_name(f"AUROC {name}"), _number(value), _interval(intervals.get(name)))
    return table


def _overlap(metrics: Metrics) -> Table:
    by_kind = metrics["localization"]["auc_spro"]
    limits = list(next(iter(by_kind.values())))
    table = _table("AU-sPRO by false positive rate limit", *limits, first=False)
    for kind, by_limit in by_kind.items():
        table.add_row(_name(kind), *(_number(by_limit[limit]) for limit in limits))
    return table


def _pixels(metrics: Metrics) -> Table:
    pixels = metrics["localization"]
    intervals = (metrics["intervals"] or {}).get("localization", {})
    table = _table("Where is the defect?", "95 % interval")
    for kind, by_limit in intervals.get("auc_spro", {}).items():
        for limit, ends in by_limit.items():
            value = _number(pixels["auc_spro"][kind][limit])
            table.add_row(_name(f"AU-sPRO {limit} {kind}"), value, _interval(ends))
    for limit, value in pixels.get("au_pro", {}).items():
        between = intervals.get("au_pro", {})
        table.add_row(f"AU-PRO {limit}", _number(value), _interval(between.get(limit)))
    for metric in METRICS.values():
        if metric.of_pixels is not None:
            table.add_row(metric.title, _number(metric.read(metrics)), "")
    return table


def _defects(defects: Metrics) -> Table:
    table = _table("Which defects are found?", "images", "masks", "image AUROC", first=False)
    column = next(key for key in next(iter(defects.values())) if key.startswith("au_"))
    title = column.replace("au_spro_", "AU-sPRO ").replace("au_pro_", "AU-PRO ")
    table.add_column(title, justify="right")
    for name, row in defects.items():
        cells = (_number(row["image_auroc"]), _number(row[column]))
        table.add_row(_name(name), str(row["count"]), str(row["masks"]), *cells)
    return table


def _table(title: str, *columns: str, first: bool = True) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold")
    table.add_column("")
    if first:
        table.add_column("value", justify="right")
    for column in columns:
        table.add_column(column, justify="right")
    return table


def _name(text: str) -> Text:
    return Text(printable(text))


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def _interval(ends: list[float] | None) -> str:
    return "" if not ends or None in ends else f"{ends[0]:.3f} - {ends[1]:.3f}"
