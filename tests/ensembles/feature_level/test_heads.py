import math

import pytest
import torch

from loco_tools.ensembles.feature_level.heads import (
    DiscriminatorHead,
    Gaussian,
    Head,
    MemoryBank,
    load_head,
)
from loco_tools.methods.simplenet import Discriminator
from loco_tools.progress import SILENT


def make_rows(count: int = 400) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(count, 3, generator=generator) * torch.tensor([3.0, 1.0, 0.1]) + 5


def make_discriminator() -> Discriminator:
    return Discriminator(3, 8, torch.Generator().manual_seed(1)).eval()


def test_a_gaussian_measures_in_standard_deviations_of_each_direction() -> None:
    head = Gaussian.fit(make_rows(20_000), shrinkage=0)
    steps = torch.tensor([[3.0, 0, 0], [0, 1.0, 0], [0, 0, 0.1]])
    distances = head.scores(torch.full((1, 3), 5.0) + steps)
    torch.testing.assert_close(distances, torch.ones(3), rtol=0.05, atol=0)


def test_a_direction_without_variance_is_no_division_by_zero() -> None:
    rows = torch.cat([make_rows()[:, :2], torch.ones(400, 1)], dim=1)
    assert torch.isfinite(Gaussian.fit(rows).scores(rows + 1)).all()


def test_a_memory_bank_gives_the_distance_to_its_nearest_row() -> None:
    bank = MemoryBank(torch.tensor([[0.0, 0.0], [10.0, 0.0]]))
    distances, nearest = bank.search(torch.tensor([[3.0, 4.0], [10.0, 1.0]]))
    torch.testing.assert_close(distances, torch.tensor([5.0, 1.0]))
    assert nearest.tolist() == [0, 1]


@pytest.mark.parametrize(("size", "kept"), [(10, 10), (1000, 100)])
def test_a_memory_bank_has_the_requested_size_and_at_most_a_quarter_of_the_rows(
    size: int, kept: int
) -> None:
    bank = MemoryBank.fit(make_rows(), size, seed=0, progress=SILENT)
    assert len(bank.bank) == kept


def test_the_discriminators_score_is_minus_its_normality() -> None:
    head, rows = DiscriminatorHead(make_discriminator()), make_rows(4)
    maps = head.discriminator.maps(rows.T[None, :, None])  # (1, 3, 1, 4)
    torch.testing.assert_close(head.scores(rows), maps[0, 0])


@pytest.mark.parametrize(
    "head",
    [
        Gaussian.fit(make_rows()),
        MemoryBank(make_rows(7)),
        DiscriminatorHead(make_discriminator()),
    ],
    ids=lambda head: head.name,
)
def test_a_head_is_loaded_from_its_arrays(head: Head) -> None:
    again = load_head(head.name, head.tensors(), Discriminator(3, 8, torch.Generator()).eval())
    rows = make_rows(5) + math.pi
    torch.testing.assert_close(again.scores(rows), head.scores(rows))


def test_a_missing_array_is_an_error_that_names_it() -> None:
    with pytest.raises(KeyError, match="whitening"):
        load_head("gaussian", {"mean": torch.zeros(3)}, make_discriminator())
