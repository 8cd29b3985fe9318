"""The table of a run: `results.csv`, one row per cell, and the same for the terminal."""

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from loco_tools import files
from loco_tools.benchmark.cell.record import CellRecord
from loco_tools.evaluation.metric_table import result_metrics
from loco_tools.wording import csv_text, printable

if TYPE_CHECKING:
    from rich.table import Table

RESULTS_FILE = "results.csv"

LEADING_METRICS = (
    *("image_auroc_mean", "image_auroc_logical", "image_auroc_structural", "image_auroc_pooled"),
    *("pixel_auroc", "au_pro", "au_spro"),
)
"""Metrics whose columns come before those of the costs; the columns of the others follow them."""

COSTS = ("fit_s", "ms_per_image", "peak_mb", "images_per_s")


def columns() -> tuple[str, ...]:
    """The columns of results.csv: metrics and costs first, then the honesty stamp."""
    metrics = result_metrics()
    return (
        *("method", "class", "seed", "backbone", "preset", "status"),
        *(metric.column for metric in metrics if metric.name in LEADING_METRICS),
        *COSTS,
        *(metric.column for metric in metrics if metric.name not in LEADING_METRICS),
        *("parameters", "peak_of", "layout", "category", "weights", "input_size_px", "resize"),
        *(
            "device",
            "threads",
            "members",
            "overrides",
            "selection",
            "score_rule",
            "level",
            "train_images",
        ),
        *("validation_images", "test_images", "data_hash", "code_hash", "key", "versions", "error"),
        "maps_error",
    )


@dataclass(frozen=True)
class MeanOverSeeds:
    """The mean of a metric over seeds, and its sample standard deviation if there are several."""

    mean: float
    deviation: float | None

    def __str__(self) -> str:
        deviation = "" if self.deviation is None else f" ± {self.deviation:.3f}"
        return f"{self.mean:.3f}{deviation}"


def mean_over_seeds(values: Iterable[float | None]) -> MeanOverSeeds | None:
    """Mean and deviation of the values that are not None; None if every value is None.

    >>> str(mean_over_seeds([0.8, 0.9, None]))
    '0.850 ± 0.071'
    """
    present = [value for value in values if value is not None]
    if not present:
        return None
    deviation = statistics.stdev(present) if len(present) > 1 else None
    return MeanOverSeeds(statistics.fmean(present), deviation)


def metric_over_seeds(records: Iterable[CellRecord], field: str) -> MeanOverSeeds | None:
    """A metric by its name in `METRICS`, over the records of one method on one class."""
    return mean_over_seeds(record.metric(field) for record in records)


def row_of(record: CellRecord) -> dict[str, str]:
    """One row of results.csv; metrics that do not apply are empty."""
    stamp, cost = record.stamp, record.cost
    row = {
        "method": stamp.method,
        "class": stamp.class_name,
        "seed": str(stamp.seed),
        "backbone": stamp.backbone.partition(":")[0],
        "preset": stamp.preset,
        "status": record.status,
    }
    row |= {m.column: _text(record.metric(m.name), 6) for m in result_metrics()}
    row |= {name: _text(None if cost is None else getattr(cost, name), 3) for name in COSTS}
    row |= {
        "parameters": "" if cost is None or cost.parameters is None else str(cost.parameters),
        "peak_of": "" if cost is None else cost.peak_of,
        "layout": record.layout,
        "category": record.category,
        "weights": stamp.backbone.partition(":")[2],
        "input_size_px": str(stamp.input_size_px or record.config.get("size_px", "")),
        "resize": str(record.config.get("resize", stamp.resize)),
        "device": stamp.device,
        "threads": str(stamp.threads or ""),
        "members": "+".join(stamp.members),
        "overrides": "; ".join(f"{key}={value}" for key, value in stamp.overrides.items()),
        "selection": stamp.selection,
        "score_rule": stamp.score_rule,
        "level": stamp.level,
        "train_images": str(record.counts.get("train", "")),
        "validation_images": str(record.counts.get("validation", "")),
        "test_images": str(record.test_images or ""),
        "data_hash": stamp.data_hash[:16],
        "code_hash": stamp.code_hash[:16],
        "key": record.key[:16],
        "versions": "; ".join(f"{name} {version}" for name, version in stamp.versions.items()),
        "error": record.error,
        "maps_error": record.maps_error,
    }
    return row


