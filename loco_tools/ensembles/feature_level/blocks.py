"""Transformation blocks: feature maps of several detectors become one.

Heller et al. 2023, "Multisource neural network feature map fusion", as the thesis that this
project implements describes it. The global block resizes all maps to one grid, concatenates the
channels and keeps the principal components of all; the independent block keeps each source's own.
"""

import functools
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

Scale = Literal["none", "per_channel", "per_source"]
Components = float | Mapping[str, float]


class Transformation(nn.Module):
    """Scale each source, project on principal components, all on the largest grid.

    Fitted from sums and second moments, so that no more than a batch of features is ever held:
    call `observe` for every batch, then `solve`. What `solve` is told decides the result, so one
    pass over the images serves every choice.
    """

    mean: Tensor
    basis: Tensor

    def __init__(self, channels: Sequence[int]) -> None:
        """`channels` of each source, in order."""
        super().__init__()
        self.channels = tuple(channels)
        total = sum(self.channels)
        self.register_buffer("mean", torch.zeros(total))
        self.register_buffer("basis", torch.zeros(total, 0))
        self._count = 0
        self._origin = torch.zeros(total)
        self._sum = torch.zeros(total, dtype=torch.float64)
        self._moments = torch.zeros(total, total, dtype=torch.float64)

    @property
    def dim(self) -> int:
        """Channels of the fused map; 0 before `solve`."""
        return int(self.basis.shape[1])

    def observe(self, rows: Tensor) -> None:
        """Take note of (N, sum of channels) good features, as `stack` gives them."""
        if not self._count:
            self._origin = rows.mean(dim=0)
        # Near zero, single precision is enough for the products of a few thousand rows: half the
        # time. The sums of such parts are in double precision.
        centred = rows - self._origin
        self._count += len(rows)
        self._sum += centred.sum(dim=0).double().cpu()
        self._moments += (centred.T @ centred).double().cpu()

    def solve(
        self,
        *,
        components: float | Sequence[float],
        scale: Scale,
        whiten: bool = False,
        weights: Sequence[float] | None = None,
    ) -> None:
        """Find the projection.

        Args:
            components: a count (1 or more, capped at what there is) or a share of variance (< 1);
                the independent block takes one per source too.
            scale: before the PCA, "per_channel" gives every channel variance 1, "per_source" gives
                every source total variance 1, "none" leaves both.
            whiten: give every component variance 1 (times its source's weight squared where
                sources are projected apart).
            weights: of each source, multiplied with its scaled features; None: 1 each.
        """
        mean = self._sum / self._count
        covariance = self._moments / self._count - mean[:, None] * mean[None]
        mean = mean + self._origin.double().cpu()
        scales = self._scales(covariance.diagonal().clamp_min(0), scale, weights)
        basis = self._basis(covariance * scales[:, None] * scales[None], components, whiten)
        self.mean = mean.to(self.mean)
        self.basis = (scales[:, None] * basis).to(self.mean)

    def project(self, rows: Tensor) -> Tensor:
        """(N, sum of channels) as `stack` gives them -> (N, dim)."""
        projected: Tensor = (rows - self.mean) @ self.basis
        return projected

    @abstractmethod
    def forward(self, sources: Sequence[Tensor]) -> Tensor:
        """(B, C_k, h_k, w_k) per source -> (B, dim, h, w) on the largest grid.

        Projecting and resizing commute, so sources are projected at their own grids first.
        """

    @abstractmethod
    def _basis(
        self, covariance: Tensor, components: float | Sequence[float], whiten: bool
    ) -> Tensor:
        """(sum of channels, dim) of the scaled features' covariance."""

    def _scales(self, variances: Tensor, scale: Scale, weights: Sequence[float] | None) -> Tensor:
        parts = torch.split(variances, list(self.channels))
        if scale == "none":
            found = torch.ones_like(variances)
        elif scale == "per_channel":
            found = variances.sqrt().clamp_min(1e-9).reciprocal()
        else:
            total = torch.cat([part.sum().expand(len(part)) for part in parts])
            found = total.sqrt().clamp_min(1e-9).reciprocal()
        if weights is None:
            return found
        each = [torch.full_like(p, w) for p, w in zip(parts, weights, strict=True)]
        return found * torch.cat(each)


