"""A batch of images with everything computed from it, and the input size of detectors.

Results are stored with the batch: several detectors that are given the same `Batch`, such as the
members of an ensemble, share the resized pixels and the backbone's forward pass.
"""

from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from functools import wraps
from itertools import islice
from typing import Any, ParamSpec, TypeVar

import numpy as np
import torch
from torch import Tensor

from loco_tools.datasets.images import Pixels, Size, resize_image
from loco_tools.datasets.reading import Images
from loco_tools.methods import Resize
from loco_tools.methods.backbones import IMAGENET_MEAN, IMAGENET_STD, Backbone

STRIDE_PX = 16
"""Inputs are multiples of the deepest stride, so that grids of all levels cover the same area."""

P = ParamSpec("P")
T = TypeVar("T")


def input_size(
    sizes: Sequence[Size], size_px: int, resize: Resize, multiple_px: int = STRIDE_PX
) -> Size:
    """The (h, w) to which a detector resizes every image of a class.

    "square" is (size_px, size_px). The other modes have the median aspect ratio of `sizes`, the
    (H, W) of the training images: "keep" gives the SHORTER side `size_px`, as the `Resize(int)` of
    the published methods does, "area" as many pixels as the square has, so that the two compare at
    the same cost. Nothing is cropped. Sides are rounded to multiples of `multiple_px`.

    >>> input_size([(240, 400), (240, 400), (256, 256)], 128, "keep")
    (128, 208)
    >>> input_size([(100, 400)], 128, "area")
    (64, 256)
    """
    ratio = 1.0 if resize == "square" else float(np.median([w / h for h, w in sizes]))
    if resize == "area":
        height, width = size_px / ratio**0.5, size_px * ratio**0.5
    else:
        height, width = size_px / min(1.0, ratio), size_px * max(1.0, ratio)
    h, w = (max(multiple_px, round(x / multiple_px) * multiple_px) for x in (height, width))
    return h, w


def image_sizes(images: Sequence[Pixels]) -> list[Size]:
    """(H, W) of every image; from the headers alone when the images are `Images`."""
    if isinstance(images, Images):
        return images.sizes()
    return [(image.shape[0], image.shape[1]) for image in images]


def memo(function: Callable[P, T]) -> Callable[P, T]:
    """Decorate a function of a batch: the first result is stored in the batch and returned again.

    One argument is the `Batch`; the others are hashable and identify the result.
    """

    @wraps(function)
    def memoised(*args: P.args, **kwargs: P.kwargs) -> T:
        batch = next(argument for argument in args if isinstance(argument, Batch))
        key = (function, *(argument for argument in args if argument is not batch))
        if key not in batch.results:
            batch.results[key] = function(*args, **kwargs)
        result: T = batch.results[key]
        return result

    return memoised


