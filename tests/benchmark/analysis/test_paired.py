import doctest
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from loco_tools import files
from loco_tools.benchmark.analysis import paired
from loco_tools.benchmark.analysis.paired import paired_difference
from loco_tools.benchmark.cell.record import CellRecord, Score, Stamp
from loco_tools.errors import BenchmarkError
from loco_tools.metrics import roc

Keep = Callable[..., CellRecord]


def scores_of(good: Sequence[float], structural: Sequence[float], **parts: Any) -> list[Score]:
    kinds = ["good"] * len(good) + ["structural"] * len(structural)
    names = parts.get("parts", [None] * len(kinds))
    return [
        Score(f"{n:03d}", kind, kind, (), value, part)
        for n, (kind, value, part) in enumerate(
            zip(kinds, [*good, *structural], names, strict=True)
        )
    ]


@pytest.fixture
def keep(tmp_path: Path) -> Keep:
    """Keep a finished cell with these scores, and return its record."""

    def make(
        method: str,
        scores: Sequence[Score],
        seed: int = 0,
        class_name: str = "plate",
        **figures: float,
    ) -> CellRecord:
        good = [s.score for s in scores if s.kind == "good"]
        bad = [s.score for s in scores if s.kind != "good"]
        figures.setdefault("image_auroc_mean", roc.auroc(roc.rank(good, bad)))
        stamp = Stamp.model_validate(
            {
                "method": method,
                "class_name": class_name,
                "seed": seed,
                "overrides": {},
                "members": {},
                "backbone": "none",
                "preset": "fast",
                "input_size_px": None,
                "resize": "keep",
                "device": "cpu",
                "data_hash": "",
                "code_hash": "",
                "versions": {},
            }
        )
        record = CellRecord(key=stamp.key, stamp=stamp, status="ok", figures=dict(figures))
        lines = ["id,kind,kind_folder,defects,score,part"]
        lines += [f"{s.id},{s.kind},{s.kind_folder},[],{s.score},{s.part or ''}" for s in scores]
        files.write_text(record.cell.folder(tmp_path) / "scores.csv", "\n".join(lines) + "\n")
        return record

    return make


def noisy(seed: int, gap: float, shared: float = 0.0) -> list[Score]:
    """60 images; `shared` is how much of the noise all calls have in common."""
    common = np.random.default_rng(99).normal(size=60)
    own = np.random.default_rng(seed).normal(size=60)
    values = shared * common + (1 - shared) * own + gap * (np.arange(60) >= 30)
    return scores_of(values[:30].tolist(), values[30:].tolist())


def test_the_worked_examples_in_the_docstrings_hold() -> None:
    results = doctest.testmod(paired)
    assert results.attempted > 0
    assert results.failed == 0


def test_the_difference_is_that_of_the_figures_and_inside_its_interval(
    tmp_path: Path, keep: Keep
) -> None:
    one, other = keep("a", noisy(1, 2.0)), keep("b", noisy(2, 0.3))
    found = paired_difference([one], [other], tmp_path)
    assert found is not None
    assert found.one == one.metric("image_auroc_mean")
    assert found.mean == pytest.approx(found.one - found.other)
    assert found.low is not None
    assert found.high is not None
    assert 0 < found.low < found.mean < found.high
    assert found.rule == "bootstrap over test images; one seed, held fixed, 2000 draws"
    assert str(found) == f"{found.mean:+.3f} [{found.low:+.3f}, {found.high:+.3f}]"


def test_a_method_does_not_differ_from_itself(tmp_path: Path, keep: Keep) -> None:
    record = keep("a", noisy(1, 1.0))
    found = paired_difference([record], [record], tmp_path)
    assert found is not None
    assert (found.mean, found.low, found.high) == (0, 0, 0)


def test_what_makes_an_image_hard_for_both_drops_out(tmp_path: Path, keep: Keep) -> None:
    def width(shared: float, name: str) -> float:
        one = keep(f"{name}1", noisy(1, 1.2, shared))
        other = keep(f"{name}2", noisy(2, 1.0, shared))
        found = paired_difference([one], [other], tmp_path)
        assert found is not None
        assert found.low is not None
        assert found.high is not None
        return found.high - found.low

    assert width(0.9, "alike") < 0.5 * width(0.0, "unlike")


def test_the_bootstrap_is_what_a_loop_over_draws_gives(tmp_path: Path, keep: Keep) -> None:
    pair = [noisy(1, 1.0), noisy(2, 0.5)]
    draws = paired.BootstrapDraws(tmp_path, 50)
    found = paired_difference([keep("a", pair[0])], [keep("b", pair[1])], tmp_path, redraws=draws)
    _unit, times = paired.image_draws("plate", pair[0], 50)
    gaps = []
    for row in times:
        figures = []
        for scores in pair:
            drawn = [s for s, count in zip(scores, row, strict=True) for _ in range(count)]
            good = [s.score for s in drawn if s.kind == "good"]
            figures.append(roc.auroc(roc.rank(good, [s.score for s in drawn if s.kind != "good"])))
        gaps.append(figures[0] - figures[1])
    assert found is not None
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(gaps, [0.025, 0.975])))


