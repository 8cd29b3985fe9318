"""The report's section on ensembles: what they add to their members, and why."""

import itertools
import math
from collections.abc import Iterator, Sequence

from loco_tools.benchmark.analysis.ensemble_diversity import (
    ASSUMED_SHARE,
    Calibration,
    Decisions,
    Diversity,
    Reliable,
    diversity_of,
    reliability_of,
)
from loco_tools.benchmark.analysis.ensemble_gains import (
    ALL_CLASSES,
    COMPARED,
    ENSEMBLES_FILE,
    REFERENCES,
    Comparison,
    Gains,
    Reference,
    ensembles_of,
)
from loco_tools.benchmark.analysis.run_data import ClassResults, ReportData
from loco_tools.benchmark.report import charts
from loco_tools.benchmark.report.html import Markup, breakable, element, join, rows_table, section
from loco_tools.benchmark.report.tables import Column, Row, Table, key_of, names, number, text
from loco_tools.benchmark.run.results_csv import Spread, figure, spread
from loco_tools.metrics.diversity import GOOD_SHARE

PAIRS_SHOWN = 15
"""More pairs of members than that are folded away."""

_HEADS: dict[Reference, tuple[str, str]] = {
    "best": ("against its best member", "The best on these test images, known only afterwards"),
    "chosen": (
        "against validation's choice",
        "The member that one would have used without looking",
    ),
}

_VERDICTS = {"better": "▲ better", "worse": "▼ worse", "not told apart": "≈ not told apart"}


def ensembles(data: ReportData, gains: Sequence[Gains]) -> Markup | None:
    """The section; None for a run without ensembles."""
    if not gains:
        return None
    note = (
        "An ensemble makes one judgement out of several detectors, its members. It is worth its "
        "cost only if it is better than using one of them alone. Its best member is named with "
        "the test images in hand, which favours the member; validation's choice is the member that "
        "tells good validation images best from synthetic anomalies made from them, which one can "
        "know beforehand."
    )
    blocks: list[Markup | None] = []
    for scope in dict.fromkeys(of.scope for of in gains):
        blocks += _scope(data, scope, [of for of in gains if of.scope == scope])
    return section("ensembles", "Ensembles and their members", note, _reading(gains), blocks)


def _reading(gains: Sequence[Gains]) -> Markup:
    rules = dict.fromkeys(
        (COMPARED[of.field], one.difference.rule) for of in gains for one in of.comparisons.values()
    )
    items = [
        element("li", "Each difference is ensemble minus member on the very same images. In "
        "brackets is its 95 % interval: how far chance alone, in which parts were tested and "
        "which seeds were run, may have moved it. An interval that holds 0 cannot tell the two "
        "apart."),
        *(element("li", f"Interval of {name}: {rule}.") for name, rule in rules),
        element("li", f"The same table as text is in {ENSEMBLES_FILE} beside this report."),
    ]  # fmt: skip
    return element("details", element("summary", "How to read it"), element("ul", items))


def _scope(data: ReportData, scope: str, gains: Sequence[Gains]) -> Iterator[Markup | None]:
    yield element("h3", "Mean over classes" if scope == ALL_CLASSES else scope)
    yield join(*(_gains(data, of) for of in gains))
    yield element("div", [_gain_chart(data, of) for of in gains], class_="pair")
    for one in data.classes:
        if one.name == scope and scope != ALL_CLASSES:
            found = diversity_of(data, one)
            if found is not None:
                yield element(
                    "div", _decisions(data, one, found), _pairs(found), class_="pair snug"
                )
            yield reliability(one, reliability_of(data, one))


def gain_tables(gains: Sequence[Gains]) -> list[Table]:
    """The comparisons as tables: one per figure and scope."""
    return [_gain_table(of) for of in gains]


def _gain_table(gains: Gains) -> Table:
    rows = [
        Row(
            (
                text(comparison.ensemble),
                text(REFERENCES[reference]),
                text(" / ".join(comparison.members)),
                number(comparison.difference.one),
                number(comparison.difference.other),
                number(comparison.difference.mean, signed=True),
                number(comparison.difference.low, signed=True),
                number(comparison.difference.high, signed=True),
                text(comparison.verdict),
            )
        )
        for (_ensemble, reference), comparison in gains.comparisons.items()
    ]
    name = COMPARED[gains.field]
    columns = (
        *names("ensemble", "compared with", "member"),
        *(Column(head) for head in ("ensemble mean", "member mean", "difference", "low", "high")),
        *names("verdict"),
    )
    caption = f"Ensembles against their members, {name}, {gains.scope}: with 95 % intervals"
    return Table(key_of("ensembles", gains.scope, name), caption, columns, tuple(rows))


