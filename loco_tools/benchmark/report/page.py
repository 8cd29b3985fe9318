"""The page: its sections in order, with style and script inside."""

from collections.abc import Sequence
from pathlib import Path

from loco_tools.benchmark.ensemble_gains import Gains
from loco_tools.benchmark.report import ensembles as of_ensembles
from loco_tools.benchmark.report import plots
from loco_tools.benchmark.report import results_tables as tables
from loco_tools.benchmark.report.markup import Markup, element, join
from loco_tools.benchmark.report.plots import section
from loco_tools.benchmark.report_data import ClassResults, ReportData
from loco_tools.benchmark.thumbnails import HIGH_PERCENTILE, LOW_PERCENTILE
from loco_tools.progress import SILENT, Progress

_STATIC = Path(__file__).parent / "static"


def page(data: ReportData, gains: Sequence[Gains], progress: Progress = SILENT) -> str:
    """The whole page; `gains` is what its ensembles add to their members."""
    sections = [tables.failures(data.failures), _results(data)]
    if any(one.done for one in data.classes):
        sections += [of_ensembles.ensembles(data, gains), _types(data)]
        sections += [plots.curves(data), plots.scores(data)]
        sections += [plots.images(data, progress), plots.cost(data)]
    sections += [_glossary(), _origin(data)]
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("title", f"{_title(data)} – loco-tools"),
        Markup(f"<style>{_shipped('report.css')}</style>"),
    )
    body = element(
        "body",
        _header(data),
        _navigation(bool(gains)),
        element("main", sections),
        _footer(),
        _dialog(),
    )
    return f"<!doctype html>\n{element('html', head, body, lang='en')}\n"


def _shipped(name: str) -> str:
    """A style sheet or script as it lies beside this module."""
    return (_STATIC / name).read_text(encoding="utf-8")


def _title(data: ReportData) -> str:
    methods, classes = len(data.methods), len(data.classes)
    return f"{_count(methods, 'detector', 'detectors')} on {_count(classes, 'class', 'classes')}"


def _header(data: ReportData) -> Markup:
    images = sum(
        sum(count for name, count in one.done[0].counts.items() if name.startswith("test/"))
        for one in data.classes
        if one.done
    )
    lead = (
        f"{_listing(data.methods)} learned each class from good images alone and then judged "
        f"{images:,} test images that they had never seen. Which one tells good parts from "
        "defective ones, and does it point at the right place? Higher is better, except for cost."
    )
    simulated = None
    if any(info.simulated for info in data.run.classes):
        simulated = element("div", "Simulated images, not photographs", class_="badge")
    return element(
        "header", simulated, element("h1", _title(data)), element("p", lead), _glance(data)
    )


def _glance(data: ReportData) -> Markup:
    """The answer in a few cards."""
    cards = []
    for label, field in (
        ("Best at finding bad parts", "image_auroc_mean"),
        ("Best at pointing at the defects", "au_spro"),
        ("Best at pointing at the defects", "au_pro"),
    ):
        of_layout = data.classes_with(field)
        means = data.means(of_layout, field)
        if means:
            best = max(means, key=lambda method: means[method])
            words = f"{_FIGURE_NAMES[field]} {means[best]:.3f}{_scope(data, of_layout)}"
            if means[best] <= _GUESSES[field]:
                best, words = "none", f"No better than guessing: {best}, {words}"
            cards.append(_card(label, best, words))
    speeds = data.speeds()
    if speeds:
        fastest = min(speeds, key=lambda method: speeds[method])
        cards.append(_card("Fastest", fastest, f"{speeds[fastest]:.0f} ms per image"))
    done, planned = len([r for r in data.records if r.status == "ok"]), len(data.run.cells)
    failed = f", {len(data.failures)} failed" if data.failures else ""
    words = f"method × class × seed, {_count(len(data.run.suite.seeds), 'seed', 'seeds')}"
    cards.append(_card("Finished", f"{done} of {planned} cells{failed}", words))
    return element("dl", cards, class_="cards")


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


def _navigation(with_ensembles: bool) -> Markup:
    places = {
        "results": "Results",
        **({"ensembles": "Ensembles"} if with_ensembles else {}),
        "types": "Defect types",
        "curves": "Curves",
        "scores": "Scores",
        "images": "Images",
        "cost": "Cost",
        "reading": "How to read",
        "origin": "Where it comes from",
    }
    items = [element("li", element("a", text, href=f"#{key}")) for key, text in places.items()]
    return element("nav", element("ul", items), aria_label="Sections")


def _results(data: ReportData) -> Markup:
    blocks = []
    for field, guess in _GUESSES.items():
        name = _FIGURE_NAMES[field]
        table = tables.comparison(data, data.classes_with(field), name, field, guess)
        if table is not None:
            title = f"{_QUESTIONS[field]} {name}"
            blocks.append(
                element("div", element("h3", title), element("p", tables.EXPLAINED[name]), table)
            )
    seeds = data.run.suite.seeds
    spread = f" ± is the standard deviation over {len(seeds)} seeds." if len(seeds) > 1 else ""
    note = f"★ marks the best of a row. Bars begin where guessing would be.{spread}"
    if not blocks:
        note = "No cell has finished yet."
    beside = len(data.methods) <= _METHODS_BESIDE and len(seeds) == 1
    wrap = element("div", blocks, class_="pair") if beside else element("div", blocks)
    return section("results", "Results", note, wrap)


