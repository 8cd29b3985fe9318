"""The page: its sections in order, with style and script inside it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup

from loco_tools.benchmark.analysis.ensemble_gains import Gains
from loco_tools.benchmark.analysis.run_data import ReportData
from loco_tools.benchmark.report import ensembles as of_ensembles
from loco_tools.benchmark.report import provenance, results_tables
from loco_tools.benchmark.report.cost import cost, costs, costs_by_method
from loco_tools.benchmark.report.critical_difference import (
    FEWEST_METHODS,
    critical_differences,
    rank_tables,
)
from loco_tools.benchmark.report.curves import curves, scores, trainings
from loco_tools.benchmark.report.html import render
from loco_tools.benchmark.report.image_sections import (
    Pictured,
    errors_section,
    gallery_section,
    view_section,
)
from loco_tools.benchmark.report.published_section import published, published_section
from loco_tools.benchmark.report.tables import Table, with_distinct_keys
from loco_tools.evaluation.metric_table import HEADLINES, result_metrics
from loco_tools.metrics.ranks import LEVEL
from loco_tools.wording import plural

_STATIC = Path(__file__).parent / "static"

_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
"""Content security policy: the browser loads nothing from outside the page."""


@dataclass(frozen=True)
class Tables:
    """Every table of a report, computed once for the page and for the files written with it."""

    overview: Table | None
    per_class: tuple[Table, ...]
    ranks: tuple[Table, ...]
    categories: Table | None
    ad_against_loco: Table | None
    defect_types: dict[str, tuple[Table, ...]]
    ensembles: tuple[Table, ...]
    errors: tuple[Table, ...]
    cost_by_method: Table
    cost: Table
    published: Table | None
    failed: Table | None
    stamps: Table

    def all(self) -> list[Table]:
        """In the order of the page; keys, which name their files, are distinct."""
        types = [table for tables in self.defect_types.values() for table in tables]
        found = (self.failed, self.overview, *self.per_class, *self.ranks, self.categories)
        found += (self.ad_against_loco, *self.ensembles, *types, *self.errors, self.cost_by_method)
        found += (self.cost, self.published, self.stamps)
        return with_distinct_keys([table for table in found if table and table.rows])


def tables_of(data: ReportData, gains: Sequence[Gains], classes: Sequence[Pictured]) -> Tables:
    """The tables of a run.

    Raises:
        BenchmarkError: a cell is damaged.
    """
    per_class = [results_tables.per_class(data, metric) for metric in HEADLINES]
    return Tables(
        results_tables.overview(data),
        tuple(table for table in per_class if table is not None),
        tuple(rank_tables(data)),
        results_tables.per_category(data),
        results_tables.ad_against_loco(data),
        {
            one.name: tuple(results_tables.defect_types(data, one))
            for one in data.classes
            if one.done
        },
        tuple(of_ensembles.gain_tables(gains)),
        tuple(table for one in classes for table in one.tables),
        costs_by_method(data),
        costs(data),
        published(data),
        provenance.failed(data),
        provenance.stamps(data.records),
    )


def page(
    data: ReportData, gains: Sequence[Gains], classes: Sequence[Pictured], tables: Tables
) -> str:
    """The whole page; `gains` is what its ensembles add to their members."""
    sections: dict[str, Markup | None] = {
        "failures": provenance.failures(data),
        "faults": provenance.accepted_faults(data),
        "results": _results(data, tables),
    }
    if classes:
        sections |= {
            "ensembles": of_ensembles.ensembles(data, gains),
            "types": render("types.html", defect_types=tables.defect_types),
            "inspect": view_section(data, classes),
            "images": gallery_section(data, classes),
            "errors": errors_section(data, classes),
            "curves": curves(data),
            "scores": scores(data),
            "training": trainings(data),
            "cost": cost(data, tables.cost_by_method, tables.cost),
            "published": published_section(tables.published),
        }
    sections |= {
        "reading": render("glossary.html", metrics=result_metrics()),
        "origin": provenance.origin(data),
    }
    static = {path.name: path.read_text(encoding="utf-8") for path in _STATIC.iterdir()}
    scripts = (static[name] for name in ("page.js", "segmentation.js", "image_view.js"))
    script = "\n".join(scripts).replace("'use strict';\n", "")
    return render(
        "page.html",
        title=data.title,
        policy=_POLICY,
        style=static["report.css"],
        script=f"'use strict';\n{script}",
        simulated=any(info.simulated for info in data.run.classes),
        lead=_lead(data),
        cards=_cards(data),
        navigation={key: name for key, name in _NAVIGATION.items() if key in sections},
        sections=sections,
    )


_NAVIGATION = {
    "results": "Results",
    "ensembles": "Ensembles",
    "types": "Defect types",
    "inspect": "Look closely",
    "images": "Images",
    "errors": "Errors",
    "curves": "Curves",
    "scores": "Scores",
    "training": "Training",
    "cost": "Cost",
    "published": "Published",
    "reading": "How to read",
    "origin": "Origin",
}


def _results(data: ReportData, tables: Tables) -> Markup:
    per_class = {table.key: table for table in tables.per_class}
    found = [(metric, per_class.get(results_tables.per_class_key(metric))) for metric in HEADLINES]
    others = {
        "Which kinds of methods?": tables.categories,
        "From AD to LOCO": tables.ad_against_loco,
    }
    return render(
        "results.html",
        overview=tables.overview,
        ranks=critical_differences(data),
        level=f"{LEVEL:g}",
        fewest_methods=FEWEST_METHODS,
        headlines=[pair for pair in found if pair[1] and len(data.classes) > 1],
        others=[(title, table) for title, table in others.items() if table is not None],
    )


def _lead(data: ReportData) -> str:
    """The question that the report answers, with the methods and the number of test images."""
    images = sum(
        count
        for one in data.classes
        for record in one.done[:1]
        for name, count in record.counts.items()
        if name.startswith("test/")
    )
    return (
        f"{listing(data.methods)} learned each class from good images alone and were then tested "
        f"on {images:,} images that they had never seen. Which method separates good parts from "
        "defective ones, and does it locate the defects? Higher is better, except for cost."
    )


def listing(names: Sequence[str]) -> str:
    """Names as a sentence takes them.

    >>> listing(["a", "b", "c"])
    'a, b and c'
    """
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


_ANSWERS = {
    "image_auroc_mean": "Best at finding bad parts",
    "au_spro": "Best at locating the defects",
    "au_pro": "Best at locating the defects",
}


def _cards(data: ReportData) -> list[tuple[str, str, str]]:
    """The answers in short: label, value and explanation of each card."""
    cards = []
    for metric in HEADLINES:
        classes = data.classes_with(metric.name)
        means = data.means(classes, metric.name)
        if not means:
            continue
        best = max(means, key=lambda method: means[method])
        words = f"{metric.title} {means[best]:.3f}"
        if len(classes) > 1:
            words += f", mean of {len(classes)} classes"
        elif len(data.classes) > 1:
            words += f" on {classes[0].name}"
        if metric.guess is not None and means[best] <= metric.guess:
            best, words = "none", f"No better than guessing: {best}, {words}"
        cards.append((_ANSWERS[metric.name], best, words))
    speeds = data.speeds()
    if speeds:
        fastest = min(speeds, key=lambda method: speeds[method])
        cards.append(("Fastest", fastest, f"{speeds[fastest]:.0f} ms per image"))
    done = sum(record.status == "ok" for record in data.records)
    failed = f", {len(data.failures)} failed" if data.failures else ""
    words = f"method × class × seed, {plural(len(data.run.suite.seeds), 'seed')}"
    cards.append(("Finished", f"{done} of {len(data.run.cells)} cells{failed}", words))
    return cards
