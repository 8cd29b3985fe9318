"""Features of several detectors fused to one map."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from loco_tools.datasets.images import Pixels, Size
from loco_tools.datasets.reading import evenly_spaced, every_nth
from loco_tools.ensembles.feature_level.backbone_banks import BackboneBanks
from loco_tools.ensembles.feature_level.blocks import BLOCKS, Transformation
from loco_tools.ensembles.feature_level.config import FusionConfig
from loco_tools.ensembles.feature_level.sampling import sample_rows
from loco_tools.methods.batch import Batch, batches
from loco_tools.methods.detector import CutShape, Detector
from loco_tools.progress import Progress

_ACCUMULATED_ROWS = 4096
"""Rows whose moments are added up at a time."""


@dataclass(frozen=True)
class FusedFeatures:
    """The members' feature maps, and the transformation block that fuses them.

    Attributes:
        members: fitted detectors by name.
        cuts: the cut of each member.
        block: the transformation block.
        backbone_banks: memory banks on maps of the members' backbones. They are kept here because
            they share the forward passes of the backbones with the members.
    """

    members: Mapping[str, Detector]
    cuts: Mapping[str, str]
    block: Transformation
    backbone_banks: BackboneBanks

    @classmethod
    def create(
        cls,
        members: Mapping[str, Detector],
        cuts: Mapping[str, str],
        config: FusionConfig,
        *,
        input_size: Size,
        device: torch.device,
    ) -> "FusedFeatures":
        """Unfitted block and banks for some members."""
        channels = [member.cut_shape(cuts[name]).channels for name, member in members.items()]
        block = BLOCKS[config.block](channels).to(device)
        banks = BackboneBanks(members.values(), config.backbone_strides, input_size)
        return cls(members, cuts, block, banks)

    def member_maps(self, batch: Batch) -> list[Tensor]:
        """The feature map of each member at its cut: (B, C_k, h_k, w_k) of member k."""
        self.backbone_banks.prepare(batch)
        return [m.cut_batch(batch, self.cuts[name]) for name, m in self.members.items()]

    def fused_maps(self, batch: Batch) -> list[Tensor]:
        """The fused map (B, components, h, w), as the only item of a list."""
        return [self.block(self.member_maps(batch))]

    def cut_shape(self) -> CutShape:
        """Components of the fused map; its stride is the smallest of the members' strides."""
        strides = [m.cut_shape(self.cuts[name]).stride for name, m in self.members.items()]
        return CutShape(self.block.dim, min(strides))

    def fit_to_training_images(
        self,
        train: Sequence[Pixels],
        config: FusionConfig,
        *,
        seed: int,
        progress: Progress,
        title: str,
    ) -> Tensor:
        """Fit the backbone banks and accumulate the block's moments, in one pass over the images.

        Returns:
            the sampled rows of the members' features, (N, sum of channels), not projected.
        """
        generator = torch.Generator().manual_seed(seed)
        images = evenly_spaced(train, config.backbone_images)
        chosen = every_nth(len(images), config.pool_images)
        parts, done = [], 0
        with progress.task(title, len(images)) as advance:
            for batch in batches(images, config.batch_size, self.block.mean.device):
                per_image = config.rows_per_image(len(images))
                self.backbone_banks.collect(batch, per_image, generator)
                numbers = [n for n in range(len(batch)) if done + n in chosen]
                if numbers:
                    maps = self.member_maps(batch.part(numbers))
                    most = config.rows_per_image(len(chosen)) * len(numbers)
                    parts.append(sample_rows(maps, most, generator))
                done += len(batch)
                advance(len(batch))
        rows = torch.cat(parts)
        self.backbone_banks.fit(config.backbone_bank, seed=seed, progress=progress)
        for part in torch.split(rows, _ACCUMULATED_ROWS):
            self.block.accumulate(part)
        return rows
