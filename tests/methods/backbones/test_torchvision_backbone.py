import pytest
import torch
from torch import nn

from loco_tools.methods.backbones import random_backbone
from loco_tools.methods.backbones.torchvision import optimise_for_inference

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("name", "left"),
    [
        ("mobilenet_v2", 0),  # convolution and norm are one operation to the tracer
        ("resnet18", 0),  # they stand side by side
        ("squeezenet1_1", 0),  # it has no batch norms
        ("shufflenet_v2_x1_0", 0),  # branches
        ("densenet121", 44),  # a norm before its convolution cannot be folded
    ],
)
def test_what_runs_computes_the_same_without_batch_norms(name: str, left: int) -> None:
    backbone = random_backbone(name)
    disturb_norms(backbone.net)
    pixels = torch.randn(2, 3, 96, 128, generator=torch.Generator().manual_seed(0))
    running = optimise_for_inference(backbone.net, CPU)
    with torch.inference_mode():
        plain, swift = backbone.net(pixels), running(pixels)
    assert sum(isinstance(module, nn.BatchNorm2d) for module in running.modules()) == left
    for stage, expected in plain.items():
        error = (swift[stage] - expected).abs().max()
        assert error < 1e-5 * expected.abs().max()


def test_the_network_itself_is_left_as_it_was() -> None:
    net = random_backbone("mobilenet_v2").net
    before = {name: value.clone() for name, value in net.state_dict().items()}
    optimise_for_inference(net, CPU)
    after = net.state_dict()
    assert list(after) == list(before)
    assert all(torch.equal(after[name], value) for name, value in before.items())


def test_weights_that_are_filled_in_later_are_run() -> None:
    backbone, other = random_backbone("resnet18"), random_backbone("resnet18")
    pixels = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    before = backbone.maps(pixels, (8,))[0]
    disturb_norms(other.net)
    backbone.fill(other.net.state_dict(), weights="other", origin="test")
    assert not torch.allclose(backbone.maps(pixels, (8,))[0], before)
    torch.testing.assert_close(backbone.maps(pixels, (8,)), other.maps(pixels, (8,)))


def disturb_norms(net: nn.Module) -> None:
    """Fresh batch norms do nothing; these do."""
    generator = torch.Generator().manual_seed(1)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.uniform_(-0.1, 0.1, generator=generator)
            module.running_var.uniform_(0.5, 2, generator=generator)
            module.weight.data.uniform_(0.5, 1.5, generator=generator)
