"""What every detector must do. A new method adds its row to `CASES`."""

import functools
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from loco_tools.ensembles import ENSEMBLES, create_ensemble, load_ensemble
from loco_tools.ensembles.feature_level.heads import Head
from loco_tools.ensembles.feature_level.scorers import Scorers
from loco_tools.methods import METHODS, create, load_detector
from loco_tools.methods.backbones import WEIGHT_FREE, named_backbone
from loco_tools.methods.detector import Category, Detector
from loco_tools.testing.detectors import (
    CHECKS,
    GOOD,
    TRAIN,
    VALIDATION,
    Subject,
    peak,
    with_defect,
)

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
    """Modules among a detector's attributes, including those of an ensemble's heads."""
    for name, value in attributes.items():
        if isinstance(value, nn.Module):
            yield name, value
        elif isinstance(value, dict):
            yield from modules(value)
        elif isinstance(value, Head | Scorers):
            yield from modules(vars(value))


def trainable(detector: Detector) -> dict[str, Tensor]:
    """Every parameter that the detector may learn, by its place."""
    return {
        f"{place}.{name}": parameter
        for place, module in modules(vars(detector))
        for name, parameter in module.named_parameters()
        if parameter.requires_grad
    }


@functools.cache
def subject(name: str) -> Subject:
    """A detector for the checks, which is fitted once."""
    load = load_ensemble if name in ENSEMBLES else load_detector
    return Subject(
        lambda: make(name),
        make_briefly=lambda: make(name, **({"steps": FEW} if name in TRAINED else {})),
        load=lambda folder: load(folder, device="cpu"),
        slack=2.0 if name in COARSE else 1.0,
    )


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


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("name", CASES)
def test_every_detector_conforms(name: str, check: Callable[[Subject], None]) -> None:
    check(subject(name))


@pytest.mark.parametrize("name", CASES)
def test_every_image_gets_a_score_of_its_own(name: str) -> None:
    assert len({p.score for p in subject(name).fitted.predict(GOOD)}) == len(GOOD)


@pytest.mark.parametrize("name", CASES)
def test_every_method_counts_its_parameters(name: str) -> None:
    assert subject(name).fitted.parameter_count() > 0


@pytest.mark.parametrize("name", TRAINED)
def test_another_seed_gives_another_detector(name: str) -> None:
    first, other = fit_briefly(name), fit_briefly(name, seed=1)
    assert [p.score for p in first.predict(GOOD)] != [p.score for p in other.predict(GOOD)]


@pytest.mark.parametrize("name", TRAINED)
def test_training_lowers_the_loss_and_watches_good_validation_images(name: str) -> None:
    log = subject(name).fitted.training_log
    assert [entry["epoch"] for entry in log] == list(range(1, len(log) + 1))
    assert log[-1]["loss"] < log[0]["loss"] - 0.2 * abs(log[0]["loss"])
    assert np.isfinite([entry["validation"] for entry in log if "validation" in entry]).all()
    assert "validation" in log[-1]


@pytest.mark.parametrize("name", TRAINED)
def test_training_moves_every_parameter(name: str) -> None:
    short, long = trainable(fit(name, steps=1)), trainable(subject(name).fitted)
    assert len(short) >= 5
    assert [key for key in short if torch.equal(short[key], long[key])] == []


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


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
@pytest.mark.parametrize("name", [name for name in CASES if name not in ENSEMBLES])
def test_a_detector_gives_the_same_on_a_cuda_device(name: str, tmp_path: Path) -> None:
    subject(name).fitted.save(tmp_path / "kept")
    moved = load_detector(tmp_path / "kept", device="cuda")
    here, there = list(subject(name).fitted.predict(GOOD)), list(moved.predict(GOOD))
    np.testing.assert_allclose([p.score for p in here], [p.score for p in there], rtol=0.02)
    create(
        name,
        backbone=None if name == "draem" else named_backbone("scattering"),
        overrides=CASES[name],
        input_size_px=64,
        device="cuda",
    ).fit(TRAIN, VALIDATION, seed=0)


SAVED_FORMATS = json.loads((Path(__file__).parent / "saved_formats.json").read_text())
"""Name -> the names in the files that version 0.1.0 saved: of the record, settings and arrays."""


@pytest.mark.parametrize("name", SAVED_FORMATS)
def test_detectors_that_earlier_versions_saved_still_open(name: str, tmp_path: Path) -> None:
    fit_briefly(name).save(tmp_path / "saved")
    record = json.loads((tmp_path / "saved" / "detector.json").read_text())
    arrays = load_file(tmp_path / "saved" / "detector.safetensors")
    assert sorted({*record} - {"sha256"}) == SAVED_FORMATS[name]["record"]
    assert sorted(record["config"]) == SAVED_FORMATS[name]["config"]
    assert sorted(arrays) == SAVED_FORMATS[name]["arrays"]
