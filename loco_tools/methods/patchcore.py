"""PatchCore: distance to the nearest patch of good training images.

Roth et al. 2022, "Towards Total Recall in Industrial Anomaly Detection", CVPR;
github.com/amazon-science/patchcore-inspection.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from loco_tools.datasets.images import Pixels
from loco_tools.methods.backbones import Backbone
from loco_tools.methods.batch import Batch, batches
from loco_tools.methods.coreset import coreset
from loco_tools.methods.detector import CutShape, PatchScores, SingleConfig, SingleDetector
from loco_tools.methods.nearest import NearestNeighbours
from loco_tools.methods.patch_features import PatchFeatureExtractor, to_rows
from loco_tools.progress import Progress


class PatchCoreConfig(SingleConfig):
    """Defaults are those of the published 224/10 % recipe.

    Deviation: 256 px is not centre-cropped to 224: LOCO's anomalies reach the border.
    """

    patch_size: int = Field(default=3, ge=1)
    pretrain_dim: int = Field(default=1024, ge=2)
    target_dim: int = Field(default=1024, ge=2, multiple_of=2)
    coreset_ratio: float = Field(default=0.1, gt=0, le=1)
    max_bank: int | None = Field(default=None, ge=1)
    """Upper bound on the bank's rows, whatever the ratio says."""
    max_patches: int | None = Field(default=None, ge=1)
    """Patches that the coreset is chosen from; of more, random ones are used, after a note. None:
    all, as published. A class of MVTec LOCO AD then has 449,000 (breakfast_box) to 737,000 patches
    (splicing_connectors) and needs up to 7 GB, see `PatchCore.memory_mb`."""
    projection_dim: int | None = Field(default=128, ge=1)
    """Dimensions of the random projection that the coreset is chosen in; None: no projection."""
    neighbours: int = Field(default=1, ge=1)
    reweight: bool = False
    """The paper's re-weighting of the image score, which its published code leaves out."""
    reweight_neighbours: int = Field(default=9, ge=2)
    standardise: bool | None = None
    """Scale channels to zero mean and unit deviation; None: only with a weight-free backbone."""


