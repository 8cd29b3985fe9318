"""The preprocessing of anomalib's models: size, interpolation and normalisation."""

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from loco_tools.datasets.images import Pixels, Size

_PROBE_PX = 512
"""A size that is no model's default."""


@dataclass(frozen=True)
class OwnTransform:
    """A model's own transform.

    Attributes:
        size: (h, w) of the network's input by default.
        fixed: whether that is the only size that the model takes.
        interpolation: torchvision's interpolation mode.
        normalisation: the normalising steps; crops and pads are left out.
    """

    size: Size
    fixed: bool
    interpolation: Any
    normalisation: tuple[Any, ...]

    def resized(self, image: Pixels, size: Size) -> Tensor:
        """(H, W, 3) uint8 -> (3, h, w) uint8."""
        from torchvision.transforms.v2 import functional

        pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1)
        resized: Tensor = functional.resize(
            pixels, list(size), interpolation=self.interpolation, antialias=True
        )
        return resized.contiguous()

    def pre_processor(self, size: Size) -> Any:
        """The model's preprocessor for images that already have `size`."""
        from anomalib.pre_processing import PreProcessor
        from torchvision.transforms import v2

        resize = v2.Resize(size, interpolation=self.interpolation, antialias=True)
        return PreProcessor(transform=v2.Compose([resize, *self.normalisation]))


@functools.cache
def transform_of(model: Any) -> OwnTransform:
    """The transform of a class of `anomalib.models`."""
    from torchvision.transforms import v2

    steps = _steps(model.configure_pre_processor())
    resize = next(step for step in steps if isinstance(step, v2.Resize))
    # A model of one fixed size resizes to it whatever size is asked for.
    probed = _steps(model.configure_pre_processor(image_size=(_PROBE_PX, _PROBE_PX)))
    sizes = [_pair(step.size) for step in probed if isinstance(step, v2.Resize)]
    crops = [step for step in steps if isinstance(step, v2.CenterCrop)]
    return OwnTransform(
        size=_pair((crops or [resize])[-1].size),
        fixed=(_PROBE_PX, _PROBE_PX) not in sizes,
        interpolation=resize.interpolation,
        normalisation=tuple(step for step in steps if isinstance(step, v2.Normalize)),
    )


def _steps(pre_processor: Any) -> list[Any]:
    transform = pre_processor.transform
    return list(getattr(transform, "transforms", [transform]))


def _pair(size: Any) -> Size:
    """(h, w) of torchvision's sizes, which are a number or a sequence of one or two."""
    sides = [size] if isinstance(size, int) else list(size)
    return int(sides[0]), int(sides[-1])
