"""Locally aware patch features, shared by PatchCore and SimpleNet.

Roth et al. 2022, "Towards Total Recall in Industrial Anomaly Detection", section 3.1: the
features of each location include its neighbourhood; all levels are resampled to one grid and to one
number of channels.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from loco_tools.datasets.images import Pixels, Size
from loco_tools.methods.backbones import STRIDES, Backbone
from loco_tools.methods.batch import Batch, batches, memo
from loco_tools.progress import Progress


class PatchFeatures(nn.Module):
    """Feature maps of several levels -> one map of patch features on the shallowest level's grid.

    As published: unfold each level with a k x k window (stride 1, zero padding), average-pool the
    flattened (channel, window) axis to `pretrain_dim`, resize to the shallowest grid, stack the
    levels and pool again to `target_dim`. All of it is linear and repeats over groups of channels,
    so it is computed here as one small grouped convolution per level: same result, without the
    k * k copies of the unfolding. Levels never mix: of L levels each fills target_dim / L channels.
    """

    def __init__(
        self,
        channels: Sequence[int],
        *,
        patch_size: int = 3,
        pretrain_dim: int = 1024,
        target_dim: int = 1024,
    ) -> None:
        super().__init__()
        share = target_dim // len(channels)
        self.padding = patch_size // 2
        self.groups = [math.gcd(count, pretrain_dim, share) for count in channels]
        for level, (count, groups) in enumerate(zip(channels, self.groups, strict=True)):
            # The two poolings of a group of channels as a kernel: (share/groups, channels, k, k).
            entries = count // groups * patch_size**2
            first = functional.adaptive_avg_pool1d(
                torch.eye(entries)[:, None], pretrain_dim // groups
            )
            second = functional.adaptive_avg_pool1d(first, share // groups)[:, 0]
            kernel = second.T.reshape(-1, count // groups, patch_size, patch_size).contiguous()
            self.register_buffer(f"kernel{level}", kernel.repeat(groups, 1, 1, 1))

    def forward(self, taps: Sequence[Tensor]) -> Tensor:
        """(B, C_l, h_l, w_l) per level, shallowest first -> (B, target_dim, h_0, w_0)."""
        grid = taps[0].shape[-2:]
        levels = []
        for level, (tap, groups) in enumerate(zip(taps, self.groups, strict=True)):
            kernel = self.get_buffer(f"kernel{level}")
            pooled = functional.conv2d(tap, kernel, padding=self.padding, groups=groups)
            if pooled.shape[-2:] != grid:
                pooled = functional.interpolate(
                    pooled, size=grid, mode="bilinear", align_corners=False
                )
            levels.append(pooled)
        return torch.cat(levels, dim=1)  # (B, target_dim, h_0, w_0)


class PatchFeatureExtractor(nn.Module):
    """Patch features of images, optionally standardised with statistics of the training set.

    Deviation: standardising is ours (off for learned backbones, where it changes nothing that was
    published; on for weight-free ones, whose channels differ in scale by orders of magnitude).
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self, backbone: Backbone, *, patch_size: int, pretrain_dim: int, target_dim: int
    ) -> None:
        super().__init__()
        self.backbone = (backbone,)  # the tuple keeps it out of our state
        self.patches = PatchFeatures(
            backbone.channels,
            patch_size=patch_size,
            pretrain_dim=pretrain_dim,
            target_dim=target_dim,
        )
        self.register_buffer("mean", torch.zeros(target_dim))
        self.register_buffer("std", torch.ones(target_dim))

    @memo
    def extract(self, batch: Batch, size: Size) -> Tensor:
        """(B, dim, h, w) for a batch at input size (h, w)."""
        backbone = self.backbone[0]
        features = self.patches(batch.relative_maps(backbone, size, STRIDES))
        standardised: Tensor = features.sub_(self.mean[:, None, None])  # in place: no copies
        return standardised.div_(self.std[:, None, None])

    def reset(self) -> None:
        """Back to raw patch features."""
        self.mean.zero_()
        self.std.fill_(1)

    def should_standardise(self, setting: bool | None) -> bool:
        """Whether to standardise; a setting of None means only with a weight-free backbone."""
        return self.backbone[0].weight_free if setting is None else setting

    def standardise(self, rows: Tensor) -> Tensor:
        """Set mean and deviation per channel to those of (N, dim) raw rows; standardised rows."""
        self.mean.copy_(rows.mean(dim=0))
        self.std.copy_(rows.std(dim=0, correction=0).clamp_min(1e-6))
        return (rows - self.mean) / self.std

    @torch.inference_mode()
    def measure(
        self, images: Sequence[Pixels], size: Size, batch_size: int, progress: Progress
    ) -> None:
        """Set mean and deviation per channel to those of all patches of these images."""
        count = 0
        total = torch.zeros_like(self.mean, dtype=torch.float64)
        squares = torch.zeros_like(total)
        with progress.task("statistics of the features", len(images)) as advance:
            for batch in batches(images, batch_size, self.mean.device):
                rows = to_rows(self.extract(batch, size)).double()
                count += len(rows)
                total += rows.sum(dim=0)
                squares += rows.square().sum(dim=0)
                advance(len(batch))
        variance = squares / count - (total / count).square()
        self.mean.copy_(total / count)
        self.std.copy_(variance.clamp_min(0).sqrt().clamp_min(1e-6))


def to_rows(features: Tensor) -> Tensor:
    """(B, C, h, w) -> (B * h * w, C)."""
    return features.permute(0, 2, 3, 1).reshape(-1, features.shape[1])