def write_results(out: Path, records: Sequence[CellRecord]) -> Path:
    """Write `results.csv` atomically and return its path."""
    rows = [[row[name] for name in columns()] for row in map(row_of, records)]
    path = out / RESULTS_FILE
    files.write_text(path, csv_text([columns(), *rows]))
    return path


def tables(records: Sequence[CellRecord]) -> list["Table"]:
    """One terminal table per class: a row per method, mean and deviation over seeds."""
    from rich.table import Table
    from rich.text import Text

    class_tables = []
    for class_name, class_records in group_records(records, "class_name").items():
        shown = _shown_metrics(class_records)
        table = Table(title=Text(printable(class_name)), title_justify="left", title_style="bold")
        table.add_column("method", no_wrap=True)
        for name, _field in shown:
            table.add_column(name, justify="right")
        for name in ("ms per\nimage", "fit\ns", "peak\nMB"):
            table.add_column(name, justify="right")
        by_method = group_records(class_records, "method")
        best = {field: best_method(by_method, field) for _name, field in shown}
        for method, cells in by_method.items():
            done = [cell for cell in cells if cell.status == "ok"]
            row = [
                Text(
                    str(metric_over_seeds(done, field) or ""),
                    style="bold" if best[field] == method else "",
                )
                for _name, field in shown
            ]
            title = method if len(done) == len(cells) else f"{method} (failed)"
            table.add_row(Text(printable(title)), *row, *_costs(done))
        class_tables.append(table)
    return class_tables


def group_records(records: Iterable[CellRecord], field: str) -> dict[str, list[CellRecord]]:
    """Records by "method" or "class_name", in the order of their first appearance."""
    groups: dict[str, list[CellRecord]] = {}
    for record in records:
        groups.setdefault(str(getattr(record.stamp, field)), []).append(record)
    return groups


def best_method(by_method: dict[str, list[CellRecord]], field: str) -> str | None:
    """The method with the highest mean of a metric; None if fewer than two methods have it."""
    means = {
        method: value.mean
        for method, cells in by_method.items()
        if (value := metric_over_seeds(cells, field)) is not None
    }
    return max(means, key=lambda method: means[method]) if len(means) > 1 else None


_TERMINAL = (
    ("image\nAUROC", "image_auroc_mean"),
    ("logical\nAUROC", "image_auroc_logical"),
    ("struct.\nAUROC", "image_auroc_structural"),
    ("AU-sPRO\n0.05", "au_spro"),
    ("AU-PRO\n0.3", "au_pro"),
)


def _shown_metrics(records: Sequence[CellRecord]) -> list[tuple[str, str]]:
    """The metrics that the terminal shows for a class, with one of AU-sPRO and AU-PRO."""
    shown = [
        (name, field)
        for name, field in _TERMINAL
        if any(record.metric(field) is not None for record in records)
    ]
    fields = {field for _name, field in shown}
    hidden = {"au_pro"} if "au_spro" in fields else set()
    hidden |= set() if "image_auroc_logical" in fields else {"image_auroc_structural"}
    return [(name, field) for name, field in shown if field not in hidden]


def _costs(records: Sequence[CellRecord]) -> list[str]:
    costs = [record.cost for record in records if record.cost is not None]
    if not costs:
        return ["", "", ""]
    return [
        f"{statistics.fmean(cost.ms_per_image for cost in costs):.0f}",
        f"{statistics.fmean(cost.fit_s for cost in costs):.1f}",
        f"{max(cost.peak_mb for cost in costs):.0f}",
    ]


def _text(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:.{digits}f}"
