"""The report's reliability diagrams: whether probabilities can be taken at their word."""

from collections.abc import Sequence

from loco_tools.benchmark.analysis.ensemble_diversity import ASSUMED_SHARE, Calibration, Reliable
from loco_tools.benchmark.analysis.run_data import ClassResults
from loco_tools.benchmark.report import charts
from loco_tools.benchmark.report.html import Markup, element, join


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
