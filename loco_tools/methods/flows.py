"""Normalising flows of coupling blocks, over feature maps of one or of several scales.

Dinh et al. 2017, "Density estimation using Real NVP"; the two-sided block and the soft clamp are
those of Ardizzone et al. 2019, "Guided Image Generation with Conditional Invertible Neural
Networks". CS-Flow and AST differ in the networks inside their blocks.
"""

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor, nn

MakeSubnet = Callable[[int, int, int], nn.Module]
"""(block, channels in, channels out) -> a network: list of maps, one per scale -> the same."""

_HALF_PI_INVERSE = 0.636
"""2 / pi as the originals round it."""


def soft_clamp(log_scale: Tensor, clamp: float) -> Tensor:
    """Bound a logarithmic scale to about -clamp..clamp; about the identity near 0."""
    return clamp * _HALF_PI_INVERSE * torch.atan(log_scale / clamp)


def permutations(block: int, channels: int, scales: int) -> Tensor:
    """The channel permutations at the start of a block, seeded by its index: (scales, channels)."""
    rng = np.random.default_rng(block)
    return torch.from_numpy(np.stack([rng.permutation(channels) for _ in range(scales)]))


class CouplingBlock(nn.Module):
    """A fixed permutation of the channels, then an affine coupling of one half by the other.

    With x split into x1, x2 along the channels: y1 = exp(s(x2)) x1 + t(x2), then
    y2 = exp(s(y1)) x2 + t(y1). All scales go through a subnet together.
    """

    order: Tensor

    def __init__(
        self, block: int, channels: int, scales: int, make_subnet: MakeSubnet, clamp: float
    ) -> None:
        super().__init__()
        self.width, self.clamp = channels // 2, clamp
        rest = channels - self.width
        self.register_buffer("order", permutations(block, channels, scales))
        self.of_second = make_subnet(block, rest, 2 * self.width)
        self.of_first = make_subnet(block, self.width, 2 * rest)

    def forward(self, maps: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """Maps (B, C, h_k, w_k) per scale -> latents like them, log determinants (B, h_k, w_k)."""
        permuted = [one[:, order] for one, order in zip(maps, self.order, strict=True)]
        first, second = self._split(permuted)
        log1, shift1 = self._affine(self.of_second, second)
        first = [log.exp() * x + t for x, log, t in zip(first, log1, shift1, strict=True)]
        log2, shift2 = self._affine(self.of_first, first)
        second = [log.exp() * x + t for x, log, t in zip(second, log2, shift2, strict=True)]
        logs = [a.sum(dim=1) + b.sum(dim=1) for a, b in zip(log1, log2, strict=True)]
        return _concatenate(first, second), logs

    def inverse(self, latents: Sequence[Tensor]) -> list[Tensor]:
        """The maps from which `forward` computes these latents."""
        first, second = self._split(latents)
        log2, shift2 = self._affine(self.of_first, first)
        second = [(y - t) * (-log).exp() for y, log, t in zip(second, log2, shift2, strict=True)]
        log1, shift1 = self._affine(self.of_second, second)
        first = [(y - t) * (-log).exp() for y, log, t in zip(first, log1, shift1, strict=True)]
        permuted = _concatenate(first, second)
        return [one[:, order.argsort()] for one, order in zip(permuted, self.order, strict=True)]

    def _split(self, maps: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        return [one[:, : self.width] for one in maps], [one[:, self.width :] for one in maps]

    def _affine(self, subnet: nn.Module, maps: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """Logarithmic scales and shifts of the other half, per scale."""
        halves = [one.chunk(2, dim=1) for one in subnet(maps)]
        return [soft_clamp(log, self.clamp) for log, _ in halves], [shift for _, shift in halves]


class Flow(nn.Module):
    """Coupling blocks in sequence.

    Attributes:
        bound: latents are clamped to -bound..bound after every block, so that squares stay finite;
            within it the flow is invertible.
    """

    def __init__(
        self,
        *,
        channels: int,
        scales: int,
        blocks: int,
        make_subnet: MakeSubnet,
        clamp: float,
        bound: float = math.inf,
    ) -> None:
        super().__init__()
        self.bound = bound
        self.blocks = nn.ModuleList(
            CouplingBlock(block, channels, scales, make_subnet, clamp) for block in range(blocks)
        )

    def forward(self, maps: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """Maps (B, C, h_k, w_k) per scale -> latents of that shape, log determinants (B, h_k, w_k).

        The determinant of the whole flow's Jacobian is the sum over all scales and locations.
        """
        latents = list(maps)
        totals = [torch.zeros_like(one[:, 0]) for one in latents]
        for block in self.blocks:
            latents, logs = block(latents)
            latents = [one.clamp(-self.bound, self.bound) for one in latents]
            totals = [total + log for total, log in zip(totals, logs, strict=True)]
        return latents, totals

    def inverse(self, latents: Sequence[Tensor]) -> list[Tensor]:
        """The maps from which `forward` computes these latents."""
        maps = list(latents)
        for block in reversed([b for b in self.blocks if isinstance(b, CouplingBlock)]):
            maps = block.inverse(maps)
        return maps


def _concatenate(first: Sequence[Tensor], second: Sequence[Tensor]) -> list[Tensor]:
    return [torch.cat(parts, dim=1) for parts in zip(first, second, strict=True)]
