"""The output-level ensemble: scores and maps of several detectors become one score and one map.

Everything is fitted to held-out good images and to synthetic anomalies made from them; no test
image and no label of one is used.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
import numpy.typing as npt
import torch
from pydantic import Field, field_validator, model_validator
from torch import Tensor

from loco_tools.datasets.images import Pixels
from loco_tools.ensembles.base import Ensemble, backbone_of, count_together
from loco_tools.ensembles.feature_level.blocks import stack
from loco_tools.ensembles.feature_level.sampling import patch_share
from loco_tools.ensembles.output_level import COMBINERS, combiner_class, gives_probabilities
from loco_tools.ensembles.output_level.bagging import check_can_be_refitted, refit
from loco_tools.ensembles.output_level.calibrators import (
    CALIBRATORS,
    Calibrator,
    State,
    calibrator_class,
)
from loco_tools.ensembles.output_level.combiners import Combiner
from loco_tools.ensembles.output_level.logistic import Array
from loco_tools.errors import MethodError, did_you_mean
from loco_tools.methods import load_detector
from loco_tools.methods.backbones import Backbone
from loco_tools.methods.batch import Batch, batches, chunks
from loco_tools.methods.detector import CutShape, Detector, DetectorConfig, PatchScores
from loco_tools.progress import Progress
from loco_tools.synthesis.families import FAMILIES, LEARNED_FROM, synthetic_anomalies


class OutputConfig(DetectorConfig):
    """Settings of an output-level ensemble; names of ensembles choose calibrator and combiner."""

    calibrator: str = "z_score"
    """Calibrator of image scores, a name in `CALIBRATORS`. Maps use the same one on good patches
    when it needs no anomalies and z-scores otherwise, because probabilities of patches would
    saturate."""
    combiner: str = "mean"
    """Combiner of the calibrated scores, a name in `COMBINERS`."""
    vote_quantile: float = Field(default=0.95, gt=0, lt=1)
    """Quantile of the good scores above which a member votes "anomalous"."""
    alpha: float = Field(default=4.0, ge=0)
    """Exponent of the accuracies in CAWPE."""
    synthetic: int = Field(default=200, ge=2)
    """Number of synthetic anomalies; they are made only when calibrator or combiner need them."""
    families: tuple[str, ...] | None = None
    """Kinds of synthetic anomalies; None: all kinds that no method here is trained on."""
    patches: int = Field(default=50_000, ge=100)
    """Good patches, chosen at random from all held-out images, that maps are calibrated on."""
    bags: int = Field(default=0, ge=0, le=50)
    """Above 0, every member is fitted this number of times on resampled training images, and these
    detectors are combined instead of the member."""

    @field_validator("calibrator")
    @classmethod
    def _calibrator_exists(cls, value: str) -> str:
        if value not in CALIBRATORS:
            raise ValueError(f'unknown calibrator "{value}"; {did_you_mean(value, CALIBRATORS)}')
        return value

    @field_validator("combiner")
    @classmethod
    def _combiner_exists(cls, value: str) -> str:
        if value not in COMBINERS:
            raise ValueError(f'unknown combiner "{value}"; {did_you_mean(value, COMBINERS)}')
        return value

    @field_validator("families")
    @classmethod
    def _families_exist(cls, value: tuple[str, ...] | None) -> tuple[str, ...] | None:
        for name in value or ():
            if name not in FAMILIES:
                raise ValueError(f'unknown family "{name}"; {did_you_mean(name, FAMILIES)}')
        if value == ():
            raise ValueError("expected at least one family, got none")
        return value

    @model_validator(mode="after")
    def _cawpe_has_probabilities(self) -> Self:
        if self.combiner == "cawpe" and not calibrator_class(self.calibrator).needs_anomalies:
            raise ValueError(
                f'combiner "cawpe" weights probabilities, which calibrator "{self.calibrator}" '
                "does not give; expected platt, temperature, beta or isotonic"
            )
        return self

    @property
    def probabilities(self) -> bool:
        """Whether image scores are probabilities of an anomaly when both kinds are as frequent."""
        return gives_probabilities(self.calibrator, self.combiner)


class ScoreFusion:
    """A calibrator per member and a combiner, for image scores or for patches."""

    def __init__(self, calibrator: str, combiner: Combiner) -> None:
        """`calibrator` is a name in `CALIBRATORS` (MethodError when unknown); both are unfitted."""
        self._calibrator = calibrator_class(calibrator)
        self._calibrators: list[Calibrator] = []
        self.combiner = combiner

    @property
    def needs_anomalies(self) -> bool:
        """Whether `fit` needs anomalous scores."""
        return self._calibrator.needs_anomalies or self.combiner.needs_anomalies

    def fit(self, good: Array, anomalous: Array | None = None) -> Self:
        """Fit to members' scores (N, K) of good and, where needed, (M, K) of anomalous images.

        Raises:
            MethodError: scores that are not finite, or no scores where they are needed.
        """
        columns = [None] * good.shape[1] if anomalous is None else anomalous.T
        self._calibrators = [
            self._calibrator().fit(g, a) for g, a in zip(good.T, columns, strict=True)
        ]
        self.combiner.fit(
            self.calibrated(good), None if anomalous is None else self.calibrated(anomalous)
        )
        return self

    def calibrated(self, scores: Array) -> Array:
        """The members' scores (..., K) on one scale."""
        parts = [c.transform(scores[..., k]) for k, c in enumerate(self._calibrators)]
        return np.stack(parts, axis=-1)

    def combine(self, scores: Array) -> Array:
        """Combined scores (...) of members' scores (..., K)."""
        return self.combiner.combine(self.calibrated(scores))

    def margin(self, scores: Array) -> Array:
        """Like `combine`, but never saturating; used for maps."""
        return self.combiner.margin(self.calibrated(scores))

    def arrays(self) -> State:
        """The learned arrays, named "<member's number>.<name>" and "combiner.<name>"."""
        states = {str(number): c.state for number, c in enumerate(self._calibrators)}
        states["combiner"] = self.combiner.state
        return {
            f"{p}.{name}": value for p, state in states.items() for name, value in state.items()
        }

    def restore(self, arrays: Mapping[str, npt.NDArray[Any]], members: int) -> None:
        """Load what `arrays` gave; KeyError when the arrays of a member are missing."""
        states: dict[str, State] = {"combiner": {}}
        for key, value in arrays.items():
            part, _, name = key.partition(".")
            states.setdefault(part, {})[name] = value
        self._calibrators = [self._calibrator(states[str(k)]) for k in range(members)]
        self.combiner.state = states["combiner"]


