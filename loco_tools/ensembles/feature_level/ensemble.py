"""The feature-level ensemble: anomaly detectors on the fused features of several detectors.

Every member provides a feature map (at its cut). A transformation block fuses these maps to one,
and heads score every location of the fused map: SimpleNet's discriminator, a memory bank, or a
Gaussian. Their score maps are combined with those of memory banks on the members' backbones and
with the members' own.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, ClassVar

import torch
from torch import Tensor

from loco_tools.datasets.images import Pixels
from loco_tools.ensembles.base import Ensemble, count_together
from loco_tools.ensembles.feature_level.config import FusionConfig, choose_cuts
from loco_tools.ensembles.feature_level.fused_features import FusedFeatures
from loco_tools.ensembles.feature_level.heads import (
    DiscriminatorHead,
    Gaussian,
    Head,
    MemoryBank,
)
from loco_tools.ensembles.feature_level.sampling import (
    INSIDE,
    AnomalousImages,
    AugmentedImages,
    FeatureFunction,
    batches_with_masks,
    patch_shares,
    sample_anomalous_rows,
    sample_good_rows,
    shrink_anomalies,
)
from loco_tools.ensembles.feature_level.score_maps import ScoreMapCombiner, ScoreMaps
from loco_tools.ensembles.feature_level.scorers import Scorers, add_prefix, select_prefix
from loco_tools.ensembles.feature_level.source_weights import source_weights
from loco_tools.ensembles.feature_level.training import FusedRows, train_on_rows
from loco_tools.methods.batch import Batch, CachedBatches
from loco_tools.methods.detector import CutShape, Detector, PatchScores
from loco_tools.methods.simplenet import Discriminator
from loco_tools.progress import Progress
from loco_tools.synthesis.families import FAMILIES, LEARNED_FROM, synthetic_anomalies

_TRAINING_FAMILIES = ("stain", "cut_paste", "scar", "copy_move")
"""Synthetic anomalies that the discriminator is trained on; weights are measured on others."""
_ANOMALIES_PER_IMAGE = 16
"""Many anomalies in few images take fewer passes. With one in each of 36 images the weights were
unstable: that of the discriminator was .03 to .52 on magnetic tiles, depending on the images that
were drawn."""
_SOURCE_WEIGHT_IMAGES = 3
"""Images with anomalies on which the weights of members are measured; maps use all of them."""
_CACHE_MB = 256.0
"""Upper limit of the images and backbone maps kept of each set that is iterated over twice."""
_LOGGED_SHARE = 5
"""One in this number of held-out rows is not trained on but logged."""
_ANOMALOUS_ROWS = 250
"""Rows per synthetic image inside of its anomalies, and as many outside."""


@dataclass(frozen=True)
class _GoodData:
    """Good images, and rows of their fused features (N, components)."""

    train: Sequence[Pixels]
    train_rows: Tensor
    held_out: Sequence[Pixels]
    held_out_rows: Tensor
    seed: int
    progress: Progress


class FeatureFusion(Ensemble):
    """Feature-level ensemble of fitted detectors.

    Deviations from the thesis, each with a setting (see `FusionConfig`): a memory bank on the fused
    features besides the discriminator; synthetic anomalies besides feature noise; the members'
    scores and memory banks on the maps of their backbones are combined with the heads' scores. In
    experiments the discriminator on noise alone was worse than the best member.
    """

    name = "ensemble"
    Config: ClassVar[type[FusionConfig]] = FusionConfig
    config: FusionConfig
    cuts = ("fused features",)
    PRESETS: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "paper": {},
        "fast": {
            # Bounds the time to fit and to predict; the members' own fits take longer.
            "components": 128.0,
            "hidden_dim": 256,
            "steps": 100,
            "step_rows": 256,
            "anomalies": 3,
            "bank_size": 600,
            "backbone_bank": 500,
            "backbone_images": 64,
            "varied": 0,
            "pool_patches": 20_000,
            "pool_images": 20,
            "weighing": 6,
        },
    }

    def __init__(
        self, config: FusionConfig, members: Mapping[str, Detector], *, device: str = "auto"
    ) -> None:
        super().__init__(config, members, device=device)
        self.member_cuts = choose_cuts(self.members, config, ensemble=self.name)
        self._scorers: Scorers | None = None
        self._combiner: ScoreMapCombiner | None = None

    @torch.inference_mode()
    def _fit(
        self,
        train: Sequence[Pixels],
        validation: Sequence[Pixels],
        *,
        seed: int,
        progress: Progress,
    ) -> None:
        # Held-out good images, and synthetic anomalies made in them, on which weights are measured.
        held_out = self._batches(self._held_out(train, validation, progress))
        anomalous = self._make_anomalous_images(held_out.images, seed)

        # Rows of the members' features: from training images, which also give the moments for the
        # PCA and the backbone memory banks, and from held-out images.
        features = self._new_features()
        rows = features.fit_to_training_images(
            train, self.config, seed=seed, progress=progress, title=f"{self.name}: components"
        )
        held_out_rows = self._sample_rows(
            features.member_maps, held_out, seed, progress, "held-out features"
        )

        # Weights of the members, then the PCA, which fuses the rows.
        self._solve_block(features, rows, held_out_rows, anomalous[0], seed)
        project = features.block.project
        good = _GoodData(
            train, project(rows), held_out.images, project(held_out_rows), seed, progress
        )

        # Heads on the fused features.
        scorers = self._fit_heads(features, good)

        # Scale and weights of all score maps, from held-out images without and with anomalies.
        good_maps = self._score(scorers, [held_out], progress)
        combiner = ScoreMapCombiner.fit(
            good_maps,
            scorers.memory_bank.bank,
            self.config.combination,
            backbone_maps=len(features.backbone_banks),
            backbone_share=self.config.backbone_share,
        )
        if self.config.weights == "worth":
            anomalous_maps = self._score(scorers, [part.batches for part in anomalous], progress)
            _, _, h, w = anomalous_maps.patches.shape
            inside = [
                patch_shares(anomaly.masks, (h, w)).to(self.device) > INSIDE
                for part in anomalous
                for anomaly in part.anomalies
            ]
            combiner.fit_weights(good_maps, anomalous_maps, inside)
        self._scorers, self._combiner = scorers, combiner

    def _make_anomalous_images(
        self, images: Sequence[Pixels], seed: int
    ) -> tuple[AnomalousImages, AnomalousImages]:
        """Images with anomalies that nothing here is trained on: for members' weights, and more."""
        anomalies = []
        if "worth" in (self.config.weights, self.config.source_weights):
            trained_on = {*_TRAINING_FAMILIES}
            if any(member.name == "draem" for member in self.members.values()):
                trained_on |= {*LEARNED_FROM}
            made = synthetic_anomalies(
                images,
                self.config.weighing,
                seed=seed + 1_000_000,
                families=[name for name in FAMILIES if name not in trained_on],
                each=_ANOMALIES_PER_IMAGE,
                size=self.input_size,
            )
            anomalies = shrink_anomalies(made, self.input_size)
        first, rest = (
            AnomalousImages(part, self._batches([anomaly.image for anomaly in part]))
            for part in (anomalies[:_SOURCE_WEIGHT_IMAGES], anomalies[_SOURCE_WEIGHT_IMAGES:])
        )
        return first, rest

    def _solve_block(
        self,
        features: FusedFeatures,
        rows: Tensor,
        held_out_rows: Tensor,
        anomalous: AnomalousImages,
        seed: int,
    ) -> None:
        """Measure the members' weights where the configuration says so, and compute the PCA."""
        config, weights = self.config, None
        if config.source_weights == "worth" and len(self.members) > 1:
            sampled = sample_anomalous_rows(
                features.member_maps, anomalous.with_masks(), _ANOMALOUS_ROWS, seed=seed
            )
            if sampled is not None:
                channels = features.block.channels
                weights = source_weights(rows, held_out_rows, sampled[0], channels, seed)
        components = config.components
        features.block.solve(
            components=[components[name] for name in self.members]
            if isinstance(components, dict)
            else components,
            scale=config.scale,
            whiten=config.whiten,
            weights=weights,
        )

    def _fit_heads(self, features: FusedFeatures, good: _GoodData) -> Scorers:
        """Fit the fused memory bank and the configured heads."""
        config, seed, progress = self.config, good.seed, good.progress
        bank_rows = good.train_rows
        if config.varied:
            augmented = self._batches(AugmentedImages(good.train, config.varied, seed), cache_mb=0)
            more = self._sample_rows(
                features.fused_maps, augmented, seed, progress, "augmented images"
            )
            bank_rows = torch.cat([bank_rows, more])
        memory_bank = MemoryBank.fit(bank_rows, config.bank_size, seed=seed, progress=progress)
        heads: dict[str, Head] = {}
        for name in config.heads:
            if name == MemoryBank.name:
                heads[name] = memory_bank
            elif name == Gaussian.name:
                heads[name] = Gaussian.fit(bank_rows)
            else:
                heads[name] = self._train_discriminator(features, good)
        return Scorers(features, memory_bank, heads, self._scored_members)

    @torch.inference_mode(mode=False)
    def _train_discriminator(self, features: FusedFeatures, good: _GoodData) -> DiscriminatorHead:
        """Train SimpleNet's discriminator on good rows, noise and synthetic anomalies."""
        config, held_out_rows = self.config, good.held_out_rows
        logged = max(1, len(held_out_rows) // _LOGGED_SHARE)  # those of the last images
        learned = held_out_rows[:-logged] if len(held_out_rows) > logged else held_out_rows
        rows = {
            "train": good.train_rows,
            "held_out": learned,
            "both": torch.cat([good.train_rows, learned]),
        }[config.learn_from]
        anomalies = synthetic_anomalies(
            good.held_out if config.learn_from == "held_out" else good.train,
            config.anomalies,
            seed=good.seed,
            families=_TRAINING_FAMILIES,
            each=_ANOMALIES_PER_IMAGE,
            size=self.input_size,
        )
        with torch.inference_mode():
            sampled = sample_anomalous_rows(
                features.fused_maps,
                batches_with_masks(anomalies, config.batch_size, self.device),
                _ANOMALOUS_ROWS,
                seed=good.seed,
            )
        inside, outside = sampled or (rows[:0], rows[:0])
        discriminator = self._new_discriminator(features.block.dim, good.seed)
        self.training_log = train_on_rows(
            discriminator,
            FusedRows(
                good=rows.clone(),
                anomalous=inside.clone(),
                outside=outside.clone(),
                held_out=held_out_rows[-logged:].clone(),
            ),
            config,
            seed=good.seed,
            progress=good.progress,
            title=self.name,
            keep=self._keep,
        )
        return DiscriminatorHead(discriminator)

    def _score(
        self, scorers: Scorers, parts: Sequence[CachedBatches], progress: Progress
    ) -> ScoreMaps:
        count = sum(len(part.images) for part in parts)
        scored = []
        with progress.task(f"{self.name}: calibration", count) as advance:
            for batch in chain.from_iterable(parts):
                scored.append(scorers.score_maps(batch))
                advance(len(batch))
        return ScoreMaps.joined(scored)

    def _sample_rows(
        self,
        features: FeatureFunction,
        batches: CachedBatches,
        seed: int,
        progress: Progress,
        title: str,
    ) -> Tensor:
        per_image, title = self.config.rows_per_image(len(batches.images)), f"{self.name}: {title}"
        return sample_good_rows(
            features, batches, per_image, seed=seed, progress=progress, title=title
        )

    def _batches(self, images: Sequence[Pixels], *, cache_mb: float = _CACHE_MB) -> CachedBatches:
        return CachedBatches(images, self.config.batch_size, self.device, keep_mb=cache_mb)

    def score_batch(self, batch: Batch) -> PatchScores:
        """See `Detector`; `ScoreMapCombiner.combine` says how score maps are combined."""
        scorers, combiner = self._fitted()
        image, patches = combiner.combine(scorers.score_maps(batch))
        return PatchScores(image=image, patches=patches)

    def cut_shape(self, cut: str) -> CutShape:
        """See `Detector.cut_shape`; the stride is the smallest of the members' strides."""
        self.check_cut(cut)
        return self._fitted()[0].features.cut_shape()

    def cut_batch(self, batch: Batch, cut: str) -> Tensor:
        """Cut "fused features": (B, components, h, w), the input of the heads."""
        self.check_cut(cut)
        return self._fitted()[0].features.fused_maps(batch)[0]

    def parameter_count(self) -> int:
        """See `Detector.parameter_count`; a backbone that members share counts once."""
        strides = self.config.backbone_strides
        return self.own_parameter_count() + count_together(self.members.values(), strides)

    def _fitted(self) -> tuple[Scorers, ScoreMapCombiner]:
        if self._scorers is None or self._combiner is None:
            raise self.not_fitted()
        return self._scorers, self._combiner

    def _new_features(self) -> FusedFeatures:
        return FusedFeatures.create(
            self.members,
            self.member_cuts,
            self.config,
            input_size=self.input_size,
            device=self.device,
        )

    @property
    def _scored_members(self) -> list[Detector]:
        """The members whose own scores are combined with the heads'."""
        return [*self.members.values()] if self.config.member_scores else []

    def _new_discriminator(self, dim: int, seed: int) -> Discriminator:
        generator = torch.Generator().manual_seed(seed)
        return Discriminator(dim, self.config.hidden_dim, generator).to(self.device).eval()

    def _tensors(self) -> dict[str, Tensor]:
        scorers, combiner = self._fitted()
        return {**scorers.tensors(), **add_prefix("voices.", combiner.tensors())}

    def _restore(self, tensors: Mapping[str, Tensor]) -> None:
        features = self._new_features()
        features.block.mean, features.block.basis = tensors["block.mean"], tensors["block.basis"]
        blank = self._new_discriminator(features.block.dim, seed=0)
        self._scorers = Scorers.load(
            features, self.config.heads, self._scored_members, tensors, blank
        )
        self._combiner = ScoreMapCombiner(select_prefix("voices.", tensors))
