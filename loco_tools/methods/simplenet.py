"""SimpleNet: a small discriminator between good patch features and the same with added noise.

Liu et al. 2023, "SimpleNet: A Simple Network for Image Anomaly Detection and Localization", CVPR;
github.com/DonaldRR/SimpleNet. The discriminator is also a head of the feature-level ensembles.
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from loco_tools.datasets.images import Pixels
from loco_tools.methods.backbones import Backbone
from loco_tools.methods.batch import Batch, memo
from loco_tools.methods.detector import CutShape, PatchScores, SingleConfig, SingleDetector
from loco_tools.methods.memory_check import trained_mb
from loco_tools.methods.patch_features import PatchFeatureExtractor, to_rows
from loco_tools.methods.training import LogEntry, Loss, Training, epoch_batches, steps_per_epoch
from loco_tools.methods.training_features import TrainingFeatures
from loco_tools.progress import Progress
from loco_tools.schema import Schema


class TrainingConfig(Schema):
    """Settings of the discriminator's training; defaults as published (40 times 4 epochs)."""

    hidden_dim: int = Field(default=1024, ge=1)
    epochs: int = Field(default=160, ge=1)
    """Passes over the training images."""
    steps: int | None = Field(default=None, ge=1)
    """Training steps in all, instead of `epochs`."""
    step_patches: int | None = Field(default=None, ge=2)
    """Number of patches drawn at random from each step's images; None: all patches."""
    margin: float = Field(default=0.5, gt=0)
    noise_std: float = Field(default=0.015, gt=0)
    noise_scale: Literal["absolute", "relative"] = "absolute"
    """With "relative", `noise_std` is multiplied by the root mean square of the adapted features
    before training; the published 0.015 was tuned for the scale of WideResNet-50's."""
    adaptor_lr: float = Field(default=1e-4, gt=0)
    discriminator_lr: float = Field(default=2e-4, gt=0)
    weight_decay: float = Field(default=1e-5, ge=0)


class SimpleNetConfig(SingleConfig, TrainingConfig):
    """Defaults are those of the published run.

    Deviation: 329 px (336 after rounding) is not centre-cropped to 288: LOCO's anomalies reach
    the border.
    """

    size_px: int = Field(default=329, ge=32, le=4096)
    patch_size: int = Field(default=3, ge=1)
    pretrain_dim: int = Field(default=1536, ge=2)
    target_dim: int = Field(default=1536, ge=2, multiple_of=2)
    standardise: bool | None = None
    """Scale channels to zero mean and unit deviation; None: only with a weight-free backbone."""
    cache_mb: int = Field(default=3000, ge=0)
    """Features of the training images are kept in memory when they fit, else computed every epoch;
    those of the validation images may take a quarter as much."""


class Discriminator(nn.Module):
    """Feature adaptor and two-layer perceptron: (N, dim) features -> (N,) normality.

    Positive for good features, negative for others.
    """

    def __init__(self, dim: int, hidden_dim: int, generator: torch.Generator) -> None:
        super().__init__()
        self.adaptor = nn.Linear(dim, dim)
        self.body = nn.Sequential(
            nn.Linear(dim, hidden_dim), nn.BatchNorm1d(hidden_dim), nn.LeakyReLU(0.2)
        )
        self.head = nn.Linear(hidden_dim, 1, bias=False)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_normal_(module.weight, generator=generator)
                if module.bias is not None:
                    bound = 1 / math.sqrt(module.in_features)
                    nn.init.uniform_(module.bias, -bound, bound, generator=generator)

    def forward(self, adapted: Tensor) -> Tensor:
        """Normality of adapted features, (N, dim) -> (N,)."""
        normality: Tensor = self.head(self.body(adapted))[:, 0]
        return normality

    def maps(self, features: Tensor) -> Tensor:
        """Anomaly of each location: (B, dim, h, w) -> (B, h, w)."""
        B, _, h, w = features.shape
        normality: Tensor = self(self.adaptor(to_rows(features)))
        return -normality.view(B, h, w)