class Batch:
    """Images of any sizes, with what has been computed from them so far.

    A batch stores its results: make one per batch of images and drop it afterwards.

    Attributes:
        images: (H, W, 3) uint8 RGB each.
        device: where tensors are computed.
        results: of functions decorated with `memo`, by function and arguments.
    """

    def __init__(self, images: Sequence[Pixels], device: torch.device | str = "cpu") -> None:
        self.images = tuple(images)
        self.device = torch.device(device)
        self.results: dict[Hashable, Any] = {}
        self._maps: dict[tuple[str, Size], dict[int, Tensor]] = {}

    def __len__(self) -> int:
        return len(self.images)

    @property
    def sizes(self) -> list[Size]:
        """(H, W) of each image before resizing."""
        return image_sizes(self.images)

    @memo
    def rgb(self, size: Size) -> Tensor:
        """The images resized to (h, w), RGB in 0..1: (B, 3, h, w) float32."""
        stacked = np.stack([resize_image(image, size) for image in self.images])  # (B, h, w, 3)
        return torch.from_numpy(stacked).to(self.device).permute(0, 3, 1, 2).float().div_(255)

    def pixels(self, size: Size) -> Tensor:
        """The images resized to (h, w), ImageNet-normalised RGB: (B, 3, h, w) float32."""
        mean = torch.tensor(IMAGENET_MEAN, device=self.device).view(3, 1, 1)
        std = torch.tensor(IMAGENET_STD, device=self.device).view(3, 1, 1)
        return (self.rgb(size) - mean).div_(std)  # (B, 3, h, w)

    def maps(self, backbone: Backbone, size: Size, strides: tuple[int, ...]) -> tuple[Tensor, ...]:
        """The backbone's feature maps at some strides and input size (h, w): (B, C, ~h/s, ~w/s).

        One forward pass computes those that are still missing. Backbones with the same `tag`
        compute the same, so they share their maps.

        Raises:
            MethodError: the backbone has no map at one of the strides.
        """
        maps = self._maps.setdefault((backbone.tag, size), {})
        missing = tuple(stride for stride in strides if stride not in maps)
        if missing:
            maps.update(zip(missing, backbone.maps(self.pixels(size), missing), strict=True))
        return tuple(maps[stride] for stride in strides)

    def relative_maps(
        self, backbone: Backbone, size: Size, strides: tuple[int, ...]
    ) -> tuple[Tensor, ...]:
        """The maps of `maps` made comparable between images, see `Backbone.relative`."""
        maps = self.maps(backbone, size, strides)
        keys = [("relative", backbone.tag, size, stride) for stride in strides]
        for key, one in zip(keys, maps, strict=True):
            if key not in self.results:
                self.results[key] = backbone.relative(one)
        return tuple(self.results[key] for key in keys)

    def part(self, indices: Sequence[int]) -> "Batch":
        """Some of the images as a batch, with those backbone maps that are computed already."""
        if len(indices) == len(self):
            return self
        smaller = Batch([self.images[n] for n in indices], self.device)
        rows = torch.tensor(indices, device=self.device)
        for key, maps in self._maps.items():
            smaller._maps[key] = {stride: one[rows] for stride, one in maps.items()}
        return smaller

    @property
    def stored_bytes(self) -> int:
        """Bytes of the images and of the backbones' maps."""
        maps = (one.nbytes for by_stride in self._maps.values() for one in by_stride.values())
        return sum(image.nbytes for image in self.images) + sum(maps)

    def forget_results(self) -> None:
        """Drop everything computed but the backbones' maps, from which it is cheap to compute."""
        self.results = {}


class CachedBatches(Iterable[Batch]):
    """Images in batches that can be iterated over several times, in the same order.

    Batches with their backbone maps are kept from the first iteration on when they are small;
    otherwise every iteration computes them again.
    """

    def __init__(
        self,
        images: Sequence[Pixels],
        batch_size: int,
        device: torch.device | str,
        *,
        keep_mb: float = 256.0,
    ) -> None:
        """`keep_mb` bounds the images and maps that are kept, in megabytes; 0: keep nothing."""
        self.images = images
        self._batch_size, self._device = batch_size, device
        self._limit_bytes = keep_mb * 1e6
        self._kept: list[Batch] | None = None

    def __iter__(self) -> Iterator[Batch]:
        """One batch after the other; each is valid until the next one is requested."""
        kept: list[Batch] | None = []
        fresh = batches(self.images, self._batch_size, self._device)
        for batch in fresh if self._kept is None else self._kept:
            yield batch
            batch.forget_results()
            if kept is not None:
                kept.append(batch)
                size = sum(batch.stored_bytes for batch in kept)
                kept = kept if size <= self._limit_bytes else None
        self._kept = kept


def batches(
    images: Sequence[Pixels], batch_size: int, device: torch.device | str
) -> Iterator[Batch]:
    """The images in order, `batch_size` at a time.

    Each image is decoded once; those of `Images` on threads while the detector computes.
    """
    for part in chunks(images, batch_size):
        yield Batch(part, device)


def chunks(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """The items in order as lists of `size`, the last one perhaps shorter; consumed lazily."""
    iterator = iter(items)
    while chunk := list(islice(iterator, size)):
        yield chunk
