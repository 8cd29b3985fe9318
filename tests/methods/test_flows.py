import math

import pytest
import torch
from torch import Tensor, nn

from loco_tools.methods.asymmetric import PositionedSubnet
from loco_tools.methods.csflow import CrossScaleSubnet
from loco_tools.methods.flows import Flow, permutations, soft_clamp

KINDS = ("cross-scale", "positioned")


def make_flow(kind: str = "cross-scale", channels: int = 6, *, learned: bool = True) -> Flow:
    """A tiny flow in float64; `learned`: its factors are no longer 0."""
    cross = kind == "cross-scale"

    def make_subnet(block: int, wide_in: int, wide_out: int) -> nn.Module:
        kernel = (3, 5)[block]
        if cross:
            return CrossScaleSubnet(wide_in, 8, wide_out, kernel)
        return PositionedSubnet(wide_in, 8, wide_out, kernel)

    torch.manual_seed(0)
    flow = Flow(
        channels=channels, scales=3 if cross else 1, blocks=2, make_subnet=make_subnet, clamp=1.9
    ).double()
    if learned:
        for name, parameter in flow.named_parameters():
            if name.endswith("gamma"):
                nn.init.uniform_(parameter, 0.5, 1.5)
    return flow


def make_maps(kind: str = "cross-scale", channels: int = 6, batch: int = 2) -> list[Tensor]:
    generator = torch.Generator().manual_seed(1)
    grids = [(4, 8), (2, 4), (1, 2)] if kind == "cross-scale" else [(3, 5)]
    return [
        torch.randn(batch, channels, *grid, generator=generator, dtype=torch.float64)
        for grid in grids
    ]


@pytest.mark.parametrize("kind", KINDS)
def test_a_new_flow_only_permutes_channels_and_its_determinant_is_1(kind: str) -> None:
    flow, maps = make_flow(kind, learned=False), make_maps(kind)
    latents, logs = flow(maps)
    for scale, (one, latent, log) in enumerate(zip(maps, latents, logs, strict=True)):
        first, second = (permutations(block, 6, len(maps))[scale] for block in range(2))
        torch.testing.assert_close(latent, one[:, first][:, second], rtol=0, atol=0)
        assert not log.any()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("channels", [6, 5])
def test_the_inverse_gives_back_what_went_in(kind: str, channels: int) -> None:
    flow, maps = make_flow(kind, channels), make_maps(kind, channels)
    latents, _ = flow(maps)
    assert not torch.allclose(latents[0], maps[0], atol=0.1)
    for one, back in zip(maps, flow.inverse(latents), strict=True):
        torch.testing.assert_close(back, one)


@pytest.mark.parametrize("kind", KINDS)
def test_the_log_determinant_is_that_of_autograds_jacobian(kind: str) -> None:
    flow, maps = make_flow(kind, 4), make_maps(kind, 4, batch=1)
    sizes = [one.numel() for one in maps]

    def flat(values: Tensor) -> Tensor:
        parts = [
            part.view(one.shape) for part, one in zip(torch.split(values, sizes), maps, strict=True)
        ]
        return torch.cat([latent.flatten() for latent in flow(parts)[0]])

    jacobian = torch.func.jacrev(flat)(torch.cat([one.flatten() for one in maps]))
    _, expected = torch.linalg.slogdet(jacobian)
    _, logs = flow(maps)
    assert abs(float(expected)) > 0.1
    torch.testing.assert_close(sum(log.sum() for log in logs), expected)


def test_the_soft_clamp_is_flat_far_out_and_odd() -> None:
    values = torch.tensor([-1e9, -0.01, 0.0, 0.01, 1e9])
    clamped = soft_clamp(values, 3.0)
    assert clamped.tolist() == pytest.approx(
        [-3 * 0.636 * math.pi / 2, -0.00636, 0, 0.00636, 3 * 0.636 * math.pi / 2], rel=1e-3
    )


def test_permutations_follow_from_the_block_and_differ_between_scales() -> None:
    order = permutations(2, 16, 3)
    assert torch.equal(order, permutations(2, 16, 3))
    assert [sorted(one.tolist()) for one in order] == [list(range(16))] * 3
    assert len({tuple(one.tolist()) for one in [*order, *permutations(1, 16, 3)]}) == 6


def test_latents_are_cut_off_at_the_bound() -> None:
    flow = make_flow(learned=False)
    flow.bound = 2.0
    latents, _ = flow([10 * one for one in make_maps()])
    assert max(one.abs().max().item() for one in latents) == 2.0
