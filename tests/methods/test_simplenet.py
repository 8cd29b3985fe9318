import numpy as np
import torch

from loco_tools.methods.simplenet import Discriminator, SimpleNet, TrainingConfig, hinge_loss
from loco_tools.methods.training import total
from loco_tools.methods.training_features import TrainingFeatures


def make_discriminator(dim: int = 1536, hidden_dim: int = 1024) -> Discriminator:
    return Discriminator(dim, hidden_dim, torch.Generator().manual_seed(0))


def test_the_head_has_the_published_number_of_parameters() -> None:
    head = make_discriminator()
    adaptor = sum(p.numel() for p in head.adaptor.parameters())
    rest = sum(p.numel() for p in head.parameters()) - adaptor
    assert (adaptor, rest) == (2_360_832, 1_576_960)


def test_the_paper_preset_has_the_published_numbers() -> None:
    config = SimpleNet.configure("paper")
    assert isinstance(config, TrainingConfig)
    assert (config.epochs, config.steps, config.step_patches) == (160, None, None)
    assert (config.noise_std, config.noise_scale, config.margin) == (0.015, "absolute", 0.5)
    assert (config.adaptor_lr, config.discriminator_lr, config.weight_decay) == (1e-4, 2e-4, 1e-5)
    assert (config.hidden_dim, config.batch_size) == (1024, 8)


def test_the_loss_of_a_discriminator_that_says_zero_is_twice_the_margin() -> None:
    discriminator = make_discriminator(8, 4)
    torch.nn.init.zeros_(discriminator.head.weight)
    generator = torch.Generator().manual_seed(0)
    loss = total(hinge_loss(discriminator, torch.randn(16, 8), 0.1, 0.5, generator))
    assert loss.item() == 1.0


def test_maps_are_minus_the_normality_at_each_place() -> None:
    discriminator = make_discriminator(8, 4).eval()
    features = torch.randn(2, 8, 3, 5)
    maps = discriminator.maps(features)
    one = discriminator(discriminator.adaptor(features[1, :, 2, 4][None]))
    assert maps.shape == (2, 3, 5)
    torch.testing.assert_close(maps[1, 2, 4], -one[0])


def make_training_features(cache_mb: int) -> tuple[TrainingFeatures, list[int]]:
    made: list[int] = []

    def make(batch: object) -> torch.Tensor:
        values = [int(image[0, 0, 0]) for image in batch.images]  # type: ignore[attr-defined]
        made.extend(values)
        return torch.tensor(values).view(-1, 1, 1, 1).expand(-1, 4, 250, 250).float()

    images = [np.full((2, 2, 3), n, np.uint8) for n in range(5)]
    features = TrainingFeatures(
        make, images, device=torch.device("cpu"), batch_size=2, cache_mb=cache_mb
    )
    return features, made


def test_features_within_the_budget_are_made_once() -> None:
    features, made = make_training_features(cache_mb=100)
    for indices in ([3, 1], [1, 4], [3, 4]):
        assert features.get(indices)[:, 0, 0, 0].tolist() == indices
    assert made == [3, 1, 4]


def test_features_above_the_budget_are_made_again_and_are_the_same() -> None:
    features, made = make_training_features(cache_mb=1)  # one map of 4 x 250 x 250 floats
    for indices in ([3, 1], [1, 3], [0, 3]):
        assert features.get(indices)[:, 0, 0, 0].tolist() == indices
    assert made == [3, 1, 1, 0]
