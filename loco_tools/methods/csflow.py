"""CS-Flow: a normalising flow over features at three scales that exchange information.

Rudolph et al. 2022, "Fully Convolutional Cross-Scale-Flows for Image-based Defect Detection",
WACV; github.com/marco-rudolph/cs-flow. Good features are mapped to a standard normal distribution;
features that land far from its centre are anomalous.
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from loco_tools.datasets.images import Pixels, Size
from loco_tools.methods.backbones import Backbone
from loco_tools.methods.batch import Batch, image_sizes, input_size, memo
from loco_tools.methods.deep_features import DeepFeatures
from loco_tools.methods.detector import CutShape, PatchScores, SingleConfig, SingleDetector
from loco_tools.methods.flows import Flow
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

SCALES = 3
BOUND = 1e6


class CSFlowConfig(SingleConfig):
    """Defaults are the published ones, but for `resize`, which keeps the aspect ratio."""

    size_px: int = Field(default=768, ge=128, le=4096)
    """Rounded so that the grid of the coarsest scale is whole: to 128 with stride 32."""
    batch_size: int = Field(default=16, ge=1)
    stride: int | None = None
    """Of the backbone's map; None: its deepest, 32 in the paper."""
    hidden_dim: int = Field(default=1024, ge=1)
    kernels: tuple[int, ...] = Field(default=(3, 3, 3, 5), min_length=1)
    """Kernel of each coupling block's convolutions; odd."""
    clamp: float = Field(default=3.0, gt=0)
    epochs: int = Field(default=240, ge=1)
    """Passes over the training images."""
    steps: int | None = Field(default=None, ge=1)
    """Training steps in all, instead of `epochs`."""
    lr: float = Field(default=2e-4, gt=0)
    eps: float = Field(default=1e-4, gt=0)
    weight_decay: float = Field(default=1e-5, ge=0)
    clip_norm: float = Field(default=1.0, gt=0)
    standardise: bool | None = None
    """Scale channels to zero mean and unit deviation; None: only with a weight-free backbone."""
    cache_mb: int = Field(default=3000, ge=0)
    """Features of the training images are kept in memory when they fit, else computed every epoch.
    """


