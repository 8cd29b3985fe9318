import pytest
import torch
from torch.nn import functional

from loco_tools.methods.patch_features import PatchFeatures


def as_published(
    taps: list[torch.Tensor], patch_size: int, pretrain_dim: int, target_dim: int
) -> torch.Tensor:
    """The slow, obvious twin: unfold, resize every entry, pool, stack, pool."""
    B, _, h, w = taps[0].shape
    levels = []
    for tap in taps:
        entries = functional.unfold(tap, patch_size, padding=patch_size // 2)  # (B, C*k*k, h*w)
        entries = entries.view(B, -1, *tap.shape[-2:])
        if tap.shape[-2:] != (h, w):
            entries = functional.interpolate(
                entries, size=(h, w), mode="bilinear", align_corners=False
            )
        rows = entries.permute(0, 2, 3, 1).reshape(B * h * w, 1, -1)
        levels.append(functional.adaptive_avg_pool1d(rows, pretrain_dim)[:, 0])
    stacked = torch.stack(levels, dim=1).reshape(B * h * w, 1, -1)
    pooled = functional.adaptive_avg_pool1d(stacked, target_dim)[:, 0]
    return pooled.view(B, h, w, target_dim).permute(0, 3, 1, 2)


@pytest.mark.parametrize(
    ("channels", "patch_size", "pretrain_dim", "target_dim"),
    [
        ((32, 64), 3, 64, 64),
        ((16, 48), 3, 96, 96),
        ((5, 7), 3, 16, 12),
        ((257, 311), 3, 128, 128),
        ((8, 12), 5, 20, 30),
        ((8, 12), 1, 8, 8),
    ],
)
def test_the_grouped_convolution_equals_the_published_poolings(
    channels: tuple[int, ...], patch_size: int, pretrain_dim: int, target_dim: int
) -> None:
    torch.manual_seed(0)
    taps = [torch.randn(2, channels[0], 6, 10), torch.randn(2, channels[1], 3, 5)]
    ours = PatchFeatures(
        channels, patch_size=patch_size, pretrain_dim=pretrain_dim, target_dim=target_dim
    )(taps)
    twin = as_published(taps, patch_size, pretrain_dim, target_dim)
    torch.testing.assert_close(ours, twin, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("dim", [1024, 1536])
def test_the_first_half_comes_from_layer2_and_the_second_from_layer3(dim: int) -> None:
    make = PatchFeatures((512, 1024), pretrain_dim=dim, target_dim=dim)
    shallow, deep = torch.ones(1, 512, 4, 4), torch.ones(1, 1024, 2, 2)
    only_shallow = make([shallow, 0 * deep])[0].abs().amax(dim=(1, 2))
    only_deep = make([0 * shallow, deep])[0].abs().amax(dim=(1, 2))
    assert (only_shallow > 0).tolist() == [True] * (dim // 2) + [False] * (dim // 2)
    assert (only_deep > 0).tolist() == [False] * (dim // 2) + [True] * (dim // 2)
