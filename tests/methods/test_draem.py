from pathlib import Path

import numpy as np
import pytest
import torch
from skimage.metrics import structural_similarity as reference_ssim
from torch import nn

from loco_tools.errors import DatasetError, MethodError
from loco_tools.methods.batch import Batch
from loco_tools.methods.draem import (
    DRAEM,
    Discriminative,
    DRAEMConfig,
    Reconstructive,
    focal_loss,
    structural_similarity,
)

SMALL = DRAEMConfig(reconstructive_width=4, discriminative_width=4, size_px=64)


def parameters(net: nn.Module) -> int:
    return sum(parameter.numel() for parameter in net.parameters())


def make_images(count: int) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.integers(0, 255, (64, 96, 3), dtype=np.uint8) for _ in range(count)]


def test_the_nets_have_the_published_numbers_of_parameters() -> None:
    with torch.device("meta"):
        assert parameters(Reconstructive(128)) == 69_048_579
        assert parameters(Discriminative(64)) == 28_374_146


def test_the_paper_preset_is_the_published_one() -> None:
    config = DRAEM.configure("paper")
    assert isinstance(config, DRAEMConfig)
    assert (config.epochs, config.steps, config.batch_size, config.lr) == (700, None, 8, 1e-4)
    assert (config.reconstructive_width, config.discriminative_width) == (128, 64)
    assert (config.anomalous_share, config.rotated_share, config.size_px) == (0.5, 0.3, 256)


def test_background_alone_has_a_focal_loss() -> None:
    nothing = torch.zeros(1, 8, 8, dtype=torch.bool)
    unsure = focal_loss(torch.zeros(1, 2, 8, 8), nothing)
    assert float(unsure) == pytest.approx(0.25 * np.log(2), rel=1e-3)
    sure = focal_loss(torch.stack([torch.full((1, 8, 8), 5.0), torch.zeros(1, 8, 8)], 1), nothing)
    assert 0 < float(sure) < 0.01 * float(unsure)


def test_both_classes_weigh_the_same_in_the_focal_loss() -> None:
    logits = torch.randn(1, 2, 8, 8, generator=torch.Generator().manual_seed(0))
    marked = torch.rand(1, 8, 8) > 0.5
    torch.testing.assert_close(focal_loss(logits, marked), focal_loss(logits.flip(1), ~marked))


def test_structural_similarity_agrees_with_scikit_image_away_from_the_border() -> None:
    rng = np.random.default_rng(1)
    good = rng.random((64, 64)).astype(np.float32)
    seen = np.clip(good + rng.normal(0, 0.1, good.shape), 0, 1).astype(np.float32)
    _, expected = reference_ssim(
        seen,
        good,
        data_range=1.0,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        full=True,
    )
    inside = slice(10, -10)
    tensors = [torch.from_numpy(a)[None, None] for a in (seen, good)]
    ours = structural_similarity(tensors[0][..., 5:-5, 5:-5], tensors[1][..., 5:-5, 5:-5])
    assert float(ours) == pytest.approx(float(expected[inside, inside].mean()), abs=0.03)
    assert float(structural_similarity(tensors[1], tensors[1])) == pytest.approx(1.0, abs=1e-5)


def test_the_image_score_is_the_largest_mean_of_a_window_of_21_pixels() -> None:
    detector = DRAEM(SMALL, device="cpu")
    detector._input_size = (64, 96)
    with torch.inference_mode():
        scores = detector.score_batch(Batch(make_images(2)))
    padded = torch.nn.functional.pad(scores.patches[:, None], (10, 10, 10, 10))
    means = padded.unfold(2, 21, 1).unfold(3, 21, 1).mean(dim=(4, 5))
    torch.testing.assert_close(scores.image, means.flatten(1).amax(dim=1))
    assert scores.patches.shape == (2, 64, 96)


def test_a_folder_without_textures_is_an_error_before_training(tmp_path: Path) -> None:
    config = SMALL.model_copy(update={"textures": str(tmp_path), "steps": 1})
    with pytest.raises(MethodError, match="expected a folder of texture images, got none; next"):
        DRAEM(config, device="cpu").fit(make_images(2), [], seed=0)
    (tmp_path / "texture.png").write_bytes(b"no image")
    with pytest.raises(DatasetError, match=r"texture\.png"):
        DRAEM(config, device="cpu").fit(make_images(2), [], seed=0)
