"""Memory banks on single maps of the members' backbones, without pooling.

Members pool backbone features over neighbouring locations, which makes them robust and their maps
blurred. The distance in one map alone is a weak anomaly score for images, but it is sharp: added to
the members' maps it sharpens the edges of their detections.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from loco_tools.datasets.images import Size
from loco_tools.ensembles.feature_level.blocks import resize_map
from loco_tools.ensembles.feature_level.heads import MemoryBank
from loco_tools.ensembles.feature_level.sampling import sample_rows
from loco_tools.methods.backbones import Backbone
from loco_tools.methods.batch import Batch
from loco_tools.methods.detector import Detector, SingleDetector
from loco_tools.methods.patch_features import to_rows
from loco_tools.progress import Progress

_LEAST_STD = 0.1
"""Lower bound of a channel's standard deviation, relative to the mean over channels. A channel that
hardly varies over good images would otherwise dominate all others where it varies."""


@dataclass(frozen=True)
class _Bank:
    """Memory bank of one map, standardised per channel; `mean` and `std` are (C,)."""

    mean: Tensor
    std: Tensor
    bank: MemoryBank

    def distances(self, features: Tensor) -> Tensor:
        """Distances (B, h, w) of features (B, C, h, w) to the bank."""
        B, _, h, w = features.shape
        return self.bank.scores((to_rows(features) - self.mean) / self.std).view(B, h, w)


class BackboneBanks:
    """One memory bank per backbone and stride.

    Call `collect` for batches of good images, then `fit`; or `restore` with what `tensors` gave.
    """

    def __init__(self, members: Iterable[Detector], strides: tuple[int, ...], size: Size) -> None:
        """Prepare banks for the backbones of some detectors; a shared backbone is used once.

        Args:
            members: the detectors; those without a backbone are left out.
            strides: strides of the maps; those that a backbone does not have are left out.
            size: (h, w) of the input to the backbones.
        """
        self._size = size
        backbones: dict[str, tuple[Backbone, set[int]]] = {}
        for member in members:
            if isinstance(member, SingleDetector) and member.needs_backbone:
                _, used = backbones.setdefault(member.backbone.tag, (member.backbone, set()))
                used.update(member.strides if member.input_size == size else ())
        self._backbones = [
            (backbone, tuple(s for s in strides if s in backbone.strides), used)
            for backbone, used in backbones.values()
        ]
        self._collected: list[list[Tensor]] = [[] for _ in range(len(self))]
        self._banks: list[_Bank] = []

    def __len__(self) -> int:
        """The number of banks."""
        return sum(len(strides) for _, strides, _ in self._backbones)

    def collect(self, batch: Batch, per_image: int, generator: torch.Generator) -> None:
        """Sample rows of good images, on average at most `per_image` of each."""
        for rows, features in zip(self._collected, self._maps(batch), strict=True):
            rows.append(sample_rows([features], per_image * len(batch), generator))

    def fit(self, size: int, *, seed: int, progress: Progress) -> None:
        """Reduce the collected rows of each map to a greedy coreset of `size` rows."""
        self._banks = []
        for collected in self._collected:
            rows = torch.cat(collected)
            mean, std = rows.mean(dim=0), rows.std(dim=0, correction=0)
            std = std.clamp_min(max(1e-6, _LEAST_STD * float(std.mean())))
            bank = MemoryBank.fit((rows - mean) / std, size, seed=seed, progress=progress)
            self._banks.append(_Bank(mean, std, bank))
            collected.clear()

    def scores(self, batch: Batch, grid: Size) -> list[Tensor]:
        """The distances of each map to its bank on a grid (h, w): (B, h, w) each.

        A finer map is reduced by the maximum over each location of the grid.
        """
        scores = []
        for bank, features in zip(self._banks, self._maps(batch), strict=True):
            distances = bank.distances(features)[:, None]
            is_finer = distances.shape[-2] > grid[0]
            on_grid = (functional.adaptive_max_pool2d if is_finer else resize_map)(distances, grid)
            scores.append(on_grid[:, 0])
        return scores

    def prepare(self, batch: Batch) -> None:
        """Compute all maps that members and banks need from each backbone in one forward pass."""
        for backbone, strides, used in self._backbones:
            batch.maps(backbone, self._size, tuple(sorted({*strides, *used})))

    def tensors(self) -> dict[str, Tensor]:
        """The learned arrays, for saving."""
        tensors: dict[str, Tensor] = {}
        for number, bank in enumerate(self._banks):
            arrays = {"mean": bank.mean, "std": bank.std, "bank": bank.bank.bank}
            tensors |= {f"{number}.{name}": value for name, value in arrays.items()}
        return tensors

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Load what `tensors` gave; KeyError when an array is missing."""
        self._banks = [
            _Bank(tensors[f"{n}.mean"], tensors[f"{n}.std"], MemoryBank(tensors[f"{n}.bank"]))
            for n in range(len(self))
        ]

    def _maps(self, batch: Batch) -> list[Tensor]:
        """The map (B, C, ~h/s, ~w/s) of every backbone and stride s."""
        self.prepare(batch)
        return [
            features
            for backbone, strides, _ in self._backbones
            for features in batch.relative_maps(backbone, self._size, strides)
        ]
