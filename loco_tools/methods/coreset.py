"""Greedy k-centre selection: the few rows that stay closest to all the others.

Sener and Savarese 2018; PatchCore (Roth et al. 2022), algorithm 1. Next comes always the row that
is farthest from everything chosen so far.
"""

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from loco_tools.errors import MethodError
from loco_tools.progress import SILENT, Progress

HEAD_DIM = 32
"""Leading dimensions that decide which distances are worth computing."""

Rows = npt.NDArray[np.float32]


def coreset(
    rows: Tensor,
    count: int,
    *,
    seed: int,
    projection_dim: int = 128,
    progress: Progress = SILENT,
) -> Tensor:
    """Choose `count` of the N rows, greedily farthest first on a random projection.

    Args:
        rows: (N, D); the memory needed beyond it is N * projection_dim floats.
        count: how many, 1..N; exactly that many different rows are chosen.
        seed: of the projection and of the first row.
        projection_dim: rows of more dimensions are projected to so many (a Gaussian matrix).
        progress: told about every choice.

    Returns:
        (count,) int64, in the order of choice; the first is random.

    Deviation: the first choice is a random row that stays in the coreset, and distances are exact
    minima; the original starts from mean distances to ten random rows that it then leaves out.

    Raises:
        MethodError: `count` is not in 1..N.
    """
    if not 1 <= count <= len(rows):
        raise MethodError(f"expected a coreset of 1 to {len(rows)} rows, got {count}")
    generator = torch.Generator().manual_seed(seed)
    points = _project(rows, projection_dim, generator)
    first = int(torch.randint(len(points), (1,), generator=generator))
    return torch.from_numpy(_farthest_first(points, count, first, progress))


def _project(rows: Tensor, dim: int, generator: torch.Generator) -> Rows:
    centred = rows - rows.mean(dim=0)
    if rows.shape[1] > dim:
        matrix = torch.randn(rows.shape[1], dim, generator=generator) / dim**0.5
        centred = centred @ matrix.to(rows.device)
    spread = torch.linalg.eigh(centred.T @ centred).eigenvectors.flip(1)  # largest variance first
    projected: Rows = np.ascontiguousarray((centred @ spread).float().cpu().numpy())
    return projected


def _farthest_first(
    points: Rows, count: int, first: int, progress: Progress
) -> npt.NDArray[np.int64]:
    """The plain greedy loop, with most distances known to be too large from their first terms.

    The columns of `points` come in the order of their variance, so the squared distance over the
    first few is a tight lower bound of the whole; only rows where it is below the distance to the
    nearest centre so far are looked at in full.
    """
    head = np.ascontiguousarray(points[:, :HEAD_DIM])
    head_squared = np.einsum("nd,nd->n", head, head)
    squared = np.einsum("nd,nd->n", points, points)
    chosen = np.empty(count, dtype=np.int64)
    nearest = np.full(len(points), np.inf, dtype=np.float32)  # squared distance to its centre
    candidate = first
    with progress.task("coreset", count) as advance:
        for step in range(count):
            chosen[step] = candidate
            bound = head @ (-2 * head[candidate])
            bound += head_squared
            bound += head_squared[candidate]
            rows = np.flatnonzero(bound < nearest)
            distances = squared[rows] + squared[candidate] - 2 * (points[rows] @ points[candidate])
            nearest[rows] = np.minimum(nearest[rows], np.maximum(distances, 0))
            nearest[candidate] = -1  # never again, even among equal rows
            candidate = int(nearest.argmax())
            advance(1)
    return chosen
