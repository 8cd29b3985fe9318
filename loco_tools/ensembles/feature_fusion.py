"""The feature-level ensemble: one discriminator on what several detectors know inside.

Members are cut at a layer, their feature maps go through a transformation block and the
discriminator of SimpleNet judges each location of the fused map.
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from loco_tools.datasets.images import Pixels
from loco_tools.ensembles.ensemble import Ensemble
from loco_tools.ensembles.transformation import GlobalTransformation, Scale, stack
from loco_tools.errors import MethodError
from loco_tools.methods.batch import Batch, batches
from loco_tools.methods.detector import (
    CutShape,
    Detector,
    DetectorConfig,
    PatchScores,
)
from loco_tools.methods.patch_features import to_rows
from loco_tools.methods.simplenet import (
    Discriminator,
    TrainingConfig,
    good_features,
    train_discriminator,
)
from loco_tools.methods.training import prefixed
from loco_tools.progress import Progress


class FusionConfig(DetectorConfig, TrainingConfig):
    """Defaults train the discriminator as SimpleNet's paper does, on 512 fused channels."""

    cuts: dict[str, str] = Field(default_factory=dict)
    """Member name -> where to cut it; members not named are cut at the first of their `cuts`."""
    block: Literal["global"] = "global"
    components: float = Field(default=512, gt=0)
    """Kept by the PCA: a count (1 or more) or a share of the variance (below 1)."""
    scale: Scale = "per_source"
    """"per_source" lets every member weigh the same, whatever the scale of its features."""
    whiten: bool = False
    noise_scale: Literal["absolute", "relative"] = "relative"
    noise_std: float = Field(default=1.0, gt=0)
    """As large as the fused features. On synthetic anomalies of held-out good training images
    (MobileNetV2, one draw, magnetic tiles and angle; 300 steps) image AUROC is .76 .86 for .5,
    .78 .86 for 1 and .78 .87 for 2: no difference that one draw could support."""
    member_scores: bool = True
    """Average the discriminator's scores with the members' own, see `FeatureFusion`."""
    pca_patches: int = Field(default=50_000, ge=2)
    """Patches that the PCA is computed from, drawn at random from all training images."""
    cache_mb: int = Field(default=3000, ge=0)


