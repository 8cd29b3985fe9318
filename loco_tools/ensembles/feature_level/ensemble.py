"""The feature-level ensemble: heads on what several detectors know inside.

Members are cut at a layer, their feature maps go through a transformation block, and heads judge
each location of the fused map: SimpleNet's discriminator, a memory bank, a Gaussian.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence, Sized
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any, ClassVar

import torch
from torch import Tensor

from loco_tools.datasets.images import Pixels
from loco_tools.datasets.reading import evenly_spaced, every_nth
from loco_tools.ensembles.base import Ensemble
from loco_tools.ensembles.feature_level.backbone_banks import BackboneBanks
from loco_tools.ensembles.feature_level.blocks import BLOCKS, Transformation, resized
from loco_tools.ensembles.feature_level.config import FusionConfig
from loco_tools.ensembles.feature_level.heads import (
    Discriminating,
    Gaussian,
    Head,
    MemoryBank,
    restored,
)
from loco_tools.ensembles.feature_level.member_cuts import cuts_of
from loco_tools.ensembles.feature_level.sampling import (
    INSIDE,
    Make,
    Varied,
    anomalous_rows,
    at_input_size,
    good_rows,
    patch_shares,
    sampled,
    with_masks,
)
from loco_tools.ensembles.feature_level.score_maps import Spoken, Voices
from loco_tools.ensembles.feature_level.source_weights import source_weights
from loco_tools.ensembles.feature_level.training import FusedRows, train_on_rows
from loco_tools.methods.batch import Batch, CachedBatches
from loco_tools.methods.detector import CutShape, Detector, PatchScores
from loco_tools.methods.patch_features import to_rows
from loco_tools.methods.simplenet import Discriminator
from loco_tools.methods.training import prefixed
from loco_tools.progress import Progress
from loco_tools.synthesis.families import FAMILIES, LEARNED_FROM, Synthetic, synthetic_anomalies
from loco_tools.synthesis.perlin import Mask

_TAUGHT = ("stain", "cut_paste", "scar", "copy_move")
"""Kinds of synthetic anomalies that the discriminator learns from; voices are weighed on others."""
_EACH = 16
"""Synthetic anomalies in an image: that many times as many for the same passes. With one in each,
36 images left the voices' weights unsteady: the discriminator's was .03 to .52 on magnetic tiles,
by which images happened to be drawn."""
_SOURCES_WEIGHED = 3
"""Images with anomalies that are enough to weigh whole sources; voices get all of them."""
_KEPT_MB = 256.0
"""Of images and backbones' maps, at most, for each of the sets that are gone through twice."""
_WATCHED = 5
"""One in so many held-out rows is not learned but watched, for the log."""
_OBSERVED = 4096
"""Rows whose moments are summed at a time."""
_ROWS_BESIDE = 250
"""Of each synthetic image, at most so many rows in the anomaly and beside it."""


@dataclass(frozen=True)
class _Lesson:
    """What heads learn: images, and rows of their fused features."""

    train: Sequence[Pixels]
    held_out: Sequence[Pixels]
    pool: Tensor
    held_rows: Tensor
    seed: int
    progress: Progress


@dataclass(frozen=True)
class _Weighed:
    """Synthetic anomalies that sources or voices are weighed on, and passes over their images."""

    anomalies: list[Synthetic]
    passes: CachedBatches

    def with_masks(self) -> Iterator[tuple[Batch, list[Mask]]]:
        """As `anomalous_rows` takes them."""
        masks = (one.mask for one in self.anomalies)
        for batch in self.passes:
            yield batch, list(islice(masks, len(batch)))


