from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from loco_tools.errors import MethodError
from loco_tools.methods import csflow
from loco_tools.methods.backbones import Backbone, named_backbone, random_backbone
from loco_tools.methods.batch import Batch
from loco_tools.methods.csflow import (
    CrossScaleSubnet,
    CSFlow,
    CSFlowConfig,
    negative_log_likelihood,
)
from loco_tools.methods.training import total

TINY: dict[str, Any] = {
    "size_px": 128,
    "hidden_dim": 8,
    "kernels": (3, 5),
    "batch_size": 3,
    "lr": 1e-2,
}
IMAGES = [np.random.default_rng(n).integers(0, 255, (40, 60, 3), np.uint8) for n in range(5)]


def make(backbone: Backbone | None = None, **overrides: Any) -> CSFlow:
    config = CSFlowConfig(**{**TINY, **overrides})
    return CSFlow(config, backbone or named_backbone("scattering"), device="cpu")


class InterruptedFitError(Exception):
    """Stands for Ctrl-C."""


def test_the_flow_has_the_published_number_of_parameters() -> None:
    detector = CSFlow(CSFlowConfig(), random_backbone("efficientnet_b5"), device="cpu")
    assert (detector.source.channels, detector.source.stride) == (304, 32)
    assert sum(p.numel() for p in detector.flow.parameters()) == 275_227_288
    assert all(p.device.type == "meta" for p in detector.flow.parameters())


def test_the_paper_preset_has_the_published_numbers() -> None:
    config = CSFlow.configure("paper")
    expected = {
        "size_px": 768, "batch_size": 16, "hidden_dim": 1024, "kernels": [3, 3, 3, 5],
        "clamp": 3.0, "epochs": 240, "steps": None, "lr": 2e-4, "eps": 1e-4,
        "weight_decay": 1e-5, "clip_norm": 1.0,
    }  # fmt: skip
    assert expected.items() <= config.model_dump(mode="json").items()
    assert CSFlow.default_backbone == "efficientnet_b5"


def test_a_paper_fit_is_told_to_need_gigabytes() -> None:
    detector = CSFlow(CSFlowConfig(), random_backbone("efficientnet_b5"), device="cpu")
    detector._input_size = (768, 768)
    assert 5000 < detector.memory_mb(200) < 20_000


def test_the_input_fits_the_coarsest_grid_of_three_scales() -> None:
    detector = make(steps=1, size_px=150).fit(IMAGES, [], seed=0)
    assert detector.input_size == (128, 256)
    assert detector.source.grids(detector.input_size) == [(8, 16), (4, 8), (2, 4)]


def test_another_stride_can_be_asked_for_and_a_missing_one_is_an_error() -> None:
    assert make(stride=8).source.stride == 8
    with pytest.raises(MethodError, match="no feature map at stride 32, only at 8, 16"):
        make(stride=32)


def test_lower_scales_are_the_features_of_every_second_pixel() -> None:
    detector = make()
    batch, half = Batch(IMAGES[:2]), Batch(IMAGES[:2])
    maps = detector.source.extract(batch, (128, 192))
    pixels = half.pixels((128, 192))[:, :, ::2, ::2]
    (expected,) = detector.backbone.maps(pixels, (16,))
    torch.testing.assert_close(maps[1], detector.backbone.relative(expected))


def test_a_subnet_sees_neighbouring_scales_only() -> None:
    torch.manual_seed(0)
    subnet = CrossScaleSubnet(4, 8, 6, 3)
    torch.nn.init.ones_(subnet.gamma)
    maps = [torch.randn(1, 4, 8, 12), torch.randn(1, 4, 4, 6), torch.randn(1, 4, 2, 3)]
    before = subnet(maps)
    assert [tuple(one.shape[1:]) for one in before] == [(6, 8, 12), (6, 4, 6), (6, 2, 3)]
    after = subnet([maps[0] + 1, *maps[1:]])
    changed = [not torch.equal(a, b) for a, b in zip(before, after, strict=True)]
    assert changed == [True, True, False]


def test_the_loss_is_per_dimension_and_takes_the_determinant_off() -> None:
    latents = [torch.full((2, 3, 2, 2), 2.0), torch.full((2, 3, 1, 1), 1.0)]
    logs = [torch.full((2, 2, 2), 1.0), torch.full((2, 1, 1), 0.5)]
    loss = total(negative_log_likelihood(latents, logs))
    assert loss.item() == pytest.approx(((12 * 4 + 3 * 1) / 2 - 4.5) / 15)


def test_the_score_of_an_image_is_half_the_mean_square_of_all_latents() -> None:
    detector = make(steps=2).fit(IMAGES, [], seed=0)
    batch = Batch(IMAGES[:2])
    with torch.inference_mode():
        scores, latents = detector.score_batch(batch), detector._latents(batch)
    total = sum(one[1].square().sum() for one in latents)
    count = sum(one[1].numel() for one in latents)
    assert scores.image[1].item() == pytest.approx(float(total) / count / 2, rel=1e-5)
    torch.testing.assert_close(scores.patches[1], latents[0][1].square().mean(dim=0))
    assert detector.smoothing_px == 0


def test_features_are_standardised_with_a_weight_free_backbone_and_left_alone_with_another() -> (
    None
):
    detector = make(steps=1).fit(IMAGES, [], seed=0)
    with torch.inference_mode():
        flat = detector.source.standardise(detector.source.raw(Batch(IMAGES), detector.input_size))
    torch.testing.assert_close(flat.mean(dim=(0, 2)), torch.zeros(flat.shape[1]), atol=1e-3, rtol=0)
    learned = make(random_backbone("squeezenet1_1"), steps=1).fit(IMAGES, [], seed=0)
    assert not learned.source.mean.any()


def test_the_loss_falls_and_validation_is_recorded() -> None:
    log = make(steps=30).fit(IMAGES, IMAGES[:3], seed=0).training_log
    assert [entry["epoch"] for entry in log] == list(range(1, 16))
    assert log[-1]["loss"] < log[0]["loss"] - 0.1
    assert log[-1]["validation"] < log[0]["validation"]


def test_an_interrupted_fit_goes_on_as_if_it_had_not_been(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("loco_tools.methods.training._SAVE_EVERY_S", 0.0)
    whole = make(steps=6).fit(IMAGES, [], seed=3)
    detector = make(steps=6)
    calls = []

    def stops(latents: Any, logs: Any) -> Any:
        calls.append(1)
        if len(calls) == 4:
            raise InterruptedFitError
        return negative_log_likelihood(latents, logs)

    with monkeypatch.context() as patched:
        patched.setattr(csflow, "negative_log_likelihood", stops)
        with pytest.raises(InterruptedFitError):
            detector.fit(IMAGES, [], seed=3, keep=tmp_path / "kept")
    resumed = make(steps=6).fit(IMAGES, [], seed=3, keep=tmp_path / "kept")
    assert resumed.training_log == whole.training_log
    for one, other in zip(resumed.predict(IMAGES), whole.predict(IMAGES), strict=True):
        assert one.score == pytest.approx(other.score, rel=1e-5)


def test_the_cut_has_the_shape_that_it_says() -> None:
    detector = make(steps=1).fit(IMAGES, [], seed=0)
    (latents,) = detector.features(IMAGES[:2], "latents")
    shape = detector.cut_shape("latents")
    h, w = detector.input_size
    assert latents.shape == (2, shape.channels, h // shape.stride, w // shape.stride)
    assert shape.channels == 3 * detector.source.channels
