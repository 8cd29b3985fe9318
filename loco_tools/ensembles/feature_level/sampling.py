"""Sampling of feature rows: iterate over images, keep a few rows of their features, never all.

A feature function turns a batch into feature maps (B, C, h, w). A row holds the channels of all
maps at one location of the largest map's grid, (sum of C,); smaller maps are resized to that grid.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import cv2
import numpy as np
import torch
from torch import Tensor

from loco_tools.datasets.images import Pixels, Size, resize_image
from loco_tools.ensembles.feature_level.blocks import largest_grid, resize_map
from loco_tools.methods.batch import Batch, CachedBatches, chunks
from loco_tools.progress import Progress
from loco_tools.synthesis.families import Synthetic
from loco_tools.synthesis.perlin import Field, Mask

FeatureFunction = Callable[[Batch], Sequence[Tensor]]

INSIDE = 0.25
"""A patch counts as anomalous when more than this share of it lies in the mask, and as good when
none of it does."""
_ROTATION_DEG = 8.0
_SHIFT = 0.03
_ZOOM = 0.04
_BRIGHTNESS = 0.07


@dataclass(frozen=True)
class AnomalousImages:
    """Images with synthetic anomalies, in batches that can be iterated over several times."""

    anomalies: Sequence[Synthetic]
    batches: CachedBatches

    def with_masks(self) -> Iterator[tuple[Batch, list[Mask]]]:
        """Every batch with the mask (H, W) of all anomalies of each of its images."""
        masks = (anomaly.mask for anomaly in self.anomalies)
        for batch in self.batches:
            yield batch, list(islice(masks, len(batch)))


def sample_good_rows(
    features: FeatureFunction,
    batches: CachedBatches,
    per_image: int,
    *,
    seed: int,
    progress: Progress,
    title: str,
) -> Tensor:
    """Random rows of good images, on average at most `per_image` of each: (N, sum of C)."""
    generator = torch.Generator().manual_seed(seed)
    rows = []
    with progress.task(title, len(batches.images)) as advance:
        for batch in batches:
            rows.append(sample_rows(features(batch), per_image * len(batch), generator))
            advance(len(batch))
    return torch.cat(rows)


def sample_anomalous_rows(
    features: FeatureFunction,
    batches: Iterable[tuple[Batch, Sequence[Mask]]],
    per_image: int,
    *,
    seed: int,
) -> tuple[Tensor, Tensor] | None:
    """Random rows inside and outside of synthetic anomalies, at most `per_image` each.

    Args:
        features: the feature function.
        batches: batches with the mask (H, W) of all anomalies of each of their images.
        per_image: the number of rows, on average over the images of a batch.
        seed: seed of the random choice.

    Returns:
        the rows inside of anomalies (N, sum of C) and those outside (M, sum of C); None when no
        patch lies in an anomaly.
    """
    generator = torch.Generator().manual_seed(seed)
    inside: list[Tensor] = []
    outside: list[Tensor] = []
    for batch, masks in batches:
        maps, most = features(batch), per_image * len(batch)
        shares = patch_shares(masks, largest_grid(maps)).flatten()
        for rows, chosen in ((inside, shares > INSIDE), (outside, shares == 0)):
            locations = _choose(chosen.nonzero()[:, 0], most, generator)
            rows.append(rows_at(maps, locations))
    if not sum(len(rows) for rows in inside):
        return None
    return torch.cat(inside), torch.cat(outside)


def batches_with_masks(
    anomalies: Iterable[Synthetic], batch_size: int, device: torch.device
) -> Iterator[tuple[Batch, list[Mask]]]:
    """Images with synthetic anomalies and their masks in batches; made while they are iterated."""
    for part in chunks(anomalies, batch_size):
        images = [anomaly.image for anomaly in part]
        yield Batch(images, device), [anomaly.mask for anomaly in part]


def patch_shares(masks: Sequence[Mask], grid: Size) -> Tensor:
    """(N, h, w): the share of each patch that lies in each mask, 0 to 1."""
    return torch.stack([torch.from_numpy(patch_share(mask, grid)) for mask in masks])


def patch_share(mask: Mask, grid: Size) -> Field:
    """(h, w): the share of each patch of a grid that lies in a mask (H, W), 0 to 1."""
    share = cv2.resize(mask.astype(np.float32), grid[::-1], interpolation=cv2.INTER_AREA)
    return share.astype(np.float32, copy=False)


def sample_rows(maps: Sequence[Tensor], most: int, generator: torch.Generator) -> Tensor:
    """At most `most` random rows of the maps (B, C, h, w): (N, sum of C)."""
    height, width = largest_grid(maps)
    locations = torch.arange(len(maps[0]) * height * width)
    return rows_at(maps, _choose(locations, most, generator))


def rows_at(maps: Sequence[Tensor], locations: Tensor) -> Tensor:
    """(N, sum of C): the rows of maps (B, C, h, w) at flat indices (N,) into (B, h, w).

    Only these are copied: all rows of several detectors' maps are tens of megabytes per batch.
    """
    grid = largest_grid(maps)
    area = grid[0] * grid[1]
    image, location = locations // area, locations % area
    return torch.cat([resize_map(m, grid).flatten(2)[image, :, location] for m in maps], dim=1)


class AugmentedImages(Sequence[Pixels]):
    """Good images rotated by up to 8 degrees, shifted, zoomed and changed in brightness a little.

    They stand for more photographs of the same parts where only few were taken. Images are used in
    turn, in random order; pixels beyond the edge are reflected.
    """

    def __init__(self, images: Sequence[Pixels], count: int, seed: int) -> None:
        self._images, self._count, self._seed = images, count, seed
        self._order = np.random.default_rng(seed).permutation(len(images))

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> Pixels:  # type: ignore[override]
        if index >= self._count:
            raise IndexError(index)
        image = self._images[int(self._order[index % len(self._order)])]
        rng = np.random.default_rng([self._seed, index])
        height, width = image.shape[:2]
        zoom = rng.uniform(1 - _ZOOM, 1 + _ZOOM)
        centre = (width / 2, height / 2)
        rotation = cv2.getRotationMatrix2D(centre, rng.uniform(-_ROTATION_DEG, _ROTATION_DEG), zoom)
        x, y = rng.uniform(-_SHIFT, _SHIFT, 2) * [width, height]
        transform = rotation + np.array([[0, 0, x], [0, 0, y]])
        moved = cv2.warpAffine(image, transform, (width, height), borderMode=cv2.BORDER_REFLECT)
        brightened = moved * rng.uniform(1 - _BRIGHTNESS, 1 + _BRIGHTNESS)
        return np.clip(brightened, 0, 255).astype(np.uint8)


def shrink_anomalies(anomalies: Iterable[Synthetic], size: Size) -> list[Synthetic]:
    """The anomalies resized to an input size (h, w), so that all can be held in memory."""
    return [
        Synthetic(
            resize_image(anomaly.image, size),
            tuple(
                cv2.resize(mask.astype(np.uint8), size[::-1], interpolation=cv2.INTER_NEAREST) > 0
                for mask in anomaly.masks
            ),
            anomaly.families,
            anomaly.source,
        )
        for anomaly in anomalies
    ]


def _choose(items: Tensor, most: int, generator: torch.Generator) -> Tensor:
    """At most `most` of the items, chosen at random."""
    if len(items) <= most:
        return items
    return items[torch.randperm(len(items), generator=generator)[:most]]