class FeatureFusion(Ensemble):
    """Feature-level ensemble of fitted detectors.

    Deviations from the thesis, each with a setting (see `FusionConfig`): a memory bank on the
    fused features beside the discriminator, anomalies made in images beside feature noise, and
    as voices of their own the members' scores and memory banks on the maps of their backbones. In
    trials the discriminator with noise alone stayed behind its best member.
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
        self.member_cuts = cuts_of(self.members, config, ensemble=self.name)
        self._block: Transformation | None = None
        self._heads: dict[str, Head] = {}
        self._anchors: MemoryBank | None = None
        self._banks: BackboneBanks | None = None
        self._voices: Voices | None = None

    @torch.inference_mode()
    def _fit(
        self,
        train: Sequence[Pixels],
        validation: Sequence[Pixels],
        *,
        seed: int,
        progress: Progress,
    ) -> None:
        held_out = self._passes(self._held_out(train, validation, progress))
        weighing = [self._weighed(part) for part in self._weighing(held_out.images, seed)]
        pool = self._observe(train, seed, progress)
        held_rows = self._rows(self._sources, held_out, seed, progress, "held-out features")
        self._solve(pool, held_rows, weighing, seed)
        block = self._fitted_block()
        pool, held_rows = block.project(pool), block.project(held_rows)
        self._fit_heads(_Lesson(train, held_out.images, pool, held_rows, seed, progress))
        good = Spoken.joined(list(self._heard([held_out], progress)))
        anchors = self._fitted_anchors().bank
        self._voices = Voices.fit(
            good,
            anchors,
            local_images=self.config.local_images,
            local_maps=self.config.local_maps,
            smoothing=self.config.smoothing,
            surroundings=self.config.surroundings,
            member_images=self.config.member_images,
            beside=len(self._fitted_banks()),
            share=self.config.backbone_share,
        )
        if self.config.weights == "worth":
            anomalous = Spoken.joined(list(self._heard([w.passes for w in weighing], progress)))
            grid = (anomalous.patches.shape[2], anomalous.patches.shape[3])
            inside = [
                patch_shares(one.masks, grid).to(self.device) > INSIDE
                for part in weighing
                for one in part.anomalies
            ]
            self._voices.weigh(good, anomalous, inside)

    def _weighing(self, images: Sequence[Pixels], seed: int) -> list[list[Synthetic]]:
        """Synthetic anomalies that nothing here learns from: for whole sources, and more."""
        if "worth" not in (self.config.weights, self.config.source_weights):
            return [[], []]
        known = {*_TAUGHT}
        if any(member.name == "draem" for member in self.members.values()):
            known |= {*LEARNED_FROM}
        families = [name for name in FAMILIES if name not in known]
        made = synthetic_anomalies(
            images,
            self.config.weighing,
            seed=seed + 1_000_000,
            families=families,
            each=_EACH,
            size=self.input_size,
        )
        kept = at_input_size(made, self.input_size)
        return [kept[:_SOURCES_WEIGHED], kept[_SOURCES_WEIGHED:]]

    def _weighed(self, anomalies: list[Synthetic]) -> _Weighed:
        return _Weighed(anomalies, self._passes([one.image for one in anomalies]))

    def _passes(self, images: Sequence[Pixels], *, keep_mb: float = _KEPT_MB) -> CachedBatches:
        return CachedBatches(images, self.config.batch_size, self.device, keep_mb=keep_mb)

    def _observe(self, train: Sequence[Pixels], seed: int, progress: Progress) -> Tensor:
        """Take note of the training images' features; some of their rows, not yet projected."""
        self._block = BLOCKS[self.config.block](self._channels).to(self.device)
        banks = self._banks = self._new_banks()
        generator = torch.Generator().manual_seed(seed)
        seen = evenly_spaced(train, self.config.backbone_images)
        fused = every_nth(len(seen), self.config.pool_images)
        parts, done = [], 0
        with progress.task(f"{self.name}: components", len(seen)) as advance:
            for batch in self._passes(seen, keep_mb=0):
                banks.observe(batch, self._per_image(seen), generator)
                chosen = [n for n in range(len(batch)) if done + n in fused]
                if chosen:
                    sources = self._sources(batch.part(chosen))
                    most = self._per_image(fused) * len(chosen)
                    parts.append(sampled(sources, most, generator))
                done += len(batch)
                advance(len(batch))
        rows = torch.cat(parts)
        banks.solve(self.config.backbone_bank, seed=seed, progress=progress)
        for part in torch.split(rows, _OBSERVED):
            self._block.observe(part)
        return rows

    def _solve(
        self, pool: Tensor, held_rows: Tensor, weighing: Sequence[_Weighed], seed: int
    ) -> None:
        weights = None
        if self.config.source_weights == "worth" and len(self.members) > 1:
            found = self._anomalous(self._sources, weighing[0].with_masks(), seed)
            if found is not None:
                weights = source_weights(pool, held_rows, found[0], self._channels, seed)
        components = self.config.components
        self._fitted_block().solve(
            components=[components[name] for name in self.members]
            if isinstance(components, dict)
            else components,
            scale=self.config.scale,
            whiten=self.config.whiten,
            weights=weights,
        )

    def _fit_heads(self, lesson: _Lesson) -> None:
        seed, progress = lesson.seed, lesson.progress
        varied = Varied(lesson.train, self.config.varied, seed)
        once = self._passes(varied, keep_mb=0)
        more = (
            [self._rows(self._fused_map, once, seed, progress, "varied images")] if varied else []
        )
        bank_rows = torch.cat([lesson.pool, *more])
        self._anchors = MemoryBank.fit(
            bank_rows, self.config.bank_size, seed=seed, progress=progress
        )
        for name in self.config.heads:
            if name == MemoryBank.name:
                self._heads[name] = self._anchors
            elif name == Gaussian.name:
                self._heads[name] = Gaussian.fit(bank_rows)
            else:
                self._heads[name] = self._taught(lesson)

    @torch.inference_mode(mode=False)
    def _taught(self, lesson: _Lesson) -> Head:
        config, held_rows = self.config, lesson.held_rows
        watched = max(1, len(held_rows) // _WATCHED)  # those of the last images
        learned = held_rows[:-watched] if len(held_rows) > watched else held_rows
        good = {
            "train": lesson.pool,
            "held_out": learned,
            "both": torch.cat([lesson.pool, learned]),
        }
        sources = lesson.held_out if config.learn_from == "held_out" else lesson.train
        made = synthetic_anomalies(
            sources,
            config.anomalies,
            seed=lesson.seed,
            families=_TAUGHT,
            each=_EACH,
            size=self.input_size,
        )
        with torch.inference_mode():
            seen = with_masks(made, config.batch_size, self.device)
            found = self._anomalous(self._fused_map, seen, lesson.seed)
        anomalous, beside = found or (held_rows[:0], held_rows[:0])
        discriminator = self._new_discriminator(lesson.pool.shape[1], lesson.seed)
        self.training_log = train_on_rows(
            discriminator,
            FusedRows(
                good=good[config.learn_from].clone(),
                anomalous=anomalous.clone(),
                beside=beside.clone(),
                held_out=held_rows[-watched:].clone(),
            ),
            config,
            seed=lesson.seed,
            progress=lesson.progress,
            title=self.name,
            keep=self._keep,
        )
        return Discriminating(discriminator)

    def _anomalous(
        self, make: Make, passes: Iterable[tuple[Batch, Sequence[Mask]]], seed: int
    ) -> tuple[Tensor, Tensor] | None:
        """Rows in anomalies and beside them; None when there are none."""
        parts = list(anomalous_rows(make, passes, _ROWS_BESIDE, seed=seed))
        if not parts or not sum(len(inside) for inside, _ in parts):
            return None
        return torch.cat([p[0] for p in parts]), torch.cat([p[1] for p in parts])

    def _rows(
        self, make: Make, passes: CachedBatches, seed: int, progress: Progress, title: str
    ) -> Tensor:
        per_image, title = self._per_image(passes.images), f"{self.name}: {title}"
        found = good_rows(make, passes, per_image, seed=seed, progress=progress, title=title)
        return torch.cat(list(found))

    def _per_image(self, images: Sized) -> int:
        return max(1, self.config.pool_patches // len(images))

    @torch.inference_mode()
    def _heard(self, passes: Sequence[CachedBatches], progress: Progress) -> Iterator[Spoken]:
        count = sum(len(part.images) for part in passes)
        with progress.task(f"{self.name}: calibration", count) as advance:
            for batch in chain.from_iterable(passes):
                yield self._spoken(batch)
                advance(len(batch))

    def _spoken(self, batch: Batch) -> Spoken:
        """What heads, backbones and members say about a batch."""
        fused = self._fused(batch)
        B, _, h, w = fused.shape
        rows = to_rows(fused)
        distances, nearest = self._fitted_anchors().search(rows)
        patches = [
            (distances if head is self._anchors else head.scores(rows)).view(B, h, w)
            for head in self._heads.values()
        ]
        patches += self._fitted_banks().scores(batch, (h, w))
        images = [fused.new_zeros(B, 0)]
        for member in self.members.values() if self.config.member_scores else ():
            scores = member.score_batch(batch)
            patches.append(resized(scores.patches[:, None], (h, w))[:, 0])
            images.append(scores.image[:, None])
        return Spoken(
            torch.stack(patches, dim=1),
            nearest.view(B, h, w),
            torch.cat(images, dim=1),
        )

    def score_batch(self, batch: Batch) -> PatchScores:
        """See `Detector`; how voices are put together, `Voices` says."""
        if self._voices is None:
            raise self.not_fitted()
        image, patches = self._voices.judge(self._spoken(batch))
        return PatchScores(image=image, patches=patches)

    def cut_shape(self, cut: str) -> CutShape:
        """See `Detector.cut_shape`; the stride is the finest of the members'."""
        self.check_cut(cut)
        strides = [m.cut_shape(self.member_cuts[n]).stride for n, m in self.members.items()]
        return CutShape(self._fitted_block().dim, min(strides))

    def cut_batch(self, batch: Batch, cut: str) -> Tensor:
        """Cut "fused features": (B, components, h, w), what the heads are given."""
        self.check_cut(cut)
        return self._fused(batch)

    @property
    def _strides(self) -> tuple[int, ...]:
        return self.config.backbone_strides

    @property
    def _channels(self) -> list[int]:
        return [m.cut_shape(self.member_cuts[n]).channels for n, m in self.members.items()]

    def _sources(self, batch: Batch) -> list[Tensor]:
        self._fitted_banks().prepare(batch)
        return [m.cut_batch(batch, self.member_cuts[n]) for n, m in self.members.items()]

    def _fused(self, batch: Batch) -> Tensor:
        fused: Tensor = self._fitted_block()(self._sources(batch))
        return fused

    def _fused_map(self, batch: Batch) -> list[Tensor]:
        return [self._fused(batch)]

    def _fitted_block(self) -> Transformation:
        if self._block is None:
            raise self.not_fitted()
        return self._block

    def _fitted_anchors(self) -> MemoryBank:
        if self._anchors is None:
            raise self.not_fitted()
        return self._anchors

    def _fitted_banks(self) -> BackboneBanks:
        if self._banks is None:
            raise self.not_fitted()
        return self._banks

    def _new_banks(self) -> BackboneBanks:
        return BackboneBanks(self.members.values(), self.config.backbone_strides, self.input_size)

    def _new_discriminator(self, dim: int, seed: int) -> Discriminator:
        generator = torch.Generator().manual_seed(seed)
        return Discriminator(dim, self.config.hidden_dim, generator).to(self.device).eval()

    def _tensors(self) -> dict[str, Tensor]:
        block = self._fitted_block()
        if self._voices is None:
            raise self.not_fitted()
        found = {
            **prefixed("block", block),
            "channels": torch.tensor(block.channels),
            "anchors": self._fitted_anchors().bank,
        }
        for name, head in self._heads.items():
            if head is not self._anchors:
                found |= {f"head.{name}.{key}": value for key, value in head.tensors().items()}
        found |= {f"backbones.{k}": v for k, v in self._fitted_banks().tensors().items()}
        return found | {f"voices.{k}": v for k, v in self._voices.tensors().items()}

    def _restore(self, tensors: Mapping[str, Tensor]) -> None:
        block = BLOCKS[self.config.block](tensors["channels"].tolist())
        block.mean, block.basis = tensors["block.mean"], tensors["block.basis"]
        self._block = block.to(self.device)
        self._anchors = MemoryBank(tensors["anchors"])
        for name in self.config.heads:
            own = _under(f"head.{name}.", tensors)
            blank = self._new_discriminator(block.dim, seed=0)
            same = name == MemoryBank.name
            self._heads[name] = self._anchors if same else restored(name, own, blank)
        self._banks = self._new_banks()
        self._banks.restore(_under("backbones.", tensors))
        self._voices = Voices(_under("voices.", tensors))


def _under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
