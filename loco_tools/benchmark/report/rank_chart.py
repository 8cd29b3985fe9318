"""The critical-difference diagram as inline SVG (Demsar 2006, figure 1)."""

from collections.abc import Sequence

from loco_tools.benchmark.report.html import Markup, element, join

_WIDTH, _SIDE, _TOP = 640, 150, 54
_BAR, _STEP = 14, 20
"""Between the bars of groups, and between the lines of methods."""


def rank_chart(
    ranks: Sequence[tuple[str, float]],
    groups: Sequence[tuple[int, int]],
    difference: float,
    *,
    name: str,
) -> Markup:
    """Mean ranks on a line, 1 on the left, and bars over those that are not told apart.

    Args:
        ranks: method and mean rank, lowest first.
        groups: first and last place of those that a bar joins.
        difference: the critical difference, drawn to scale above the line.
        name: what a screen reader says.
    """
    count = len(ranks)
    bars = [
        element(
            "path",
            d=f"M{_x(ranks[first][1], count) - 4:.1f} {_TOP + _BAR * (row + 1)}"
            f"H{_x(ranks[last][1], count) + 4:.1f}",
            class_="joined",
        )
        for row, (first, last) in enumerate(groups)
    ]
    below = _TOP + _BAR * len(groups) + 20
    half = (count + 1) // 2
    methods = [
        _method(label, _x(rank, count), place, below, left=place < half, count=count)
        for place, (label, rank) in enumerate(ranks)
    ]
    return element(
        "svg",
        _scale(count),
        _difference(difference, count),
        bars,
        methods,
        viewBox=f"0 0 {_WIDTH} {below + _STEP * half}",
        role="img",
        aria_label=name,
        class_="chart ranks",
    )


def _x(rank: float, count: int) -> float:
    return _SIDE + (_WIDTH - 2 * _SIDE) * (rank - 1) / max(1, count - 1)


def _scale(count: int) -> Markup:
    line = element("path", d=f"M{_SIDE} {_TOP}H{_WIDTH - _SIDE}", class_="axisline")
    ticks = [
        join(
            element("path", d=f"M{_x(rank, count):.1f} {_TOP - 5}V{_TOP + 5}", class_="axisline"),
            element(
                "text", str(rank), x=round(_x(rank, count), 1), y=_TOP - 9, class_="tick middle"
            ),
        )
        for rank in range(1, count + 1)
    ]
    return join(line, ticks)


def _difference(difference: float, count: int) -> Markup:
    """Its length from rank 1 on; never longer than the scale."""
    end = round(_x(1 + min(difference, count - 1.0), count), 1)
    ruler = element("path", d=f"M{_SIDE} 14V22M{_SIDE} 18H{end}M{end} 14V22", class_="axisline")
    says = f"critical difference {difference:.2f}"
    if end > _WIDTH / 2:
        return join(ruler, element("text", says, x=_SIDE, y=11, class_="mark"))
    return join(ruler, element("text", says, x=end + 6, y=22, class_="mark"))


def _method(label: str, x: float, place: int, below: int, *, left: bool, count: int) -> Markup:
    """A line from the rank down and outwards to the method's name."""
    y = below + _STEP * (place if left else count - 1 - place)
    end = _SIDE - 10 if left else _WIDTH - _SIDE + 10
    at, look = (end - 5, "mark end") if left else (end + 5, "mark")
    return join(
        element("path", d=f"M{x:.1f} {_TOP}V{y}H{end}", class_="leader"),
        element("text", label, x=at, y=y + 4, class_=look),
    )
