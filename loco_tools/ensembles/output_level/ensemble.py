"""The output-level ensemble: what several detectors say becomes one score and one map.

Everything is fitted on held-out good images and on synthetic anomalies made from them; no test
image and no label of one is looked at.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple, Self

import numpy as np
import numpy.typing as npt
import torch
from pydantic import Field, field_validator, model_validator
from torch import Tensor

from loco_tools.datasets.images import Pixels
from loco_tools.ensembles.base import Ensemble, backbone_of
from loco_tools.ensembles.feature_level.blocks import stack
from loco_tools.ensembles.feature_level.sampling import patch_share
from loco_tools.ensembles.output_level.bagging import check_can_be_refitted, refitted
from loco_tools.ensembles.output_level.calibrators import calibrator_class
from loco_tools.ensembles.output_level.combiner import Combiner
from loco_tools.ensembles.output_level.combiners import combiner_class, gives_probabilities
from loco_tools.ensembles.output_level.logistic import Array
from loco_tools.ensembles.output_level.score_fusion import ScoreFusion
from loco_tools.errors import MethodError, did_you_mean
from loco_tools.methods import load_detector
from loco_tools.methods.backbones import Backbone
from loco_tools.methods.batch import Batch, batches, chunks
from loco_tools.methods.detector import CutShape, Detector, DetectorConfig, PatchScores
from loco_tools.progress import Progress
from loco_tools.synthesis.families import FAMILIES, LEARNED_FROM, synthetic_anomalies

Mask = npt.NDArray[np.bool_]

CalibratorName = Literal[
    "z_score",
    "robust_z",
    "quantile",
    "empirical",
    "leave_one_out",
    "platt",
    "temperature",
    "beta",
    "isotonic",
]
CombinerName = Literal[
    "mean", "weighted", "max", "median", "vote", "rank", "stack", "forest", "boost", "cawpe"
]


class OutputConfig(DetectorConfig):
    """Of an output-level ensemble; the names of ensembles choose calibrator and combiner."""

    calibrator: CalibratorName = "z_score"
    """Of image scores. Maps are calibrated on good patches by the same one where it needs no
    anomalies, otherwise by z-scores: probabilities of patches would saturate."""
    combiner: CombinerName = "mean"
    vote_quantile: float = Field(default=0.95, gt=0, lt=1)
    """Of the good scores; a member whose score lies beyond it votes "anomalous"."""
    alpha: float = Field(default=4.0, ge=0)
    """The power to which CAWPE takes accuracies."""
    synthetic: int = Field(default=200, ge=2)
    """Synthetic anomalies, made only where calibrator or combiner need them."""
    families: tuple[str, ...] | None = None
    """Kinds of synthetic anomalies; None: all that no method here is trained with."""
    patches: int = Field(default=50_000, ge=100)
    """Good patches that maps are calibrated on, drawn at random from all held-out images."""
    bags: int = Field(default=0, ge=0, le=50)
    """Above 0, every member is fitted so many times on resampled training images, and these are
    combined in its place."""

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
    def _cawpe_weighs_probabilities(self) -> Self:
        if self.combiner == "cawpe" and not calibrator_class(self.calibrator).needs_anomalies:
            raise ValueError(
                f'combiner "cawpe" weighs probabilities, which calibrator "{self.calibrator}" '
                "does not give; expected platt, temperature, beta or isotonic"
            )
        return self

    @property
    def probabilities(self) -> bool:
        """Whether image scores are probabilities of an anomaly, at equal shares of both kinds."""
        return gives_probabilities(self.calibrator, self.combiner)


class Heard(NamedTuple):
    """What K members say of some images: images (N, K), and a sample of patches (P, K)."""

    images: Array
    patches: Array


class OutputFusion(Ensemble):
    """Calibrates the members' image scores and maps, each for itself, and combines them.

    Maps are brought to the largest of the members' grids, bilinearly. A combiner that judges by
    few leaves (a forest) leaves the maps to a stack, see `Combiner.for_maps`; one that is fitted
    on anomalies is fitted for maps on patches that lie half or more in a synthetic one.
    """

    name = "ensemble-output"
    Config: ClassVar[type[OutputConfig]] = OutputConfig
    config: OutputConfig
    cuts = ()
    PRESETS: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "paper": {},
        # Bounds the time to calibrate; the members are asked about every synthetic anomaly.
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

    def _consulted(self) -> list[Detector]:
        if self.config.bags:
            return [one for bag in self._bags.values() for one in bag]
        return list(self.members.values())

    def _fit(
        self,
        train: Sequence[Pixels],
        validation: Sequence[Pixels],
        *,
        seed: int,
        progress: Progress,
    ) -> None:
        self._bags = {
            name: list(
                refitted(
                    check_can_be_refitted(name, member),
                    train,
                    validation,
                    bags=self.config.bags,
                    seed=seed,
                    progress=progress,
                )
            )
            for name, member in self.members.items()
            if self.config.bags
        }
        held_out = self._held_out(train, validation, progress)
        images, maps = self._new_fusions(seed)
        good = self._heard_good(held_out, seed, progress)
        anomalous: Heard | None = None
        if images.needs_anomalies or maps.needs_anomalies:
            anomalous = self._heard_anomalous(held_out, seed, progress)
        self._images = images.fit(good.images, None if anomalous is None else anomalous.images)
        self._maps = maps.fit(good.patches, None if anomalous is None else anomalous.patches)

    def _new_fusions(self, seed: int) -> tuple[ScoreFusion, ScoreFusion]:
        """Of images and of patches, not yet fitted."""
        config = self.config
        of_maps = combiner_class(config.combiner).for_maps or config.combiner
        ordinary = not calibrator_class(config.calibrator).needs_anomalies
        return (
            ScoreFusion(config.calibrator, self._new_combiner(config.combiner, seed)),
            ScoreFusion(
                config.calibrator if ordinary else "z_score", self._new_combiner(of_maps, seed)
            ),
        )

    def _new_combiner(self, name: str, seed: int) -> Combiner:
        config = self.config
        return combiner_class(name)(
            vote_quantile=config.vote_quantile, alpha=config.alpha, seed=seed
        )

    def _heard_good(self, images: Sequence[Pixels], seed: int, progress: Progress) -> Heard:
        rng = np.random.default_rng(seed)
        per_image = max(1, self.config.patches // len(images))
        scores, patches = [], []
        with progress.task(f"{self.name}: good images", len(images)) as advance:
            for batch in batches(images, self.config.batch_size, self.device):
                of_images, maps = self._ask(batch)
                scores.append(of_images)
                rows = maps.reshape(-1, maps.shape[-1])
                patches.append(rows[rng.permutation(len(rows))[: per_image * len(batch)]])
                advance(len(batch))
        return Heard(np.concatenate(scores), np.concatenate(patches))

    def _heard_anomalous(self, images: Sequence[Pixels], seed: int, progress: Progress) -> Heard:
        count = self.config.synthetic
        rng = np.random.default_rng(seed)
        per_image = max(1, self.config.patches // count)
        families = self.config.families or [f for f in FAMILIES if f not in LEARNED_FROM]
        made = synthetic_anomalies(
            images, count, seed=seed, families=families, size=self.input_size
        )
        scores, patches = [], []
        with progress.task(f"{self.name}: synthetic anomalies", count) as advance:
            for part in chunks(made, self.config.batch_size):
                of_images, maps = self._ask(Batch([one.image for one in part], self.device))
                scores.append(of_images)
                for one, rows in zip(part, maps, strict=True):
                    within = rows[_covered(one.mask, rows.shape[:2])]
                    patches.append(within[rng.permutation(len(within))[:per_image]])
                advance(len(part))
        return Heard(np.concatenate(scores), np.concatenate(patches))

    @torch.inference_mode()
    def _ask(self, batch: Batch) -> tuple[Array, Array]:
        """The members' scores (B, K) and maps (B, h, w, K) of a batch, as they are."""
        voices = [detector.score_batch(batch) for detector in self._consulted()]
        scores = torch.stack([voice.image.double().cpu() for voice in voices], dim=1)
        maps = stack([voice.patches[:, None].float() for voice in voices])  # (B, K, h, w)
        return scores.numpy(), maps.permute(0, 2, 3, 1).cpu().double().numpy()

    def score_batch(self, batch: Batch) -> PatchScores:
        """See `Detector`; image scores are float64, as probabilities near 1 need."""
        if self._images is None or self._maps is None:
            raise self.not_fitted()
        scores, maps = self._ask(batch)
        image = torch.from_numpy(self._images.combine(scores))
        patches = torch.from_numpy(self._maps.margin(maps)).float()
        return PatchScores(image=image.to(self.device), patches=patches.to(self.device))

    def cut_shape(self, cut: str) -> CutShape:
        """See `Detector.cut_shape`; there is no cut."""
        raise self._without_cuts(cut)

    def cut_batch(self, batch: Batch, cut: str) -> Tensor:
        """See `Detector.cut_batch`; there is no cut."""
        del batch
        raise self._without_cuts(cut)

    def _without_cuts(self, cut: str) -> MethodError:
        return MethodError(f'{self.name} has no cut "{cut}": it fuses scores, not features')

    def _save_more(self, folder: Path) -> None:
        for number, bag in enumerate(self._bags.values()):
            for place, detector in enumerate(bag):
                detector.save(folder / "bags" / str(number) / str(place))

    def _load_more(self, folder: Path, backbone: Backbone | Mapping[str, Backbone] | None) -> None:
        self._bags = {
            name: [
                load_detector(
                    folder / "bags" / str(number) / str(place),
                    backbone_of(name, backbone),
                    device=str(self.device),
                )
                for place in range(self.config.bags)
            ]
            for number, name in enumerate(self.members)
            if self.config.bags
        }

    def _tensors(self) -> dict[str, Tensor]:
        if self._images is None or self._maps is None:
            raise self.not_fitted()
        return {
            f"{level}.{name}": torch.from_numpy(np.ascontiguousarray(value))
            for level, fusion in (("images", self._images), ("maps", self._maps))
            for name, value in fusion.arrays().items()
        }

    def _restore(self, tensors: Mapping[str, Tensor]) -> None:
        voices = len(self.members) * max(1, self.config.bags)
        self._images, self._maps = self._new_fusions(seed=0)
        for level, fusion in (("images.", self._images), ("maps.", self._maps)):
            found = {
                key.removeprefix(level): value.cpu().numpy()
                for key, value in tensors.items()
                if key.startswith(level)
            }
            fusion.restore(found, voices)


def _covered(mask: Mask, grid: tuple[int, ...]) -> Mask:
    """The patches that lie half or more in a mask; of a small one, those that do most."""
    share = patch_share(mask, (grid[0], grid[1]))
    return np.asarray(share >= min(0.5, float(share.max())))
