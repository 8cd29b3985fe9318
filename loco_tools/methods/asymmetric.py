"""AST: a plain network imitates a normalising flow, and fails to where images are anomalous.

Rudolph et al. 2023, "Asymmetric Student-Teacher Networks for Industrial Anomaly Detection", WACV;
github.com/marco-rudolph/AST, RGB mode. The teacher is an invertible flow, the student is not: two
networks so different disagree on inputs that neither was trained on.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

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
    LogEntry,
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

POSITION_CHANNELS = 32
POSITION_BASE = 1e4


class ASTConfig(SingleConfig):
    """Defaults are the published ones, but for `resize`, which keeps the aspect ratio."""

    size_px: int = Field(default=768, ge=32, le=4096)
    batch_size: int = Field(default=8, ge=1)
    stride: int | None = None
    """Of the backbone's map; None: its deepest, 32 in the paper."""
    teacher_dim: int = Field(default=64, ge=1)
    """Hidden channels of the teacher's subnets."""
    kernels: tuple[int, ...] = Field(default=(3, 3, 3, 5), min_length=1)
    """Kernel of each coupling block's convolutions; odd."""
    clamp: float = Field(default=1.9, gt=0)
    student_dim: int = Field(default=1024, ge=1)
    student_blocks: int = Field(default=4, ge=0)
    epochs: int = Field(default=72, ge=1)
    """Passes over the training images, of the teacher and then of the student."""
    steps: int | None = Field(default=None, ge=1)
    """Training steps of each, rounded up to whole passes, instead of `epochs`."""
    lr: float = Field(default=2e-4, gt=0)
    weight_decay: float = Field(default=1e-5, ge=0)
    image_score: Literal["mean", "max"] = "mean"
    """How the map becomes the image's score; the paper takes the mean without depth images."""
    standardise: bool | None = None
    """Scale channels to zero mean and unit deviation; None: only with a weight-free backbone."""
    cache_mb: int = Field(default=3000, ge=0)
    """Features of the training images are kept in memory when they fit, else computed every epoch.
    """


