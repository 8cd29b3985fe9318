"""Weights of the members' features before they are fused.

When features are concatenated at equal scale, a weak source adds as much distance as a strong one,
and the fused features are worse than the strong one alone.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from loco_tools.methods.nearest import NearestNeighbours
from loco_tools.metrics.roc import auroc, rank

_BANK_ROWS = 2000
_QUERY_ROWS = 2000


def source_weights(
    bank: Tensor, good: Tensor, anomalous: Tensor, channels: Sequence[int], seed: int
) -> list[float]:
    """A factor per source: 1 for the best one, towards 0 for one that separates nothing.

    The anomaly score of a source alone is the distance of a row to the nearest good training row,
    each channel scaled to standard deviation 1. Its AUROC compares held-out good rows with rows in
    synthetic anomalies. The factor is (2 AUROC - 1) squared, divided by that of the best source.

    Args:
        bank: (N, sum of channels), rows of good training images.
        good: (M, sum of channels), rows of good images that no member was trained on.
        anomalous: (K, sum of channels), rows of patches in synthetic anomalies in such images.
        channels: the number of channels of each source, in order.
        seed: seed of the choice of at most 2000 rows of each kind.
    """
    generator = torch.Generator().manual_seed(seed)
    samples = []
    for rows, most in ((bank, _BANK_ROWS), (good, _QUERY_ROWS), (anomalous, _QUERY_ROWS)):
        chosen = torch.randperm(len(rows), generator=generator)[:most]
        samples.append(torch.split(rows[chosen.to(rows.device)], list(channels), dim=1))
    separations = []
    for bank_rows, *query_rows in zip(*samples, strict=True):
        std = bank_rows.std(dim=0, correction=0).clamp_min(1e-6)
        index = NearestNeighbours(bank_rows / std)
        near, far = (index.search(q / std)[0][:, 0].cpu().numpy() for q in query_rows)
        separations.append(max(0.0, 2 * auroc(rank(near, far)) - 1) ** 2)
    best = max(separations)
    return [value / best for value in separations] if best > 0 else [1.0] * len(separations)
