import pytest
import torch

from loco_tools.ensembles.feature_level.source_weights import source_weights


def make_rows(count: int, shift: float, seed: int) -> torch.Tensor:
    """Two sources of 4 channels: anomalies move the first; the second is loud noise."""
    rows = torch.randn(count, 8, generator=torch.Generator().manual_seed(seed))
    rows[:, :4] += shift
    rows[:, 4:] *= 100
    return rows


def test_a_source_that_separates_nothing_gets_a_weight_near_0() -> None:
    bank, good, anomalous = make_rows(500, 0, 0), make_rows(300, 0, 1), make_rows(300, 3, 2)
    best, noise = source_weights(bank, good, anomalous, [4, 4], seed=0)
    assert best == 1
    assert noise < 0.02


def test_the_weight_is_the_squared_separation_by_nearest_neighbours() -> None:
    bank = torch.tensor([[0.0, 0.0], [1.0, 1.0]])
    good = torch.tensor([[0.1, 0.3], [0.2, 0.1]])
    anomalous = torch.tensor([[9.0, 0.2], [8.0, 0.4]])
    # distances in the second source: good .3 and .1, anomalous .2 and .4: 3 of 4 pairs, AUROC .75
    first, second = source_weights(bank, good, anomalous, [1, 1], seed=0)
    assert (first, second) == (1.0, pytest.approx(0.25))


def test_where_no_source_separates_anything_all_weigh_the_same() -> None:
    rows = torch.zeros(10, 2)
    assert source_weights(rows, rows, rows, [1, 1], seed=0) == [1.0, 1.0]
