"""The charts of the report take every finite number that a method can give."""

import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from finished_runs import KINDS, make_run
from hypothesis import given
from hypothesis import strategies as st
from markupsafe import Markup

from loco_tools.benchmark.report import write_report
from loco_tools.benchmark.report.charts import (
    Dot,
    Gain,
    Lane,
    Line,
    cost_chart,
    gain_chart,
    line_chart,
    score_lanes,
    series_chart,
)

FINITE = st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=20)
SHARES = st.lists(st.floats(0, 1), min_size=1, max_size=20)
HARD: dict[str, list[float]] = {
    "huge and close together": [2.0**60 + 256 * n for n in range(16)],
    "huge and constant": [1e308] * 16,
    "the largest number": [sys.float_info.max] * 16,
    "a difference that overflows": [-1e308, 1e308] * 8,
    "the smallest numbers": [5e-324 * n for n in range(16)],
    "neighbours": [1.0, float(np.nextafter(1.0, 2.0))] * 8,
    "zeros": [0.0] * 16,
    "minus one": [-1.0] * 16,
}


def lanes(values: Sequence[float]) -> Markup:
    return score_lanes([Lane("good", "good", np.array(values))], name="scores")


def series(values: Sequence[float]) -> Markup:
    line = Line("loss", 0, np.arange(1.0, len(values) + 1), np.array(values))
    return series_chart([line], name="loss", x_label="steps")


def line(values: Sequence[float]) -> Markup:
    one = Line("roc", 0, np.sort(values), np.sort(values))
    return line_chart([one], name="roc", x_label="x", y_label="y", x_max=0.3)


def gains(values: Sequence[float]) -> Markup:
    of = [Gain("gain", value, value - 1, value + 1) for value in values]
    return gain_chart(of, name="gains", x_label="difference")


def costs(values: Sequence[float]) -> Markup:
    dots = [Dot("method", 0, 1e-6 + 1e6 * value, value) for value in values]
    return cost_chart(dots, name="costs", x_label="ms", y_label="AUROC")


def check_drawing(drawing: Markup) -> None:
    """All of it is finite and lies within the picture, up to the radius of a dot."""
    assert not re.search(r"\b(nan|inf)\b", drawing)
    box = re.search(r'viewBox="0 0 (\d+) (\d+)"', drawing)
    assert box
    places = re.findall(r'\s(?:cx|cy|x|y|width|height)="([^"]+)"', drawing)
    places += [
        at for d in re.findall(r'\bd="([^"]+)"', drawing) for at in re.findall(r"[-\d.]+", d)
    ]
    assert all(-10 <= float(place) <= max(map(int, box.groups())) + 10 for place in places)


@pytest.mark.parametrize("draw", [lanes, series])
@given(values=FINITE)
def test_charts_of_scores_and_losses_take_all_finite_numbers(
    draw: Callable[[Sequence[float]], Markup], values: list[float]
) -> None:
    check_drawing(draw(values))


@pytest.mark.parametrize("draw", [line, gains, costs])
@given(values=SHARES)
def test_charts_of_metrics_take_all_values_of_metrics(
    draw: Callable[[Sequence[float]], Markup], values: list[float]
) -> None:
    check_drawing(draw(values))


@given(values=FINITE)
def test_every_score_is_counted_once_in_the_histogram(values: list[float]) -> None:
    counts = re.findall(r"<title>(\d+) good, score", lanes(values))
    assert sum(map(int, counts)) == len(values)


def test_the_lowest_and_highest_score_are_in_the_outer_bins_however_close_they_are() -> None:
    for values in HARD.values():
        bars = re.findall(r'<rect[^>]* x="([\d.]+)"', lanes(values))
        if len(set(values)) > 1:
            assert (bars[0], bars[-1]) == ("12.5", "297.93")
        else:
            assert len(bars) == 1


@pytest.mark.parametrize("name", HARD)
def test_the_report_is_written_whatever_the_scores_of_one_method_are(
    name: str, tmp_path: Path
) -> None:
    scores = (HARD[name] * len(KINDS))[: len(KINDS)]
    usual = [n / len(KINDS) for n in range(len(KINDS))]
    make_run(tmp_path, [{"method": "hard", "scores": scores}, {"method": "usual", "scores": usual}])
    write_report(tmp_path)
