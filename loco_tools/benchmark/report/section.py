"""What sections of the page are made of."""

from loco_tools.benchmark.analysis.run_data import ReportData
from loco_tools.benchmark.report.html import Child, Markup, element


def section(key: str, title: str, note: str, *content: Child) -> Markup:
    """One section of the page, which the navigation leads to by its key."""
    text = element("p", note, class_="quiet") if note else None
    return element("section", element("h2", title), text, *content, id=key)


def captioned(caption: str, picture: Markup, *more: Child) -> Markup:
    """A drawing with what it shows above it."""
    return element("figure", element("figcaption", caption), picture, *more)


def folded(summary: str, *content: Child, key: str | None = None) -> Markup:
    """What opens when it is asked for; printed all the same."""
    return element("details", element("summary", summary), *content, id=key)


def seed_note(data: ReportData) -> str:
    """Which seed is shown, where there are several."""
    seeds = data.run.suite.seeds
    return f"Shown for seed {seeds[0]}." if len(seeds) > 1 else ""
