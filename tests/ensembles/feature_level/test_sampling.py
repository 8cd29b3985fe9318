import numpy as np
import torch

from loco_tools.ensembles.feature_level.sampling import (
    AnomalousImages,
    AugmentedImages,
    batches_with_masks,
    patch_shares,
    rows_at,
    sample_anomalous_rows,
    sample_good_rows,
    shrink_anomalies,
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
    mask[8:16, 16:28] = True  # one whole patch and half of the next one
    image[mask] = 200
    return Synthetic(image, (mask,), ("stain",), 0)


def test_every_image_provides_the_requested_number_of_rows() -> None:
    batches = CachedBatches(make_images(5), 1, CPU)
    rows = sample_good_rows(grey, batches, 7, seed=0, progress=SILENT, title="t")
    assert torch.bincount(rows[:, 0].long() // 10).tolist() == [7] * 5


def test_rows_concatenate_all_maps_on_the_largest_grid() -> None:
    fine, coarse = torch.arange(24.0).view(2, 2, 2, 3), torch.tensor([5.0, 7.0]).view(2, 1, 1, 1)
    rows = rows_at([coarse, fine], torch.tensor([0, 11, 5]))
    assert rows.tolist() == [[5, 0, 6], [7, 17, 23], [5, 5, 11]]


def test_the_share_of_patches_in_an_anomaly() -> None:
    shares = patch_shares([make_anomaly().mask], (4, 6))
    assert shares[0, 1].tolist() == [0, 0, 1, 0.5, 0, 0]
    assert float(shares.sum()) == 1.5


def test_rows_inside_and_outside_of_an_anomaly_are_separated() -> None:
    batches = batches_with_masks([make_anomaly()], 4, CPU)
    sampled = sample_anomalous_rows(grey, batches, 100, seed=0)
    assert sampled is not None
    inside, outside = sampled
    assert sorted(inside[:, 0].tolist()) == [100, 200]
    assert len(outside) == 22
    assert not outside.any()


def test_no_anomaly_provides_no_rows() -> None:
    assert sample_anomalous_rows(grey, batches_with_masks([], 4, CPU), 100, seed=0) is None


def test_anomalous_images_come_with_their_masks_in_every_iteration() -> None:
    anomalies = [make_anomaly() for _ in range(3)]
    batches = CachedBatches([anomaly.image for anomaly in anomalies], 2, CPU)
    images = AnomalousImages(anomalies, batches)
    for _ in range(2):
        assert [len(masks) for _, masks in images.with_masks()] == [2, 1]
        for batch, masks in images.with_masks():
            for image, mask in zip(batch.images, masks, strict=True):
                assert (image[mask] == 200).all()


def test_augmented_images_stay_similar_and_are_determined_by_their_seed() -> None:
    image = np.zeros((64, 96, 3), np.uint8)
    image[16:48, 24:72] = 120
    first, again, other = (AugmentedImages([image], 4, seed) for seed in (0, 0, 1))
    assert len(first) == len(list(first)) == 4
    for a, b in zip(first, again, strict=True):
        np.testing.assert_array_equal(a, b)
    assert any((a != b).any() for a, b in zip(first, other, strict=True))
    for augmented in first:
        assert augmented.shape == image.shape
        assert 90 < augmented[32, 48].mean() < 140
        assert 0.15 < (augmented[..., 0] > 60).mean() < 0.4


def test_anomalies_are_resized_to_the_input_size() -> None:
    small = shrink_anomalies([make_anomaly()], (16, 24))[0]
    assert small.image.shape == (16, 24, 3)
    assert small.mask.shape == (16, 24)
    assert small.mask.mean() == make_anomaly().mask.mean()
