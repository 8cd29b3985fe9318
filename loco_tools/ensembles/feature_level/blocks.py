"""Transformation blocks reduce the feature maps of several detectors to one map.

The blocks are those of Heller et al. 2023, "Multisource neural network feature map fusion", as
described in the thesis that this project implements. The global block resizes all maps to one grid,
concatenates their channels and projects them on the principal components of all channels. The
independent block projects every source on principal components of its own.
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
    """Scales each source and projects it on principal components, on the largest grid.

    The projection is computed from sums and second moments, so that only a batch of features is
    held at a time: call `accumulate` for every batch, then `solve`. All choices are arguments of
    `solve`, so that one pass over the images serves each of them.
    """

    mean: Tensor
    basis: Tensor

    def __init__(self, channels: Sequence[int]) -> None:
        """`channels` is the number of channels of each source, in order."""
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
        """Number of channels of the fused map; 0 before `solve`."""
        return int(self.basis.shape[1])

    def accumulate(self, rows: Tensor) -> None:
        """Add features of good images, (N, sum of channels), to the moments."""
        if not self._count:
            self._origin = rows.mean(dim=0)
        # Near zero, single precision is enough for products of a few thousand rows and takes half
        # the time. Such parts are added up in double precision.
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
        """Compute the projection from the accumulated moments.

        Args:
            components: a count (1 or more, at most the number of channels) or a share of the
                variance (below 1); the independent block also takes one value per source.
            scale: scaling before the PCA. "per_channel" gives every channel variance 1,
                "per_source" gives every source total variance 1, "none" leaves the features as
                they are.
            whiten: give every component variance 1 (times the squared weight of its source in the
                independent block).
            weights: a factor per source for its scaled features; None: 1 each.
        """
        mean = self._sum / self._count
        covariance = self._moments / self._count - mean[:, None] * mean[None]
        mean = mean + self._origin.double().cpu()
        variances = covariance.diagonal().clamp_min(0)
        if scale == "per_source":
            parts = torch.split(variances, list(self.channels))
            variances = torch.cat([part.sum().expand(len(part)) for part in parts])
        scales = variances.sqrt().clamp_min(1e-9).reciprocal()
        if scale == "none":
            scales = torch.ones_like(scales)
        if weights is not None:
            each = torch.tensor(weights, dtype=scales.dtype)
            scales = scales * each.repeat_interleave(torch.tensor(self.channels))
        basis = self._basis(covariance * scales[:, None] * scales[None], components, whiten)
        self.mean = mean.to(self.mean)
        self.basis = (scales[:, None] * basis).to(self.mean)

    def project(self, rows: Tensor) -> Tensor:
        """Project concatenated features: (N, sum of channels) -> (N, dim)."""
        projected: Tensor = (rows - self.mean) @ self.basis
        return projected

    @abstractmethod
    def forward(self, sources: Sequence[Tensor]) -> Tensor:
        """Fuse maps: (B, C_k, h_k, w_k) of each source k -> (B, dim, h, w) on the largest grid.

        Projection and resizing commute, so sources are projected at their own grids first.
        """

    @abstractmethod
    def _basis(
        self, covariance: Tensor, components: float | Sequence[float], whiten: bool
    ) -> Tensor:
        """(sum of channels, dim): the projection of features with this covariance."""


class GlobalTransformation(Transformation):
    """One PCA over the channels of all sources, so that correlated channels share components."""

    def forward(self, sources: Sequence[Tensor]) -> Tensor:
        """See `Transformation.forward`; the projections of all sources are added up."""
        grid = largest_grid(sources)
        means = torch.split(self.mean, list(self.channels))
        blocks = torch.split(self.basis, list(self.channels))
        projected = []
        for source, mean, rows in zip(sources, means, blocks, strict=True):
            flat = rows.T @ (source.flatten(2) - mean[:, None])  # (B, dim, h_k * w_k)
            projected.append(resize_map(flat.view(*flat.shape[:2], *source.shape[2:]), grid))
        return functools.reduce(torch.add, projected)

    def _basis(
        self, covariance: Tensor, components: float | Sequence[float], whiten: bool
    ) -> Tensor:
        if not isinstance(components, int | float):
            raise TypeError("the global block takes one number of components")
        return principal_components(covariance, float(components), whiten)


class IndependentTransformation(Transformation):
    """One PCA per source, so that every source keeps components of its own."""

    def forward(self, sources: Sequence[Tensor]) -> Tensor:
        """See `Transformation.forward`; the projections of all sources are concatenated."""
        means = torch.split(self.mean, list(self.channels))
        blocks = torch.split(self.basis, list(self.channels))
        projected = []
        for source, mean, rows in zip(sources, means, blocks, strict=True):
            used = rows.abs().amax(dim=0) > 0  # the columns that hold this source's components
            components = (source.permute(0, 2, 3, 1) - mean) @ rows[:, used]
            projected.append(components.permute(0, 3, 1, 2))
        return stack(projected)

    def _basis(
        self, covariance: Tensor, components: float | Sequence[float], whiten: bool
    ) -> Tensor:
        if isinstance(components, int | float):
            components = [components] * len(self.channels)
        blocks, start = [], 0
        for width, count in zip(self.channels, components, strict=True):
            part = slice(start, start + width)
            blocks.append(principal_components(covariance[part, part], float(count), whiten))
            start += width
        basis: Tensor = torch.block_diag(*blocks)  # type: ignore[no-untyped-call]
        return basis


BLOCKS: dict[str, type[GlobalTransformation] | type[IndependentTransformation]] = {
    "global": GlobalTransformation,
    "independent": IndependentTransformation,
}


def principal_components(covariance: Tensor, components: float, whiten: bool) -> Tensor:
    """The leading eigenvectors of a covariance (C, C) as columns, largest first, at least one.

    Args:
        covariance: covariance of the features.
        components: a count, or below 1 a share of the variance.
        whiten: divide each eigenvector by its standard deviation.
    """
    values, vectors = torch.linalg.eigh(covariance)
    values, vectors = values.flip(0).clamp_min(0), vectors.flip(1)
    if components >= 1:
        count = int(components)
    else:
        shares = values.cumsum(0) / values.sum().clamp_min(1e-12)
        count = int((shares < components).sum()) + 1
    basis: Tensor = vectors[:, :count]
    if whiten:
        basis = basis / values[:count].sqrt().clamp_min(1e-9)
    return basis


def stack(sources: Sequence[Tensor]) -> Tensor:
    """Resize maps to the largest grid and concatenate their channels: (B, sum of C, h, w)."""
    grid = largest_grid(sources)
    return torch.cat([resize_map(source, grid) for source in sources], dim=1)


def largest_grid(sources: Sequence[Tensor]) -> tuple[int, int]:
    """(h, w) of the map with the most locations."""
    grid = max((source.shape[-2:] for source in sources), key=lambda size: size[0] * size[1])
    return grid[0], grid[1]


def resize_map(source: Tensor, grid: tuple[int, int]) -> Tensor:
    """Resize a map (B, C, h, w) to another grid, bilinearly; both grids cover the same area."""
    if tuple(source.shape[-2:]) == grid:
        return source
    return functional.interpolate(source, size=grid, mode="bilinear", align_corners=False)
