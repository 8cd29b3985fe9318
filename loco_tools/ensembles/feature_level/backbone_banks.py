"""Memory banks on single maps of the members' backbones, as they leave the backbone.

Members pool what they take from a backbone over neighbouring places, which makes them steady and
their maps blurred. A distance in one map alone is a weak detector of images, but it is sharp: put
beside the members' it moves the edges of what they find to where they are.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from loco_tools.datasets.images import Size
from loco_tools.ensembles.feature_level.blocks import resized
from loco_tools.ensembles.feature_level.heads import MemoryBank
from loco_tools.ensembles.feature_level.sampling import sampled
from loco_tools.methods.backbones import Backbone
from loco_tools.methods.batch import Batch
from loco_tools.methods.detector import Detector, SingleDetector
from loco_tools.methods.patch_features import to_rows
from loco_tools.progress import Progress

_LEAST_STD = 0.1
"""Of a channel, in mean deviations of all: one that good images hardly ever move would otherwise
drown all others where it moves."""


@dataclass(frozen=True)
class _Bank:
    """Rows of one map, standardised per channel: `mean` and `std` are (C,)."""

    mean: Tensor
    std: Tensor
    bank: MemoryBank

    def distances(self, found: Tensor) -> Tensor:
        """(B, C, h, w) -> (B, h, w)."""
        B, _, h, w = found.shape
        return self.bank.scores((to_rows(found) - self.mean) / self.std).view(B, h, w)


class BackboneBanks:
    """A memory bank per backbone and stride.

    Call `observe` for batches of good images, then `solve`; or `restore` what `tensors` gave.
    """

    def __init__(self, members: Iterable[Detector], strides: tuple[int, ...], size: Size) -> None:
        """Maps of the members' backbones, each once, at those strides that it has.

        Args:
            members: those without a backbone have none to be looked at.
            strides: wanted ones.
            size: (h, w) of the input at which the backbones see images.
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
        self._seen: list[list[Tensor]] = [[] for _ in range(len(self))]
        self._banks: list[_Bank] = []

    def __len__(self) -> int:
        """How many there are."""
        return sum(len(strides) for _, strides, _ in self._backbones)

    def observe(self, batch: Batch, per_image: int, generator: torch.Generator) -> None:
        """Take note of random places of good images, at most `per_image` of each."""
        for seen, found in zip(self._seen, self._maps(batch), strict=True):
            seen.append(sampled([found], per_image * len(batch), generator))

    def solve(self, size: int, *, seed: int, progress: Progress) -> None:
        """Keep `size` of the noted places of each map, as far from each other as can be."""
        self._banks = []
        for seen in self._seen:
            rows = torch.cat(seen)
            mean, std = rows.mean(dim=0), rows.std(dim=0, correction=0)
            std = std.clamp_min(max(1e-6, _LEAST_STD * float(std.mean())))
            bank = MemoryBank.fit((rows - mean) / std, size, seed=seed, progress=progress)
            self._banks.append(_Bank(mean, std, bank))
            seen.clear()

    def scores(self, batch: Batch, grid: Size) -> list[Tensor]:
        """Each map's distances to its bank on a grid (h, w): (B, h, w) each.

        Of a finer map the largest of the distances that fall into a place.
        """
        found = []
        for bank, one in zip(self._banks, self._maps(batch), strict=True):
            distances = bank.distances(one)[:, None]
            finer = distances.shape[-2] > grid[0]
            on_grid = (functional.adaptive_max_pool2d if finer else resized)(distances, grid)
            found.append(on_grid[:, 0])
        return found

    def prepare(self, batch: Batch) -> None:
        """Have all that members and banks take from a backbone computed in one pass."""
        for backbone, strides, used in self._backbones:
            batch.maps(backbone, self._size, tuple(sorted({*strides, *used})))

    def tensors(self) -> dict[str, Tensor]:
        """Everything learned, for saving."""
        found: dict[str, Tensor] = {}
        for number, one in enumerate(self._banks):
            parts = {"mean": one.mean, "std": one.std, "bank": one.bank.bank}
            found |= {f"{number}.{name}": value for name, value in parts.items()}
        return found

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Take over what `tensors` gave; KeyError when something is missing."""
        self._banks = [
            _Bank(tensors[f"{n}.mean"], tensors[f"{n}.std"], MemoryBank(tensors[f"{n}.bank"]))
            for n in range(len(self))
        ]

    def _maps(self, batch: Batch) -> list[Tensor]:
        """(B, C, ~h/s, ~w/s) of every backbone and stride."""
        self.prepare(batch)
        return [
            one
            for backbone, strides, _ in self._backbones
            for one in batch.relative_maps(backbone, self._size, strides)
        ]