class CSFlow(SingleDetector):
    """CS-Flow: likelihood of features at three scales under a normalising flow.

    Channels are split into halves; an odd one goes to the second.

    Deviation: the lower scales are taken from the resized input as in the original, but images are
    resized to the input by averaging areas. Which permutations follow from a block's index is ours.

    Deviation: torchvision pads the convolutions of EfficientNet-B5 alike on both sides, where the
    original's weights were trained and are used with TensorFlow's "same" padding, which has one
    pixel more below and on the right where the stride is 2: maps are shifted by up to a pixel of
    each such layer's input, and torchvision's weights are others. The effect was not measured.
    """

    name = "csflow"
    category = "flow"
    Config: ClassVar[type[CSFlowConfig]] = CSFlowConfig
    config: CSFlowConfig
    cuts = ("latents",)
    PRESETS: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "paper": {},
        "fast": {
            # A ninth of the pixels: small defects are missed earlier. Stride 16 gives a grid of
            # 16 x 16 all the same. On painted spots and scratches on 40 held-out good magnetic
            # tiles (MobileNetV2, 150 steps, one draw), image and pixel AUROC: .45 .75 at stride
            # 32, .53 .86 also standardised, .66 .91 with stride 16.
            "size_px": 256,
            "stride": 16,
            "standardise": True,
            # A fiftieth of the arithmetic or less: a coarser density.
            "hidden_dim": 32,
            "kernels": (3, 3, 3, 3),
            # Bounds the time to train whatever the class's size; the higher rate makes up for it.
            "steps": 300,
            "lr": 1e-3,
            "batch_size": 8,
        },
    }
    default_backbone = "efficientnet_b5"
    smoothing_px = 0.0

    def __init__(
        self, config: CSFlowConfig, backbone: Backbone | None, *, device: str = "auto"
    ) -> None:
        super().__init__(config, backbone, device=device)
        self.source = DeepFeatures(self.backbone, stride=self.config.stride, scales=SCALES)
        self.strides = (self.source.stride,)
        self.source.to(self.device)
        with torch.device("meta"):  # 1.1 GB in the paper preset: allocated when needed
            self.flow = self._network()

    def _network(self) -> Flow:
        def make_subnet(block: int, wide_in: int, wide_out: int) -> nn.Module:
            kernel = self.config.kernels[block]
            return CrossScaleSubnet(wide_in, self.config.hidden_dim, wide_out, kernel)

        return Flow(
            channels=self.source.channels,
            scales=SCALES,
            blocks=len(self.config.kernels),
            make_subnet=make_subnet,
            clamp=self.config.clamp,
            bound=BOUND,
        )

    def _choose_input_size(self, train: Sequence[Pixels]) -> Size:
        multiple = self.source.stride * 2 ** (SCALES - 1)
        return input_size(image_sizes(train), self.config.size_px, self.config.resize, multiple)

    def _fit(
        self,
        train: Sequence[Pixels],
        validation: Sequence[Pixels],
        *,
        seed: int,
        progress: Progress,
    ) -> None:
        features, held_out = self._kept_features(train), self._kept_features(validation)
        self.source.reset()
        if self.source.should_standardise(self.config.standardise):
            self.source.measure(features, progress)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.flow = self._network().to(self.device).eval()
        size = self.config.batch_size
        indices = epoch_batches(len(train), size, seed)
        per_epoch = steps_per_epoch(len(train), size)

        adam = torch.optim.Adam(
            self.flow.parameters(),
            lr=self.config.lr,
            eps=self.config.eps,
            weight_decay=self.config.weight_decay,
        )

        def loss(of: TrainingFeatures, chosen: Sequence[int]) -> Loss:
            flat = self.source.standardise(of.get(chosen).clone())  # out of inference mode
            latents, logs = self.flow(self.source.maps(flat, self.input_size))
            return negative_log_likelihood(latents, logs)

        def validate() -> float:
            return held_out.mean_loss(lambda chosen: total(loss(held_out, chosen)))

        self.training_log = Training(
            title=self.name,
            modules={"flow": self.flow},
            optimisers={"adam": adam},
            steps=self.config.steps or self.config.epochs * per_epoch,
            steps_per_epoch=per_epoch,
            seed=seed,
            validate=validate if len(validation) else None,
            clip_norm=self.config.clip_norm,
        ).run(
            lambda number, _generator: loss(features, indices(number)),
            progress=progress,
            keep=self._keep,
        )

    def _kept_features(self, images: Sequence[Pixels]) -> TrainingFeatures:
        return TrainingFeatures(
            lambda batch: self.source.raw(batch, self.input_size),
            images,
            device=self.device,
            batch_size=self.config.batch_size,
            cache_mb=self.config.cache_mb,
        )

    @memo
    def _latents(self, batch: Batch) -> list[Tensor]:
        """Per scale, finest first: (B, C, h_k, w_k)."""
        latents: list[Tensor]
        latents, _ = self.flow(self.source.extract(batch, self.input_size))
        return latents

    def score_batch(self, batch: Batch) -> PatchScores:
        """See `Detector`: mean of z^2 over the channels of the finest scale.

        Image: the mean of z^2 / 2 over all latents of all scales. The Jacobian is not used.
        """
        latents = self._latents(batch)
        every = torch.cat([one.flatten(1) for one in latents], dim=1)
        image = every.square().mean(dim=1) / 2
        return PatchScores(image=image, patches=latents[0].square().mean(dim=1))

    def cut_shape(self, cut: str) -> CutShape:
        """See `Detector.cut_shape`."""
        self.check_cut(cut)
        return CutShape(SCALES * self.source.channels, self.source.stride)

    def cut_batch(self, batch: Batch, cut: str) -> Tensor:
        """Cut "latents": (B, 3 C, h/s, w/s), those of all scales resized to the finest grid."""
        self.check_cut(cut)
        latents = self._latents(batch)
        grid = latents[0].shape[-2:]
        return torch.cat(
            [functional.interpolate(one, size=grid, mode="bilinear") for one in latents], dim=1
        )

    def memory_mb(self, count: int) -> float:
        """See `Detector.memory_mb`: the flow in training, kept features, a step."""
        locations = self.source.location_count(self.input_size)
        channels = self.source.channels
        kept = min(4e-6 * count * locations * channels, self.config.cache_mb)
        inner = 2 * len(self.config.kernels) * (4 * self.config.hidden_dim + 8 * channels)
        return trained_mb(self.flow) + kept + 4e-6 * self.config.batch_size * locations * inner

    def _tensors(self) -> dict[str, Tensor]:
        return {
            **prefixed("flow", self.flow),
            "mean": self.source.mean,
            "std": self.source.std,
        }

    def _restore(self, tensors: Mapping[str, Tensor]) -> None:
        self.flow = self.flow.to_empty(device=self.device).eval()
        load_prefixed("flow", self.flow, tensors)
        self.source.mean.copy_(tensors["mean"])
        self.source.std.copy_(tensors["std"])


