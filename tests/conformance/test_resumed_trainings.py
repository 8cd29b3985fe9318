"""A fit that was killed and resumed equals an undisturbed one, to the bit.

Losses, scores and maps are compared. Seven images in batches of three make the last batch of a pass
smaller; states are saved after every second step, so that a kill comes right after one or between.
"""

import contextlib
import functools
import hashlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from loco_tools.ensembles import ENSEMBLES, create_ensemble, ensemble_definition
from loco_tools.methods import METHODS, create, load_detector, training
from loco_tools.methods.backbones import named_backbone
from loco_tools.methods.detector import Detector
from loco_tools.methods.training import LogEntry, Training
from loco_tools.progress import SILENT, Advance, Progress, Silent
from loco_tools.testing.detectors import GOOD, VALIDATION, make_image

TRAIN = [make_image(seed) for seed in range(7)]
SAVED_EVERY = 2
STEPS = 7
SMALL: Mapping[str, Mapping[str, Any]] = {
    "simplenet": {
        "pretrain_dim": 32,
        "target_dim": 32,
        "hidden_dim": 16,
        "step_patches": 100,
        "steps": STEPS,
    },
    "draem": {"reconstructive_width": 2, "discriminative_width": 2, "steps": STEPS},
    "rd4ad": {"bottleneck_blocks": 1, "decoder_blocks": (1, 1), "steps": STEPS},
    "csflow": {"hidden_dim": 4, "kernels": (3,), "size_px": 128, "stride": 16, "steps": STEPS},
    "ast": {"student_dim": 8, "teacher_dim": 4, "kernels": (3,), "stride": 16, "steps": 4},
}
"""Every method that is trained by steps; both networks of AST are trained that long."""
UNTRAINED = ("patchcore",)
FUSED = {
    "hidden_dim": 16,
    "steps": STEPS,
    "step_rows": 64,
    "components": 8,
    "anomalies": 3,
    "varied": 2,
    "bank_size": 30,
    "weighing": 4,
}
LEARNED_FUSIONS = ("ensemble-weighted", "ensemble-stack", "ensemble-forest", "ensemble-boost")
"""Output-level ensembles that are fitted to synthetic anomalies; they save nothing half-way."""


def make(name: str, **overrides: Any) -> Detector:
    if name not in ENSEMBLES:
        settings = {"size_px": 64, "batch_size": 3, **SMALL.get(name, {}), **overrides}
        return create(name, backbone=named_backbone("scattering"), overrides=settings)
    feature_level = "feature_level" in ensemble_definition(name).import_path
    settings = FUSED if feature_level else {"synthetic": 6}
    return create_ensemble(members(), name, overrides={"batch_size": 3, **settings, **overrides})


@functools.cache
def members() -> dict[str, Detector]:
    small = {"patchcore": {"pretrain_dim": 32, "target_dim": 32}, "simplenet": {}}
    made = {name: make(name, **settings) for name, settings in small.items()}
    return {name: one.fit(TRAIN, VALIDATION, seed=0) for name, one in made.items()}


def fit(detector: Detector, keep: Path | None = None, progress: Progress = SILENT) -> Detector:
    return detector.fit(TRAIN, VALIDATION, seed=0, keep=keep, progress=progress)


def result(detector: Detector) -> list[Any]:
    """The training log, scores and digests of maps, for exact comparison."""
    predicted = list(detector.predict(GOOD))
    digests = [hashlib.sha256(one.map.tobytes()).hexdigest() for one in predicted]
    return [detector.training_log, [one.score for one in predicted], digests]


class Watch(Silent):
    """Counts the training's steps; somebody ends the process after some of them."""

    def __init__(self, after: int | None = None, *, kill: bool = False) -> None:
        self.after, self.kill = after, kill
        self.taken_up = self.done = 0

    @contextlib.contextmanager
    def task(self, description: str, total: int | None = None) -> Iterator[Advance]:
        begun = False

        def advance(steps: int) -> None:
            nonlocal begun
            if begun:
                self.done += steps
                if self.done == self.after and self.kill:
                    os.kill(os.getpid(), signal.SIGKILL)
                if self.done == self.after:
                    raise KeyboardInterrupt
            else:
                begun, self.taken_up = True, steps

        yield advance if description.endswith(": training") else lambda _steps: None


@contextlib.contextmanager
def saved_every(steps: int) -> Iterator[None]:
    """States are saved by the number of steps instead of by the clock."""
    with pytest.MonkeyPatch.context() as patch:
        save = Training._save_state

        def sometimes(
            self: Training, folder: Path, log: list[LogEntry], losses: list[LogEntry]
        ) -> None:
            if (len(log) * self.steps_per_epoch + len(losses)) % steps == 0:
                save(self, folder, log, losses)

        patch.setattr(Training, "_save_state", sometimes)
        patch.setattr(training, "_SAVE_EVERY_S", -1.0)
        yield


