from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from loco_tools.benchmark.cell.record import Cell
from loco_tools.benchmark.cell.training_log import (
    MOST_POINTS,
    TrainingCurves,
    curves_of,
    read_training_log,
    write_training_log,
)
from loco_tools.benchmark.run.runner import run
from loco_tools.benchmark.suite import Suite
from loco_tools.errors import BenchmarkError
from loco_tools.methods import training
from loco_tools.methods.training import Training

Make = Callable[..., Path]

STEPS = 24
SUITE = Suite(
    methods=[
        {"name": "simplenet", "overrides": {"steps": STEPS, "batch_size": 2, "step_patches": 64}},
        "patchcore",
    ],
    backbone="scattering",
    preset="fast",
    input_size_px=64,
    executor={"workers": 0},  # in this process, where it can be interrupted at a certain step
)


def by_name(curves: TrainingCurves) -> dict[str, tuple[tuple[float, ...], tuple[float, ...]]]:
    return {curve.name: (curve.x, curve.y) for curve in curves.curves}


def cell_folder(out: Path, method: str = "simplenet") -> Path:
    return Cell(method, "plate", 0).folder(out)


def test_the_loss_in_the_file_of_a_real_training_falls(
    tmp_path: Path, make_loco_class: Make
) -> None:
    run(SUITE, [make_loco_class(size=(64, 96), train=6)], tmp_path / "out")
    curves = by_name(read_training_log(cell_folder(tmp_path / "out")))
    assert set(curves) == {"loss", "loss/good", "loss/noisy", "validation"}
    steps, losses = curves["loss"]
    assert steps == tuple(range(3, STEPS + 1, 3)), "three steps are a pass over six images"
    assert losses[-1] < 0.7 * losses[0]
    assert curves["validation"][0][-1] == STEPS
    assert not (cell_folder(tmp_path / "out", "patchcore") / "training.json").exists()
    assert read_training_log(cell_folder(tmp_path / "out", "patchcore")).curves == ()


def test_the_file_is_the_same_after_an_interruption(
    tmp_path: Path, make_loco_class: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = make_loco_class(size=(64, 96), train=6)
    run(SUITE, [data], tmp_path / "whole")
    monkeypatch.setattr(training, "_SAVE_EVERY_S", -1.0)
    keep, kept = Training._save_state, 0

    def keep_and_stop(self: Training, *arguments: object) -> None:
        nonlocal kept
        keep(self, *arguments)
        kept += 1
        if kept == STEPS // 2 + 1:  # in the middle of a pass
            raise KeyboardInterrupt

    monkeypatch.setattr(Training, "_save_state", keep_and_stop)
    with pytest.raises(KeyboardInterrupt):
        run(SUITE, [data], tmp_path / "stopped")
    run(SUITE, [data], tmp_path / "stopped")
    assert kept == STEPS, "every step was taken once"
    whole, resumed = (cell_folder(tmp_path / n) / "training.json" for n in ("whole", "stopped"))
    assert resumed.read_bytes() == whole.read_bytes()


def test_long_curves_are_averaged_over_equal_stretches_and_nothing_is_dropped() -> None:
    rng = np.random.default_rng(0)
    values = rng.random(4 * MOST_POINTS)
    log = [{"epoch": n + 1.0, "step": 7.0 * (n + 1), "loss": v} for n, v in enumerate(values)]
    (curve,) = curves_of(log).curves
    assert len(curve.x) == MOST_POINTS
    assert np.mean(curve.y) == pytest.approx(values.mean())
    assert curve.y[0] == pytest.approx(values[:4].mean())
    assert {b - a for a, b in pairwise(curve.x)} == {28.0}
    assert curve.x[-1] == log[-1]["step"]


def test_figures_that_are_measured_here_and_there_have_their_own_places() -> None:
    log = [{"epoch": 1.0, "loss": 3.0}, {"epoch": 2.0, "loss": 2.0, "validation": 5.0}]
    curves = by_name(curves_of(log))
    assert curves == {"loss": ((1.0, 2.0), (3.0, 2.0)), "validation": ((2.0,), (5.0,))}
    assert {curve.unit for curve in curves_of(log).curves} == {"epoch"}


def test_a_written_training_log_reads_the_same(tmp_path: Path) -> None:
    log = [{"epoch": 1.0, "step": 2.0, "loss": 0.1 + 0.2}]
    write_training_log(tmp_path, log)
    assert read_training_log(tmp_path) == curves_of(log)


@pytest.mark.parametrize(
    "text",
    ["{", '{"curves": [{"name": "loss", "unit": "step", "x": [1], "y": []}]}'],
)
def test_a_damaged_file_is_an_error_with_the_next_step(tmp_path: Path, text: str) -> None:
    (tmp_path / "training.json").write_text(text)
    with pytest.raises(BenchmarkError, match=r"training.json.*next step: remove the cell"):
        read_training_log(tmp_path)