class SimpleNet(SingleDetector):
    """SimpleNet: a discriminator trained on good patch features with and without noise.

    Deviation: the last epoch is kept, where the original keeps the epoch that is best on the test
    set; published figures contain that choice.

    Deviation: images are resized by averaging areas, where the original interpolates bilinearly
    with antialiasing; the effect was not measured.
    """

    name = "simplenet"
    category = "one-class"
    Config: ClassVar[type[SimpleNetConfig]] = SimpleNetConfig
    config: SimpleNetConfig
    cuts = ("adapted features",)
    PRESETS: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "paper": {},
        "fast": {
            # Three fifths of the pixels: smaller defects are missed earlier.
            "size_px": 256,
            # A thirtieth of the arithmetic per patch.
            "pretrain_dim": 256,
            "target_dim": 256,
            "hidden_dim": 256,
            # Bounds the time to train whatever the class's size. On synthetic anomalies of
            # held-out good training images (MobileNetV2, one draw), image AUROC of magnetic tiles
            # and angle: .73 .83 for 150 steps, .74 .88 for 300, .80 .91 for 600.
            "steps": 600,
            "step_patches": 2048,
            # The published noise is far off the scale of other backbones. By the same protocol,
            # and hazelnuts: standardising .84 -> .88 (angle); relative noise of .1 is too little
            # (mean .72), .25, .5 and 1 are alike (.82).
            "standardise": True,
            "noise_std": 0.5,
            "noise_scale": "relative",
        },
    }

    def __init__(
        self, config: SimpleNetConfig, backbone: Backbone | None, *, device: str = "auto"
    ) -> None:
        super().__init__(config, backbone, device=device)
        self.source = PatchFeatureExtractor(
            self.backbone,
            patch_size=self.config.patch_size,
            pretrain_dim=self.config.pretrain_dim,
            target_dim=self.config.target_dim,
        ).to(self.device)
        self.discriminator = self._new_discriminator(seed=0)

    def _new_discriminator(self, seed: int) -> Discriminator:
        generator = torch.Generator().manual_seed(seed)
        made = Discriminator(self.config.target_dim, self.config.hidden_dim, generator)
        return made.to(self.device).eval()

    def _fit(
        self,
        train: Sequence[Pixels],
        validation: Sequence[Pixels],
        *,
        seed: int,
        progress: Progress,
    ) -> None:
        self.source.reset()
        if self.source.should_standardise(self.config.standardise):
            self.source.measure(train, self.input_size, self.config.batch_size, progress)

        def features_of(images: Sequence[Pixels], cache_mb: int) -> TrainingFeatures:
            return TrainingFeatures(
                lambda batch: self.source.extract(batch, self.input_size),
                images,
                device=self.device,
                batch_size=self.config.batch_size,
                cache_mb=cache_mb,
            )

        self.discriminator = self._new_discriminator(seed)
        self.training_log = train_discriminator(
            self.discriminator,
            features_of(train, self.config.cache_mb),
            self.config,
            held_out=features_of(validation, self.config.cache_mb // 4),
            seed=seed,
            progress=progress,
            title=self.name,
            keep=self._keep,
        )

    def score_batch(self, batch: Batch) -> PatchScores:
        """See `Detector`: minus the normality; image: the largest of them."""
        adapted = self._adapted(batch)
        patches = -self.discriminator(adapted.flatten(0, 2)).view(adapted.shape[:3])
        return PatchScores(image=patches.flatten(1).amax(dim=1), patches=patches)

    def cut_shape(self, cut: str) -> CutShape:
        """See `Detector.cut_shape`."""
        self.check_cut(cut)
        return CutShape(self.config.target_dim, 8)

    def memory_mb(self, count: int) -> float:
        """See `Detector.memory_mb`: the discriminator in training, kept features, a step."""
        h, w = self.input_size
        image_mb = 4 * self.config.target_dim * (h * w // 64) / 1e6
        kept = min(1.25 * count * image_mb, 1.25 * self.config.cache_mb)
        return trained_mb(self.discriminator) + kept + 8 * self.config.batch_size * image_mb

    def cut_batch(self, batch: Batch, cut: str) -> Tensor:
        """Cut "adapted features": (B, target_dim, h/8, w/8), the discriminator's input."""
        self.check_cut(cut)
        return self._adapted(batch).permute(0, 3, 1, 2)

    @memo
    def _adapted(self, batch: Batch) -> Tensor:
        """The output of the feature adaptor: (B, h/8, w/8, target_dim)."""
        features = self.source.extract(batch, self.input_size).permute(0, 2, 3, 1)
        adapted: Tensor = self.discriminator.adaptor(features)
        return adapted

    def _tensors(self) -> dict[str, Tensor]:
        learned = {f"discriminator.{k}": v for k, v in self.discriminator.state_dict().items()}
        return {**learned, "mean": self.source.mean, "std": self.source.std}

    def _restore(self, tensors: Mapping[str, Tensor]) -> None:
        prefix = "discriminator."
        self.discriminator.load_state_dict(
            {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
        )
        self.source.mean.copy_(tensors["mean"])
        self.source.std.copy_(tensors["std"])


def train_discriminator(
    discriminator: Discriminator,
    features: TrainingFeatures,
    config: TrainingConfig,
    *,
    held_out: TrainingFeatures,
    seed: int,
    progress: Progress,
    title: str,
    keep: Path | None = None,
) -> list[LogEntry]:
    """Train the discriminator to separate good features from the same plus Gaussian noise.

    Paper, equations 3 to 5: one noise vector per patch, added after the adaptor; the loss is a
    hinge on both sides, mean max(0, th - D(f)) + mean max(0, th + D(f + noise)). Both halves pass
    the batch norm together.

    Args:
        discriminator: trained in place.
        features: of the good training images.
        config: how to train.
        held_out: features of good validation images; may be empty.
        seed: of the batches and the noise.
        progress: advanced with every step.
        title: name in the progress bar.
        keep: see `Detector.fit`.

    Returns:
        One entry per epoch, see `Training.run`; the loss has the parts "good" and "noisy", and
        validation is the good side of the loss on `held_out`.
    """
    noise_std = config.noise_std
    if config.noise_scale == "relative":
        with torch.no_grad():
            first = features.get(range(min(len(features), features.batch_size)))
            noise_std *= float(discriminator.adaptor(to_rows(first)).square().mean().sqrt())
    indices = epoch_batches(len(features), features.batch_size, seed)
    per_epoch = steps_per_epoch(len(features), features.batch_size)

    def step(number: int, generator: torch.Generator) -> Loss:
        rows = _draw_rows(features.get(indices(number)), config.step_patches, generator)
        return hinge_loss(discriminator, rows, noise_std, config.margin, generator)

    def good_loss(chosen: Sequence[int]) -> Tensor:
        normality = -discriminator.maps(held_out.get(chosen))
        return (config.margin - normality).clamp_min(0).mean()

    adaptor, lr = discriminator.adaptor.parameters(), config.discriminator_lr
    perceptron = [*discriminator.body.parameters(), *discriminator.head.parameters()]
    return Training(
        title=title,
        modules={"discriminator": discriminator},
        optimisers={
            "adaptor": torch.optim.AdamW(adaptor, lr=config.adaptor_lr, weight_decay=0.01),
            "perceptron": torch.optim.Adam(perceptron, lr=lr, weight_decay=config.weight_decay),
        },
        steps=config.steps or config.epochs * per_epoch,
        steps_per_epoch=per_epoch,
        seed=seed,
        validate=(lambda: held_out.mean_loss(good_loss)) if len(held_out) else None,
    ).run(step, progress=progress, keep=keep)


def hinge_loss(
    discriminator: Discriminator,
    rows: Tensor,
    noise_std: float,
    margin: float,
    generator: torch.Generator,
) -> Loss:
    """The loss of `train_discriminator` on rows of features (N, dim)."""
    adapted = discriminator.adaptor(rows)
    noise = torch.randn(adapted.shape, generator=generator).to(adapted.device) * noise_std
    good, noisy = discriminator(torch.cat([adapted, adapted + noise])).chunk(2)
    return {
        "good": (margin - good).clamp_min(0).mean(),
        "noisy": (margin + noisy).clamp_min(0).mean(),
    }


def _draw_rows(features: Tensor, limit: int | None, generator: torch.Generator) -> Tensor:
    """(B, C, h, w) -> at most `limit` patches drawn at random, (N, C), out of inference mode."""
    B, _, h, w = features.shape
    if limit is None or limit >= B * h * w:
        return to_rows(features).clone()
    drawn = torch.randint(B * h * w, (limit,), generator=generator).to(features.device)
    return features.flatten(2)[drawn // (h * w), :, drawn % (h * w)].clone()
