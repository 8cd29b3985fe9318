"""The tables of how good methods are: over classes, per class, per category, AD against LOCO."""

import statistics
from collections.abc import Mapping, Sequence

from loco_tools.benchmark.analysis.run_data import ClassResults, ReportData
from loco_tools.benchmark.analysis.significance import BestMethods, find_best
from loco_tools.benchmark.cell.record import CellRecord
from loco_tools.benchmark.report.tables import (
    Mark,
    Table,
    TableCell,
    TableColumn,
    TableRow,
    key_of,
    names,
    number,
    spread_cell,
    text,
)
from loco_tools.benchmark.run.results_csv import MeanOverSeeds, mean_over_seeds, metric_over_seeds
from loco_tools.errors import BenchmarkError
from loco_tools.evaluation.metric_table import HEADLINES, METRICS, Metric

_Counts = Mapping[str, Mapping[str, int]]

_OVERVIEW = (
    *("image_auroc_mean", "image_auroc_logical", "image_auroc_structural", "au_spro", "au_pro"),
    *("image_average_precision", "pixel_auroc"),
)


def overview(data: ReportData) -> Table | None:
    """One row per method: means over the classes that have a figure; None before any is known."""
    shown = [(METRICS[name], data.classes_with(name)) for name in _OVERVIEW]
    shown = [(metric, classes) for metric, classes in shown if classes]
    if not shown:
        return None
    best_by_metric = {
        metric.name: find_best(data, classes, metric.name) for metric, classes in shown
    }
    speeds = data.speeds()
    rows = []
    for method in data.methods:
        cells = [
            spread_cell(
                data.over_classes(classes, method, metric.name),
                mark_of(best_by_metric[metric.name], method),
                failed=_has_failed(classes, method),
            )
            for metric, classes in shown
        ]
        speed = number(speeds.get(method), 0)
        link = f"stamp-{data.style(method)}"
        rows.append(TableRow((text(method), *cells, speed), link=link))
    columns = [
        TableColumn(_scoped(metric, classes, data), tip=metric.meaning, guess=metric.guess)
        for metric, classes in shown
    ]
    return Table(
        "overview",
        f"Every method, {_over(data)}",
        (*names("method"), *columns, TableColumn("ms per image", tip="Reading the image included")),
        tuple(rows),
        _rules({metric.title: best_by_metric[metric.name] for metric, _classes in shown}),
    )


def per_class(data: ReportData, metric: Metric) -> Table | None:
    """One figure, method by class, the mean over classes last; None where no class has it."""
    classes = data.classes_with(metric.name)
    if not classes:
        return None
    best_by_metric = [find_best(data, [one], metric.name) for one in classes]
    over_all = find_best(data, classes, metric.name) if len(classes) > 1 else None
    rows = []
    for method in data.methods:
        cells = [
            spread_cell(
                metric_over_seeds(one.of(method), metric.name),
                mark_of(of_class, method),
                failed=method in _failed(one),
            )
            for one, of_class in zip(classes, best_by_metric, strict=True)
        ]
        if len(classes) > 1:
            mean = data.over_classes(classes, method, metric.name)
            cells.append(spread_cell(mean, mark_of(over_all, method)))
        rows.append(TableRow((text(method), *cells)))
    columns = [TableColumn(one.name, guess=metric.guess) for one in classes]
    if len(classes) > 1:
        columns.append(TableColumn("mean", guess=metric.guess))
    of_classes = {one.name: found for one, found in zip(classes, best_by_metric, strict=True)}
    return Table(
        per_class_key(metric),
        f"{metric.title} per method and class",
        (*names("method"), *columns),
        tuple(rows),
        _rules({**of_classes, "mean": over_all}),
    )


def per_class_key(metric: Metric) -> str:
    """The key of the table that `per_class` makes of a metric."""
    return key_of(metric.title, "per class")


def per_category(data: ReportData) -> Table | None:
    """What kinds of methods are good at; None before any is known."""
    by_kind = (METRICS["image_auroc_logical"], METRICS["image_auroc_structural"])
    shown = [(metric, data.classes_with(metric.name)) for metric in (*by_kind, *HEADLINES)]
    shown = [(metric, classes) for metric, classes in shown if classes]
    categories = data.categories()
    if not shown or len(categories) < 2:
        return None
    rows = []
    for category, methods in sorted(categories.items()):
        cells = []
        for metric, classes in shown:
            means = data.means(classes, metric.name)
            known = {method: means[method] for method in methods if method in means}
            best = max(known, key=lambda method: known[method]) if known else ""
            value = statistics.fmean(known.values()) if known else None
            words = f"best {known[best]:.3f} {best}" if len(known) > 1 else ""
            cells.append(TableCell(value, words=words))
        rows.append(TableRow((text(category), text(", ".join(methods)), *cells)))
    columns = [
        TableColumn(metric.title, tip=metric.meaning, guess=metric.guess)
        for metric, _classes in shown
    ]
    return Table(
        "categories",
        "Per category of methods: the mean over its methods, and the best of them",
        (*names("category", "methods"), *columns),
        tuple(rows),
        ("A category with one method shows that method, and says little about its kind.",),
    )


