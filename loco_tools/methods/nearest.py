"""Exact nearest neighbours by blocked matrix products."""

from collections.abc import Sequence

import torch
from torch import Tensor

BLOCK_FLOATS = 4_000_000
"""Largest block of distances held at once on a GPU: 16 MB."""
CPU_BLOCK_FLOATS = 1_000_000
"""The same on a CPU: 4 MB, so that it is searched while still in cache. With 500 rows of 24 numbers
that takes half the time of 16 MB, with 4000 of 512 as long."""
_LEAST_QUERIES = 64
"""Fewer than that make a slow product, however large the bank."""


class NearestNeighbours:
    """Finds the rows of a bank that are nearest to queries, by Euclidean distance."""

    def __init__(self, bank: Tensor) -> None:
        """`bank` is (M, D)."""
        self.bank = bank
        self._half_norms = bank.square().sum(dim=1) / 2

    def search(self, queries: Tensor, k: int = 1) -> tuple[Tensor, Tensor]:
        """Distances (Q, k), nearest first, and bank rows (Q, k) of the k nearest, k <= M.

        |q - b|^2 / 2 = |q|^2 / 2 - (q.b - |b|^2 / 2): the largest bracket is the nearest. The
        distances of the rows found are then computed directly, free of cancellation.
        """
        found = [self._search_block(part, k) for part in self._blocks(queries)]
        return torch.cat([d for d, _ in found]), torch.cat([i for _, i in found])

    def distances(self, queries: Tensor) -> Tensor:
        """Distance (Q,) of each query to the nearest row, in about half the time of `search`.

        It is a root of a difference of squares: off by up to some 1e-3 of |q| where it is near 0.
        """
        closest = [self._closeness(part).amax(dim=1) for part in self._blocks(queries)]
        return _from_closeness(queries, torch.cat(closest))

    def nearest(self, queries: Tensor) -> tuple[Tensor, Tensor]:
        """As `distances`, and which row (Q,) it is."""
        found = [self._closeness(part).max(dim=1) for part in self._blocks(queries)]
        closest, rows = (torch.cat([one[n] for one in found]) for n in (0, 1))
        return _from_closeness(queries, closest), rows

    def _blocks(self, queries: Tensor) -> Sequence[Tensor]:
        floats = CPU_BLOCK_FLOATS if queries.device.type == "cpu" else BLOCK_FLOATS
        return torch.split(queries, max(_LEAST_QUERIES, floats // max(1, len(self.bank))))

    def _closeness(self, queries: Tensor) -> Tensor:
        """(Q, M): the bracket of `search`, larger is nearer."""
        return torch.addmm(self._half_norms, queries, self.bank.T, beta=-1)

    def _search_block(self, queries: Tensor, k: int) -> tuple[Tensor, Tensor]:
        closeness = self._closeness(queries)
        best = closeness.max(dim=1, keepdim=True) if k == 1 else closeness.topk(k, dim=1)
        rows = best.indices
        distances = torch.stack(
            [(queries - self.bank[rows[:, n]]).norm(dim=1) for n in range(k)], dim=1
        )
        return distances, rows


def _from_closeness(queries: Tensor, closest: Tensor) -> Tensor:
    squares = queries.square().sum(dim=1) - 2 * closest
    return squares.clamp_min(0).sqrt()
