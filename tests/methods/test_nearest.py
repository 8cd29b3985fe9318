import pytest
import torch

from loco_tools.methods import nearest
from loco_tools.methods.nearest import NearestNeighbours


def test_a_bank_of_two_gives_the_distances_of_the_drawing() -> None:
    distances, rows = NearestNeighbours(torch.tensor([[0.0, 0.0], [3.0, 4.0]])).search(
        torch.tensor([[3.0, 0.0]]), k=2
    )
    assert distances.tolist() == [[3.0, 4.0]]
    assert rows.tolist() == [[0, 1]]


def test_blocks_equal_all_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nearest, "CPU_BLOCK_FLOATS", 100)
    monkeypatch.setattr(nearest, "_LEAST_QUERIES", 1)
    bank, queries = torch.randn(40, 9), torch.randn(33, 9)
    distances, rows = NearestNeighbours(bank).search(queries, k=3)
    expected = torch.cdist(queries.double(), bank.double()).topk(3, largest=False)
    torch.testing.assert_close(distances.double(), expected.values, rtol=1e-5, atol=1e-5)
    assert torch.equal(rows, expected.indices)


def test_a_row_of_the_bank_is_at_distance_zero_of_itself() -> None:
    bank = torch.randn(20, 64) * 100 + 1000
    assert NearestNeighbours(bank).search(bank)[0].max() == 0


def test_distances_alone_are_those_of_the_search(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nearest, "CPU_BLOCK_FLOATS", 70)
    monkeypatch.setattr(nearest, "_LEAST_QUERIES", 1)
    generator = torch.Generator().manual_seed(2)
    bank, queries = (torch.randn(count, 5, generator=generator) + 3 for count in (20, 33))
    index = nearest.NearestNeighbours(bank)
    torch.testing.assert_close(index.distances(queries), index.search(queries)[0][:, 0])
    assert float(index.distances(bank).max()) < 1e-2
    distances, rows = index.nearest(queries)
    assert torch.equal(distances, index.distances(queries))
    assert torch.equal(rows, index.search(queries)[1][:, 0])
