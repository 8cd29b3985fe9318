import doctest
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from loco_tools.benchmark.analysis import segmentation
from loco_tools.benchmark.analysis.segmentation import SmallDefect, false_share, small_defects, spro
from loco_tools.datasets import load


def box(top: int, left: int, side: int) -> np.ndarray:
    mask = np.zeros((8, 8), bool)
    mask[top : top + side, left : left + side] = True
    return mask


LEVELS = np.arange(64, dtype=np.uint8).reshape(8, 8) * 4
DEFECTS = (
    SmallDefect("a", "structural", box(0, 0, 2), 4),  # levels 0, 4, 32, 36
    SmallDefect("b", "logical", box(6, 6, 2), 2),  # levels 216, 220, 248, 252
)


def test_the_worked_examples_in_the_docstrings_hold() -> None:
    results = doctest.testmod(segmentation)
    assert results.attempted > 0
    assert results.failed == 0


@pytest.mark.parametrize(
    ("level", "share", "lit_outside"),
    [(1, (3 / 4 + 1) / 2, 56), (36, (1 / 4 + 1) / 2, 50), (252, (0 + 1 / 2) / 2, 0), (255, 0, 0)],
)
def test_spro_saturates_and_is_the_mean_over_defects(
    level: int, share: float, lit_outside: int
) -> None:
    assert spro(LEVELS, DEFECTS, level) == pytest.approx(share)
    assert false_share(LEVELS, DEFECTS, level) == pytest.approx(lit_outside / 56)


def test_without_defects_there_is_no_spro_and_all_that_is_lit_is_false() -> None:
    assert spro(LEVELS, (), 1) is None
    assert false_share(LEVELS, (), 128) == pytest.approx(0.5)
    assert false_share(LEVELS, (SmallDefect("all", "logical", LEVELS >= 0, 1),), 1) == 0


def test_levels_stay_on_the_slider_whatever_the_threshold() -> None:
    assert segmentation.level_of(-5.0, (0.0, 1.0)) == 1
    assert segmentation.level_of(9.0, (0.0, 1.0)) == 255
    assert segmentation.level_of(3.0, (2.0, 4.0)) == 128


def test_small_masks_keep_their_share_of_saturation_and_are_never_empty(
    make_loco_class: Callable[..., Path],
) -> None:
    sample = load(make_loco_class(logical=((255,), (254,)))).test[3]
    (full,) = sample.defects
    (same,) = small_defects(sample, sample.size)
    assert np.array_equal(same.mask, full.mask)
    assert (same.name, same.kind, same.saturation_px) == ("missing_hole", "logical", 20)
    (half,) = small_defects(sample, (16, 24))
    assert half.saturation_px == round(20 / 40 * half.mask.sum())
    (tiny,) = small_defects(sample, (2, 3))
    assert tiny.mask.sum() == 1
    assert tiny.saturation_px == 1
