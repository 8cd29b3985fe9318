"""The page: its sections in order, with style and script inside."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from loco_tools.benchmark.analysis.ensemble_gains import Gains
from loco_tools.benchmark.analysis.run_data import ClassResults, ReportData, counted
from loco_tools.benchmark.report import ensembles as of_ensembles
from loco_tools.benchmark.report import provenance, results_tables
from loco_tools.benchmark.report.cost import cost, costs, costs_by_method
from loco_tools.benchmark.report.critical_difference import critical_differences, rank_tables
from loco_tools.benchmark.report.curves import curves, scores, trainings
from loco_tools.benchmark.report.html import Child, Markup, element, html_table, join, section
from loco_tools.benchmark.report.image_sections import (
    Pictured,
    errors_section,
    gallery_section,
    view_section,
)
from loco_tools.benchmark.report.published_section import published, published_section
from loco_tools.benchmark.report.tables import MARKS, Table, with_distinct_keys
from loco_tools.evaluation.metric_table import HEADLINES, Metric, result_metrics

_STATIC = Path(__file__).parent / "static"

_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
"""What the browser may load: nothing but what is inside the page."""


@dataclass(frozen=True)
class Tables:
    """Every table of a report, computed once for the page and for the files beside it."""

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
        provenance.failed(data.failures),
        provenance.stamps(data.records),
    )


def page(
    data: ReportData, gains: Sequence[Gains], classes: Sequence[Pictured], tables: Tables
) -> str:
    """The whole page; `gains` is what its ensembles add to their members."""
    sections = [provenance.failures(data.failures), _results(data, tables)]
    if classes:
        sections += [of_ensembles.ensembles(data, gains), _types(tables)]
        sections += [view_section(data, classes), gallery_section(data, classes)]
        sections += [errors_section(data, classes), curves(data), scores(data)]
        sections += [
            trainings(data),
            cost(data, tables.cost_by_method, tables.cost),
            published_section(tables.published),
        ]
    sections += [_glossary(), provenance.origin(data)]
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=_POLICY),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("title", f"{data.title} – loco-tools"),
        Markup(f"<style>{_shipped('report.css')}</style>"),
    )
    body = element(
        "body",
        element("a", "To the results", href="#results", class_="skip"),
        header(data),
        _navigation(sections),
        element("main", sections),
        _footer(),
        _dialog(),
    )
    return f"<!doctype html>\n{element('html', head, body, lang='en')}\n"


def _shipped(name: str) -> str:
    """A style sheet or script as it lies beside this module."""
    return (_STATIC / name).read_text(encoding="utf-8")


def _navigation(sections: Sequence[Markup | None]) -> Markup:
    written = "".join(part for part in sections if part is not None)
    items = [
        element("li", element("a", text, href=f"#{key}"))
        for key, text in _PLACES.items()
        if f'<section id="{key}"' in written or f' id="{key}"' in written
    ]
    return element("nav", element("ul", items), aria_label="Sections")


_PLACES = {
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
    if tables.overview is None:
        return section("results", "Results", "No cell has finished yet.")
    note = (
        f"{MARKS['best']} marks the best of a column, {MARKS['level']} those that chance alone may "
        "have put behind it; without a mark a method is significantly worse, or there is too "
        "little to tell (“How the marks were decided” says which). Bars begin where guessing would "
        "be. A method's name leads to its honesty stamp."
    )
    blocks: list[Child] = [html_table(tables.overview, visible=True), critical_differences(data)]
    for metric in HEADLINES:
        found = next((t for t in tables.per_class if t.caption.startswith(metric.title)), None)
        if found is not None and len(data.classes) > 1:
            heading = element("h3", f"{metric.question} {metric.title}")
            blocks += [heading, element("p", metric.meaning), html_table(found)]
    for title, table in (
        ("Which kinds of methods?", tables.categories),
        ("From AD to LOCO", tables.ad_against_loco),
    ):
        if table is not None:
            blocks += [element("h3", title), html_table(table, visible=True)]
    return section("results", "Results", note, blocks)


def _types(tables: Tables) -> Markup:
    note = (
        "Logical: every piece looks fine, but the arrangement breaks a rule, such as a missing "
        "hole. Structural: something is damaged. Image AUROC of each defect type against all good "
        f"test images; with a handful of images, small differences mean little. {MARKS['best']} "
        "marks the best of a row, whatever chance may have done."
    )
    blocks = [
        join(element("h3", name), [html_table(table, visible=True) for table in found])
        for name, found in tables.defect_types.items()
    ]
    return section("types", "Which defects are found?", note, blocks)


def _glossary() -> Markup:
    metrics = {metric.title: metric.meaning for metric in result_metrics()}
    more = {
        "anomaly map": "A picture as large as the image that is high where the detector sees "
        "something unusual.",
        "segmentation": "The part of an anomaly map above a threshold.",
        "ensemble": "A detector made of other methods of the run, its members: of their inner "
        "features, or of what they say.",
        "category": "How a method works: a memory bank keeps patches of good images; a student "
        "imitates a teacher; a flow maps good features to a known density; a density such as a "
        "Gaussian is fitted to them; one-class methods draw a boundary around them; "
        "reconstruction paints the image as it should be.",
        "critical difference": "How far apart the mean ranks of two methods must lie to differ by "
        "more than chance, all pairs considered.",
        "backbone": "The network that turns images into features. “dictionary” (learned "
        "from the class's good images) and “scattering” (a fixed wavelet filter bank) need no "
        "downloaded weights.",
        "preset": "“paper”: the published settings. “fast”: a stated reduction for CPUs, whose "
        "figures are not those of the papers.",
    }
    entries = [
        element("div", element("dt", name), element("dd", text))
        for name, text in (metrics | more).items()
    ]
    return section(
        "reading", "How to read the figures", "", element("dl", entries, class_="glossary")
    )


def _dialog() -> Markup:
    close = element("button", "Close", class_="plainly", value="close")
    form = element("form", element("span", id="large-name"), close, method="dialog")
    picture = element("div", id="large-picture")
    large = element("dialog", form, picture, id="large", aria_labelledby="large-name")
    scripts = "\n".join(
        _shipped(name) for name in ("page.js", "segmentation.js", "image_view.js")
    ).replace("'use strict';\n", "")
    return join(large, Markup(f"<script>'use strict';\n{scripts}</script>"))


def _footer() -> Markup:
    return element(
        "footer",
        "Written by loco-tools. This file needs no network and may be passed on. Beside it in the "
        "run's folder: report.md, and every table as CSV and LaTeX in tables/.",
    )


_ANSWERS = {
    "image_auroc_mean": "Best at finding bad parts",
    "au_spro": "Best at pointing at the defects",
    "au_pro": "Best at pointing at the defects",
}


def header(data: ReportData) -> Markup:
    """Title, lead and cards."""
    images = sum(
        sum(count for name, count in one.done[0].counts.items() if name.startswith("test/"))
        for one in data.classes
        if one.done
    )
    lead = (
        f"{listing(data.methods)} learned each class from good images alone and then judged "
        f"{images:,} test images that they had never seen. Which one tells good parts from "
        "defective ones, and does it point at the right place? Higher is better, except for cost."
    )
    simulated = None
    if any(info.simulated for info in data.run.classes):
        simulated = element("div", "Simulated images, not photographs", class_="badge")
    return element("header", simulated, element("h1", data.title), element("p", lead), _cards(data))


def listing(names: Sequence[str]) -> str:
    """Names as a sentence takes them.

    >>> listing(["a", "b", "c"])
    'a, b and c'
    """
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _cards(data: ReportData) -> Markup:
    cards = [card for metric in HEADLINES if (card := _best(data, metric)) is not None]
    speeds = data.speeds()
    if speeds:
        fastest = min(speeds, key=lambda method: speeds[method])
        cards.append(_card("Fastest", fastest, f"{speeds[fastest]:.0f} ms per image"))
    done, planned = len([r for r in data.records if r.status == "ok"]), len(data.run.cells)
    failed = f", {len(data.failures)} failed" if data.failures else ""
    words = f"method × class × seed, {counted(len(data.run.suite.seeds), 'seed', 'seeds')}"
    cards.append(_card("Finished", f"{done} of {planned} cells{failed}", words))
    return element("dl", cards, class_="cards")


def _best(data: ReportData, metric: Metric) -> Markup | None:
    of_layout = data.classes_with(metric.name)
    means = data.means(of_layout, metric.name)
    if not means:
        return None
    best = max(means, key=lambda method: means[method])
    words = f"{metric.title} {means[best]:.3f}{_scope(data, of_layout)}"
    if metric.guess is not None and means[best] <= metric.guess:
        best, words = "none", f"No better than guessing: {best}, {words}"
    return _card(_ANSWERS[metric.name], best, words)


def _scope(data: ReportData, classes: Sequence[ClassResults]) -> str:
    """Which classes a mean is over, where that is not plain."""
    if len(classes) > 1:
        return f", mean of {len(classes)} classes"
    return f" on {classes[0].name}" if len(data.classes) > 1 else ""


def _card(label: str, value: str, words: str) -> Markup:
    big = element("dd", value, class_="big")
    return element(
        "div", element("dt", label), big, element("dd", words, class_="quiet"), class_="card"
    )
