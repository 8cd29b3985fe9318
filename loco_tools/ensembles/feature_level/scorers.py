"""Everything that gives a score map in a feature-level ensemble."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from loco_tools.ensembles.feature_level.blocks import resize_map
from loco_tools.ensembles.feature_level.fused_features import FusedFeatures
from loco_tools.ensembles.feature_level.heads import Head, MemoryBank, load_head
from loco_tools.ensembles.feature_level.score_maps import ScoreMaps
from loco_tools.methods.batch import Batch
from loco_tools.methods.detector import Detector
from loco_tools.methods.patch_features import to_rows
from loco_tools.methods.simplenet import Discriminator
from loco_tools.methods.training import prefixed


@dataclass(frozen=True)
class Scorers:
    """Heads, backbone memory banks and members, fitted.

    Attributes:
        features: fused features and backbone memory banks.
        memory_bank: coreset of fused features, by which patches are grouped; also a head when the
            configuration says so.
        heads: by name.
        members: the members whose own scores are combined.
    """

    features: FusedFeatures
    memory_bank: MemoryBank
    heads: Mapping[str, Head]
    members: Sequence[Detector]

    def score_maps(self, batch: Batch) -> ScoreMaps:
        """All score maps of a batch, on the grid of the fused features."""
        (fused,) = self.features.fused_maps(batch)
        B, _, h, w = fused.shape
        rows = to_rows(fused)
        distances, nearest = self.memory_bank.search(rows)
        patches = [
            (distances if head is self.memory_bank else head.scores(rows)).view(B, h, w)
            for head in self.heads.values()
        ]
        patches += self.features.backbone_banks.scores(batch, (h, w))
        images = [fused.new_zeros(B, 0)]
        for member in self.members:
            scores = member.checked_scores(batch)
            patches.append(resize_map(scores.patches[:, None], (h, w))[:, 0])
            images.append(scores.image[:, None])
        return ScoreMaps(
            torch.stack(patches, dim=1), nearest.view(B, h, w), torch.cat(images, dim=1)
        )

    def tensors(self) -> dict[str, Tensor]:
        """The learned arrays, for saving; names are those of the files (bank: "anchors")."""
        block = self.features.block
        tensors = {
            **prefixed("block", block),
            "channels": torch.tensor(block.channels),
            "anchors": self.memory_bank.bank,
            **add_prefix("backbones.", self.features.backbone_banks.tensors()),
        }
        for name, head in self.heads.items():
            if head is not self.memory_bank:
                tensors |= add_prefix(f"head.{name}.", head.tensors())
        return tensors

    @classmethod
    def load(
        cls,
        features: FusedFeatures,
        heads: Sequence[str],
        members: Sequence[Detector],
        tensors: Mapping[str, Tensor],
        blank: Discriminator,
    ) -> "Scorers":
        """Scorers from the arrays of `tensors`; KeyError when one is missing.

        Args:
            features: fused features with a loaded block; their backbone banks are filled here.
            heads: names of the heads.
            members: see the class.
            tensors: the saved arrays.
            blank: a discriminator of the right size, filled where it is among the heads.
        """
        features.backbone_banks.restore(select_prefix("backbones.", tensors))
        memory_bank = MemoryBank(tensors["anchors"])
        loaded: dict[str, Head] = {
            name: memory_bank
            if name == MemoryBank.name
            else load_head(name, select_prefix(f"head.{name}.", tensors), blank)
            for name in heads
        }
        return cls(features, memory_bank, loaded, members)


def add_prefix(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors by their names with a prefix."""
    return {prefix + name: value for name, value in tensors.items()}


def select_prefix(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors whose names begin with a prefix, by their names without it."""
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
