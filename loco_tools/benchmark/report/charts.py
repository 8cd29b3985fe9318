"""The report's drawings as inline SVG: curves, score histograms, cost against quality.

Colours come from the page's style sheet, so that they follow light, dark and print; every line
also has its own dash pattern.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from markupsafe import Markup

from loco_tools.benchmark.report.html import Child, element, join

STYLES = 8
"""Line styles before they repeat."""

_WIDTH, _HEIGHT = 320, 250
_LEFT, _RIGHT, _TOP, _BOTTOM = 42, 12, 12, 40
_BINS = 28


@dataclass(frozen=True)
class Line:
    """One curve; `style` is the method's place among the methods.

    With `counts`, every point gets a dot whose area grows with its count.
    """

    label: str
    style: int
    x: npt.NDArray[np.float64]
    y: npt.NDArray[np.float64]
    counts: npt.NDArray[np.int64] | None = None


@dataclass(frozen=True)
class Lane:
    """The scores of one kind of image in a histogram."""

    label: str
    kind: str
    scores: npt.NDArray[np.float64]


@dataclass(frozen=True)
class Gain:
    """A difference with its interval, whose ends are None where it has none."""

    label: str
    mean: float
    low: float | None
    high: float | None
    hollow: bool = False


@dataclass(frozen=True)
class Dot:
    """A method in the cost chart; `spent` is above 0."""

    label: str
    style: int
    spent: float
    quality: float


def line_chart(
    lines: Sequence[Line],
    *,
    name: str,
    x_label: str,
    y_label: str,
    x_max: float = 1.0,
    shade_to: float | None = None,
    diagonal: bool = True,
) -> Markup:
    """Curves that live in [0, x_max] x [0, 1].

    Args:
        lines: what to draw.
        name: what a screen reader says.
        x_label: under the horizontal axis.
        y_label: label of the vertical axis.
        x_max: where the horizontal axis ends.
        shade_to: the area that the figure counts reaches from 0 to here.
        diagonal: without `shade_to`, whether a diagonal is drawn, where guessing would be.
    """
    aid = None
    if shade_to is None and diagonal:
        aid = _path([(0.0, 0.0), (x_max, x_max)], x_max, class_="guess")
    elif shade_to is not None:
        width = _x(shade_to, x_max) - _x(0, x_max)
        box = {"x": float(_LEFT), "y": float(_TOP), "width": width}
        aid = element("rect", class_="counted", height=float(_HEIGHT - _TOP - _BOTTOM), **box)
    drawn = [
        _path(_clipped(line, x_max), x_max, class_=f"line s{line.style % STYLES}", title=line.label)
        for line in lines
    ]
    dots = [dot for line in lines for dot in _dots(line, x_max)]
    return _svg(name, aid, _axes(x_max, x_label, y_label), drawn, dots)


def series_chart(lines: Sequence[Line], *, name: str, x_label: str) -> Markup:
    """Curves of any range over steps, the vertical axis linear from their lowest to highest."""
    x_max = max(float(line.x.max()) for line in lines) or 1.0
    low, high = _range(np.concatenate([line.y for line in lines]))
    across = [_tick_x(share, f"{share * x_max:.4g}") for share in (0.0, 0.5, 1.0)]
    up = [_tick_y(share, f"{_between(low, high, share):.2g}") for share in (0, 0.25, 0.5, 0.75, 1)]
    drawn = [
        _path(
            list(zip(line.x.tolist(), _shares(line.y, low, high).tolist(), strict=True)),
            x_max,
            class_=f"line s{line.style % STYLES}",
            title=line.label,
        )
        for line in lines
    ]
    return _svg(name, across, up, _labels(x_label, ""), drawn)


def gain_chart(gains: Sequence[Gain], *, name: str, x_label: str) -> Markup:
    """Differences one above the other, each a dot on the line of its interval; zero is dashed."""
    ends = [end for g in gains for end in (g.mean, g.low, g.high, 0.0) if end is not None]
    margin = max(max(ends) - min(ends), 0.02) * 0.06
    low, high = min(ends) - margin, max(ends) + margin

    def place(value: float) -> float:
        return 14 + (_WIDTH - 28) * (value - low) / (high - low)

    lane, parts = 32, []
    bottom = _TOP + lane * len(gains) + 4
    for row, gain in enumerate(gains):
        y = _TOP + lane * row + 24
        parts.append(element("text", gain.label, x=12, y=y - 11, class_="mark"))
        if gain.low is not None and gain.high is not None:
            d = f"M{place(gain.low):.1f} {y}H{place(gain.high):.1f}"
            parts.append(element("path", d=d, class_=f"line s0{' thin' if gain.hollow else ''}"))
        tip = element("title", f"{gain.label}: {gain.mean:+.3f}")
        look = "dot s0" if gain.hollow else "dot s0 full"
        x = round(place(gain.mean), 1)
        parts.append(element("circle", tip, cx=x, cy=y, r=4.5, class_=look))
    zero = element("path", d=f"M{place(0.0):.1f} {_TOP}V{bottom}", class_="guess")
    ticks = [(low + margin, "tick"), (0.0, "tick middle"), (high - margin, "tick end")]
    scale = [
        element(
            "text",
            f"{value:+.2f}".replace("-", "−") if value else "0",
            x=place(value),
            y=bottom + 14,
            class_=look,
        )
        for value, look in ticks
        if look == "tick middle" or abs(place(value) - place(0.0)) > 40
    ]
    title = element("text", x_label, x=_WIDTH / 2, y=bottom + 30, class_="axis middle")
    return _svg(name, zero, parts, scale, title, height=bottom + 36)


def score_lanes(lanes: Sequence[Lane], *, name: str) -> Markup:
    """One histogram per kind, one above the other over the same scores.

    Heights are shares of the images of the kind; the tallest bar of each lane fills it.
    """
    low, high = _range(np.concatenate([lane.scores for lane in lanes]))
    edges = [_between(low, high, n / _BINS) for n in range(_BINS + 1)]
    lane_height = 46
    height = _TOP + lane_height * len(lanes) + 30
    parts = []
    for row, lane in enumerate(lanes):
        bins = (_shares(lane.scores, low, high) * _BINS).astype(np.int64)
        counts = np.bincount(bins.clip(max=_BINS - 1), minlength=_BINS)
        base = _TOP + lane_height * (row + 1) - 4
        parts.append(_bars(counts, edges, base=base, room=lane_height - 18, lane=lane))
    bottom = _TOP + lane_height * len(lanes)
    scale = [
        element("text", f"{low:.3g}", x=12, y=bottom + 16, class_="tick"),
        element("text", "image score", x=_WIDTH / 2, y=bottom + 16, class_="axis middle"),
        element("text", f"{high:.3g}", x=_WIDTH - 12, y=bottom + 16, class_="tick end"),
    ]
    return _svg(name, parts, scale, height=height)


def cost_chart(dots: Sequence[Dot], *, name: str, x_label: str, y_label: str) -> Markup:
    """Cost of a method (logarithmic) against quality; dots carry the method's number."""
    low, high = _stretched([math.log10(dot.spent) for dot in dots], at_least=0.3)
    floor, ceiling = _stretched([dot.quality for dot in dots], at_least=0.05)
    grid = [
        _tick_x((math.log10(value) - low) / (high - low), f"{value:g}")
        for power in range(math.floor(low), math.ceil(high) + 1)
        for value in (10.0**power, 2 * 10.0**power, 5 * 10.0**power)
        if low <= math.log10(value) <= high
    ]
    step = 0.1 if ceiling - floor > 0.3 else 0.05 if ceiling - floor > 0.12 else 0.02
    levels = np.arange(math.ceil(floor / step), math.floor(ceiling / step) + 1) * step
    grid += [_tick_y((level - floor) / (ceiling - floor), f"{level:.2f}") for level in levels]
    drawn = []
    for dot in dots:
        x = _x((math.log10(dot.spent) - low) / (high - low), 1.0)
        y = _y((dot.quality - floor) / (ceiling - floor))
        tip = element("title", f"{dot.label}: {dot.spent:.3g} {x_label}, {dot.quality:.3f}")
        look = f"dot s{dot.style % STYLES}"
        drawn.append(element("circle", tip, cx=round(x, 1), cy=round(y, 1), r=8.5, class_=look))
        place = {"x": round(x, 1), "y": round(y + 3.5, 1)}
        drawn.append(element("text", str(dot.style + 1), class_="dot-name", **place))
    return _svg(name, grid, _labels(x_label, y_label), drawn)