def _types(data: ReportData) -> Markup:
    note = (
        "Logical: every piece looks fine, but the arrangement breaks a rule, such as a missing "
        "hole. Structural: something is damaged. Image AUROC of each defect type against all good "
        "test images; with a handful of images, small differences mean little."
    )
    shown = [tables.defect_types(data, one) for one in data.classes if one.done]
    return section("types", "Which defects are found?", note, element("div", shown, class_="pair"))


def _glossary() -> Markup:
    more = {
        "anomaly map": "A picture as large as the image that is high where the detector sees "
        "something unusual.",
        "ensemble": "A detector made of other methods of the run, its members: of their inner "
        "features, or of what they say.",
        "backbone": "The network that turns images into features. “dictionary” (learned "
        "from the class's good images) and “scattering” (a fixed wavelet filter bank) need no "
        "downloaded weights.",
        "preset": "“paper”: the published settings. “fast”: a stated reduction for CPUs, whose "
        "figures are not those of the papers.",
    }
    entries = [
        element("div", element("dt", name), element("dd", text))
        for name, text in (tables.EXPLAINED | more).items()
    ]
    return section(
        "reading", "How to read the figures", "", element("dl", entries, class_="glossary")
    )


def _origin(data: ReportData) -> Markup:
    run = data.run
    rules = [
        "Nothing was fitted, chosen, stopped or scaled on test images: every detector is the one "
        "after its last epoch (selection “last”), and one checkpoint serves all figures. Published "
        "protocols that pick the best epoch by test results, like SimpleNet's, are not followed.",
        "Only what you look at uses test results: the colour scale of the maps "
        f"({LOW_PERCENTILE:g} % to {HIGH_PERCENTILE:g} %) and which images the gallery shows.",
        "Figures count images, not parts, and are never pooled over classes.",
        "AU-sPRO and AU-PRO are different figures and are never in one column.",
    ]
    facts = {
        "command": element("code", run.command) if run.command else "–",
        "started": run.started,
        "finished": run.finished or "not finished",
        **{name.replace("_", " "): text for name, text in run.hardware.items()},
        "versions": ", ".join(f"{name} {version}" for name, version in run.versions.items()),
    }
    rows = [
        element("tr", element("th", k, scope="row"), element("td", v)) for k, v in facts.items()
    ]
    rows += [
        element(
            "tr",
            element("th", f"data {info.name}", scope="row"),
            element("td", _counted(one), element("br"), element("code", info.data_hash[:16])),
        )
        for info, one in zip(run.classes, data.classes, strict=True)
    ]
    stamp = element(
        "details", element("summary", "Honesty stamp of every cell"), tables.stamps(data)
    )
    return section(
        "origin",
        "Where the figures come from",
        "",
        element("ul", [element("li", rule) for rule in rules]),
        element("div", element("table", element("tbody", rows)), class_="scroll"),
        stamp,
    )


def _counted(one: ClassResults) -> str:
    layout = {"mvtec_loco": "MVTec LOCO AD layout", "mvtec_ad": "MVTec AD layout"}.get(
        one.layout, ""
    )
    counts = one.done[0].counts if one.done else {}
    return ", ".join([layout, *(f"{count} {name}" for name, count in counts.items())])


def _dialog() -> Markup:
    close = element("button", "Close", class_="plainly", value="close")
    form = element("form", element("span", id="large-name"), close, method="dialog")
    picture = element("div", id="large-picture")
    large = element("dialog", form, picture, id="large", aria_labelledby="large-name")
    return join(large, Markup(f"<script>{_shipped('page.js')}</script>"))


def _footer() -> Markup:
    return element(
        "footer", "Written by loco-tools. This file needs no network and may be passed on."
    )


def _count(number: int, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}"


def _listing(names: Sequence[str]) -> str:
    """Names as a sentence takes them.

    >>> _listing(["a", "b", "c"])
    'a, b and c'
    """
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


_FIGURE_NAMES = {
    "image_auroc_mean": "image AUROC",
    "au_spro": "AU-sPRO 0.05",
    "au_pro": "AU-PRO 0.3",
}

_QUESTIONS = {
    "image_auroc_mean": "Is the part defective?",
    "au_spro": "Where is the defect?",
    "au_pro": "Where is the defect?",
}

_METHODS_BESIDE = 3
"""Tables of more methods, or with a spread in each cell, are too wide to stand side by side."""

_GUESSES = {"image_auroc_mean": 0.5, "au_spro": 0.025, "au_pro": 0.15}
"""What scores drawn at random earn."""
