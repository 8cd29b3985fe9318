"""What a model of anomalib does to images before its network sees them."""

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from loco_tools.datasets.images import Pixels, Size

_PROBE_PX = 512
"""A size that no model has by itself."""


@dataclass(frozen=True)
class OwnTransform:
    """What a model's own transform does: size, how it resizes, normalisation.

    Attributes:
        size: (h, w) that its network sees by default.
        fixed: whether that is the only size that it takes.
        interpolation: torchvision's mode.
        normalisation: its other steps without crops and pads: those of the network's training.
    """

    size: Size
    fixed: bool
    interpolation: Any
    normalisation: tuple[Any, ...]

    def resized(self, image: Pixels, size: Size) -> Tensor:
        """(H, W, 3) uint8 -> (3, h, w) uint8."""
        from torchvision.transforms.v2 import functional

        pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1)
        found: Tensor = functional.resize(
            pixels, list(size), interpolation=self.interpolation, antialias=True
        )
        return found.contiguous()

    def pre_processor(self, size: Size) -> Any:
        """The part of the model that comes first, for images that have `size` already."""
        from anomalib.pre_processing import PreProcessor
        from torchvision.transforms import v2

        resize = v2.Resize(size, interpolation=self.interpolation, antialias=True)
        return PreProcessor(transform=v2.Compose([resize, *self.normalisation]))


@functools.cache
def transform_of(model: Any) -> OwnTransform:
    """Of a class of `anomalib.models`."""
    from torchvision.transforms import v2

    steps = _steps(model.configure_pre_processor())
    resize = next(step for step in steps if isinstance(step, v2.Resize))
    crops = [step for step in steps if isinstance(step, v2.CenterCrop)]
    return OwnTransform(
        size=_pair((crops or [resize])[-1].size),
        fixed=_is_fixed(model),
        interpolation=resize.interpolation,
        normalisation=tuple(step for step in steps if isinstance(step, v2.Normalize)),
    )


def _is_fixed(model: Any) -> bool:
    """Whether the model's transform resizes to its own size when another one is asked for."""
    from torchvision.transforms import v2

    wanted = (_PROBE_PX, _PROBE_PX)
    steps = _steps(model.configure_pre_processor(image_size=wanted))
    return all(_pair(step.size) != wanted for step in steps if isinstance(step, v2.Resize))


def _steps(pre_processor: Any) -> list[Any]:
    transform = pre_processor.transform
    return list(getattr(transform, "transforms", [transform]))


def _pair(size: Any) -> Size:
    """A size as torchvision has it: a number, or one or two in a sequence."""
    sides = [size] if isinstance(size, int) else list(size)
    return int(sides[0]), int(sides[-1])
