"""How much each source of features is worth before they are fused.

Concatenated at equal scale, a weak source adds as much distance as a strong one, and makes the
fused features worse than the strong one alone.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from loco_tools.methods.nearest import NearestNeighbours
from loco_tools.metrics.roc import auroc, rank

_BANK = 2000
_QUERIES = 2000


def source_weights(
    bank: Tensor, good: Tensor, anomalous: Tensor, channels: Sequence[int], seed: int
) -> list[float]:
    """A factor per source, 1 for the best and towards 0 for one that tells nothing.

    Each source alone is asked for the distance of held-out good rows and of rows in synthetic
    anomalies to good training rows; its factor is (2 AUROC - 1) squared, over the best one's.

    Args:
        bank: (N, sum of channels), of good training images.
        good: of good images that no member was trained on.
        anomalous: of patches in synthetic anomalies of such images.
        channels: of each source, in order.
        seed: of which rows are taken.
    """
    generator = torch.Generator().manual_seed(seed)
    parts = [
        torch.split(
            rows[torch.randperm(len(rows), generator=generator)[:most].to(rows.device)],
            list(channels),
            dim=1,
        )
        for rows, most in ((bank, _BANK), (good, _QUERIES), (anomalous, _QUERIES))
    ]
    worth = [_separation(*source) ** 2 for source in zip(*parts, strict=True)]
    best = max(worth)
    return [value / best for value in worth] if best > 0 else [1.0] * len(worth)


def _separation(bank: Tensor, good: Tensor, anomalous: Tensor) -> float:
    """2 AUROC - 1 of the distances to the bank, channels of deviation 1; not below 0."""
    std = bank.std(dim=0, correction=0).clamp_min(1e-6)
    index = NearestNeighbours(bank / std)
    near, far = (index.search(rows / std)[0][:, 0].cpu().numpy() for rows in (good, anomalous))
    return max(0.0, 2 * auroc(rank(near, far)) - 1)