class FeatureFusion(Ensemble):
    """Feature-level ensemble of fitted detectors.

    Deviation from the thesis (switch off with `member_scores = false`): the discriminator's scores
    are averaged with the members' own, each brought to zero mean and unit deviation on the good
    validation images. In first trials the discriminator alone stayed behind its best member.
    """

    name = "ensemble"
    Config: ClassVar[type[FusionConfig]] = FusionConfig
    config: FusionConfig
    cuts = ("fused features",)
    PRESETS: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "paper": {},
        "fast": {
            # A quarter of the discriminator's arithmetic and more.
            "components": 256,
            "hidden_dim": 256,
            # Bounds the time to train whatever the class's size.
            "steps": 300,
            "step_patches": 2048,
            # Bounds the time for the PCA.
            "pca_patches": 20_000,
        },
    }

    def __init__(
        self, config: FusionConfig, members: Mapping[str, Detector], *, device: str = "auto"
    ) -> None:
        super().__init__(config, members, device=device)
        unknown = sorted(set(config.cuts) - set(members))
        if unknown:
            raise MethodError(
                f'{self.name}: cuts names "{unknown[0]}", which is no member; '
                f"members: {', '.join(members)}"
            )
        self.member_cuts = {n: config.cuts.get(n, m.cuts[0]) for n, m in self.members.items()}
        for name, member in self.members.items():
            member.check_cut(self.member_cuts[name])
        self._block: GlobalTransformation | None = None
        self._discriminator: Discriminator | None = None
        self._calibration = torch.zeros(0, 4, device=self.device)

    def _fit(
        self,
        train: Sequence[Pixels],
        validation: Sequence[Pixels],
        *,
        seed: int,
        progress: Progress,
    ) -> None:
        self._block = self._fit_block(train, seed, progress)
        features, held_out = good_features(
            self._fused,
            train,
            validation,
            device=self.device,
            batch_size=self.config.batch_size,
            cache_mb=self.config.cache_mb,
        )
        self._discriminator = self._new_discriminator(self._block.dim, seed)
        self.training_log = train_discriminator(
            self._discriminator,
            features,
            self.config,
            held_out=held_out,
            seed=seed,
            progress=progress,
            title=self.name,
            keep=self._keep,
        )
        if self.config.member_scores and len(validation) == 0:
            progress.note(
                f"{self.name}: no good validation images; members' scores are calibrated on "
                "training images, which members with a memory see as better than they are"
            )
        self._calibrate(validation if len(validation) else train, progress)

    @torch.inference_mode()
    def _fit_block(
        self, train: Sequence[Pixels], seed: int, progress: Progress
    ) -> GlobalTransformation:
        generator = torch.Generator().manual_seed(seed)
        per_image = max(1, self.config.pca_patches // len(train))
        block: GlobalTransformation | None = None
        with progress.task(f"{self.name}: components", len(train)) as advance:
            for batch in batches(train, self.config.batch_size, self.device):
                sources = self._sources(batch)
                if block is None:
                    block = GlobalTransformation([s.shape[1] for s in sources]).to(self.device)
                rows = to_rows(stack(sources))
                kept = torch.randperm(len(rows), generator=generator)[: per_image * len(batch)]
                block.observe(rows[kept.to(rows.device)])
                advance(len(batch))
        if block is None:
            raise MethodError(f"{self.name}: expected training images, got none")
        block.solve(
            components=self.config.components, scale=self.config.scale, whiten=self.config.whiten
        )
        return block

    @torch.inference_mode()
    def _calibrate(self, images: Sequence[Pixels], progress: Progress) -> None:
        """Mean and deviation of each voice's image and patch scores on good images."""
        voices: list[list[PatchScores]] = []
        with progress.task(f"{self.name}: calibration", len(images)) as advance:
            for batch in batches(images, self.config.batch_size, self.device):
                voices.append(self._voices(batch))
                advance(len(batch))
        rows = []
        for voice in zip(*voices, strict=True):
            image = torch.cat([part.image for part in voice])
            patches = torch.cat([part.patches.flatten() for part in voice])
            rows.append(torch.stack([*_mean_and_std(image), *_mean_and_std(patches)]))
        self._calibration = torch.stack(rows)

    def _voices(self, batch: Batch) -> list[PatchScores]:
        """Whose scores are averaged: the discriminator's, and the members' own if wanted."""
        patches = self._fitted_discriminator().maps(self._fused(batch))
        own = PatchScores(image=patches.flatten(1).amax(dim=1), patches=patches)
        if not self.config.member_scores:
            return [own]
        return [own, *(member.score_batch(batch) for member in self.members.values())]

    def score_batch(self, batch: Batch) -> PatchScores:
        """See `Detector`: the mean of the calibrated voices."""
        images, maps = [], []
        voices = self._voices(batch)
        for voice, (mean, std, patch_mean, patch_std) in zip(
            voices, self._calibration, strict=True
        ):
            images.append((voice.image - mean) / std)
            maps.append(((voice.patches - patch_mean) / patch_std)[:, None])
        return PatchScores(image=torch.stack(images).mean(dim=0), patches=stack(maps).mean(dim=1))

    def cut_shape(self, cut: str) -> CutShape:
        """See `Detector.cut_shape`; the stride is the finest of the members'."""
        self.check_cut(cut)
        if self._block is None:
            raise self.not_fitted()
        strides = [m.cut_shape(self.member_cuts[n]).stride for n, m in self.members.items()]
        return CutShape(self._block.dim, min(strides))

    def cut_batch(self, batch: Batch, cut: str) -> Tensor:
        """Cut "fused features": (B, components, h, w), what the discriminator is given."""
        self.check_cut(cut)
        return self._fused(batch)

    def _sources(self, batch: Batch) -> list[Tensor]:
        return [m.cut_batch(batch, self.member_cuts[n]) for n, m in self.members.items()]

    def _fused(self, batch: Batch) -> Tensor:
        if self._block is None:
            raise self.not_fitted()
        fused: Tensor = self._block(self._sources(batch))
        return fused

    def _fitted_discriminator(self) -> Discriminator:
        if self._discriminator is None:
            raise self.not_fitted()
        return self._discriminator

    def _new_discriminator(self, dim: int, seed: int) -> Discriminator:
        generator = torch.Generator().manual_seed(seed)
        return Discriminator(dim, self.config.hidden_dim, generator).to(self.device).eval()

    def _tensors(self) -> dict[str, Tensor]:
        if self._block is None:
            raise self.not_fitted()
        return {
            **prefixed("discriminator", self._fitted_discriminator()),
            **prefixed("block", self._block),
            "calibration": self._calibration,
            "channels": torch.tensor(self._block.channels),
        }

    def _restore(self, tensors: Mapping[str, Tensor]) -> None:
        block = GlobalTransformation(tensors["channels"].tolist())
        block.mean, block.basis = tensors["block.mean"], tensors["block.basis"]
        prefix = "discriminator."
        learned = {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
        self._discriminator = self._new_discriminator(block.dim, seed=0)
        self._discriminator.load_state_dict(learned)
        self._block = block.to(self.device)
        self._calibration = tensors["calibration"]


def _mean_and_std(values: Tensor) -> tuple[Tensor, Tensor]:
    return values.mean(), values.std(correction=0).clamp_min(1e-6)