class AST(SingleDetector):
    """AST: disagreement of a student with a teacher that is a normalising flow.

    Depth images are not supported.

    Deviation: maps are upsampled bilinearly, where the original's are bicubic: no overshoot at
    steep places. A factor that the original's student has and never uses is left out. Which
    permutations follow from a block's index is ours.

    Deviation: the teacher's latents are not clamped to -1e6..1e6 after each block, which changes
    nothing unless a training diverges; it then ends with a loss that is not finite. Images are
    resized by averaging areas, where the original interpolates bilinearly, and convolutions of
    EfficientNet-B5 are padded as in torchvision, see `CSFlow`.
    """

    name = "ast"
    category = "teacher-student"
    Config: ClassVar[type[ASTConfig]] = ASTConfig
    config: ASTConfig
    cuts = ("teacher latent", "student-teacher difference")
    PRESETS: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "paper": {},
        "fast": {
            # A ninth of the pixels: small defects are missed earlier. Stride 16 gives a grid of
            # 16 x 16 all the same. On painted spots and scratches on 40 held-out good magnetic
            # tiles (MobileNetV2, 150 steps, one draw), image and pixel AUROC: .64 .87 at stride
            # 32, .64 .84 also standardised, .63 .92 with stride 16.
            "size_px": 256,
            "stride": 16,
            "standardise": True,
            # A fiftieth of the student's arithmetic: a coarser imitation.
            "student_dim": 128,
            "kernels": (3, 3, 3, 3),
            # Bounds the time to train whatever the class's size; the higher rate makes up for it.
            "steps": 300,
            "lr": 1e-3,
        },
    }
    default_backbone = "efficientnet_b5"
    smoothing_px = 0.0

    def __init__(
        self, config: ASTConfig, backbone: Backbone | None, *, device: str = "auto"
    ) -> None:
        super().__init__(config, backbone, device=device)
        self.source = DeepFeatures(self.backbone, stride=self.config.stride).to(self.device)
        self.strides = (self.source.stride,)
        with torch.device("meta"):  # allocated when they are needed
            self.teacher, self.student = self._networks()

    def _networks(self) -> tuple[Flow, "Student"]:
        def make_subnet(block: int, wide_in: int, wide_out: int) -> nn.Module:
            kernel = self.config.kernels[block]
            return PositionedSubnet(wide_in, self.config.teacher_dim, wide_out, kernel)

        teacher = Flow(
            channels=self.source.channels,
            scales=1,
            blocks=len(self.config.kernels),
            make_subnet=make_subnet,
            clamp=self.config.clamp,
        )
        student = Student(self.source.channels, self.config.student_dim, self.config.student_blocks)
        return teacher, student

    def _choose_input_size(self, train: Sequence[Pixels]) -> Size:
        config = self.config
        return input_size(image_sizes(train), config.size_px, config.resize, self.source.stride)

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
            teacher, student = self._networks()
        self.teacher, self.student = teacher.to(self.device).eval(), student.to(self.device).eval()
        size = self.config.batch_size
        indices = epoch_batches(len(train), size, seed, drop_last=True)
        per_epoch = steps_per_epoch(len(train), size, drop_last=True)
        epochs = math.ceil(self.config.steps / per_epoch) if self.config.steps else None
        each = (epochs or self.config.epochs) * per_epoch
        learner = "teacher"

        def loss(of: TrainingFeatures, chosen: Sequence[int]) -> Loss:
            flat = self.source.standardise(of.get(chosen).clone())  # out of inference mode
            (maps,) = self.source.maps(flat, self.input_size)
            if learner == "teacher":
                return teacher_loss(self.teacher, maps)
            return student_loss(self.teacher, self.student, maps)

        def step(number: int, _generator: torch.Generator) -> Loss:
            nonlocal learner
            learner = "teacher" if number < each else "student"
            return loss(features, indices(number))

        def validate() -> float:
            return held_out.mean_loss(lambda chosen: total(loss(held_out, chosen)))

        log = Training(
            title=self.name,
            modules={"teacher": self.teacher, "student": self.student},
            optimisers={"teacher": self._adam(self.teacher), "student": self._adam(self.student)},
            steps=2 * each,
            steps_per_epoch=per_epoch,
            seed=seed,
            validate=validate if len(validation) else None,
            validations=40,
        ).run(step, progress=progress, keep=self._keep)
        self.training_log = side_by_side(log)

    def _kept_features(self, images: Sequence[Pixels]) -> TrainingFeatures:
        return TrainingFeatures(
            lambda batch: self.source.raw(batch, self.input_size),
            images,
            device=self.device,
            batch_size=self.config.batch_size,
            cache_mb=self.config.cache_mb,
        )

    def _adam(self, network: nn.Module) -> torch.optim.Optimizer:
        """For one of the two: without gradients, while the other learns, it moves nothing."""
        decay = self.config.weight_decay
        return torch.optim.Adam(network.parameters(), lr=self.config.lr, weight_decay=decay)

    @memo
    def _latents(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """The teacher's latents and the student's imitation, (B, C, h, w) each."""
        maps = self.source.extract(batch, self.input_size)
        (latent,), _ = self.teacher(maps)
        return latent, self.student(*maps)

    def score_batch(self, batch: Batch) -> PatchScores:
        """See `Detector`: mean over channels of the squared difference; image: `image_score`."""
        teacher, student = self._latents(batch)
        patches = (teacher - student).square().mean(dim=1)
        flat = patches.flatten(1)
        image = flat.mean(dim=1) if self.config.image_score == "mean" else flat.amax(dim=1)
        return PatchScores(image=image, patches=patches)

    def cut_shape(self, cut: str) -> CutShape:
        """See `Detector.cut_shape`."""
        self.check_cut(cut)
        return CutShape(self.source.channels, self.source.stride)

    def cut_batch(self, batch: Batch, cut: str) -> Tensor:
        """The teacher's latents or their squared difference to the student's: (B, C, h/s, w/s)."""
        self.check_cut(cut)
        teacher, student = self._latents(batch)
        return teacher if cut == "teacher latent" else (teacher - student).square()

    def memory_mb(self, count: int) -> float:
        """See `Detector.memory_mb`: both networks with moments, kept features, a step."""
        locations = self.source.location_count(self.input_size)
        channels = self.source.channels
        kept = min(4e-6 * count * locations * channels, self.config.cache_mb)
        config = self.config
        teacher = 2 * len(config.kernels) * (4 * config.teacher_dim + 8 * channels)
        student = config.student_dim * (3 + 7 * config.student_blocks)
        step = 4e-6 * config.batch_size * locations * max(teacher, student)
        return trained_mb(self.teacher, self.student) + kept + step

    def _tensors(self) -> dict[str, Tensor]:
        return {
            **prefixed("teacher", self.teacher),
            **prefixed("student", self.student),
            "mean": self.source.mean,
            "std": self.source.std,
        }

    def _restore(self, tensors: Mapping[str, Tensor]) -> None:
        self.teacher = self.teacher.to_empty(device=self.device).eval()
        self.student = self.student.to_empty(device=self.device).eval()
        load_prefixed("teacher", self.teacher, tensors)
        load_prefixed("student", self.student, tensors)
        self.source.mean.copy_(tensors["mean"])
        self.source.std.copy_(tensors["std"])


def teacher_loss(teacher: Flow, maps: Tensor) -> Loss:
    """Negative log likelihood of maps (B, C, h, w), mean over images and locations."""
    (latent,), (log,) = teacher([maps])
    return {"distance": (latent.square().sum(dim=1) / 2).mean(), "volume": -log.mean()}


def student_loss(teacher: Flow, student: nn.Module, maps: Tensor) -> Tensor:
    """Mean squared difference of the student to the frozen teacher's latents."""
    with torch.no_grad():
        (latent,), _ = teacher([maps])
    loss: Tensor = (latent - student(maps)).square().mean()
    return loss


class PositionedSubnet(nn.Module):
    """Two convolutions with replicated borders over maps and position encodings.

    The output is scaled by a learned factor that starts at 0: the flow begins as the identity.
    """

    def __init__(self, wide_in: int, hidden: int, wide_out: int, kernel: int) -> None:
        super().__init__()
        pad = kernel // 2
        self.body = nn.Sequential(
            nn.Conv2d(
                wide_in + POSITION_CHANNELS, hidden, kernel, padding=pad, padding_mode="replicate"
            ),
            nn.ReLU(inplace=True),
            nn.Conv2d(hidden, wide_out, kernel, padding=pad, padding_mode="replicate"),
        )
        self.gamma = nn.Parameter(torch.zeros(1))

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """[(B, C_in, h, w)] -> [(B, C_out, h, w)]."""
        return [self.gamma * self.body(with_positions(one)) for one in maps]


class Student(nn.Module):
    """A plain convolutional network: (B, C, h, w) features -> latents of the same shape."""

    def __init__(self, channels: int, width: int, blocks: int) -> None:
        super().__init__()
        self.head = nn.Conv2d(channels + POSITION_CHANNELS, width, 3, padding=1)

        def body() -> nn.Sequential:
            layers: list[nn.Module] = []
            for _ in range(2):
                conv = nn.Conv2d(width, width, 3, padding=1)
                layers += [conv, nn.BatchNorm2d(width), nn.LeakyReLU()]
            return nn.Sequential(*layers)

        self.blocks = nn.ModuleList(body() for _ in range(blocks))
        self.tail = nn.Conv2d(width, channels, 3, padding=1)

    def forward(self, maps: Tensor) -> Tensor:
        """(B, C, h, w) -> (B, C, h, w)."""
        hidden = functional.leaky_relu(self.head(with_positions(maps)))
        for body in self.blocks:
            hidden = hidden + body(hidden)
        latent: Tensor = self.tail(hidden)
        return latent


def with_positions(maps: Tensor) -> Tensor:
    """(B, C, h, w) with the channels of the position encoding appended: (B, C + 32, h, w)."""
    B, _, h, w = maps.shape
    positions = position_encoding(h, w).to(maps)
    return torch.cat([maps, positions.expand(B, -1, -1, -1)], dim=1)


def position_encoding(height: int, width: int, channels: int = POSITION_CHANNELS) -> Tensor:
    """Sines and cosines of x, then of y, at wavelengths from 2 pi to 2 pi 1e4: (channels, h, w).

    Of each axis's half of the channels, even ones are sines and odd ones cosines.
    """
    half = channels // 2
    rates = POSITION_BASE ** -(torch.arange(0, half, 2) / half)

    def waves(length: int) -> Tensor:
        angles = rates[:, None] * torch.arange(length)
        return torch.stack([angles.sin(), angles.cos()], dim=1).flatten(0, 1)  # (2 rates, length)

    of_x, of_y = waves(width), waves(height)
    return torch.cat([of_x[:, None].expand(-1, height, -1), of_y[:, :, None].expand(-1, -1, width)])


def side_by_side(log: Sequence[LogEntry]) -> list[LogEntry]:
    """Merge a log that has the teacher's epochs first, then the student's, epoch by epoch.

    The student's values keep their names; the teacher's are "teacher_loss" and
    "teacher_validation". Epochs and steps count from the start of each training.
    """
    half = len(log) // 2
    merged = []
    for teacher, student in zip(log[:half], log[half:], strict=True):
        count = {key: teacher[key] for key in ("epoch", "step")}
        of_teacher = {f"teacher_{key}": value for key, value in teacher.items() if key not in count}
        merged.append({**student, **count, **of_teacher})
    return merged