def _stretched(values: Sequence[float], *, at_least: float) -> tuple[float, float]:
    """The range of some values with room at both ends."""
    low, high = min(values), max(values)
    room = max(0.12 * (high - low), (at_least - (high - low)) / 2, at_least / 4)
    return low - room, high + room


def _range(values: npt.NDArray[np.float64]) -> tuple[float, float]:
    """The lowest and highest of some finite values, made to differ."""
    low, high = float(values.min()), float(values.max())
    if low == high:
        high = low + max(1.0, math.ulp(low))
    return (low, high) if math.isfinite(high) else (math.nextafter(low, 0.0), low)


def _shares(values: npt.NDArray[np.float64], low: float, high: float) -> npt.NDArray[np.float64]:
    """Where finite values lie between low (0) and high (1), at any magnitude.

    A power of two scales all to at most 1, without rounding, so that no difference overflows.
    """
    power = -math.frexp(max(abs(low), abs(high)))[1]
    bottom, top = math.ldexp(low, power), math.ldexp(high, power)
    return (np.ldexp(values, power) - bottom) / (top - bottom)


def _between(low: float, high: float, share: float) -> float:
    """The value at a share of the way from low to high; the difference of the two may overflow."""
    return min(max(low * (1 - share) + high * share, low), high)


def line_sample(style: int) -> Markup:
    """A short stroke for a legend."""
    stroke = element("path", d="M1 6H33", class_=f"line s{style % STYLES}")
    return element("svg", stroke, viewBox="0 0 34 12", class_="sample", aria_hidden="true")


