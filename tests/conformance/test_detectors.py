"""What every detector must do. A new method adds its row to `CASES`."""

import contextlib
import functools
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, get_args

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor, nn

from loco_tools.ensembles import ENSEMBLES, create_ensemble, load_ensemble
from loco_tools.ensembles.feature_level.heads import Head
from loco_tools.errors import MethodError
from loco_tools.methods import METHODS, create, load_detector, training
from loco_tools.methods.backbones import WEIGHT_FREE, named_backbone
from loco_tools.methods.batch import Batch
from loco_tools.methods.detector import Category, Detector, Prediction
from loco_tools.progress import Advance, Silent

Image = npt.NDArray[np.uint8]
SIZE = (64, 96)
SMALL: Mapping[str, Any] = {"pretrain_dim": 64, "target_dim": 64}
LEARNING: Mapping[str, Any] = {
    "hidden_dim": 64,
    "steps": 60,
    "step_patches": 256,
    "adaptor_lr": 1e-3,
    "discriminator_lr": 1e-3,
}
CASES: Mapping[str, Mapping[str, Any]] = {
    "ast": {"size_px": 128, "steps": 40, "student_dim": 32, "teacher_dim": 16},
    "csflow": {"size_px": 128, "steps": 80, "hidden_dim": 16, "lr": 0.005},
    "draem": {
        "reconstructive_width": 8,
        "discriminative_width": 8,
        "steps": 240,
        "lr": 0.002,
    },
    "patchcore": {**SMALL, "coreset_ratio": 0.5},
    "rd4ad": {"size_px": 128, "steps": 40, "batch_size": 4},
    "simplenet": {**SMALL, **LEARNING},
    "ensemble": {
        "hidden_dim": 64,
        "steps": 60,
        "step_rows": 256,
        "components": 32,
        "anomalies": 8,
        "varied": 4,
        "bank_size": 200,
        "weighing": 8,
    },
    "ensemble-mean": {},
    "ensemble-stack": {"synthetic": 28},
    "ensemble-forest": {"synthetic": 28},
}
"""Settings in which each is small and learns in seconds."""
COARSE = ("rd4ad",)
"""Those whose scores are sums over scales, the coarsest of which has cells twice as large."""
TRAINED = ("ast", "csflow", "draem", "rd4ad", "simplenet", "ensemble")
"""Those that learn by steps of an optimiser; `steps` bounds them."""
FEW = 6
"""Steps of a training that need not be good."""


def make_image(seed: int, size: tuple[int, int] = SIZE) -> Image:
    """A grey gradient with stripes and noise: what good looks like here."""
    noise = np.random.default_rng(seed).normal(0, 4, (*size, 3))
    y, x = np.mgrid[: size[0], : size[1]]
    texture = 120 + 20 * np.sin(x / 3) + 0.3 * y
    return np.clip(texture[..., None] + noise, 0, 255).astype(np.uint8)


def with_defect(image: Image, top: int, left: int, side: int = 14) -> Image:
    marked = image.copy()
    marked[top : top + side, left : left + side] = (250, 40, 30)
    return marked


TRAIN = [make_image(seed) for seed in range(8)]
VALIDATION = [make_image(seed) for seed in range(20, 24)]
GOOD = [make_image(seed) for seed in range(30, 33)]


def make(name: str, **overrides: Any) -> Detector:
    """An unfitted detector; an ensemble's members are fitted."""
    backbone = named_backbone("scattering")
    settings = {**CASES[name], **overrides}
    if name not in ENSEMBLES:
        return create(name, backbone=backbone, overrides=settings, input_size_px=64)
    return create_ensemble(members(), name, overrides=settings)


@functools.cache
def members() -> dict[str, Detector]:
    """What every ensemble here is made of."""
    return {name: fit(name) for name in ("patchcore", "simplenet")}


