"""What every detector must do. A new method adds its row to `CASES`."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

from loco_tools.ensembles import create_ensemble
from loco_tools.ensembles.feature_fusion import FeatureFusion
from loco_tools.errors import MethodError
from loco_tools.methods import METHODS, create, load_detector
from loco_tools.methods.backbones import WEIGHT_FREE, named_backbone
from loco_tools.methods.batch import Batch
from loco_tools.methods.detector import Detector

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
    "patchcore": {**SMALL, "coreset_ratio": 0.5},
    "simplenet": {**SMALL, **LEARNING},
    "ensemble": {**LEARNING, "components": 32},
}
TRAINED = ("simplenet", "ensemble")


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
    if name != "ensemble":
        return create(name, backbone=backbone, overrides=settings, input_size_px=64)
    members = {m: fit(m) for m in ("patchcore", "simplenet")}
    return create_ensemble(members, overrides=settings)


def fit(name: str, seed: int = 0, **overrides: Any) -> Detector:
    return make(name, **overrides).fit(TRAIN, VALIDATION, seed=seed)


@pytest.fixture(scope="module")
def fitted() -> Callable[[str], Detector]:
    kept: dict[str, Detector] = {}

    def get(name: str) -> Detector:
        if name not in kept:
            kept[name] = fit(name)
        return kept[name]

    return get


def test_every_method_has_a_row() -> None:
    assert set(CASES) == {*METHODS, "ensemble"}


@pytest.mark.parametrize("name", CASES)
def test_the_same_seed_gives_the_same_predictions(
    name: str, fitted: Callable[[str], Detector]
) -> None:
    first = list(fitted(name).predict(GOOD))
    again = list(fit(name).predict(GOOD))
    np.testing.assert_allclose([p.score for p in first], [p.score for p in again], rtol=1e-5)
    for one, other in zip(first, again, strict=True):
        np.testing.assert_allclose(one.map, other.map, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", TRAINED)
def test_another_seed_gives_another_detector(name: str, fitted: Callable[[str], Detector]) -> None:
    first, other = fitted(name), fit(name, seed=1)
    assert [p.score for p in first.predict(GOOD)] != [p.score for p in other.predict(GOOD)]


@pytest.mark.parametrize("name", TRAINED)
def test_training_lowers_the_loss(name: str, fitted: Callable[[str], Detector]) -> None:
    log = fitted(name).training_log
    assert [entry["epoch"] for entry in log] == list(range(1, len(log) + 1))
    assert log[-1]["loss"] < 0.8 * log[0]["loss"]


@pytest.mark.parametrize("name", TRAINED)
def test_training_moves_every_parameter(
    name: str, tmp_path: Path, fitted: Callable[[str], Detector]
) -> None:
    from safetensors.torch import load_file

    states = []
    for label, detector in {"short": fit(name, steps=1), "long": fitted(name)}.items():
        detector.save(tmp_path / label)
        states.append(load_file(tmp_path / label / "detector.safetensors"))
    learned = [key for key in states[0] if key.startswith("discriminator.")]
    assert len(learned) >= 7
    assert all(not torch.equal(states[0][key], states[1][key]) for key in learned)


@pytest.mark.parametrize("name", CASES)
def test_scores_vary(name: str, fitted: Callable[[str], Detector]) -> None:
    predictions = list(fitted(name).predict(GOOD))
    assert len({p.score for p in predictions}) == len(GOOD)
    assert all(p.map.std() > 0 for p in predictions)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize(("top", "left"), [(6, 70), (40, 20)])
def test_a_planted_defect_scores_highest_and_the_map_peaks_on_it(
    name: str, top: int, left: int, fitted: Callable[[str], Detector]
) -> None:
    *good, bad = fitted(name).predict([*GOOD, with_defect(GOOD[0], top, left)])
    assert bad.score > max(p.score for p in good)
    peak_y, peak_x = np.unravel_index(bad.map.argmax(), bad.map.shape)
    assert top - 4 <= peak_y < top + 18
    assert left - 4 <= peak_x < left + 18


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
    peak_y, peak_x = np.unravel_index(bad.map.argmax(), bad.map.shape)
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
    peak_y, peak_x = np.unravel_index(prediction.map.argmax(), prediction.map.shape)
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
    if name == "ensemble":
        loaded: Detector = FeatureFusion.load(tmp_path / "kept", device="cpu")
    else:
        loaded = load_detector(tmp_path / "kept", device="cpu")
    assert loaded.config == detector.config
    assert loaded.training_log == detector.training_log
    before, after = list(detector.predict(GOOD)), list(loaded.predict(GOOD))
    assert [p.score for p in before] == pytest.approx([p.score for p in after], rel=1e-5)
    np.testing.assert_allclose(before[0].map, after[0].map, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", CASES)
def test_using_a_detector_before_fit_is_an_error(name: str, tmp_path: Path) -> None:
    detector = make(name)
    with pytest.raises(MethodError, match=f"{name} has not been fitted; next step: call fit"):
        list(detector.predict(GOOD))
    with pytest.raises(MethodError, match="has not been fitted"):
        detector.save(tmp_path / "kept")
    assert not (tmp_path / "kept").exists()


@pytest.mark.parametrize("name", CASES)
def test_fitting_on_nothing_is_an_error(name: str) -> None:
    with pytest.raises(MethodError, match="expected good images to train on, got none"):
        make(name).fit([], [], seed=0)


@pytest.mark.parametrize("name", CASES)
def test_cuts_give_maps_and_unknown_cuts_are_errors(
    name: str, fitted: Callable[[str], Detector]
) -> None:
    detector = fitted(name)
    for cut in detector.cuts:
        (features,) = detector.features(GOOD, cut)
        assert features.shape[0] == len(GOOD)
        assert features.shape[-2:] == (8, 12)
    with pytest.raises(MethodError, match='has no cut "logits"'):
        next(detector.features(GOOD, "logits"))
