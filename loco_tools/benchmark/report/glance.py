"""The head of the page: what was compared, and the answer in a few cards."""

from collections.abc import Sequence

from loco_tools.benchmark.analysis.run_data import ClassResults, ReportData, counted
from loco_tools.benchmark.report.html import Markup, element
from loco_tools.evaluation.metric_table import HEADLINES, Metric

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
