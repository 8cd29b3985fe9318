"""Heads: anomaly detectors on single locations of a fused feature map.

A head gives every row of fused features (N, D) an anomaly score; higher is more anomalous.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor

from loco_tools.methods.coreset import coreset
from loco_tools.methods.nearest import NearestNeighbours
from loco_tools.methods.simplenet import Discriminator
from loco_tools.progress import Progress

Tensors = dict[str, Tensor]


class Head(ABC):
    """An anomaly score per row, fitted by the subclass's `fit` or loaded from saved arrays."""

    name: ClassVar[str]

    @abstractmethod
    def scores(self, rows: Tensor) -> Tensor:
        """Anomaly scores (N,) of rows (N, D)."""

    @abstractmethod
    def tensors(self) -> Tensors:
        """The learned arrays, for saving."""


class MemoryBank(Head):
    """Distance to the nearest row of a coreset of good rows (PatchCore, Roth et al. 2022)."""

    name = "memory_bank"

    def __init__(self, bank: Tensor) -> None:
        """`bank` is (M, D)."""
        self._index = NearestNeighbours(bank)

    @classmethod
    def fit(cls, rows: Tensor, size: int, *, seed: int, progress: Progress) -> "MemoryBank":
        """Choose a greedy coreset of `size` of the rows (N, D), at most a quarter of them."""
        count = max(1, min(size, len(rows) // 4))
        kept = coreset(rows, count, seed=seed, projection_dim=None, progress=progress)
        return cls(rows[kept.to(rows.device)].clone())

    @property
    def bank(self) -> Tensor:
        """(M, D): the coreset."""
        return self._index.bank

    def search(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Distances (N,) to the nearest rows of the coreset, and their indices (N,)."""
        return self._index.nearest(rows)

    def scores(self, rows: Tensor) -> Tensor:
        """See `Head`."""
        return self._index.distances(rows)

    def tensors(self) -> Tensors:
        """See `Head`."""
        return {"bank": self.bank}


class Gaussian(Head):
    """Mahalanobis distance to the mean of good rows, with one Gaussian for all locations.

    The covariance is shrunk towards a multiple of the identity by the share `shrinkage`.
    """

    name = "gaussian"

    def __init__(self, mean: Tensor, whitening: Tensor) -> None:
        """`mean` is (D,); `whitening` (D, D) gives centred rows unit covariance."""
        self._mean, self._whitening = mean, whitening

    @classmethod
    def fit(cls, rows: Tensor, shrinkage: float = 0.01) -> "Gaussian":
        """Fit to good rows (N, D)."""
        mean = rows.mean(dim=0)
        centred = (rows - mean).double()
        covariance = centred.T @ centred / max(1, len(rows) - 1)
        level = covariance.diagonal().mean().clamp_min(1e-12)
        eye = torch.eye(len(covariance), dtype=covariance.dtype, device=covariance.device)
        values, vectors = torch.linalg.eigh((1 - shrinkage) * covariance + shrinkage * level * eye)
        whitening = vectors / values.clamp_min(1e-12).sqrt()
        return cls(mean, whitening.to(rows))

    def scores(self, rows: Tensor) -> Tensor:
        """See `Head`."""
        distances: Tensor = ((rows - self._mean) @ self._whitening).norm(dim=1)
        return distances

    def tensors(self) -> Tensors:
        """See `Head`."""
        return {"mean": self._mean, "whitening": self._whitening}


class DiscriminatorHead(Head):
    """Negative output of SimpleNet's discriminator (Liu et al. 2023)."""

    name = "discriminator"

    def __init__(self, discriminator: Discriminator) -> None:
        self.discriminator = discriminator

    def scores(self, rows: Tensor) -> Tensor:
        """See `Head`."""
        normality: Tensor = self.discriminator(self.discriminator.adaptor(rows))
        return -normality

    def tensors(self) -> Tensors:
        """See `Head`."""
        return dict(self.discriminator.state_dict())


def load_head(name: str, tensors: Mapping[str, Tensor], blank: Discriminator) -> Head:
    """A head from the arrays of its `tensors`; KeyError when one is missing.

    `blank` is a discriminator of the right size, which is filled when `name` is "discriminator".
    """
    if name == MemoryBank.name:
        return MemoryBank(tensors["bank"])
    if name == Gaussian.name:
        return Gaussian(tensors["mean"], tensors["whitening"])
    blank.load_state_dict(dict(tensors))
    return DiscriminatorHead(blank)
