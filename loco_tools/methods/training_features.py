"""Frozen features of the training images, computed once when they fit into memory."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from loco_tools.datasets.images import Pixels
from loco_tools.methods.batch import Batch


class TrainingFeatures:
    """The feature maps of images by index, the same whether kept or made again.

    Without augmentation a frozen backbone gives the same features in every pass, so passes after
    the first cost no backbone.
    """

    def __init__(
        self,
        make: Callable[[Batch], Tensor],
        images: Sequence[Pixels],
        *,
        device: torch.device,
        batch_size: int,
        cache_mb: int,
    ) -> None:
        """`make` turns a batch into (B, C, h, w); at most `cache_mb` megabytes are kept."""
        self.batch_size = batch_size
        self._make, self._images, self._device = make, images, device
        self._budget = cache_mb * 1_000_000
        self._kept: dict[int, Tensor] = {}

    def __len__(self) -> int:
        return len(self._images)

    @torch.inference_mode()
    def of(self, indices: Sequence[int]) -> Tensor:
        """(B, C, h, w) of the images with these indices."""
        missing = [i for i in indices if i not in self._kept]
        made: dict[int, Tensor] = {}
        if missing:
            batch = Batch([self._images[i] for i in missing], self._device)
            made = dict(zip(missing, self._make(batch), strict=True))
        for index, features in made.items():
            size = features.nbytes
            if size <= self._budget:
                self._kept[index] = features.clone()
                self._budget -= size
        return torch.stack([made[i] if i in made else self._kept[i] for i in indices])
