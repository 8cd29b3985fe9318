"""Frozen features of training images, computed once when they fit into memory.

They are computed one image at a time. Convolutions round their sums differently in batches of
different sizes, so features that were computed with those of other images would depend on what is
still in memory: a resumed training, which has nothing in memory, would part from an undisturbed one
in the last digits. On a CPU this takes as long as batches (wide_resnet50_2 at 256 x 384 px, one
thread: 383 ms per image, 482 ms in batches of 8; scattering 249 and 185).
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from loco_tools.datasets.images import Pixels
from loco_tools.methods.batch import Batch


class TrainingFeatures:
    """The feature maps of images by index, from memory or computed again, equal to the bit.

    Without augmentation a frozen backbone gives the same features in every epoch, so only the
    first epoch has to run it.
    """

    def __init__(
        self,
        compute: Callable[[Batch], Tensor],
        images: Sequence[Pixels],
        *,
        device: torch.device,
        batch_size: int,
        cache_mb: int,
    ) -> None:
        """`compute`: batch of one -> (1, C, h, w); at most `cache_mb` megabytes are kept."""
        self.batch_size = batch_size
        self._compute, self._images, self._device = compute, images, device
        self._budget = cache_mb * 1_000_000
        self._kept: dict[int, Tensor] = {}

    def __len__(self) -> int:
        return len(self._images)

    @torch.inference_mode()
    def get(self, indices: Sequence[int]) -> Tensor:
        """The features (B, C, h, w) of the images with these indices."""
        features = {index: self._of_image(index) for index in dict.fromkeys(indices)}
        return torch.stack([features[index] for index in indices])

    def _of_image(self, index: int) -> Tensor:
        """The features (C, h, w) of one image, which are kept as long as there is room."""
        if index in self._kept:
            return self._kept[index]
        features: Tensor = self._compute(Batch([self._images[index]], self._device))[0]
        if features.nbytes <= self._budget:
            self._kept[index] = features
            self._budget -= features.nbytes
        return features

    def index_batches(self) -> list[range]:
        """The indices of all images in order, `batch_size` at a time."""
        size, count = self.batch_size, len(self)
        return [range(start, min(start + size, count)) for start in range(0, count, size)]

    def mean_loss(self, loss: Callable[[Sequence[int]], Tensor]) -> float:
        """The mean over all images of a loss that is given the indices of one batch at a time."""
        batches = self.index_batches()
        return sum(float(loss(batch)) * len(batch) for batch in batches) / len(self)
