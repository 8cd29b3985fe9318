import numpy as np
import pytest
import torch

from loco_tools.errors import MethodError
from loco_tools.methods.coreset import coreset


def plain_greedy(points: np.ndarray, count: int, first: int) -> list[int]:
    chosen = [first]
    while len(chosen) < count:
        gaps = np.linalg.norm(points[:, None] - points[None, chosen], axis=2).min(axis=1)
        gaps[chosen] = -1
        chosen.append(int(gaps.argmax()))
    return chosen


def test_the_choice_equals_the_plain_greedy_loop() -> None:
    points = torch.randn(300, 6, generator=torch.Generator().manual_seed(1))
    chosen = coreset(points, 60, seed=3).tolist()
    assert chosen == plain_greedy(points.double().numpy(), 60, chosen[0])


def test_exactly_as_many_different_rows_as_asked_for_even_among_equal_ones() -> None:
    rows = torch.ones(50, 4)
    assert sorted(coreset(rows, 50, seed=0).tolist()) == list(range(50))


def test_the_seed_decides_and_projection_keeps_the_cover_close() -> None:
    rows = torch.randn(500, 200, generator=torch.Generator().manual_seed(0))
    rows[:, 2:] *= 0.01
    assert torch.equal(coreset(rows, 40, seed=1), coreset(rows, 40, seed=1))
    assert not torch.equal(coreset(rows, 40, seed=1), coreset(rows, 40, seed=2))
    kept, random = rows[coreset(rows, 40, seed=1, projection_dim=64)], rows[:40]
    assert torch.cdist(rows, kept).amin(1).max() < torch.cdist(rows, random).amin(1).max()


@pytest.mark.parametrize("count", [0, 11])
def test_an_impossible_count_is_an_error(count: int) -> None:
    with pytest.raises(MethodError, match=f"coreset of 1 to 10 rows, got {count}"):
        coreset(torch.zeros(10, 2), count, seed=0)