def _bars(
    counts: npt.NDArray[np.int64],
    edges: Sequence[float],
    *,
    base: int,
    room: int,
    lane: Lane,
) -> Markup:
    tallest, step = max(1, int(counts.max())), (_WIDTH - 24) / len(counts)
    bars = [
        element(
            "rect",
            element("title", f"{count} {lane.label}, score {edges[i]:.3g} to {edges[i + 1]:.3g}"),
            x=round(12 + i * step + 0.5, 2),
            y=round(base - room * count / tallest, 2),
            width=round(step - 1, 2),
            height=round(room * count / tallest, 2),
            class_=f"bar {lane.kind}",
        )
        for i, count in enumerate(counts)
        if count
    ]
    rule = element("path", d=f"M12 {base}H{_WIDTH - 12}", class_="rule")
    label = f"{lane.label} ({len(lane.scores)})"
    return join(rule, bars, element("text", label, x=12, y=base - room - 3, class_="mark"))


def _axes(x_max: float, x_label: str, y_label: str) -> Markup:
    shares = np.linspace(0, 1, 6 if x_max == 1 else 4)
    across = [_tick_x(share, f"{share * x_max:.2g}") for share in shares]
    up = [_tick_y(share, f"{share:.1f}") for share in np.linspace(0, 1, 6)]
    return join(across, up, _labels(x_label, y_label))


def _labels(x_label: str, y_label: str) -> Markup:
    middle = (_TOP + _HEIGHT - _BOTTOM) / 2
    turned = f"translate(11 {middle:g}) rotate(-90)"
    centre = (_LEFT + _WIDTH - _RIGHT) / 2
    return join(
        element("text", x_label, x=centre, y=_HEIGHT - 6, class_="axis middle"),
        element("text", y_label, transform=turned, class_="axis middle"),
    )


def _tick_x(share: float, text: str) -> Markup:
    x, place = _x(share, 1.0), "tick end" if share == 1 else "tick middle"
    return join(
        element("path", d=f"M{x:.1f} {_TOP}V{_HEIGHT - _BOTTOM}", class_="grid"),
        element("text", text, x=x, y=_HEIGHT - _BOTTOM + 14, class_=place),
    )


def _tick_y(share: float, text: str) -> Markup:
    y = _y(share)
    return join(
        element("path", d=f"M{_LEFT} {y:.1f}H{_WIDTH - _RIGHT}", class_="grid"),
        element("text", text, x=_LEFT - 5, y=y + 4, class_="tick end"),
    )


def _clipped(line: Line, x_max: float) -> list[tuple[float, float]]:
    """The points up to x_max, the last one interpolated there."""
    inside = line.x <= x_max
    x, y = line.x[inside], line.y[inside]
    if not inside.all():
        x = np.append(x, x_max)
        y = np.append(y, np.interp(x_max, line.x, line.y))
    return list(zip(x.tolist(), y.tolist(), strict=True))


def _path(
    points: Sequence[tuple[float, float]], x_max: float, *, class_: str, title: str = ""
) -> Markup:
    steps = " ".join(f"{_x(x, x_max):.1f} {_y(y):.1f}" for x, y in points)
    tip = element("title", title) if title else None
    return element("path", tip, d=f"M{steps}", class_=class_)


def _dots(line: Line, x_max: float) -> list[Markup]:
    if line.counts is None:
        return []
    return [
        element(
            "circle",
            element("title", f"{line.label}: {count} images, {x:.2f} said, {y:.2f} seen"),
            cx=round(_x(x, x_max), 1),
            cy=round(_y(y), 1),
            r=round(2.5 + 9 * math.sqrt(count / line.counts.sum()), 1),
            class_=f"dot s{line.style % STYLES}",
        )
        for x, y, count in zip(line.x, line.y, line.counts, strict=True)
    ]


def _x(value: float, x_max: float) -> float:
    return _LEFT + (_WIDTH - _LEFT - _RIGHT) * (value / x_max)


def _y(share: float) -> float:
    return _HEIGHT - _BOTTOM - (_HEIGHT - _TOP - _BOTTOM) * share


def _svg(name: str, *parts: Child, height: int = _HEIGHT) -> Markup:
    view = f"0 0 {_WIDTH} {height}"
    return element("svg", *parts, viewBox=view, role="img", aria_label=name, class_="chart")
