import pytest
import torch

from loco_tools.ensembles.feature_level.blocks import (
    GlobalTransformation,
    IndependentTransformation,
    Scale,
    stack,
)
from loco_tools.methods.patch_features import to_rows


def make_block(
    rows: torch.Tensor, channels: list[int], *, components: float, scale: Scale = "none"
) -> GlobalTransformation:
    block = GlobalTransformation(channels)
    for part in rows.split(37):
        block.accumulate(part)
    block.solve(components=components, scale=scale)
    return block


def make_rows() -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    mix = torch.randn(6, 6, generator=generator)
    return torch.randn(500, 6, generator=generator) @ mix + 3


def test_batches_give_the_principal_components_of_all_rows() -> None:
    rows = make_rows()
    block = make_block(rows, [2, 4], components=3)
    fused = (rows - block.mean) @ block.basis
    centred = (rows - rows.mean(dim=0)).double()
    expected = centred @ torch.linalg.svd(centred, full_matrices=False).Vh[:3].T
    torch.testing.assert_close(fused.abs().double(), expected.abs(), rtol=1e-3, atol=1e-3)


def test_features_far_from_zero_lose_no_precision() -> None:
    rows = make_rows()
    near, far = (
        make_block(rows, [2, 4], components=6),
        make_block(rows + 1000, [2, 4], components=6),
    )
    torch.testing.assert_close(far.mean, near.mean + 1000)
    torch.testing.assert_close(far.basis.abs(), near.basis.abs(), rtol=1e-2, atol=1e-3)
    maps = [part.T.reshape(1, -1, 20, 25) for part in rows.split([2, 4], dim=1)]
    fused, moved = near(maps).abs(), far([one + 1000 for one in maps]).abs()
    torch.testing.assert_close(moved, fused, rtol=1e-2, atol=1e-2)


def test_a_share_of_variance_keeps_as_few_components_as_reach_it() -> None:
    rows = torch.randn(2000, 3, generator=torch.Generator().manual_seed(0))
    rows = rows * torch.tensor([10.0, 3.0, 1.0])  # shares of about .91, .08, .01
    assert make_block(rows, [3], components=0.5).dim == 1
    assert make_block(rows, [3], components=0.95).dim == 2
    assert make_block(rows, [3], components=0.999).dim == 3
    assert make_block(rows, [3], components=99).dim == 3


def test_per_source_scaling_lets_sources_of_any_scale_weigh_the_same() -> None:
    rows = make_rows()
    loud = rows.clone()
    loud[:, 2:] *= 1000
    for scale in ("per_source", "per_channel"):
        plain = make_block(rows, [2, 4], components=4, scale=scale)
        scaled = make_block(loud, [2, 4], components=4, scale=scale)
        one, other = (rows - plain.mean) @ plain.basis, (loud - scaled.mean) @ scaled.basis
        torch.testing.assert_close(one.abs(), other.abs(), rtol=1e-2, atol=1e-3)


def test_whitened_components_have_variance_one() -> None:
    rows = make_rows()
    block = GlobalTransformation([6])
    block.accumulate(rows)
    block.solve(components=4, scale="none", whiten=True)
    fused = (rows - block.mean) @ block.basis
    torch.testing.assert_close(fused.var(dim=0, correction=0), torch.ones(4), rtol=1e-3, atol=1e-3)


def test_maps_are_resized_to_the_largest_grid_and_keep_coordinates() -> None:
    line = ((torch.arange(4) + 0.5) / 4).expand(1, 1, 2, 4)
    fine = ((torch.arange(12) + 0.5) / 12).expand(1, 2, 6, 12)
    stacked = stack([line, fine])
    assert stacked.shape == (1, 3, 6, 12)
    torch.testing.assert_close(stacked[0, 0, :, 2:-2], stacked[0, 1, :, 2:-2])


def test_the_fused_map_has_the_components_as_channels() -> None:
    sources = [torch.randn(2, 3, 4, 6), torch.randn(2, 5, 2, 3)]
    block = make_block(to_rows(stack(sources)), [3, 5], components=4)
    fused = block(sources)
    assert fused.shape == (2, 4, 4, 6)
    assert float(fused.mean().detach()) == pytest.approx(0, abs=1e-5)


def make_independent(rows: torch.Tensor, components: object) -> IndependentTransformation:
    block = IndependentTransformation([2, 4])
    block.accumulate(rows)
    block.solve(components=components, scale="none")  # type: ignore[arg-type]
    return block


def test_the_independent_block_keeps_the_components_of_each_source() -> None:
    rows = make_rows()
    block = make_independent(rows, [1, 2])
    apart = [
        make_block(rows[:, :2], [2], components=1),
        make_block(rows[:, 2:], [4], components=2),
    ]
    expected = torch.cat([apart[0].project(rows[:, :2]), apart[1].project(rows[:, 2:])], dim=1)
    torch.testing.assert_close(block.project(rows).abs(), expected.abs(), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("kind", ["global", "independent"])
def test_projecting_before_resizing_changes_nothing(kind: str) -> None:
    rows = make_rows()
    block = (
        make_block(rows, [2, 4], components=3) if kind == "global" else make_independent(rows, 2.0)
    )
    sources = [torch.randn(2, 2, 6, 8), torch.randn(2, 4, 3, 4)]
    at_grid = block.project(stack(sources).permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
    torch.testing.assert_close(block(sources), at_grid, rtol=1e-4, atol=1e-4)


def test_a_source_of_weight_0_does_not_count() -> None:
    rows = make_rows()
    block = GlobalTransformation([2, 4])
    block.accumulate(rows)
    block.solve(components=2, scale="per_source", weights=[1.0, 0.0])
    changed = rows.clone()
    changed[:, 2:] += 50
    torch.testing.assert_close(block.project(changed), block.project(rows))