class PatchCore(SingleDetector):
    """PatchCore: distance to the nearest patch of good training images.

    Deviation: images are resized by averaging areas, where the original interpolates bilinearly
    with antialiasing, and the coreset is chosen as described in `coreset`; the effects were not
    measured.

    Deviation: scores are distances, where the original keeps their squares (same ranking for one
    neighbour, but fit to be averaged with other detectors).
    """

    name = "patchcore"
    category = "memory bank"
    Config: ClassVar[type[PatchCoreConfig]] = PatchCoreConfig
    config: PatchCoreConfig
    cuts = ("patch features",)
    PRESETS: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "paper": {},
        "fast": {
            # Half the numbers per patch: half the search time.
            "pretrain_dim": 512,
            "target_dim": 512,
            # Bounds the time to choose and to search whatever the class's size: 14 to 22 % of the
            # patches of a class of MVTec LOCO AD.
            "max_patches": 100_000,
            "max_bank": 4_000,
            # Ours, no reduction: chosen by the features' own distances, which takes seconds. By
            # random projections to 128 the farthest patch is 10 to 18 % farther from the bank.
            "projection_dim": None,
            # Ours, no reduction: makes up for small backbones, whose channels differ in scale.
            # Chosen on synthetic anomalies of held-out good training images (MobileNetV2, one
            # draw): image AUROC .70 -> .74 magnetic tiles, .86 -> .89 hazelnuts, .87 angle.
            "standardise": True,
        },
    }

    def __init__(
        self, config: PatchCoreConfig, backbone: Backbone | None, *, device: str = "auto"
    ) -> None:
        super().__init__(config, backbone, device=device)
        self.source = PatchFeatureExtractor(
            self.backbone,
            patch_size=self.config.patch_size,
            pretrain_dim=self.config.pretrain_dim,
            target_dim=self.config.target_dim,
        ).to(self.device)
        self._neighbours: NearestNeighbours | None = None

    @property
    def bank(self) -> Tensor:
        """(M, target_dim): the kept patch features of good images."""
        return self._index().bank

    @torch.inference_mode()
    def _fit(
        self,
        train: Sequence[Pixels],
        validation: Sequence[Pixels],
        *,
        seed: int,
        progress: Progress,
    ) -> None:
        del validation
        self.source.reset()
        rows_of_images: list[Tensor] = []
        generator = torch.Generator().manual_seed(seed)
        most = self.config.max_patches
        budget = math.inf if most is None else max(1, most // len(train))
        with progress.task(f"{self.name}: features", len(train)) as advance:
            for batch in batches(train, self.config.batch_size, self.device):
                features = self.source.extract(batch, self.input_size)
                per_image = features.shape[-2] * features.shape[-1]
                if per_image > budget and not rows_of_images:
                    progress.note(
                        f"{self.name}: {per_image * len(train)} patches are above the budget of "
                        f"{most}; going on with {budget} random ones per image"
                    )
                for image in features:
                    rows = to_rows(image[None])
                    if per_image > budget:
                        drawn = torch.randperm(per_image, generator=generator)[: int(budget)]
                        rows = rows[drawn.to(rows.device)]
                    rows_of_images.append(rows)
                advance(len(batch))
        rows = torch.cat(rows_of_images)
        if self.source.should_standardise(self.config.standardise):
            rows = self.source.standardise(rows)
        count = max(1, int(self.config.coreset_ratio * len(rows)))
        count = min(count, self.config.max_bank or count)
        kept = coreset(
            rows,
            count,
            seed=seed,
            projection_dim=self.config.projection_dim,
            progress=progress,
        )
        self._neighbours = NearestNeighbours(rows[kept.to(rows.device)])

    def _index(self) -> NearestNeighbours:
        if self._neighbours is None:
            raise self.not_fitted()
        return self._neighbours

    def score_batch(self, batch: Batch) -> PatchScores:
        """See `Detector`: mean distance to the k nearest patches; image: the largest of them."""
        features = self.source.extract(batch, self.input_size)
        B, _, h, w = features.shape
        index = self._index()
        k = min(self.config.neighbours, len(index.bank))
        distances, rows = index.search(to_rows(features), k)
        patches = distances.mean(dim=1).view(B, h, w)
        image, where = patches.flatten(1).max(dim=1)  # (B,)
        if self.config.reweight:
            queries = features.flatten(2)[torch.arange(B), :, where]  # (B, D)
            nearest = rows[:, 0].view(B, -1)[torch.arange(B), where]
            # Paper, equation 7: 1 - softmax over the neighbours of the nearest bank row, itself in.
            count = min(self.config.reweight_neighbours, len(index.bank))
            _, around = index.search(index.bank[nearest], count)  # (B, b), nearest itself first
            reach = (queries[:, None] - index.bank[around]).norm(dim=2)  # (B, b)
            image = image * (1 - torch.softmax(reach, dim=1)[:, 0])
        return PatchScores(image=image, patches=patches)

    def cut_shape(self, cut: str) -> CutShape:
        """See `Detector.cut_shape`."""
        self.check_cut(cut)
        return CutShape(self.config.target_dim, 8)

    def memory_mb(self, count: int) -> float:
        """See `Detector.memory_mb`: the patches of all images, projected ones, and the bank."""
        h, w = self.input_size
        patches = count * h * w // 64
        patches = min(patches, self.config.max_patches or patches)
        bank = self.config.coreset_ratio * patches
        bank = min(bank, self.config.max_bank or bank)
        dim = self.config.target_dim
        return (
            4
            * (2 * patches * dim + patches * (self.config.projection_dim or dim) + bank * dim)
            / 1e6
        )

    def cut_batch(self, batch: Batch, cut: str) -> Tensor:
        """Cut "patch features": (B, target_dim, h/8, w/8), as they are compared with the bank."""
        self.check_cut(cut)
        return self.source.extract(batch, self.input_size)

    def _tensors(self) -> dict[str, Tensor]:
        return {"bank": self.bank, "mean": self.source.mean, "std": self.source.std}

    def _restore(self, tensors: Mapping[str, Tensor]) -> None:
        self._neighbours = NearestNeighbours(tensors["bank"])
        self.source.mean.copy_(tensors["mean"])
        self.source.std.copy_(tensors["std"])