class GlobalTransformation(Transformation):
    """One PCA over the channels of all sources: components that sources share count once."""

    def forward(self, sources: Sequence[Tensor]) -> Tensor:
        """See `Transformation.forward`; a source's channels are a share of every component."""
        grid = largest_grid(sources)
        means = torch.split(self.mean, list(self.channels))
        blocks = torch.split(self.basis, list(self.channels))
        shares = []
        for source, mean, rows in zip(sources, means, blocks, strict=True):
            own = rows.T @ (source.flatten(2) - mean[:, None])  # (B, dim, h_k * w_k)
            shares.append(resized(own.view(*own.shape[:2], *source.shape[2:]), grid))
        return functools.reduce(torch.add, shares)

    def _basis(
        self, covariance: Tensor, components: float | Sequence[float], whiten: bool
    ) -> Tensor:
        if not isinstance(components, int | float):
            raise TypeError("the global block takes one number of components")
        return principal(covariance, float(components), whiten)


class IndependentTransformation(Transformation):
    """A PCA per source: no source can crowd out another one's components."""

    def forward(self, sources: Sequence[Tensor]) -> Tensor:
        """See `Transformation.forward`; a source has components of its own."""
        means = torch.split(self.mean, list(self.channels))
        blocks = torch.split(self.basis, list(self.channels))
        projected = []
        for source, mean, rows in zip(sources, means, blocks, strict=True):
            used = rows.abs().amax(dim=0) > 0  # of the whole basis, this source's components
            own = (source.permute(0, 2, 3, 1) - mean) @ rows[:, used]
            projected.append(own.permute(0, 3, 1, 2))
        return stack(projected)

    def _basis(
        self, covariance: Tensor, components: float | Sequence[float], whiten: bool
    ) -> Tensor:
        counts = (
            [components] * len(self.channels)
            if isinstance(components, int | float)
            else (components)
        )
        blocks, start = [], 0
        for width, count in zip(self.channels, counts, strict=True):
            part = slice(start, start + width)
            blocks.append(principal(covariance[part, part], float(count), whiten))
            start += width
        total: Tensor = torch.zeros(len(covariance), sum(b.shape[1] for b in blocks)).to(covariance)
        row = column = 0
        for block in blocks:
            height, width = block.shape
            total[row : row + height, column : column + width] = block
            row, column = row + height, column + width
        return total


BLOCKS: dict[str, type[GlobalTransformation] | type[IndependentTransformation]] = {
    "global": GlobalTransformation,
    "independent": IndependentTransformation,
}


def principal(covariance: Tensor, components: float, whiten: bool) -> Tensor:
    """The leading eigenvectors of (C, C) as columns, largest first, at least one.

    Args:
        covariance: of the features.
        components: a count, or a share of the variance below 1.
        whiten: divide each by its deviation.
    """
    values, vectors = torch.linalg.eigh(covariance)
    values, vectors = values.flip(0).clamp_min(0), vectors.flip(1)
    count = _component_count(values, components)
    basis: Tensor = vectors[:, :count]
    if whiten:
        basis = basis / values[:count].sqrt().clamp_min(1e-9)
    return basis


def stack(sources: Sequence[Tensor]) -> Tensor:
    """Resize maps to the grid of the largest and concatenate them: (B, sum of C, h, w)."""
    grid = largest_grid(sources)
    return torch.cat([resized(source, grid) for source in sources], dim=1)


def largest_grid(sources: Sequence[Tensor]) -> tuple[int, int]:
    """(h, w) of the map with most places."""
    grid = max((source.shape[-2:] for source in sources), key=lambda size: size[0] * size[1])
    return grid[0], grid[1]


def resized(source: Tensor, grid: tuple[int, int]) -> Tensor:
    """(B, C, h, w) on another grid, bilinear with areas aligned."""
    if tuple(source.shape[-2:]) == grid:
        return source
    return functional.interpolate(source, size=grid, mode="bilinear", align_corners=False)


def _component_count(values: Tensor, components: float) -> int:
    if components >= 1:
        return min(int(components), len(values))
    shares = values.cumsum(0) / values.sum().clamp_min(1e-12)
    return min(int((shares < components).sum()) + 1, len(values))