def test_images_of_a_part_are_drawn_together(tmp_path: Path, keep: Keep) -> None:
    parts = [f"p{n // 3}" for n in range(60)]
    values = [noisy(seed, 1.0) for seed in (1, 2)]
    known = [
        scores_of(
            [s.score for s in one if s.kind == "good"],
            [s.score for s in one if s.kind != "good"],
            parts=parts,
        )
        for one in values
    ]
    found = paired_difference([keep("a", known[0])], [keep("b", known[1])], tmp_path)
    assert found is not None
    assert found.rule.startswith("bootstrap over test parts")
    _unit, times = paired.image_draws("plate", known[0], 10)
    assert (times[:, ::3] == times[:, 2::3]).all()


def test_seeds_that_disagree_widen_the_interval_as_they_should() -> None:
    figures = np.tile(np.array([[0.0], [0.3], [0.6]]), (1, 40_000))
    drawn = paired._mean_over_drawn_seeds(figures, np.random.default_rng(0))
    spread_of_the_mean = np.std([0.0, 0.3, 0.6], ddof=1) / np.sqrt(3)
    assert drawn.mean() == pytest.approx(0.3, abs=0.01)
    assert drawn.std() == pytest.approx(spread_of_the_mean, rel=0.02)


def test_areas_under_overlap_curves_have_an_interval_over_seeds(tmp_path: Path, keep: Keep) -> None:
    scores = noisy(1, 1.0)
    ones = [keep("a", scores, seed, au_spro=v) for seed, v in enumerate([0.5, 0.6, 0.7])]
    others = [keep("b", scores, seed, au_spro=v) for seed, v in enumerate([0.45, 0.5, 0.55])]
    found = paired_difference(ones, others, tmp_path, "au_spro")
    assert found is not None
    assert found.mean == pytest.approx(0.1)
    assert found.cells == 3
    half = 4.302652729911275 * 0.05 / np.sqrt(3)  # the 97.5 % point of t with 2 degrees of freedom
    assert (found.low, found.high) == pytest.approx((0.1 - half, 0.1 + half))
    assert found.rule == "Student's t over 3 seeds; test images held fixed"
    alone = paired_difference(ones[:1], others, tmp_path, "au_spro")
    assert alone is not None
    assert (alone.low, alone.rule) == (None, "one seed: no interval")
    assert str(alone) == "+0.050"


def test_several_classes_count_the_same_however_many_seeds_each_has(
    tmp_path: Path, keep: Keep
) -> None:
    scores = noisy(1, 1.0)
    places = [("plate", 0, 0.2), ("plate", 1, 0.4), ("angle", 0, 0.9)]
    ones = [keep("a", scores, seed, name, au_spro=0.9) for name, seed, _ in places]
    others = [keep("b", scores, seed, name, au_spro=0.9 - gap) for name, seed, gap in places]
    found = paired_difference(ones, others, tmp_path, "au_spro")
    assert found is not None
    assert found.mean == pytest.approx((0.3 + 0.9) / 2)
    assert found.rule == "one seed: no interval", "seed 1 lacks a class"


def test_quantiles_of_student_are_those_of_scipy() -> None:
    stats = pytest.importorskip("scipy.stats")
    for count in (2, 3, 4, 21, 22, 60):
        values = [0.0, 1.0] * (count // 2) + [0.5] * (count % 2)
        low, high = paired.t_interval(values) or (0, 0)
        half = stats.t.ppf(0.975, count - 1) * np.std(values, ddof=1) / np.sqrt(count)
        assert (high - low) / 2 == pytest.approx(half, rel=2e-4)
    assert paired.t_interval([1.0]) is None


def test_nothing_in_common_is_no_difference(tmp_path: Path, keep: Keep) -> None:
    one, other = keep("a", noisy(1, 1.0)), keep("b", noisy(1, 1.0), seed=1)
    assert paired_difference([one], [other], tmp_path) is None


def test_other_test_images_are_refused(tmp_path: Path, keep: Keep) -> None:
    one, other = keep("a", noisy(1, 1.0)), keep("b", noisy(1, 1.0)[1:])
    with pytest.raises(BenchmarkError, match="tested on the same images"):
        paired_difference([one], [other], tmp_path)


def test_two_records_of_one_seed_are_refused(tmp_path: Path, keep: Keep) -> None:
    record = keep("a", noisy(1, 1.0))
    with pytest.raises(BenchmarkError, match="one record per class and seed"):
        paired_difference([record, record], [record], tmp_path)