def _gains(data: ReportData, gains: Gains) -> Markup:
    """The table of one figure."""
    name = COMPARED[gains.field]
    done = [record for one in gains.classes for record in one.done]
    of_ensembles = ensembles_of(done)
    members = {member for found in of_ensembles.values() for member in found}
    rows = [_gain_row(data, gains, method) for method in _compared(data, gains)]
    rows += [
        _row(method, _figure(data, gains, method), *[element("td", class_="num")] * len(_HEADS))
        for method in data.methods
        if method in members
    ]
    heads = [element("th", name, scope="col", class_="num")]
    heads += [
        element("th", text, scope="col", class_="num", title=tip) for text, tip in _HEADS.values()
    ]
    caption = f"{name}: ensembles first, then the members"
    return rows_table(caption, ["detector"], heads, rows)


def _compared(data: ReportData, gains: Gains) -> list[str]:
    return [m for m in data.methods if any((m, r) in gains.comparisons for r in _HEADS)]


def _gain_row(data: ReportData, gains: Gains, method: str) -> Markup:
    cells = [_difference(gains.comparisons.get((method, reference))) for reference in _HEADS]
    return _row(method, _figure(data, gains, method), *cells, class_="total")


def _difference(comparison: Comparison | None) -> Markup:
    if comparison is None:
        return element("td", "–", class_="num")
    gap = comparison.difference
    names = " / ".join(comparison.members)
    interval = None
    if gap.low is not None and gap.high is not None:
        interval = element("small", f" [{_signed(gap.low)}, {_signed(gap.high)}]")
    verdict = _VERDICTS.get(comparison.verdict, "")
    words = f"{verdict}: {names}" if verdict else names
    shown = element("span", _signed(gap.mean), interval, class_="figure", title=gap.rule)
    return element("td", shown, element("span", words, class_="verdict"), class_="num")


def _figure(data: ReportData, gains: Gains, method: str) -> Markup:
    found: Spread | None
    if len(gains.classes) == 1:
        found = figure(gains.classes[0].of(method), gains.field)
    else:
        mean = data.means(gains.classes, gains.field).get(method)
        found = spread([mean])
    if found is None:
        return element("td", "–", class_="num")
    deviation = None
    if found.deviation is not None:
        deviation = element("small", f" ±{found.deviation:.3f}")
    return element(
        "td", element("span", f"{found.mean:.3f}", deviation, class_="figure"), class_="num"
    )


def _gain_chart(data: ReportData, gains: Gains) -> Markup:
    drawn, name = [], COMPARED[gains.field]
    for method, reference in itertools.product(_compared(data, gains), _HEADS):
        found = gains.comparisons.get((method, reference))
        best = gains.comparisons.get((method, "best"))
        same = reference == "chosen" and best and found and best.members == found.members
        if found is not None and not same:
            gap = found.difference
            label = f"{method} − {' / '.join(found.members)}"
            drawn.append(
                charts.Gain(label, gap.mean, gap.low, gap.high, hollow=reference == "chosen")
            )
    chart = charts.gain_chart(
        drawn, name=f"Differences in {name}, {gains.scope}", x_label=f"difference in {name}"
    )
    caption = "Right of the dashed line the ensemble is better"
    if any(gain.hollow for gain in drawn):
        caption += "; filled: against its best member, hollow: against validation's choice"
    return element("figure", element("figcaption", caption, class_="quiet"), chart)


def _decisions(data: ReportData, one: ClassResults, found: Diversity) -> Markup | None:
    if not found.decisions:
        return element(
            "p",
            "Decisions of the members are not shown: scores of validation images were not kept; "
            "run the benchmark again to have them.",
            class_="quiet",
        )
    rows = [_decided(one, name, found.decisions.get(name)) for name in found.members]
    if found.oracle is not None:
        rows.append(
            _row("at least one member", element("td", class_="num"), *_shares(found.oracle),
                 class_="total")
        )  # fmt: skip
    others = [m for m in data.methods if m in found.decisions and m not in found.members]
    rows += [_decided(one, name, found.decisions[name]) for name in others]
    heads = [
        element("th", text, scope="col", class_="num", title=tip)
        for text, tip in (
            ("validation", "AUROC of good validation images against synthetic anomalies"),
            ("good passed", "Good test images that are called good"),
            ("defects found", "Defective test images that are called defective"),
            ("right", "All test images that are called what they are"),
        )
    ]
    caption = (
        "Decisions at each detector's own threshold, which "
        f"{GOOD_SHARE:.0%} of the good validation images stay below"
    )
    note = (
        "“Validation” is how well a member tells good validation images from synthetic anomalies "
        "(AUROC). “At least one member”: how many images somebody is right about. Far above the "
        "best member, there is much that an ensemble could gain; close to it, they fail together. "
        "Of an ensemble the validation figure is left out, for it may have learned from such "
        "images; where it has, its threshold is too low, and fewer good images pass."
    )
    table = rows_table(caption, ["detector"], heads, rows)
    return element("div", table, element("p", note, class_="quiet"))


