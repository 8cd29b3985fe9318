"""The samples of a class as a torch dataset."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset
from torchvision import tv_tensors

from loco_tools.datasets.sample import Sample

Transform = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


class SampleDataset(Dataset[dict[str, Any]]):
    """Samples for a `torch.utils.data.DataLoader`, decoded at each access; can be pickled.

    Each item is a dict. The default collate function can batch items if the images have one size:

    - `image`: (3, H, W) uint8 RGB, or the result of the transform;
    - `mask`: (H, W) bool, the union of all defects;
    - `label`: 0 for good, 1 for anomalous; `kind`: "good", "structural" or "logical";
    - `id`, `kind_folder`, `path`, `part`, `view`: as in `Sample`; "" if part or view is unknown.

    `masks(index)` has the defects one by one.
    """

    def __init__(self, samples: Sequence[Sample], transform: Transform | None = None) -> None:
        """Wrap samples.

        Args:
            samples: the samples of one split.
            transform: called with the image, a `tv_tensors.Image` (3, H, W) uint8, and its masks,
                a `tv_tensors.Mask` (1, H, W) or (N, H, W) uint8 of 0 and 1. Returns both.
        """
        self.samples = tuple(samples)
        self.transform = transform

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> dict[str, Any]:
        sample = self.samples[index]
        image, masks = self._transform(sample, torch.from_numpy(sample.ground_truth())[None])
        return {
            "image": image,
            "mask": masks[0] > 0,
            "label": int(sample.kind != "good"),
            "kind": sample.kind,
            "kind_folder": sample.kind_folder,
            "id": sample.id,
            "path": str(sample.image_path),
            "part": sample.part or "",
            "view": sample.view or "",
        }

    def masks(self, index: int) -> Tensor:
        """One mask per defect, (N, H, W) bool in the order of `samples[index].defects`.

        The transform is applied to them as to the image; a random transform is drawn again.
        """
        sample = self.samples[index]
        empty = np.zeros((0, *sample.size), bool)
        stacked = np.stack([d.mask for d in sample.defects]) if sample.defects else empty
        return self._transform(sample, torch.from_numpy(stacked))[1] > 0

    def _transform(self, sample: Sample, masks: Tensor) -> tuple[Tensor, Tensor]:
        image = torch.from_numpy(sample.image()).permute(2, 0, 1).contiguous()  # (3, H, W)
        if self.transform is None:
            return image, masks
        return self.transform(tv_tensors.Image(image), tv_tensors.Mask(masks.to(torch.uint8)))