def fit(name: str, seed: int = 0, **overrides: Any) -> Detector:
    return make(name, **overrides).fit(TRAIN, VALIDATION, seed=seed)


def fit_briefly(name: str, seed: int = 0) -> Detector:
    return fit(name, seed, **({"steps": FEW} if name in TRAINED else {}))


def modules(attributes: Mapping[str, object]) -> Iterator[tuple[str, nn.Module]]:
    """Modules among a detector's attributes, those of an ensemble's heads with them."""
    for name, value in attributes.items():
        if isinstance(value, nn.Module):
            yield name, value
        elif isinstance(value, dict):
            yield from modules(value)
        elif isinstance(value, Head):
            yield from modules(vars(value))


def trainable(detector: Detector) -> dict[str, Tensor]:
    """Every parameter that the detector may learn, by its place."""
    return {
        f"{place}.{name}": parameter
        for place, module in modules(vars(detector))
        for name, parameter in module.named_parameters()
        if parameter.requires_grad
    }


def peak(prediction: Prediction) -> tuple[int, int]:
    y, x = np.unravel_index(prediction.map.argmax(), prediction.map.shape)
    return int(y), int(x)


@torch.inference_mode()
def cell_px(detector: Detector) -> float:
    """Side of a cell of the detector's scores in pixels of `GOOD`'s images."""
    patches = detector.score_batch(Batch(GOOD[:1])).patches
    return SIZE[0] / patches.shape[1]


def assert_equal_predictions(first: Detector, second: Detector) -> None:
    before, after = list(first.predict(GOOD)), list(second.predict(GOOD))
    np.testing.assert_allclose([p.score for p in before], [p.score for p in after], rtol=1e-5)
    for one, other in zip(before, after, strict=True):
        np.testing.assert_allclose(one.map, other.map, rtol=1e-4, atol=1e-5)


@pytest.fixture(scope="module")
def fitted() -> Callable[[str], Detector]:
    kept: dict[str, Detector] = {}

    def get(name: str) -> Detector:
        if name not in kept:
            kept[name] = fit(name)
        return kept[name]

    return get


def test_every_method_has_a_row() -> None:
    places = {ENSEMBLES[name].import_path for name in CASES if name in ENSEMBLES}
    assert {name for name in CASES if name not in ENSEMBLES} == set(METHODS)
    assert places == {definition.import_path for definition in ENSEMBLES.values()}


@pytest.mark.parametrize("name", CASES)
def test_every_method_says_how_it_works(name: str) -> None:
    category = make(name).category
    assert category in get_args(Category)
    assert (category == "ensemble") == (name in ENSEMBLES)
    assert category != "other"


@pytest.mark.parametrize("name", CASES)
def test_the_same_seed_gives_the_same_predictions(name: str) -> None:
    assert_equal_predictions(fit_briefly(name), fit_briefly(name))


@pytest.mark.parametrize("name", TRAINED)
def test_another_seed_gives_another_detector(name: str) -> None:
    first, other = fit_briefly(name), fit_briefly(name, seed=1)
    assert [p.score for p in first.predict(GOOD)] != [p.score for p in other.predict(GOOD)]


@pytest.mark.parametrize("name", TRAINED)
def test_training_lowers_the_loss_and_watches_good_validation_images(
    name: str, fitted: Callable[[str], Detector]
) -> None:
    log = fitted(name).training_log
    assert [entry["epoch"] for entry in log] == list(range(1, len(log) + 1))
    assert log[-1]["loss"] < log[0]["loss"] - 0.2 * abs(log[0]["loss"])
    assert np.isfinite([entry["validation"] for entry in log if "validation" in entry]).all()
    assert "validation" in log[-1]


@pytest.mark.parametrize("name", TRAINED)
def test_training_moves_every_parameter(name: str, fitted: Callable[[str], Detector]) -> None:
    short, long = trainable(fit(name, steps=1)), trainable(fitted(name))
    assert len(short) >= 5
    assert [key for key in short if torch.equal(short[key], long[key])] == []


