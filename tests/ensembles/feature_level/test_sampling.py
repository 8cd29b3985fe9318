import numpy as np
import torch

from loco_tools.ensembles.feature_level.sampling import (
    Varied,
    anomalous_rows,
    at_input_size,
    good_rows,
    patch_shares,
    rows_at,
    with_masks,
)
from loco_tools.methods.batch import Batch, CachedBatches
from loco_tools.progress import SILENT
from loco_tools.synthesis.families import Synthetic

CPU = torch.device("cpu")


def grey(batch: Batch) -> list[torch.Tensor]:
    """One map (B, 1, 4, 6): the mean light of 8 x 8 px patches of images of 32 x 48."""
    stacked = torch.stack([torch.from_numpy(image[..., 0]).float() for image in batch.images])
    return [torch.nn.functional.avg_pool2d(stacked[:, None], 8)]


def make_images(count: int) -> list[np.ndarray]:
    return [np.full((32, 48, 3), 10 * k, np.uint8) for k in range(count)]


def make_anomaly() -> Synthetic:
    image, mask = np.zeros((32, 48, 3), np.uint8), np.zeros((32, 48), np.bool_)
    mask[8:16, 16:28] = True  # one patch whole, half of the next one
    image[mask] = 200
    return Synthetic(image, (mask,), ("stain",), 0)


def test_every_image_gives_as_many_rows_as_wanted() -> None:
    passes = CachedBatches(make_images(5), 1, CPU)
    parts = good_rows(grey, passes, 7, seed=0, progress=SILENT, title="t")
    rows = torch.cat(list(parts))
    assert torch.bincount(rows[:, 0].long() // 10).tolist() == [7] * 5


def test_rows_hold_all_maps_side_by_side_on_the_largest_grid() -> None:
    fine, coarse = torch.arange(24.0).view(2, 2, 2, 3), torch.tensor([5.0, 7.0]).view(2, 1, 1, 1)
    found = rows_at([coarse, fine], torch.tensor([0, 11, 5]))
    assert found.tolist() == [[5, 0, 6], [7, 17, 23], [5, 5, 11]]


def test_the_share_of_patches_in_an_anomaly() -> None:
    shares = patch_shares([make_anomaly().mask], (4, 6))
    assert shares[0, 1].tolist() == [0, 0, 1, 0.5, 0, 0]
    assert float(shares.sum()) == 1.5


def test_rows_in_an_anomaly_and_beside_it_are_told_apart() -> None:
    passes = with_masks([make_anomaly()], 4, CPU)
    inside, beside = next(anomalous_rows(grey, passes, 100, seed=0))
    assert sorted(inside[:, 0].tolist()) == [100, 200]
    assert len(beside) == 22
    assert not beside.any()


def test_varied_images_stay_alike_and_are_their_seeds() -> None:
    image = np.zeros((64, 96, 3), np.uint8)
    image[16:48, 24:72] = 120
    first, again, other = (Varied([image], 4, seed) for seed in (0, 0, 1))
    assert len(first) == len(list(first)) == 4
    for a, b in zip(first, again, strict=True):
        np.testing.assert_array_equal(a, b)
    assert any((a != b).any() for a, b in zip(first, other, strict=True))
    for varied in first:
        assert varied.shape == image.shape
        assert 90 < varied[32, 48].mean() < 140
        assert 0.15 < (varied[..., 0] > 60).mean() < 0.4


def test_anomalies_are_kept_at_the_size_at_which_they_are_seen() -> None:
    small = at_input_size([make_anomaly()], (16, 24))[0]
    assert small.image.shape == (16, 24, 3)
    assert small.mask.shape == (16, 24)
    assert small.mask.mean() == make_anomaly().mask.mean()
