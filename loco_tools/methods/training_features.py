"""Frozen features of training images, computed once when they fit into memory."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from loco_tools.datasets.images import Pixels
from loco_tools.methods.batch import Batch


class TrainingFeatures:
    """The feature maps of images by index, from memory or computed again with the same result.

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
        """`compute` turns a batch into (B, C, h, w); at most `cache_mb` megabytes are kept."""
        self.batch_size = batch_size
        self._compute, self._images, self._device = compute, images, device
        self._budget = cache_mb * 1_000_000
        self._kept: dict[int, Tensor] = {}

    def __len__(self) -> int:
        return len(self._images)

    @torch.inference_mode()
    def get(self, indices: Sequence[int]) -> Tensor:
        """The features (B, C, h, w) of the images with these indices."""
        missing = [i for i in indices if i not in self._kept]
        computed: dict[int, Tensor] = {}
        if missing:
            batch = Batch([self._images[i] for i in missing], self._device)
            computed = dict(zip(missing, self._compute(batch), strict=True))
        for index, features in computed.items():
            size = features.nbytes
            if size <= self._budget:
                self._kept[index] = features.clone()
                self._budget -= size
        return torch.stack([computed[i] if i in computed else self._kept[i] for i in indices])

    def index_batches(self) -> list[range]:
        """The indices of all images in order, `batch_size` at a time."""
        size, count = self.batch_size, len(self)
        return [range(start, min(start + size, count)) for start in range(0, count, size)]

    def mean_loss(self, loss: Callable[[Sequence[int]], Tensor]) -> float:
        """The mean over all images of a loss that is given the indices of one batch at a time."""
        batches = self.index_batches()
        return sum(float(loss(batch)) * len(batch) for batch in batches) / len(self)
