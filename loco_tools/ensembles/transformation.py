"""The global transformation block: feature maps of several detectors become one.

Heller et al. 2023, "Multisource neural network feature map fusion", as the thesis that this
project implements describes it: resize all maps to one grid, concatenate the channels, one PCA.
"""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

Scale = Literal["none", "per_channel", "per_source"]


class GlobalTransformation(nn.Module):
    """Resize bilinearly to the largest grid, concatenate, scale, project on principal components.

    Fitted from sums and second moments, so that no more than a batch of features is ever held:
    call `observe` for every batch, then `solve`.

    Args of `solve` decide the result, so one pass over the images serves every choice.
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
        self._sum = torch.zeros(total, dtype=torch.float64)
        self._moments = torch.zeros(total, total, dtype=torch.float64)

    @property
    def dim(self) -> int:
        """Channels of the fused map; 0 before `solve`."""
        return int(self.basis.shape[1])

    def observe(self, rows: Tensor) -> None:
        """Take note of (N, sum of channels) good features, as `stack` gives them."""
        centred = rows.double()
        self._count += len(rows)
        self._sum += centred.sum(dim=0).cpu()
        self._moments += (centred.T @ centred).cpu()

    def solve(self, *, components: float, scale: Scale, whiten: bool = False) -> None:
        """Find the projection.

        Args:
            components: a count (1 or more, capped at what there is) or a share of variance (< 1).
            scale: before the PCA, "per_channel" gives every channel variance 1, "per_source" gives
                every source total variance 1, "none" leaves both.
            whiten: give every component variance 1.
        """
        mean = self._sum / self._count
        covariance = self._moments / self._count - mean[:, None] * mean[None]
        scales = self._scales(covariance.diagonal().clamp_min(0), scale)
        values, vectors = torch.linalg.eigh(covariance * scales[:, None] * scales[None])
        values, vectors = values.flip(0).clamp_min(0), vectors.flip(1)  # largest first
        count = _component_count(values, components)
        basis = scales[:, None] * vectors[:, :count]
        if whiten:
            basis = basis / values[:count].sqrt().clamp_min(1e-9)
        self.mean = mean.to(self.mean)
        self.basis = basis.to(self.mean)

    def forward(self, sources: Sequence[Tensor]) -> Tensor:
        """(B, C_k, h_k, w_k) per source -> (B, dim, h, w) on the largest grid."""
        stacked = stack(sources).permute(0, 2, 3, 1)  # (B, h, w, sum of C)
        projected: Tensor = (stacked - self.mean) @ self.basis
        return projected.permute(0, 3, 1, 2)

    def _scales(self, variances: Tensor, scale: Scale) -> Tensor:
        if scale == "none":
            return torch.ones_like(variances)
        if scale == "per_channel":
            return variances.sqrt().clamp_min(1e-9).reciprocal()
        per_source = [
            part.sum().expand(len(part)) for part in torch.split(variances, list(self.channels))
        ]
        return torch.cat(per_source).sqrt().clamp_min(1e-9).reciprocal()


def stack(sources: Sequence[Tensor]) -> Tensor:
    """Resize maps to the grid of the largest and concatenate them: (B, sum of C, h, w)."""
    grid = max((source.shape[-2:] for source in sources), key=lambda size: size[0] * size[1])
    resized = [
        source
        if source.shape[-2:] == grid
        else functional.interpolate(source, size=grid, mode="bilinear", align_corners=False)
        for source in sources
    ]
    return torch.cat(resized, dim=1)


def _component_count(values: Tensor, components: float) -> int:
    if components >= 1:
        return min(int(components), len(values))
    shares = values.cumsum(0) / values.sum().clamp_min(1e-12)
    return min(int((shares < components).sum()) + 1, len(values))