class Interruption(Silent):
    """Somebody presses Ctrl-C after so many steps of training."""

    def __init__(self, after: int | None = None) -> None:
        self.after = after
        self.taken_up = 0
        self.steps = 0

    @contextlib.contextmanager
    def task(self, description: str, total: int | None = None) -> Iterator[Advance]:
        calls = 0

        def advance(steps: int) -> None:
            nonlocal calls
            if calls == 0:
                self.taken_up += steps
            elif self.steps == self.after:
                raise KeyboardInterrupt
            else:
                self.steps += steps
            calls += 1

        yield advance if description.endswith(": training") else lambda _steps: None


@pytest.mark.parametrize("name", TRAINED)
def test_an_interrupted_fit_goes_on_as_if_it_had_not_been(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "_SAVE_EVERY_S", -1.0)
    kept = tmp_path / "training"
    settings = {"seed": 0, "keep": kept}
    with pytest.raises(KeyboardInterrupt):
        make(name, steps=FEW).fit(TRAIN, VALIDATION, **settings, progress=Interruption(FEW // 2))
    resumed, watched = make(name, steps=FEW), Interruption()
    resumed.fit(TRAIN, VALIDATION, **settings, progress=watched)
    whole = fit_briefly(name)
    assert watched.taken_up == FEW // 2 + 1
    assert resumed.training_log == whole.training_log
    assert_equal_predictions(resumed, whole)
    assert not kept.exists()


@pytest.mark.parametrize("name", CASES)
def test_scores_vary(name: str, fitted: Callable[[str], Detector]) -> None:
    predictions = list(fitted(name).predict(GOOD))
    assert len({p.score for p in predictions}) == len(GOOD)
    assert all(p.map.std() > 0 for p in predictions)


@pytest.mark.parametrize("name", CASES)
def test_planted_defects_score_highest_and_their_maps_peak_on_them(
    name: str, fitted: Callable[[str], Detector]
) -> None:
    detector, side = fitted(name), 14
    places = [(top, left) for top in (6, 40) for left in (8, 42, 72)]
    bad = [with_defect(GOOD[0], *place, side) for place in places]
    best = max(p.score for p in detector.predict(GOOD))
    slack = max(4.0, cell_px(detector)) * (2 if name in COARSE else 1)
    for (top, left), prediction in zip(places, detector.predict(bad), strict=True):
        peak_y, peak_x = peak(prediction)
        assert prediction.score > best
        assert top - slack <= peak_y < top + side + slack
        assert left - slack <= peak_x < left + side + slack


@pytest.mark.parametrize("backbone", WEIGHT_FREE)
def test_a_planted_defect_is_found_with_every_weight_free_backbone(backbone: str) -> None:
    detector = create(
        "patchcore",
        backbone=named_backbone(backbone),
        overrides=CASES["patchcore"],
        input_size_px=64,
    ).fit(TRAIN, VALIDATION, seed=0)
    *good, bad = detector.predict([*GOOD, with_defect(GOOD[0], 40, 20)])
    assert bad.score > max(p.score for p in good)
    peak_y, peak_x = peak(bad)
    assert 36 <= peak_y < 58
    assert 16 <= peak_x < 38


@pytest.mark.parametrize("name", CASES)
def test_maps_have_the_size_of_their_images(name: str, fitted: Callable[[str], Detector]) -> None:
    images = [make_image(1, (90, 50)), make_image(2, (33, 201)), make_image(3)]
    predictions = list(fitted(name).predict(images))
    assert [p.map.shape for p in predictions] == [(90, 50), (33, 201), SIZE]
    assert all(p.map.dtype == np.float32 for p in predictions)


@pytest.mark.parametrize("name", CASES)
def test_a_defect_stays_in_its_place_when_images_have_other_sizes(
    name: str, fitted: Callable[[str], Detector]
) -> None:
    import cv2

    bad = with_defect(GOOD[0], 40, 20)
    wide = cv2.resize(bad, (240, 80), interpolation=cv2.INTER_LINEAR).astype(np.uint8)
    (prediction,) = fitted(name).predict([wide])
    peak_y, peak_x = peak(prediction)
    assert abs(peak_y / 80 - 47 / 64) < 0.15
    assert abs(peak_x / 240 - 27 / 96) < 0.15


@pytest.mark.parametrize("name", CASES)
def test_the_batch_size_does_not_change_predictions(
    name: str, fitted: Callable[[str], Detector]
) -> None:
    detector = fitted(name)
    images = [*GOOD, with_defect(GOOD[1], 10, 10)]
    together = detector.predict_batch(Batch(images))
    alone = [detector.predict_batch(Batch([image]))[0] for image in images]
    np.testing.assert_allclose([p.score for p in together], [p.score for p in alone], rtol=1e-3)
    for one, other in zip(together, alone, strict=True):
        np.testing.assert_allclose(one.map, other.map, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("name", CASES)
def test_save_and_load_give_equal_predictions(
    name: str, tmp_path: Path, fitted: Callable[[str], Detector]
) -> None:
    detector = fitted(name)
    detector.save(tmp_path / "kept")
    if name in ENSEMBLES:
        loaded: Detector = load_ensemble(tmp_path / "kept", device="cpu")
    else:
        loaded = load_detector(tmp_path / "kept", device="cpu")
    assert loaded.config == detector.config
    assert loaded.training_log == detector.training_log
    assert loaded.parameter_count() == detector.parameter_count() > 0
    assert_equal_predictions(detector, loaded)


@pytest.mark.parametrize("name", CASES)
def test_using_a_detector_before_fit_is_an_error(name: str, tmp_path: Path) -> None:
    detector = make(name)
    said = f"{detector.name} has not been fitted; next step: call fit"
    with pytest.raises(MethodError, match=said):
        list(detector.predict(GOOD))
    with pytest.raises(MethodError, match="has not been fitted"):
        detector.save(tmp_path / "kept")
    assert not (tmp_path / "kept").exists()


@pytest.mark.parametrize("name", CASES)
def test_fitting_on_nothing_is_an_error(name: str) -> None:
    with pytest.raises(MethodError, match="expected good images to train on, got none"):
        make(name).fit([], [], seed=0)


@pytest.mark.parametrize("name", CASES)
def test_cuts_have_the_shape_they_say_and_unknown_cuts_are_errors(
    name: str, fitted: Callable[[str], Detector]
) -> None:
    detector = fitted(name)
    height, width = detector.input_size
    for cut in detector.cuts:
        channels, stride = detector.cut_shape(cut)
        (features,) = detector.features(GOOD, cut)
        assert features.shape == (len(GOOD), channels, height // stride, width // stride)
        assert features.isfinite().all()
    with pytest.raises(MethodError, match='has no cut "logits"'):
        detector.cut_shape("logits")
    with pytest.raises(MethodError, match='has no cut "logits"'):
        next(detector.features(GOOD, "logits"))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
@pytest.mark.parametrize("name", [name for name in CASES if name not in ENSEMBLES])
def test_a_detector_gives_the_same_on_a_cuda_device(
    name: str, tmp_path: Path, fitted: Callable[[str], Detector]
) -> None:
    fitted(name).save(tmp_path / "kept")
    moved = load_detector(tmp_path / "kept", device="cuda")
    here, there = list(fitted(name).predict(GOOD)), list(moved.predict(GOOD))
    np.testing.assert_allclose([p.score for p in here], [p.score for p in there], rtol=0.02)
    create(
        name,
        backbone=None if name == "draem" else named_backbone("scattering"),
        overrides=CASES[name],
        input_size_px=64,
        device="cuda",
    ).fit(TRAIN, VALIDATION, seed=0)