def _decided(one: ClassResults, name: str, found: Decisions | None) -> Markup:
    records = one.of(name)
    separation = None
    if not any(record.stamp.members for record in records):
        separation = spread(record.separation for record in records)
    known = element("td", "–" if separation is None else f"{separation.mean:.3f}", class_="num")
    return _row(name, known, *_shares(found))


def _shares(found: Decisions | None) -> list[Markup]:
    if found is None:
        return [element("td", "–", class_="num")] * 3
    return [
        element("td", f"{share:.0%}", class_="num")
        for share in (found.good, found.anomalous, found.everything)
    ]


def _pairs(found: Diversity) -> Markup:
    """Every pair of members, those that judge most differently first."""
    count = len(found.members)
    pairs = [(i, j) for i in range(count) for j in range(i + 1, count)]
    pairs.sort(key=lambda pair: _last_if_unknown(float(found.anomalous[pair])))
    figures = [("order of good", found.good), ("order of defective", found.anomalous)]
    tips = ["Rank correlation (Spearman) of their scores of good test images",
            "Rank correlation (Spearman) of their scores of defective test images"]  # fmt: skip
    if found.q is not None:
        figures.append(("errors (Q)", found.q))
        tips.append("Yule's Q: 1 when one's errors are all among the other's, 0 when independent")
    rows = [
        element(
            "tr",
            element("th", f"{found.members[i]} and {found.members[j]}", scope="row"),
            [_shade(float(values[i, j])) for _name, values in figures],
        )
        for i, j in pairs
    ]
    heads = [
        element("th", name, scope="col", class_="num", title=tip)
        for (name, _values), tip in zip(figures, tips, strict=True)
    ]
    caption = "How alike two members judge: 1 the same, 0 unrelated, below 0 opposite"
    table = rows_table(caption, ["members"], heads, rows)
    note = (
        "Members that judge alike have little to tell each other. Unrelated orders among defective "
        "images can mean that each sees what the other misses, or that one of them is guessing."
    )
    shown = join(table, element("p", note, class_="quiet"))
    if len(pairs) > PAIRS_SHOWN:
        summary = element("summary", f"How alike the members judge: {len(pairs)} pairs")
        return element("details", summary, shown)
    return element("div", shown)


def _last_if_unknown(value: float) -> float:
    return math.inf if math.isnan(value) else value


def _shade(value: float) -> Markup:
    if math.isnan(value):
        return element("td", "–", class_="num")
    look = "num shade minus" if value < 0 else "num shade"
    return element("td", f"{value:.2f}", class_=look, style=f"--r:{abs(value):.2f}")


def _signed(value: float) -> str:
    return f"{value:+.3f}".replace("-", "−")


def _row(name: str, *cells: Markup, class_: str | None = None) -> Markup:
    return element("tr", element("th", breakable(name), scope="row"), cells, class_=class_)


def reliability(one: ClassResults, found: Sequence[Reliable]) -> Markup | None:
    """The diagrams of a class; None where no scores are probabilities."""
    if not found:
        return None
    share = found[0].share
    note = (
        "The scores of these detectors are probabilities: of the images that get 0.7, 70 % should "
        "be defective, so every dot should lie on the dotted diagonal; larger dots are more "
        f"images. They were fitted to synthetic anomalies, as many as good images "
        f"({ASSUMED_SHARE:.0%}), but {share:.0%} of these test images are defective: the dashed "
        "line is what they become when that is taken into account, which only somebody who knows "
        "the share can do. ECE is the mean distance from the diagonal, 0 is best; Brier is the "
        "mean squared error of the probabilities, 0 is best, 0.25 is saying 0.5 of everything."
    )
    figures = [_diagram(one, reliable) for reliable in found]
    title = element("h4", "Can probabilities be taken at their word?")
    return join(title, element("p", note, class_="quiet"), element("div", figures, class_="pair"))


def _diagram(one: ClassResults, found: Reliable) -> Markup:
    lines = [
        charts.Line(label, style, of.curve.predicted, of.curve.observed, of.curve.counts)
        for label, style, of in (
            ("as said", 0, found.as_said),
            (f"for {found.share:.0%} defective", 1, found.corrected),
        )
    ]
    chart = charts.line_chart(
        lines,
        name=f"Reliability of {found.method} on {one.name}",
        x_label="probability of a defect, as said",
        y_label="share that is defective",
    )
    rows = [
        element("li", charts.line_sample(line.style), f"{line.label}: {_errors(of)}")
        for line, of in zip(lines, (found.as_said, found.corrected), strict=True)
    ]
    chance = (
        f"Perfect probabilities would show an ECE of about {found.by_chance:.3f} on as few images."
    )
    return element(
        "figure",
        element("figcaption", found.method),
        chart,
        element("ul", rows, class_="legend"),
        element("p", chance, class_="quiet"),
    )


def _errors(of: Calibration) -> str:
    return f"ECE {of.error}, Brier {of.brier}"