def ad_against_loco(data: ReportData) -> Table | None:
    """Loss of each method from classes in MVTec AD's layout to LOCO's; None without both."""
    layouts = {
        layout: [one for one in data.classes if one.layout == layout and one.done]
        for layout in ("mvtec_ad", "mvtec_loco")
    }
    if not all(layouts.values()):
        return None
    rows = []
    for method in data.methods:
        cells: list[TableCell] = []
        for field in ("image_auroc_mean", "au_pro"):
            means = [data.over_classes(found, method, field) for found in layouts.values()]
            cells += [spread_cell(mean) for mean in means]
            ad, loco = means
            drop = None if ad is None or loco is None else ad.mean - loco.mean
            cells.append(number(drop, signed=True))
        rows.append(TableRow((text(method), *cells)))
    columns = [
        TableColumn(f"{name} {what}")
        for name in ("image AUROC", "AU-PRO 0.3")
        for what in ("AD", "LOCO", "drop")
    ]
    listed = [", ".join(one.name for one in found) for found in layouts.values()]
    return Table(
        "ad_against_loco",
        "From classes in MVTec AD's layout to classes in LOCO's: what is lost",
        (*names("method"), *columns),
        tuple(rows),
        (
            f"AD: {listed[0]}. LOCO: {listed[1]}. The drop is the mean over the first less that "
            "over the second; the parts differ too, not only the kinds of defects.",
        ),
    )


def defect_types(data: ReportData, results: ClassResults) -> list[Table]:
    """Image AUROC and localisation of one class, per kind and defect type."""
    counts = data.type_counts(results)
    if not counts:
        return []
    good = results.shown[0].counts.get("test/good", 0)
    tables = [
        Table(
            key_of("defect types", results.name),
            f"{results.name}, image AUROC: each row against the same {good} good images",
            _type_columns(data, 0.5),
            tuple(_judged(data, results, counts)),
        )
    ]
    for field, of in (("au_spro_0.05", "au_spro"), ("au_pro_0.3", "au_pro")):
        rows, metric = _localised(data, results, counts, field), METRICS[of]
        if rows:
            tables.append(
                Table(
                    key_of("defect types", results.name, metric.title),
                    f"{results.name}, {metric.title} of each defect type",
                    _type_columns(data, metric.guess),
                    tuple(rows),
                )
            )
    return tables


def mark_of(found: BestMethods | None, method: str) -> Mark:
    """What the figure of a method is marked with."""
    if found is None:
        return ""
    if method in found.best:
        return "best"
    return "level" if found.level is not None and method in found.level else ""


def type_figure(record: CellRecord, name: str, field: str) -> float | None:
    """A figure of a defect type; None where a cell does not have it.

    Raises:
        BenchmarkError: the record's metrics are damaged.
    """
    try:
        value = record.metrics.get("defects", {}).get(name, {}).get(field)
        return None if value is None else float(value)
    except (AttributeError, TypeError, ValueError) as error:
        raise BenchmarkError(
            f"{record.cell}: expected a figure per defect type in its metrics, got {error!r}; "
            "next step: remove the cell's folder and run the benchmark again"
        ) from error


def _rules(best_by_metric: Mapping[str, BestMethods | None]) -> tuple[str, ...]:
    """The rules that decided the marks, each once, after the columns that it applies to."""
    columns: dict[str, list[str]] = {}
    for name, found in best_by_metric.items():
        if found is not None:
            columns.setdefault(found.rule, []).append(name)
    return tuple(f"{', '.join(of)}: {rule}." for rule, of in columns.items())


def _type_columns(data: ReportData, guess: float | None) -> tuple[TableColumn, ...]:
    methods = (TableColumn(method, guess=guess) for method in data.methods)
    return (*names("defect type"), TableColumn("images"), *methods)


def _judged(data: ReportData, results: ClassResults, counts: _Counts) -> list[TableRow]:
    """Image AUROC of each kind and of its defect types."""
    records = {method: results.of(method) for method in data.methods}
    rows = []
    for kind in ("logical", "structural"):
        if kind not in counts:
            continue
        found = {m: metric_over_seeds(of, f"image_auroc_{kind}") for m, of in records.items()}
        rows.append(_type_row(f"all {kind}", counts[kind][""], found, total=True))
        for name in sorted(set(counts[kind]) - {""}):
            of_type = {
                m: mean_over_seeds(type_figure(record, name, "image_auroc") for record in of)
                for m, of in records.items()
            }
            rows.append(_type_row(name, counts[kind][name], of_type))
    return rows


def _localised(
    data: ReportData, results: ClassResults, counts: _Counts, field: str
) -> list[TableRow]:
    rows = []
    for kind in counts:
        for name in sorted(set(counts[kind]) - {""}):
            found = {
                m: mean_over_seeds(type_figure(record, name, field) for record in results.of(m))
                for m in data.methods
            }
            if any(found.values()):
                rows.append(_type_row(name, counts[kind][name], found))
    return rows


def _type_row(
    name: str, images: int, found: Mapping[str, MeanOverSeeds | None], *, total: bool = False
) -> TableRow:
    """A defect type; its best figure to three digits is marked, chance is not considered."""
    known = [round(one.mean, 3) for one in found.values() if one is not None]
    top = max(known) if len(known) > 1 else None
    cells = [
        spread_cell(one, "best" if one is not None and round(one.mean, 3) == top else "")
        for one in found.values()
    ]
    return TableRow((text(name), number(images, 0), *cells), total=total)


def _over(data: ReportData) -> str:
    classes = sum(1 for one in data.classes if one.done)
    seeds = len(data.run.suite.seeds)
    spread_of = f"; ± is the standard deviation over {seeds} seeds" if seeds > 1 else ""
    return ("means over classes" if classes > 1 else "on one class") + spread_of


def _scoped(metric: Metric, classes: Sequence[ClassResults], data: ReportData) -> str:
    """A figure's name, with the number of classes where it is not of all of them."""
    done = sum(1 for one in data.classes if one.done)
    if len(classes) == done:
        return metric.title
    return f"{metric.title} ({len(classes)} of {done} classes)"


def _failed(one: ClassResults) -> set[str]:
    return {record.stamp.method for record in one.records if record.status == "failed"}


def _has_failed(classes: Sequence[ClassResults], method: str) -> bool:
    return any(method in _failed(one) for one in classes)
