"""A batch of images on its way through the detectors, and the size at which they see it.

Whatever is computed for a batch is kept with it: several detectors that are given the same `Batch`
(the members of an ensemble) share the resized pixels and the backbone's forward pass.
"""

from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from functools import partial
from itertools import chain, islice
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from loco_tools.datasets.images import Pixels, Size, resize_image
from loco_tools.datasets.sample import Images
from loco_tools.methods import Resize
from loco_tools.methods.backbones import Backbone

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
STRIDE_PX = 16
"""Inputs are multiples of the deepest stride, so that grids of all levels cover the same area."""

T = TypeVar("T")

_MAPS = "maps"


def input_size(
    sizes: Sequence[Size], size_px: int, resize: Resize, multiple_px: int = STRIDE_PX
) -> Size:
    """The one (h, w) at which a detector sees every image of a class.

    "square" is (size_px, size_px). The other two have the median aspect ratio of `sizes`, the
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
    return _to_multiple(height, multiple_px), _to_multiple(width, multiple_px)


def image_sizes(images: Sequence[Pixels]) -> list[Size]:
    """(H, W) of every image; from the headers alone when the images are `Images`."""
    if isinstance(images, Images):
        return images.sizes()
    return [(image.shape[0], image.shape[1]) for image in images]


class Batch:
    """Images of any sizes with what has been computed for them so far.

    Keeps what it computes: make one per batch of images and let it go.
    """

    def __init__(self, images: Sequence[Pixels], device: torch.device | str = "cpu") -> None:
        self.images = tuple(images)
        self.device = torch.device(device)
        self._kept: dict[Hashable, Any] = {}

    def __len__(self) -> int:
        return len(self.images)

    @property
    def sizes(self) -> list[Size]:
        """(H, W) of each image as it came."""
        return image_sizes(self.images)

    def remember(self, key: Hashable, make: Callable[[], T]) -> T:
        """What `make` returned when `key` was first asked for."""
        if key not in self._kept:
            self._kept[key] = make()
        value: T = self._kept[key]
        return value

    def pixels(self, size: Size) -> Tensor:
        """The images resized to (h, w), ImageNet-normalised RGB: (B, 3, h, w) float32."""
        return self.remember(("pixels", size), lambda: self._pixels(size))

    def maps(self, backbone: Backbone, size: Size, strides: tuple[int, ...]) -> tuple[Tensor, ...]:
        """The backbone's feature maps at some strides and input size (h, w): (B, C, ~h/s, ~w/s).

        One pass gives those that are not yet known. Backbones with the same `tag` are the same
        function, so the first one asked serves all.

        Raises:
            MethodError: the backbone has no map at one of them.
        """
        kept: dict[int, Tensor] = self.remember((_MAPS, backbone.tag, size), dict)
        missing = tuple(stride for stride in strides if stride not in kept)
        if missing:
            made = backbone.maps(self.pixels(size), missing)
            kept.update(zip(missing, made, strict=True))
        return tuple(kept[stride] for stride in strides)

    def relative_maps(
        self, backbone: Backbone, size: Size, strides: tuple[int, ...]
    ) -> tuple[Tensor, ...]:
        """As `maps`, and as distances are to see them, see `Backbone.relative`."""
        return tuple(
            self.remember(("relative", backbone.tag, size, stride), partial(backbone.relative, one))
            for stride, one in zip(strides, self.maps(backbone, size, strides), strict=True)
        )

    def part(self, chosen: Sequence[int]) -> "Batch":
        """Some of the images, with what is known of the backbones' maps of them."""
        if len(chosen) == len(self):
            return self
        smaller = Batch([self.images[n] for n in chosen], self.device)
        rows = torch.tensor(chosen, device=self.device)
        for key, made in self._kept.items():
            if _is_maps(key):
                smaller._kept[key] = {stride: one[rows] for stride, one in made.items()}
        return smaller

    @property
    def kept_bytes(self) -> int:
        """Bytes of the images and of the backbones' maps that are known."""
        known = [made.values() for key, made in self._kept.items() if _is_maps(key)]
        maps: list[Tensor] = list(chain.from_iterable(known))
        return sum(image.nbytes for image in self.images) + sum(one.nbytes for one in maps)

    def forget(self) -> None:
        """Let go of everything computed but the backbones' maps: the rest is soon made of them."""
        self._kept = {key: made for key, made in self._kept.items() if _is_maps(key)}

    def rgb(self, size: Size) -> Tensor:
        """The images resized to (h, w), RGB in 0..1: (B, 3, h, w) float32."""
        return self.remember(("rgb", size), lambda: self._rgb(size))

    def _rgb(self, size: Size) -> Tensor:
        stacked = np.stack([resize_image(image, size) for image in self.images])  # (B, h, w, 3)
        return torch.from_numpy(stacked).to(self.device).permute(0, 3, 1, 2).float().div_(255)

    def _pixels(self, size: Size) -> Tensor:
        mean = torch.tensor(IMAGENET_MEAN, device=self.device).view(3, 1, 1)
        std = torch.tensor(IMAGENET_STD, device=self.device).view(3, 1, 1)
        return (self.rgb(size) - mean).div_(std)  # (B, 3, h, w)


class Passes(Iterable[Batch]):
    """Images in batches that are gone through more than once, in order.

    What backbones made of them is kept from the first time on when it is little, else computed
    again each time.
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
        self._room = keep_mb * 1e6
        self._kept: list[Batch] | None = None

    def __iter__(self) -> Iterator[Batch]:
        """One batch after the other; each is good until the next one is asked for."""
        kept: list[Batch] | None = []
        fresh = batches(self.images, self._batch_size, self._device)
        for batch in fresh if self._kept is None else self._kept:
            yield batch
            batch.forget()
            if kept is not None:
                kept.append(batch)
                kept = kept if sum(one.kept_bytes for one in kept) <= self._room else None
        self._kept = kept


def batches(
    images: Sequence[Pixels], batch_size: int, device: torch.device | str
) -> Iterator[Batch]:
    """The images in order, `batch_size` at a time; each image is decoded once."""
    # of `Images`: decoded on threads while the detector computes
    for part in in_parts(images, batch_size):
        yield Batch(part, device)


def in_parts(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """The items in order, `size` at a time; asked for no earlier than they are needed."""
    ahead = iter(items)
    while part := list(islice(ahead, size)):
        yield part


def _is_maps(key: Hashable) -> bool:
    return isinstance(key, tuple) and key[0] == _MAPS


def _to_multiple(length: float, multiple: int) -> int:
    return max(multiple, round(length / multiple) * multiple)
