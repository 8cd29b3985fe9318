"""Passes over images that take along a few rows of features each, and never more.

`make` turns a batch into feature maps (B, C, h, w). Rows are what these hold side by side at places
of the largest one's grid, (N, sum of C); smaller maps are resized to it.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence

import cv2
import numpy as np
import torch
from torch import Tensor

from loco_tools.datasets.images import Pixels, Size, resize_image
from loco_tools.ensembles.feature_level.blocks import largest_grid, resized
from loco_tools.methods.batch import Batch, CachedBatches, chunks
from loco_tools.progress import Progress
from loco_tools.synthesis.families import Synthetic
from loco_tools.synthesis.perlin import Field, Mask

Make = Callable[[Batch], Sequence[Tensor]]

INSIDE = 0.25
"""A patch is anomalous when so much of it lies in the mask, good when nothing of it does."""
_TURN_DEG = 8.0
_SHIFT = 0.03
_ZOOM = 0.04
_LIGHT = 0.07


def good_rows(
    make: Make,
    passes: CachedBatches,
    per_image: int,
    *,
    seed: int,
    progress: Progress,
    title: str,
) -> Iterator[Tensor]:
    """Random rows of good images, at most `per_image` each: (n, C) per batch."""
    generator = torch.Generator().manual_seed(seed)
    with progress.task(title, len(passes.images)) as advance:
        for batch in passes:
            yield sampled(make(batch), per_image * len(batch), generator)
            advance(len(batch))


def anomalous_rows(
    make: Make,
    passes: Iterable[tuple[Batch, Sequence[Mask]]],
    per_image: int,
    *,
    seed: int,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Rows in anomalies and rows beside them, at most `per_image` each of both.

    Args:
        make: see above.
        passes: batches with the mask (H, W) of all anomalies of each of their images.
        per_image: how many rows.
        seed: of which ones.
    """
    generator = torch.Generator().manual_seed(seed)
    for batch, masks in passes:
        maps, most = make(batch), per_image * len(batch)
        share = patch_shares(masks, largest_grid(maps)).flatten()
        inside, outside = (where.nonzero()[:, 0] for where in (share > INSIDE, share == 0))
        rows_inside, rows_beside = (
            rows_at(maps, drawn(of, most, generator)) for of in (inside, outside)
        )
        yield rows_inside, rows_beside


def with_masks(
    anomalies: Iterable[Synthetic], batch_size: int, device: torch.device
) -> Iterator[tuple[Batch, list[Mask]]]:
    """Images with synthetic anomalies as `anomalous_rows` takes them, made as they are needed."""
    for part in chunks(anomalies, batch_size):
        yield Batch([one.image for one in part], device), [one.mask for one in part]


def patch_shares(masks: Sequence[Mask], grid: Size) -> Tensor:
    """(N, h, w): how much of each patch lies in each mask, 0 to 1."""
    return torch.stack([torch.from_numpy(patch_share(mask, grid)) for mask in masks])


def patch_share(mask: Mask, grid: Size) -> Field:
    """(h, w): how much of each patch of a grid lies in a mask (H, W), 0 to 1."""
    share = cv2.resize(mask.astype(np.float32), grid[::-1], interpolation=cv2.INTER_AREA)
    return share.astype(np.float32, copy=False)


def sampled(maps: Sequence[Tensor], most: int, generator: torch.Generator) -> Tensor:
    """At most so many rows of the maps, drawn at random: (N, sum of C)."""
    height, width = largest_grid(maps)
    places = torch.arange(len(maps[0]) * height * width)
    return rows_at(maps, drawn(places, most, generator))


def drawn(items: Tensor, most: int, generator: torch.Generator) -> Tensor:
    """At most so many of the items, drawn at random."""
    if len(items) <= most:
        return items
    return items[torch.randperm(len(items), generator=generator)[:most]]


def rows_at(maps: Sequence[Tensor], places: Tensor) -> Tensor:
    """(N, sum of C): what maps (B, C, h, w) hold at places (N,), counted through (B, h, w).

    Only these are copied: all rows of several detectors' maps are tens of megabytes per batch.
    """
    grid = largest_grid(maps)
    image, place = places // (grid[0] * grid[1]), places % (grid[0] * grid[1])
    return torch.cat([resized(one, grid).flatten(2)[image, :, place] for one in maps], dim=1)


class Varied(Sequence[Pixels]):
    """Good images turned by up to 8 degrees, shifted, zoomed and lit a little differently.

    What a camera sees of one part more, where only few parts were photographed. In turn over the
    images; the edge is reflected.
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
        turn = cv2.getRotationMatrix2D(centre, rng.uniform(-_TURN_DEG, _TURN_DEG), zoom)
        x, y = rng.uniform(-_SHIFT, _SHIFT, 2) * [width, height]
        move = turn + np.array([[0, 0, x], [0, 0, y]])
        moved = cv2.warpAffine(image, move, (width, height), borderMode=cv2.BORDER_REFLECT)
        lit = moved * rng.uniform(1 - _LIGHT, 1 + _LIGHT)
        return np.clip(lit, 0, 255).astype(np.uint8)


def at_input_size(anomalies: Iterable[Synthetic], size: Size) -> list[Synthetic]:
    """The anomalies as detectors of that input size see them: little to keep, nothing lost."""
    found = []
    for one in anomalies:
        masks = tuple(
            cv2.resize(mask.astype(np.uint8), size[::-1], interpolation=cv2.INTER_NEAREST) > 0
            for mask in one.masks
        )
        found.append(Synthetic(resize_image(one.image, size), masks, one.families, one.source))
    return found