class MemberScores(NamedTuple):
    """Scores of K members: of images (N, K), and of sampled patches (P, K)."""

    images: Array
    patches: Array


class OutputFusion(Ensemble):
    """Calibrates the members' image scores and maps, each on their own, and combines them.

    Maps are resized bilinearly to the largest grid of the members. A combiner of trees, which has
    few different scores, leaves the maps to another combiner, see `Combiner.for_maps`. For maps, a
    combiner that needs anomalies is fitted to patches of which at least half lies in an anomaly.
    """

    name = "ensemble-output"
    Config: ClassVar[type[OutputConfig]] = OutputConfig
    config: OutputConfig
    cuts = ()
    PRESETS: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "paper": {},
        # Bounds the time to calibrate; every member scores every synthetic anomaly.
        "fast": {"synthetic": 64, "patches": 20_000},
    }

    def __init__(
        self, config: OutputConfig, members: Mapping[str, Detector], *, device: str = "auto"
    ) -> None:
        super().__init__(config, members, device=device)
        self._bags: dict[str, list[Detector]] = {}
        self._images: ScoreFusion | None = None
        self._maps: ScoreFusion | None = None
        if config.bags:
            for name, member in self.members.items():
                check_can_be_refitted(name, member)

    @property
    def probabilities(self) -> bool:
        """Whether image scores are probabilities of an anomaly, see `OutputConfig`."""
        return self.config.probabilities

    @property
    def _scored_detectors(self) -> list[Detector]:
        """The detectors whose scores are combined: the bags of the members, or the members."""
        if self.config.bags:
            return [detector for bag in self._bags.values() for detector in bag]
        return list(self.members.values())

    def parameter_count(self) -> int:
        """See `Detector.parameter_count`; a backbone that members share counts once."""
        return self.own_parameter_count() + count_together(self._scored_detectors)

    def _fit(
        self,
        train: Sequence[Pixels],
        validation: Sequence[Pixels],
        *,
        seed: int,
        progress: Progress,
    ) -> None:
        if self.config.bags:
            self._bags = {
                name: refit(
                    check_can_be_refitted(name, member),
                    train,
                    validation,
                    bags=self.config.bags,
                    seed=seed,
                    progress=progress,
                )
                for name, member in self.members.items()
            }
        held_out = self._held_out(train, validation, progress)
        images, maps = self._new_fusions(seed)
        good = self._score_good_images(held_out, seed, progress)
        anomalous_images = anomalous_patches = None
        if images.needs_anomalies or maps.needs_anomalies:
            scores = self._score_synthetic_anomalies(held_out, seed, progress)
            anomalous_images, anomalous_patches = scores
        self._images = images.fit(good.images, anomalous_images)
        self._maps = maps.fit(good.patches, anomalous_patches)

    def _new_fusions(self, seed: int) -> tuple[ScoreFusion, ScoreFusion]:
        """Unfitted fusions of image scores and of patches."""
        config = self.config
        images, maps = (
            combiner_class(name)(vote_quantile=config.vote_quantile, alpha=config.alpha, seed=seed)
            for name in (
                config.combiner,
                combiner_class(config.combiner).for_maps or config.combiner,
            )
        )
        needs_anomalies = calibrator_class(config.calibrator).needs_anomalies
        return (
            ScoreFusion(config.calibrator, images),
            ScoreFusion("z_score" if needs_anomalies else config.calibrator, maps),
        )

    def _score_good_images(
        self, images: Sequence[Pixels], seed: int, progress: Progress
    ) -> MemberScores:
        rng = np.random.default_rng(seed)
        per_image = max(1, self.config.patches // len(images))
        scores, patches = [], []
        with progress.task(f"{self.name}: good images", len(images)) as advance:
            for batch in batches(images, self.config.batch_size, self.device):
                image_scores, maps = self._member_scores(batch)
                scores.append(image_scores)
                rows = maps.reshape(-1, maps.shape[-1])
                patches.append(rows[rng.permutation(len(rows))[: per_image * len(batch)]])
                advance(len(batch))
        return MemberScores(np.concatenate(scores), np.concatenate(patches))

    def _score_synthetic_anomalies(
        self, images: Sequence[Pixels], seed: int, progress: Progress
    ) -> MemberScores:
        """Scores of anomalies made in the images; patches are those that lie in an anomaly."""
        count = self.config.synthetic
        rng = np.random.default_rng(seed)
        per_image = max(1, self.config.patches // count)
        families = self.config.families or [f for f in FAMILIES if f not in LEARNED_FROM]
        anomalies = synthetic_anomalies(
            images, count, seed=seed, families=families, size=self.input_size
        )
        scores, patches = [], []
        with progress.task(f"{self.name}: synthetic anomalies", count) as advance:
            for part in chunks(anomalies, self.config.batch_size):
                batch = Batch([anomaly.image for anomaly in part], self.device)
                image_scores, maps = self._member_scores(batch)
                scores.append(image_scores)
                for anomaly, rows in zip(part, maps, strict=True):
                    share = patch_share(anomaly.mask, (rows.shape[0], rows.shape[1]))
                    # At least half of the patch, or the patches that a small anomaly covers most.
                    inside = rows[share >= min(0.5, float(share.max()))]
                    patches.append(inside[rng.permutation(len(inside))[:per_image]])
                advance(len(part))
        return MemberScores(np.concatenate(scores), np.concatenate(patches))

    @torch.inference_mode()
    def _member_scores(self, batch: Batch) -> tuple[Array, Array]:
        """The members' scores (B, K) and maps (B, h, w, K) of a batch, not calibrated."""
        outputs = [detector.checked_scores(batch) for detector in self._scored_detectors]
        scores = torch.stack([output.image.double().cpu() for output in outputs], dim=1)
        maps = stack([output.patches[:, None].float() for output in outputs])  # (B, K, h, w)
        return scores.numpy(), maps.permute(0, 2, 3, 1).cpu().double().numpy()

    def score_batch(self, batch: Batch) -> PatchScores:
        """See `Detector`; image scores are float64, as probabilities near 1 need."""
        if self._images is None or self._maps is None:
            raise self.not_fitted()
        scores, maps = self._member_scores(batch)
        image = torch.from_numpy(self._images.combine(scores))
        patches = torch.from_numpy(self._maps.margin(maps)).float()
        return PatchScores(image=image.to(self.device), patches=patches.to(self.device))

    def cut_shape(self, cut: str) -> CutShape:
        """See `Detector.cut_shape`; this ensemble has no cuts and raises a MethodError."""
        raise MethodError(f'{self.name} has no cut "{cut}": it fuses scores, not features')

    def cut_batch(self, batch: Batch, cut: str) -> Tensor:
        """See `Detector.cut_batch`; this ensemble has no cuts and raises a MethodError."""
        del batch
        raise MethodError(f'{self.name} has no cut "{cut}": it fuses scores, not features')

    def _saved_detectors(self) -> dict[str, Detector]:
        bags = {
            f"bags/{number}/{bag}": detector
            for number, detectors in enumerate(self._bags.values())
            for bag, detector in enumerate(detectors)
        }
        return super()._saved_detectors() | bags

    @classmethod
    def load(
        cls,
        folder: Path,
        backbone: Backbone | Mapping[str, Backbone] | None = None,
        *,
        device: str = "auto",
    ) -> Self:
        """See `Ensemble.load`."""
        ensemble = super().load(folder, backbone, device=device)
        if ensemble.config.bags:
            ensemble._bags = {
                name: [
                    load_detector(
                        folder / "bags" / str(number) / str(bag),
                        backbone_of(name, backbone),
                        device=str(ensemble.device),
                    )
                    for bag in range(ensemble.config.bags)
                ]
                for number, name in enumerate(ensemble.members)
            }
        return ensemble

    def _tensors(self) -> dict[str, Tensor]:
        if self._images is None or self._maps is None:
            raise self.not_fitted()
        return {
            f"{level}.{name}": torch.from_numpy(np.ascontiguousarray(value))
            for level, fusion in (("images", self._images), ("maps", self._maps))
            for name, value in fusion.arrays().items()
        }

    def _restore(self, tensors: Mapping[str, Tensor]) -> None:
        detectors = len(self.members) * max(1, self.config.bags)
        self._images, self._maps = self._new_fusions(seed=0)
        for level, fusion in (("images.", self._images), ("maps.", self._maps)):
            arrays = {
                key.removeprefix(level): value.cpu().numpy()
                for key, value in tensors.items()
                if key.startswith(level)
            }
            fusion.restore(arrays, detectors)
