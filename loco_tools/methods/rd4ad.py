"""Reverse distillation: a student that reconstructs the teacher's features from a narrow code.

Deng and Li 2022, "Anomaly Detection via Reverse Distillation from One-Class Embedding", CVPR;
github.com/hq-deng/RD4AD. The teacher is the frozen backbone, the bottleneck embeds its maps, and
the student, a mirrored decoder, reconstructs them; where it fails to, the image is anomalous.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from loco_tools.datasets.images import Pixels, Size
from loco_tools.methods.anomaly_maps import input_maps
from loco_tools.methods.backbones import Backbone
from loco_tools.methods.batch import Batch, memo
from loco_tools.methods.detector import CutShape, PatchScores, SingleConfig, SingleDetector
from loco_tools.methods.memory_check import trained_mb
from loco_tools.methods.training import (
    Loss,
    Training,
    epoch_batches,
    load_prefixed,
    prefixed,
    steps_per_epoch,
    total,
)
from loco_tools.methods.training_features import TrainingFeatures
from loco_tools.progress import Progress

LIFT = 1.0
"""Constant added to a weight-free backbone's maps, in deviations, see `RD4AD`."""


class RD4ADConfig(SingleConfig):
    """Defaults are the published ones, but for `resize`, which keeps the aspect ratio."""

    batch_size: int = Field(default=16, ge=1)
    epochs: int = Field(default=200, ge=1)
    """Passes over the training images."""
    steps: int | None = Field(default=None, ge=1)
    """Training steps in all, instead of `epochs`."""
    lr: float = Field(default=0.005, gt=0)
    betas: tuple[float, float] = (0.5, 0.999)
    bottleneck_blocks: int = Field(default=3, ge=1)
    decoder_blocks: tuple[int, ...] = Field(default=(3, 4, 6), min_length=1)
    """Blocks of each decoder stage, deepest first; as many are used as the teacher has scales."""
    cache_mb: int = Field(default=3000, ge=0)
    """The teacher's maps of the training images are kept in memory when they fit, else computed in
    every epoch; those of the validation images may take a quarter as much."""


