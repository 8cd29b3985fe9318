"""The backbone's deepest map at one or several scales of the input, for normalising flows."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from loco_tools.datasets.images import Size
from loco_tools.methods.backbones import Backbone
from loco_tools.methods.batch import Batch, memo
from loco_tools.methods.training_features import TrainingFeatures
from loco_tools.progress import Progress


class DeepFeatures(nn.Module):
    """Maps at one stride, all scales flattened into one tensor: (B, C, sum of h_k * w_k).

    Scale k is the input halved k times by nearest-neighbour interpolation, as in CS-Flow.

    Deviation: standardising is ours (off for learned backbones, on for weight-free ones, whose
    channels differ in scale by orders of magnitude: a flow would spend its training on that).
    """

    mean: Tensor
    std: Tensor

    def __init__(self, backbone: Backbone, *, stride: int | None, scales: int = 1) -> None:
        """`stride` None: the backbone's deepest; MethodError when it has no such map."""
        super().__init__()
        self.backbone = (backbone,)  # the tuple keeps it out of our state
        self.stride = stride or max(backbone.strides)
        self.channels = backbone.channels_at(self.stride)
        self.scales = scales
        self.register_buffer("mean", torch.zeros(self.channels, 1))
        self.register_buffer("std", torch.ones(self.channels, 1))

    def grids(self, size: Size) -> list[Size]:
        """(h, w) of the map of each scale, finest first."""
        sides = [2**k * self.stride for k in range(self.scales)]
        return [(size[0] // side, size[1] // side) for side in sides]

    def location_count(self, size: Size) -> int:
        """Number of locations of all scales together."""
        return sum(h * w for h, w in self.grids(size))

    @memo
    def extract(self, batch: Batch, size: Size) -> list[Tensor]:
        """The standardised maps of a batch, (B, C, h_k, w_k) per scale."""
        return self.maps(self.standardise(self.raw(batch, size)), size)

    def raw(self, batch: Batch, size: Size) -> Tensor:
        """The backbone's maps before standardising, flattened: (B, C, locations)."""
        backbone = self.backbone[0]
        flat = []
        for scale, grid in enumerate(self.grids(size)):
            if scale == 0:
                (maps,) = batch.relative_maps(backbone, size, (self.stride,))
            else:
                smaller = (size[0] // 2**scale, size[1] // 2**scale)
                pixels = functional.interpolate(batch.pixels(size), size=smaller, mode="nearest")
                (maps,) = map(backbone.relative, backbone.maps(pixels, (self.stride,)))
            if maps.shape[-2:] != grid:
                maps = functional.interpolate(maps, size=grid, mode="bilinear", align_corners=False)
            flat.append(maps.flatten(2))
        return torch.cat(flat, dim=2)

    def standardise(self, flat: Tensor) -> Tensor:
        """Flat maps less the measured mean of each channel, over its deviation."""
        return (flat - self.mean) / self.std

    def maps(self, flat: Tensor, size: Size) -> list[Tensor]:
        """Flat maps -> (B, C, h_k, w_k) per scale."""
        grids = self.grids(size)
        parts = torch.split(flat, [h * w for h, w in grids], dim=2)
        return [
            part.reshape(*part.shape[:2], *grid) for part, grid in zip(parts, grids, strict=True)
        ]

    def reset(self) -> None:
        """Back to maps that are not standardised."""
        self.mean.zero_()
        self.std.fill_(1)

    def should_standardise(self, setting: bool | None) -> bool:
        """Whether to standardise; a setting of None means only with a weight-free backbone."""
        return self.backbone[0].weight_free if setting is None else setting

    @torch.inference_mode()
    def measure(self, features: TrainingFeatures, progress: Progress) -> None:
        """Set mean and deviation per channel to those of the training images' raw maps."""
        count = 0
        total = torch.zeros_like(self.mean, dtype=torch.float64)
        squares = torch.zeros_like(total)
        with progress.task("statistics of the features", len(features)) as advance:
            for indices in features.index_batches():
                flat = features.get(indices).double()
                count += len(flat) * flat.shape[2]
                total += flat.sum(dim=(0, 2))[:, None]
                squares += flat.square().sum(dim=(0, 2))[:, None]
                advance(len(flat))
        variance = squares / count - (total / count).square()
        self.mean.copy_(total / count)
        self.std.copy_(variance.clamp_min(0).sqrt().clamp_min(1e-6))
