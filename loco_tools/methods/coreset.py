"""Greedy k-centre selection: a coreset of rows such that no row is far from it.

Sener and Savarese 2018; PatchCore (Roth et al. 2022), algorithm 1. Each choice is the row that is
farthest from all rows chosen so far.
"""

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from loco_tools.errors import MethodError
from loco_tools.progress import SILENT, Progress

CANDIDATES = 2048
"""Upper bound on the rows among which one round chooses, which is also at most the coreset's size.
More candidates make fewer rounds and slower steps: 500 of 30 000 rows take half the time that they
take with 2048."""
BLOCK_FLOATS = 1_000_000
"""Largest block of distances held at once: small enough to stay in a processor's cache."""

Distances = npt.NDArray[np.float32]


def coreset(
    rows: Tensor,
    count: int,
    *,
    seed: int,
    projection_dim: int | None = 128,
    progress: Progress = SILENT,
) -> Tensor:
    """Choose `count` of the N rows, greedily farthest first.

    Args:
        rows: (N, D); the memory needed beyond it is N * min(D, projection_dim) floats.
        count: size of the coreset, 1..N; exactly that many different rows are chosen.
        seed: seed of the projection and of the first row.
        projection_dim: rows with more dimensions are projected to this number by a Gaussian matrix,
            as published; None: distances are those of the rows themselves.
        progress: advanced with every round.

    Returns:
        (count,) int64 row indices in the order of choice; the first is random.

    Deviation: the first choice is a random row that stays in the coreset, and distances are exact
    minima; the original starts from mean distances to ten random rows that it then leaves out. The
    projection has Gaussian entries and is applied to rows less their mean; the original's are
    uniform, those of an untrained linear layer. Both preserve distances alike, so that other rows
    are chosen, but none that are farther apart by design; the effect was not measured.

    Raises:
        MethodError: `count` is not in 1..N.
    """
    if not 1 <= count <= len(rows):
        raise MethodError(f"expected a coreset of 1 to {len(rows)} rows, got {count}")
    generator = torch.Generator().manual_seed(seed)
    points = rows - rows.mean(dim=0)  # small numbers: less is lost in |a|^2 + |b|^2 - 2ab
    if projection_dim is not None and rows.shape[1] > projection_dim:
        matrix = torch.randn(rows.shape[1], projection_dim, generator=generator)
        points = points @ (matrix / projection_dim**0.5).to(rows.device)
    first = int(torch.randint(len(points), (1,), generator=generator))
    return _farthest_first(points, count, first, progress)


def _farthest_first(points: Tensor, count: int, first: int, progress: Progress) -> Tensor:
    """Greedy selection in rounds, with the same result as the plain loop.

    A row's distance to the nearest centre can only shrink. As long as the farthest of some
    candidates is farther than every other row was at the start of the round, it is the farthest of
    all. So a round updates all rows by matrix products, takes the farthest ones as candidates, and
    chooses among these alone until that no longer holds.
    """
    squared = points.square().sum(dim=1)
    nearest = torch.full_like(squared, float("inf"))  # squared distance to its centre
    chosen = torch.tensor([first], device=points.device)
    new = chosen
    most = min(CANDIDATES, count)
    with progress.task("coreset", count) as advance:
        advance(1)
        while len(chosen) < count:
            _update_nearest(nearest, points, squared, new)
            top = nearest.topk(min(most + 1, len(points)))
            candidates = top.indices[:most]
            others = float(top.values[-1]) if len(points) > most else -1.0
            close = points[candidates]
            between = torch.addmm(squared[candidates], close, close.T, alpha=-2)
            between = between + squared[candidates][:, None]  # squared distances of all pairs
            picks = _choose_candidates(
                between.clamp_min(0).cpu().numpy(),
                top.values[:most].cpu().numpy(),
                others,
                count - len(chosen),
            )
            new = candidates[torch.from_numpy(picks).to(candidates.device)]
            chosen = torch.cat([chosen, new])
            advance(len(new))
    return chosen.cpu()


def _update_nearest(nearest: Tensor, points: Tensor, squared: Tensor, new: Tensor) -> None:
    """Lower `nearest` to the distances to new centres; centres get -1, never to be chosen again."""
    centres, block = points[new], max(1, BLOCK_FLOATS // len(new))
    for start in range(0, len(points), block):
        part = slice(start, start + block)
        distances = torch.addmm(squared[new], points[part], centres.T, alpha=-2).amin(dim=1)
        distances = (distances + squared[part]).clamp_min(0)
        nearest[part] = torch.minimum(nearest[part], distances)
    nearest[new] = -1


def _choose_candidates(
    between: Distances, nearest: Distances, others: float, at_most: int
) -> npt.NDArray[np.int64]:
    """The next candidates in order, while the farthest is at least as far as all `others`."""
    nearest = nearest.copy()
    picks: list[int] = []
    while len(picks) < at_most:
        pick = int(nearest.argmax())
        if nearest[pick] < max(others, 0):
            break
        picks.append(pick)
        np.minimum(nearest, between[pick], out=nearest)
        nearest[pick] = -1
    return np.array(picks, dtype=np.int64)