@pytest.fixture(params=[1, 2])
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    members.cache_clear()
    yield request.param
    torch.set_num_threads(before)
    members.cache_clear()


def test_every_trained_method_is_tried() -> None:
    assert {*SMALL, *UNTRAINED} == {*METHODS}


@pytest.mark.parametrize("name", [*SMALL, "ensemble"])
def test_a_resumed_fit_equals_an_undisturbed_one_to_the_bit(
    name: str, threads: int, tmp_path: Path
) -> None:
    undisturbed = result(fit(make(name)))
    assert len(undisturbed[0]) > 0
    # Between two states, right after one, and in another pass.
    for after in (3, 4, 6) if threads == 1 else (4,):
        kept = tmp_path / str(after)
        with saved_every(SAVED_EVERY):
            with pytest.raises(KeyboardInterrupt):
                fit(make(name), kept, Watch(after))
            watch = Watch()
            resumed = fit(make(name), kept, watch)
        assert watch.taken_up == after // SAVED_EVERY * SAVED_EVERY
        assert result(resumed) == undisturbed
        assert not kept.exists()


@pytest.mark.parametrize("name", [name for name in SMALL if name != "draem"])
def test_what_is_kept_in_memory_does_not_change_the_training(name: str) -> None:
    assert result(fit(make(name, cache_mb=0))) == result(fit(make(name)))


@pytest.mark.parametrize("name", LEARNED_FUSIONS)
def test_a_fusion_of_scores_that_is_fitted_again_is_the_same(name: str, threads: int) -> None:
    class Broken(Silent):
        @contextlib.contextmanager
        def task(self, description: str, total: int | None = None) -> Iterator[Advance]:
            if "synthetic" in description:
                raise KeyboardInterrupt
            yield lambda _steps: None

    with pytest.raises(KeyboardInterrupt):
        fit(make(name), progress=Broken())
    assert result(fit(make(name))) == result(fit(make(name)))


@pytest.mark.parametrize("name", ["ensemble", "ensemble-stack"])
def test_an_ensemble_of_loaded_members_equals_one_of_those_just_fitted(
    name: str, tmp_path: Path
) -> None:
    fresh = result(fit(make(name)))
    loaded = {}
    for member, detector in members().items():
        detector.save(tmp_path / member)
        loaded[member] = load_detector(tmp_path / member, device="cpu")
    made = make(name)
    made.members.update(loaded)
    again = type(made)(made.config, loaded, device="cpu")
    assert result(fit(again)) == fresh


@pytest.mark.parametrize("name", ["simplenet", "ensemble"])
def test_a_fit_that_is_killed_goes_on_in_another_process(name: str, tmp_path: Path) -> None:
    command = [sys.executable, __file__, name, str(torch.get_num_threads())]
    path = [str(Path(__file__).parents[2]), *sys.path]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, path))}

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*command, *arguments],
            capture_output=True,
            text=True,
            env=environment,
            check=False,
            timeout=300,
        )

    killed = run(str(tmp_path / "kept"), "5")
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert (tmp_path / "kept").is_dir()
    resumed = run(str(tmp_path / "kept"))
    assert resumed.returncode == 0, resumed.stderr
    taken_up, *found = json.loads(resumed.stdout)
    assert taken_up == 4
    assert found == json.loads(json.dumps(result(fit(make(name)))))


def test_a_state_of_another_number_of_threads_is_not_taken_up(tmp_path: Path) -> None:
    before = torch.get_num_threads()
    try:
        with saved_every(SAVED_EVERY):
            torch.set_num_threads(2)
            with pytest.raises(KeyboardInterrupt):
                fit(make("simplenet"), tmp_path / "kept", Watch(5))
            torch.set_num_threads(1)
            watch = Watch()
            resumed = result(fit(make("simplenet"), tmp_path / "kept", watch))
        assert watch.taken_up == 0
        assert resumed == result(fit(make("simplenet")))
    finally:
        torch.set_num_threads(before)


if __name__ == "__main__":
    chosen, number, folder, *rest = sys.argv[1:]
    torch.set_num_threads(int(number))
    watching = Watch(int(rest[0]) if rest else None, kill=True)
    with saved_every(SAVED_EVERY):
        fitted = fit(make(chosen), Path(folder), watching)
    print(json.dumps([watching.taken_up, *result(fitted)]))
