"""DRAEM: one network repairs the image, another segments where the repair differs.

Zavrtanik, Kristan and Skocaj 2021, "DRAEM - A Discriminatively Trained Reconstruction Embedding for
Surface Anomaly Detection", ICCV; github.com/VitjanZ/DRAEM. Both are trained on
synthetic anomalies, without pretrained weights.
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from loco_tools.datasets.images import Pixels
from loco_tools.methods.backbones import Backbone
from loco_tools.methods.batch import Batch
from loco_tools.methods.detector import CutShape, PatchScores, SingleConfig, SingleDetector
from loco_tools.methods.memory_check import trained_mb
from loco_tools.methods.training import (
    Loss,
    Training,
    load_prefixed,
    prefixed,
    steps_per_epoch,
    total,
)
from loco_tools.methods.training_features import TrainingFeatures
from loco_tools.progress import Progress
from loco_tools.synthesis.draem import Example, rotated, with_anomaly, without_anomaly
from loco_tools.synthesis.perlin import Field as FloatImage
from loco_tools.synthesis.textures import TextureSource, texture_source

PENULTIMATE = "penultimate"
ENCODER = {f"encoder {stride}": stride for stride in (8, 16, 32, 4, 2)}
"""Cut -> stride of the discriminative encoder's levels; the first has the grid of most members."""
_POOL_PX = 21
"""Side of the window whose mean decides the image score."""
_PIXELS_AT_ONCE = 8 * 256 * 256
"""Most input pixels of one forward pass: about a gigabyte of activations in the paper's width."""


class DRAEMConfig(SingleConfig):
    """Defaults are the published ones, but for `resize`, which keeps the aspect ratio."""

    epochs: int = Field(default=700, ge=1)
    """Sets the number of steps; the images of a step are drawn with replacement."""
    steps: int | None = Field(default=None, ge=1)
    """Training steps in all, instead of `epochs`."""
    lr: float = Field(default=1e-4, gt=0)
    """Divided by 5 after 80 % of the training, and by 5 again after 90 %."""
    reconstructive_width: int = Field(default=128, ge=1)
    discriminative_width: int = Field(default=64, ge=1)
    """Channels of the nets' first level; deeper levels have up to eight times as many."""
    textures: str | None = None
    """Folder of texture images (as published: the Describable Textures Dataset), searched with its
    subfolders; None: generated ones, see `loco_tools.synthesis.textures`."""
    anomalous_share: float = Field(default=0.5, ge=0, le=1)
    rotated_share: float = Field(default=0.3, ge=0, le=1)
    """Share of the training images that are rotated by up to 90 degrees either way."""
    cache_mb: int = Field(default=3000, ge=0)
    """Resized training images are kept in memory when they fit, else decoded in every epoch."""