class RD4AD(SingleDetector):
    """RD4AD: cosine distance of a student's reconstruction to the teacher's features.

    The teacher's scales are strides 4, 8 and 16 as far as the backbone has them (a weight-free one
    has 8 and 16). Stages are as wide as the teacher's, inner convolutions half as wide. For
    WideResNet-50-2 that is the published network.

    Deviation: a weight-free backbone's features are about zero on smooth surfaces, where cosines
    are meaningless and defects, which are rough, get the lowest scores. Its channels are therefore
    brought to mean zero on the training images, divided by their common deviation, lifted by `LIFT`
    and clipped at zero, much like a ResNet's. On flat_connector of the twin (scattering, 150 steps,
    one draw) image AUROC rises from .44 to .65; lifted by 2 it is .53.

    Deviation: the 1x1 convolution that the original's bottleneck builds and never uses is left
    out. Maps are upsampled with pixel areas aligned, where the original aligns corners. At
    the border of the image the two lie 1.5, 3.5 and 7.5 px of the input apart for the scales of
    stride 4, 8 and 16, in its centre nothing.

    Deviation: images are resized by averaging areas, where the original interpolates bilinearly;
    the effect was not measured.
    """

    name = "rd4ad"
    category = "teacher-student"
    Config: ClassVar[type[RD4ADConfig]] = RD4ADConfig
    config: RD4ADConfig
    cuts = ("teacher-student difference", "bottleneck")
    PRESETS: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "paper": {},
        "fast": {
            # Bounds the time to train whatever the class's size.
            "steps": 300,
            "batch_size": 8,
            # A third of the decoder's depth: coarser reconstructions.
            "bottleneck_blocks": 1,
            "decoder_blocks": (1, 1, 2),
        },
    }
    multiple_px = 32

    def __init__(
        self, config: RD4ADConfig, backbone: Backbone | None, *, device: str = "auto"
    ) -> None:
        super().__init__(config, backbone, device=device)
        self.strides = tuple(s for s in (4, 8, 16) if s in self.backbone.strides)
        self.channels = tuple(self.backbone.channels_at(s) for s in self.strides)
        self.mean = torch.zeros(sum(self.channels), device=self.device)
        self.deviation = torch.ones((), device=self.device)
        self._build(seed=0)

    def _build(self, seed: int) -> None:
        devices = [self.device] if self.device.type == "cuda" else []
        with torch.random.fork_rng(devices=devices):
            torch.manual_seed(seed)
            self.bottleneck = Bottleneck(self.channels, self.config.bottleneck_blocks)
            self.decoder = Decoder(self.channels, self.config.decoder_blocks)
        self.bottleneck.to(self.device).eval()
        self.decoder.to(self.device).eval()

    def _fit(
        self,
        train: Sequence[Pixels],
        validation: Sequence[Pixels],
        *,
        seed: int,
        progress: Progress,
    ) -> None:
        taught = self._kept_maps(train, self.config.cache_mb)
        held_out = self._kept_maps(validation, self.config.cache_mb // 4)
        if self.backbone.weight_free:
            self._measure_maps(taught)
        self._build(seed)
        size = self.config.batch_size
        indices = epoch_batches(len(train), size, seed)
        per_epoch = steps_per_epoch(len(train), size)
        parameters = [*self.decoder.parameters(), *self.bottleneck.parameters()]
        adam = torch.optim.Adam(parameters, lr=self.config.lr, betas=self.config.betas)

        def loss(of: TrainingFeatures, chosen: Sequence[int]) -> Loss:
            maps = self._split_scales(of.get(chosen).clone())  # out of inference mode
            return self.reconstruction_loss(self._lift(maps))

        def validate() -> float:
            return held_out.mean_loss(lambda chosen: total(loss(held_out, chosen)))

        self.training_log = Training(
            title=self.name,
            modules={"bottleneck": self.bottleneck, "decoder": self.decoder},
            optimisers={"adam": adam},
            steps=self.config.steps or self.config.epochs * per_epoch,
            steps_per_epoch=per_epoch,
            seed=seed,
            validate=validate if len(validation) else None,
        ).run(
            lambda number, _generator: loss(taught, indices(number)),
            progress=progress,
            keep=self._keep,
        )

    def reconstruction_loss(self, teacher: Sequence[Tensor]) -> Loss:
        """Per scale 1 - cosine of the whole flattened maps, mean over the batch."""
        student = self.decoder(self.bottleneck(teacher))
        return {
            f"stride {stride}": 1
            - functional.cosine_similarity(t.flatten(1), s.flatten(1), dim=1).mean()
            for stride, t, s in zip(self.strides, teacher, student, strict=True)
        }

    @memo
    def _teacher(self, batch: Batch) -> list[Tensor]:
        """The maps that the student reconstructs, finest scale first."""
        return self._lift(self._maps(batch))

    @memo
    def _student(self, batch: Batch) -> list[Tensor]:
        """The student's reconstruction of the teacher's maps."""
        reconstruction: list[Tensor] = self.decoder(self.bottleneck(self._teacher(batch)))
        return reconstruction

    def _maps(self, batch: Batch) -> tuple[Tensor, ...]:
        """The backbone's maps, each resized to the grid of its stride, which the student has."""
        maps = batch.maps(self.backbone, self.input_size, self.strides)
        return tuple(
            one
            if one.shape[-2:] == grid
            else functional.interpolate(one, size=grid, mode="bilinear", align_corners=False)
            for one, grid in zip(maps, self._grids(), strict=True)
        )

    def _grids(self) -> list[Size]:
        """(h, w) of the map of each scale, finest first; the input's sides are multiples of 32."""
        h, w = self.input_size
        return [(h // stride, w // stride) for stride in self.strides]

    def _kept_maps(self, images: Sequence[Pixels], cache_mb: int) -> TrainingFeatures:
        """The backbone's maps of good images, flattened together: (B, sum of C_k h_k w_k)."""
        return TrainingFeatures(
            lambda batch: torch.cat([one.flatten(1) for one in self._maps(batch)], dim=1),
            images,
            device=self.device,
            batch_size=self.config.batch_size,
            cache_mb=cache_mb,
        )

    def _split_scales(self, flat: Tensor) -> list[Tensor]:
        """Flat maps -> (B, C_k, h_k, w_k) per scale."""
        shapes = [(c, *grid) for c, grid in zip(self.channels, self._grids(), strict=True)]
        parts = torch.split(flat, [math.prod(shape) for shape in shapes], dim=1)
        return [part.reshape(-1, *shape) for part, shape in zip(parts, shapes, strict=True)]

    @torch.inference_mode()
    def _measure_maps(self, taught: TrainingFeatures) -> None:
        """Set the mean of each channel and the deviation of all over the training images."""
        sums, squares = (torch.zeros_like(self.mean, dtype=torch.float64) for _ in range(2))

        def per_channel(maps: Sequence[Tensor]) -> Tensor:
            """Mean over locations, summed over images: (sum of C_k,)."""
            return torch.cat([one.mean(dim=(2, 3)).sum(dim=0) for one in maps])

        for indices in taught.index_batches():
            maps = [one.double() for one in self._split_scales(taught.get(indices))]
            sums += per_channel(maps)
            squares += per_channel([one.square() for one in maps])
        mean = sums / len(taught)
        variance = (squares / len(taught) - mean.square()).mean()
        self.mean, self.deviation = mean.float(), variance.clamp_min(1e-12).sqrt().float()

    def _lift(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Standardise and clip a weight-free backbone's maps, see the class; others stay."""
        if not self.backbone.weight_free:
            return list(maps)
        means = torch.split(self.mean, list(self.channels))
        return [
            functional.relu((one - mean[:, None, None]) / self.deviation + LIFT)
            for one, mean in zip(maps, means, strict=True)
        ]

    def score_batch(self, batch: Batch) -> PatchScores:
        """See `Detector`: 1 - cosine over channels, summed over the scales on the finest grid.

        Image: the largest value of the smoothed map.
        """
        distances = [
            1 - functional.cosine_similarity(t, s, dim=1)[:, None]  # (B, 1, h_k, w_k)
            for t, s in zip(self._teacher(batch), self._student(batch), strict=True)
        ]
        grid = distances[0].shape[-2:]
        resized = [
            functional.interpolate(one, size=grid, mode="bilinear", align_corners=False)
            for one in distances
        ]
        patches = torch.cat(resized, dim=1).sum(dim=1)
        smooth = input_maps(patches, self.input_size)
        image = torch.tensor([float(one.max()) for one in smooth], device=patches.device)
        return PatchScores(image=image, patches=patches)

    def cut_shape(self, cut: str) -> CutShape:
        """See `Detector.cut_shape`."""
        self.check_cut(cut)
        if cut == "bottleneck":
            return CutShape(2 * self.channels[-1], 2 * self.strides[-1])
        return CutShape(sum(self.channels), self.strides[0])

    def cut_batch(self, batch: Batch, cut: str) -> Tensor:
        """The feature map at a cut.

        "teacher-student difference": (B, sum of C_k, h/s, w/s), per scale the squared difference
        of the maps with their channels normalised to length 1, resized to the finest grid s;
        its sum over a scale's channels is twice that scale's 1 - cosine. "bottleneck":
        (B, 2 C, h/32, w/32), the code.
        """
        self.check_cut(cut)
        teacher = self._teacher(batch)
        if cut == "bottleneck":
            code: Tensor = self.bottleneck(teacher)
            return code
        squares = [
            (functional.normalize(t, dim=1) - functional.normalize(s, dim=1)).square()
            for t, s in zip(teacher, self._student(batch), strict=True)
        ]
        grid = squares[0].shape[-2:]
        return torch.cat(
            [functional.interpolate(one, size=grid, mode="bilinear") for one in squares], dim=1
        )

    def memory_mb(self, count: int) -> float:
        """See `Detector.memory_mb`: the student in training, a step's activations, kept maps."""
        maps = sum(c * h * w for c, (h, w) in zip(self.channels, self._grids(), strict=True))
        blocks = sum(self.config.decoder_blocks) + self.config.bottleneck_blocks
        activations = 4 * self.config.batch_size * maps * 4 * blocks / 1e6
        kept = min(1.25 * 4e-6 * count * maps, 1.25 * self.config.cache_mb)
        return trained_mb(self.bottleneck, self.decoder) + activations + kept

    def _tensors(self) -> dict[str, Tensor]:
        return {
            **prefixed("bottleneck", self.bottleneck),
            **prefixed("decoder", self.decoder),
            "mean": self.mean,
            "deviation": self.deviation,
        }

    def _restore(self, tensors: Mapping[str, Tensor]) -> None:
        load_prefixed("bottleneck", self.bottleneck, tensors)
        load_prefixed("decoder", self.decoder, tensors)
        self.mean, self.deviation = tensors["mean"], tensors["deviation"]


class Bottleneck(nn.Module):
    """Multi-scale fusion and one-class embedding.

    Each scale but the deepest goes through 3x3 convolutions of stride 2 down to the deepest grid,
    with the teacher's widths at the scales in between; all are concatenated, and a residual stage
    halves the grid: (B, C_k, h_k, w_k) per scale -> (B, 2 C, h/32, w/32) with C the channels of the
    deepest scale.
    """

    def __init__(self, channels: Sequence[int], blocks: int) -> None:
        super().__init__()

        def halving(wide_in: int, wide_out: int) -> nn.Module:
            return nn.Sequential(
                nn.Conv2d(wide_in, wide_out, 3, stride=2, padding=1, bias=False),
                nn.BatchNorm2d(wide_out),
                nn.ReLU(inplace=True),
            )

        self.down = nn.ModuleList(
            nn.Sequential(
                *[halving(a, b) for a, b in zip(channels[k:], channels[k + 1 :], strict=False)]
            )
            for k in range(len(channels))
        )
        deepest = channels[-1]
        fused = deepest * len(channels)
        first = ResidualBlock(fused, 2 * deepest, resize="down")
        rest = [ResidualBlock(2 * deepest, 2 * deepest) for _ in range(blocks - 1)]
        self.stage = nn.Sequential(first, *rest)
        _initialise(self)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """The teacher's maps, finest first -> the code (B, 2 C, h/32, w/32)."""
        fused = torch.cat([down(one) for down, one in zip(self.down, maps, strict=True)], dim=1)
        code: Tensor = self.stage(fused)
        return code


class Decoder(nn.Module):
    """The student: the code -> the teacher's maps, finest first; each stage doubles the grid."""

    def __init__(self, channels: Sequence[int], blocks: Sequence[int]) -> None:
        super().__init__()
        stages = []
        wide = 2 * channels[-1]
        for number, channel in enumerate(reversed(channels)):
            count = blocks[min(number, len(blocks) - 1)]
            first = ResidualBlock(wide, channel, resize="up")
            stages.append(
                nn.Sequential(first, *[ResidualBlock(channel, channel) for _ in range(count - 1)])
            )
            wide = channel
        self.stages = nn.ModuleList(stages)
        _initialise(self)

    def forward(self, code: Tensor) -> list[Tensor]:
        """(B, 2 C, h/32, w/32) -> (B, C_k, h_k, w_k) per scale."""
        maps: list[Tensor] = []
        for stage in self.stages:
            code = stage(code)
            maps.insert(0, code)
        return maps


class ResidualBlock(nn.Module):
    """1x1, 3x3 and 1x1 convolutions with batch norms, and a shortcut; half as wide inside.

    `resize` "down" halves the grid with stride 2; "up" doubles it: the 3x3 convolution and the
    shortcut then are 2x2 transposed convolutions of stride 2.
    """

    def __init__(self, wide_in: int, wide_out: int, *, resize: str = "") -> None:
        super().__init__()
        inner = wide_out // 2
        # Weights are drawn in the order of construction, which seeds depend on.
        first = nn.Conv2d(wide_in, inner, 1, bias=False)
        spatial: nn.Module
        if resize == "up":
            spatial = nn.ConvTranspose2d(inner, inner, 2, stride=2, bias=False)
        else:
            stride = 2 if resize == "down" else 1
            spatial = nn.Conv2d(inner, inner, 3, stride=stride, padding=1, bias=False)
        self.body = nn.Sequential(
            first,
            nn.BatchNorm2d(inner),
            nn.ReLU(inplace=True),
            spatial,
            nn.BatchNorm2d(inner),
            nn.ReLU(inplace=True),
            nn.Conv2d(inner, wide_out, 1, bias=False),
            nn.BatchNorm2d(wide_out),
        )
        self.shortcut: nn.Module = nn.Identity()
        if resize == "up":
            change: nn.Module = nn.ConvTranspose2d(wide_in, wide_out, 2, stride=2, bias=False)
            self.shortcut = nn.Sequential(change, nn.BatchNorm2d(wide_out))
        elif resize == "down":
            change = nn.Conv2d(wide_in, wide_out, 1, stride=2, bias=False)
            self.shortcut = nn.Sequential(change, nn.BatchNorm2d(wide_out))

    def forward(self, maps: Tensor) -> Tensor:
        """(B, wide_in, h, w) -> (B, wide_out, h or h / 2 or 2 h, ...)."""
        return functional.relu(self.body(maps) + self.shortcut(maps))


def _initialise(net: nn.Module) -> None:
    """Kaiming-normal by fan-out, as in the original; transposed convolutions keep torch's."""
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