class CrossScaleSubnet(nn.Module):
    """Two convolutions per scale; the second ones also take the neighbouring scales.

    Maps of the coarser scale are upsampled by 2 first, those of the finer scale are convolved with
    stride 2. Outputs are scaled by a learned factor per scale that starts at 0, so that the flow
    begins as the identity.
    """

    def __init__(
        self, wide_in: int, hidden: int, wide_out: int, kernel: int, scales: int = SCALES
    ) -> None:
        super().__init__()

        def convolutions(count: int, a: int, b: int, stride: int = 1) -> nn.ModuleList:
            made = (nn.Conv2d(a, b, kernel, stride, kernel // 2) for _ in range(count))
            return nn.ModuleList(made)

        self.first = convolutions(scales, wide_in, hidden)
        self.second = convolutions(scales, hidden, wide_out)
        self.from_coarser = convolutions(scales - 1, hidden, wide_out)
        self.from_finer = convolutions(scales - 1, hidden, wide_out, stride=2)
        self.gamma = nn.Parameter(torch.zeros(scales))

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """(B, C_in, h / 2^k, w / 2^k) per scale, finest first -> (B, C_out, ...) alike."""
        hidden = [
            functional.leaky_relu(first(one), 0.1)
            for first, one in zip(self.first, maps, strict=True)
        ]
        sums = [second(one) for second, one in zip(self.second, hidden, strict=True)]
        for k, convolve in enumerate(self.from_coarser):
            finer = functional.interpolate(hidden[k + 1], scale_factor=2, mode="bilinear")
            sums[k] = sums[k] + convolve(finer)
        for k, convolve in enumerate(self.from_finer):
            sums[k + 1] = sums[k + 1] + convolve(hidden[k])
        return [one * gamma for one, gamma in zip(sums, self.gamma, strict=True)]


def negative_log_likelihood(latents: Sequence[Tensor], logs: Sequence[Tensor]) -> Loss:
    """Mean over the batch of (sum of z^2 / 2 - log |det J|) / dimensions; constants left out.

    It has two parts: "distance" from the centre, and "volume", the Jacobian's share.
    """
    dimensions = sum(one[0].numel() for one in latents)
    squares = torch.stack([one.square().flatten(1).sum(dim=1) for one in latents]).sum(dim=0)
    jacobian = torch.stack([one.flatten(1).sum(dim=1) for one in logs]).sum(dim=0)
    return {
        "distance": (squares / 2 / dimensions).mean(),
        "volume": -(jacobian / dimensions).mean(),
    }