class DRAEM(SingleDetector):
    """DRAEM: segmentation of differences between an image and its repair.

    Deviation: without a folder of textures they are generated. The operations on textures are
    written anew: ranges for which the original gives no value are the defaults of its library
    imgaug, and brightness changes in HSV alone, where imgaug draws a colour space. Images are
    resized by averaging areas, where the original interpolates bilinearly. The effects were not
    measured.

    Deviation: channels are in the order RGB, where the original has BGR: without pretrained
    weights this only changes the initial weights.
    """

    name = "draem"
    category = "reconstruction"
    Config: ClassVar[type[DRAEMConfig]] = DRAEMConfig
    config: DRAEMConfig
    cuts = (*ENCODER, PENULTIMATE)
    PRESETS: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "paper": {},
        "fast": {
            # A quarter of the pixels: smaller defects are missed earlier.
            "size_px": 128,
            # Nets an eighth and a quarter as wide: blurred repairs.
            "reconstructive_width": 16,
            "discriminative_width": 16,
            # Bounds the time to train whatever the class's size.
            "steps": 300,
            "batch_size": 4,
            # So few steps need a higher rate. On synthetic anomalies of held-out good magnetic
            # tiles (the kind it is trained on, one draw): image AUROC .76 for 2e-3, .83 for 5e-4.
            "lr": 5e-4,
        },
    }
    needs_backbone = False
    multiple_px = 32
    smoothing_px = 0

    def __init__(
        self, config: DRAEMConfig, backbone: Backbone | None = None, *, device: str = "auto"
    ) -> None:
        super().__init__(config, backbone, device=device)
        self._build(seed=0)

    def _build(self, seed: int) -> None:
        devices = [self.device] if self.device.type == "cuda" else []
        with torch.random.fork_rng(devices=devices):
            torch.manual_seed(seed)
            self.reconstructive = Reconstructive(self.config.reconstructive_width)
            self.discriminative = Discriminative(self.config.discriminative_width)
        self.reconstructive.to(self.device).eval()
        self.discriminative.to(self.device).eval()

    def _fit(
        self,
        train: Sequence[Pixels],
        validation: Sequence[Pixels],
        *,
        seed: int,
        progress: Progress,
    ) -> None:
        textures = texture_source(self.config.textures)
        self._build(seed)
        size = self.config.batch_size
        parameters = [*self.reconstructive.parameters(), *self.discriminative.parameters()]
        per_epoch = steps_per_epoch(len(train), size)
        steps = self.config.steps or self.config.epochs * per_epoch
        of_train, of_validation = self._resized(train), self._resized(validation)

        def step(_number: int, generator: torch.Generator) -> Loss:
            drawn = torch.randint(len(train), (size,), generator=generator).tolist()
            rng = np.random.default_rng(int(torch.randint(2**62, (1,), generator=generator)))
            images = _to_images(of_train.get(drawn))
            return self._loss([self._example(image, textures, rng) for image in images])

        def validate() -> float:
            """The loss on validation images with the same synthetic anomalies every time."""
            loss = 0.0
            for start in range(0, len(validation), size):
                rng = np.random.default_rng((seed, start))
                part = range(start, min(start + size, len(validation)))
                images = _to_images(of_validation.get(part))
                examples = [self._example(image, textures, rng) for image in images]
                loss += float(total(self._loss(examples))) * len(part)
            return loss / len(validation)

        self.training_log = Training(
            title=self.name,
            modules={"reconstructive": self.reconstructive, "discriminative": self.discriminative},
            optimisers={"adam": torch.optim.Adam(parameters, lr=self.config.lr)},
            steps=steps,
            steps_per_epoch=per_epoch,
            seed=seed,
            rate=lambda number: 0.2 ** ((number >= 0.8 * steps) + (number >= 0.9 * steps)),
            validate=validate if len(validation) else None,
        ).run(step, progress=progress, keep=self._keep)

    def _resized(self, images: Sequence[Pixels]) -> TrainingFeatures:
        return TrainingFeatures(
            lambda batch: batch.rgb(self.input_size),
            images,
            device=torch.device("cpu"),
            batch_size=self.config.batch_size,
            cache_mb=self.config.cache_mb,
        )

    def _example(self, image: Pixels, textures: TextureSource, rng: np.random.Generator) -> Example:
        """A good image, perhaps rotated, perhaps with a synthetic anomaly."""
        if rng.random() < self.config.rotated_share:
            image = rotated(image, 90, rng)
        if rng.random() < self.config.anomalous_share:
            return with_anomaly(image, textures, rng)
        return without_anomaly(image)

    def _loss(self, examples: Sequence[Example]) -> Loss:
        """Equation 4: squared error and structural dissimilarity of the repair, focal loss."""
        good = _stack_images([example.good for example in examples], self.device)
        images = _stack_images([example.image for example in examples], self.device)
        masks = torch.from_numpy(np.stack([example.mask for example in examples]))
        repaired, logits = self._forward(images)
        return {
            "squared error": functional.mse_loss(repaired, good),
            "dissimilarity": 1 - structural_similarity(repaired, good),
            "focal": focal_loss(logits, masks.to(self.device)),
        }

    def _forward(self, rgb: Tensor) -> tuple[Tensor, Tensor]:
        """(B, 3, h, w) -> the repaired images (B, 3, h, w) and logits (B, 2, h, w)."""
        repaired = self.reconstructive(rgb)
        logits: Tensor = self.discriminative(torch.cat([repaired, rgb], dim=1))
        return repaired, logits

    def score_batch(self, batch: Batch) -> PatchScores:
        """See `Detector`: the probability of being anomalous at every pixel, not smoothed.

        Image: the largest mean of a window of 21 x 21 px, with zeros around the image.
        """
        parts = [self._forward(part)[1].softmax(dim=1)[:, 1] for part in self._parts(batch)]
        patches = torch.cat(parts)  # (B, h, w)
        means = functional.avg_pool2d(patches, _POOL_PX, stride=1, padding=_POOL_PX // 2)
        return PatchScores(image=means.flatten(1).amax(dim=1), patches=patches)

    def _parts(self, batch: Batch) -> tuple[Tensor, ...]:
        """The images in parts small enough for one forward pass."""
        height, width = self.input_size
        return torch.split(batch.rgb(self.input_size), max(1, _PIXELS_AT_ONCE // (height * width)))

    def cut_shape(self, cut: str) -> CutShape:
        """See `Detector.cut_shape`."""
        self.check_cut(cut)
        width = self.config.discriminative_width
        if cut == PENULTIMATE:
            return CutShape(width, 1)
        return CutShape(width * min(ENCODER[cut], 8), ENCODER[cut])

    def cut_batch(self, batch: Batch, cut: str) -> Tensor:
        """The feature map of the discriminative net at a cut.

        "penultimate": (B, 64, h, w), the input of its last convolution. "encoder s": its encoder's
        level of stride s, (B, 64 min(s, 8), h/s, w/s). Channels are those of the paper's width.
        """
        self.check_cut(cut)
        features = []
        for rgb in self._parts(batch):
            levels = self.discriminative.encoded(torch.cat([self.reconstructive(rgb), rgb], dim=1))
            features.append(
                self.discriminative.decoded(levels)
                if cut == PENULTIMATE
                else levels[ENCODER[cut].bit_length() - 1]
            )
        return torch.cat(features)

    def memory_mb(self, count: int) -> float:
        """See `Detector.memory_mb`: the nets in training, a step's activations, kept images."""
        height, width = self.input_size
        pixels = height * width
        kept = min(count * pixels * 3 * 4 / 1e6, self.config.cache_mb)
        floats = 20 * (self.config.reconstructive_width + self.config.discriminative_width)
        activations = self.config.batch_size * pixels * floats * 4 / 1e6
        return trained_mb(self.reconstructive, self.discriminative) + activations + kept

    def _tensors(self) -> dict[str, Tensor]:
        return {
            **prefixed("reconstructive", self.reconstructive),
            **prefixed("discriminative", self.discriminative),
        }

    def _restore(self, tensors: Mapping[str, Tensor]) -> None:
        load_prefixed("reconstructive", self.reconstructive, tensors)
        load_prefixed("discriminative", self.discriminative, tensors)


class Reconstructive(nn.Module):
    """Encoder and decoder without skips: an image (B, 3, h, w) -> the image without anomalies."""

    def __init__(self, width: int = 128) -> None:
        super().__init__()
        wide = [width * times for times in (1, 2, 4, 8, 8)]
        self.encoder = _encoder(3, wide)
        narrow = [width * times for times in (4, 2, 1, 1)]
        self.decoder = nn.Sequential(
            *[
                nn.Sequential(_doubling(a, a), _convolution(a, a), _convolution(a, b))
                for a, b in zip([wide[-1], *narrow], narrow, strict=False)
            ]
        )
        self.last = nn.Conv2d(width, 3, 3, padding=1)
        _initialise(self)

    def forward(self, rgb: Tensor) -> Tensor:
        """(B, 3, h, w) -> (B, 3, h, w), about 0..1 but not bounded."""
        for number, level in enumerate(self.encoder):
            rgb = level(functional.max_pool2d(rgb, 2) if number else rgb)
        repaired: Tensor = self.last(self.decoder(rgb))
        return repaired


class Discriminative(nn.Module):
    """U-Net with skips: repaired and original image (B, 6, h, w) -> logits (B, 2, h, w)."""

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        wide = [width * times for times in (1, 2, 4, 8, 8, 8)]
        self.encoder = _encoder(6, wide)
        narrow = [width * times for times in (8, 4, 2, 1, 1)]
        self.up = nn.ModuleList(
            _doubling(a, b) for a, b in zip([wide[-1], *narrow], narrow, strict=False)
        )
        self.decoder = nn.ModuleList(
            nn.Sequential(_convolution(b + skip, b), _convolution(b, b))
            for b, skip in zip(narrow, wide[-2::-1], strict=True)
        )
        self.last = nn.Conv2d(width, 2, 3, padding=1)
        _initialise(self)

    def forward(self, pair: Tensor) -> Tensor:
        """(B, 6, h, w), the repaired image first -> logits of good and anomalous (B, 2, h, w)."""
        logits: Tensor = self.last(self.decoded(self.encoded(pair)))
        return logits

    def encoded(self, pair: Tensor) -> list[Tensor]:
        """The encoder's six levels, strides 1 to 32: (B, C_k, h / 2^k, w / 2^k) each."""
        levels: list[Tensor] = []
        for number, level in enumerate(self.encoder):
            pair = level(functional.max_pool2d(pair, 2) if number else pair)
            levels.append(pair)
        return levels

    def decoded(self, levels: Sequence[Tensor]) -> Tensor:
        """The input of the last convolution: (B, width, h, w)."""
        *skips, features = levels
        for up, stage, skip in zip(self.up, self.decoder, reversed(skips), strict=True):
            features = stage(torch.cat([up(features), skip], dim=1))
        return features


def structural_similarity(repaired: Tensor, good: Tensor) -> Tensor:
    """Mean SSIM of (B, C, h, w), per channel: Gaussian window 11 x 11, sigma 1.5, zero padding.

    As in the original the dynamic range is 1, and 2 while the repaired images reach below -0.5.
    """
    reach = 2.0 if float(repaired.detach().amin()) < -0.5 else 1.0
    c1, c2 = (0.01 * reach) ** 2, (0.03 * reach) ** 2
    channels = good.shape[1]
    steps = torch.arange(-5.0, 6.0, device=good.device)
    taps = torch.exp(-(steps**2) / (2 * 1.5**2))
    taps = taps / taps.sum()
    window = (taps[:, None] * taps[None]).expand(channels, 1, 11, 11)

    def mean(values: Tensor) -> Tensor:
        return functional.conv2d(values, window, padding=5, groups=channels)

    of_repaired, of_good = mean(repaired), mean(good)
    variances = mean(repaired**2) - of_repaired**2 + mean(good**2) - of_good**2
    covariance = mean(repaired * good) - of_repaired * of_good
    similarity = ((2 * of_repaired * of_good + c1) * (2 * covariance + c2)) / (
        (of_repaired**2 + of_good**2 + c1) * (variances + c2)
    )
    return similarity.mean()


def focal_loss(logits: Tensor, masks: Tensor) -> Tensor:
    """Lin et al. 2017 with gamma 2 and both classes alike: logits (B, 2, h, w), masks (B, h, w).

    -(1 - p)^2 log p, p the probability of a pixel's own class, mean over pixels.
    """
    smooth = 1e-5
    own = torch.stack([~masks, masks], dim=1).float().clamp(smooth, 1 - smooth)
    p = (own * logits.softmax(dim=1)).sum(dim=1) + smooth
    return -((1 - p) ** 2 * p.log()).mean()


def _encoder(wide_in: int, wide: Sequence[int]) -> nn.ModuleList:
    return nn.ModuleList(
        nn.Sequential(_convolution(a, b), _convolution(b, b))
        for a, b in zip([wide_in, *wide], wide, strict=False)
    )


def _convolution(wide_in: int, wide_out: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(wide_in, wide_out, 3, padding=1),
        nn.BatchNorm2d(wide_out),
        nn.ReLU(inplace=True),
    )


def _doubling(wide_in: int, wide_out: int) -> nn.Sequential:
    larger = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True)
    return nn.Sequential(larger, *_convolution(wide_in, wide_out))


def _initialise(net: nn.Module) -> None:
    """As in the original; biases of convolutions keep torch's draw."""
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.normal_(module.weight, 0.0, 0.02)
        elif isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.weight, 1.0, 0.02)
            nn.init.zeros_(module.bias)


def _to_images(rgb: Tensor) -> Sequence[Pixels]:
    """(B, 3, h, w) in 0..1 -> B images (h, w, 3) uint8, exactly as they were."""
    stacked: Pixels = (rgb * 255).round().byte().permute(0, 2, 3, 1).numpy()
    return list(np.ascontiguousarray(stacked))


def _stack_images(images: Sequence[FloatImage], device: torch.device) -> Tensor:
    return torch.from_numpy(np.stack(images)).to(device).permute(0, 3, 1, 2).contiguous()
