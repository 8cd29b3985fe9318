"""Batch norms folded into convolutions: a frozen network with fewer operations, for inference."""

import copy
from itertools import pairwise

import torch
from torch import nn
from torch.fx.experimental.optimization import fuse
from torch.nn.utils.fusion import fuse_conv_bn_eval


def optimise_for_inference(net: nn.Module, device: torch.device) -> nn.Module:
    """A copy of a traced network on a device that gives the same up to rounding, but faster.

    Batch norms are folded into the convolutions before them, and on a CPU the weights are stored
    channels last: a MobileNetV2 is 1.6 times as fast (`benchmark/speed/backbones.py`). The copy is
    not for training.

    Args:
        net: a network from torchvision's `create_feature_extractor`.
        device: where it is to run; give it input in the `memory_layout` of that device.
    """
    copied: nn.Module = fuse(copy.deepcopy(net).eval(), inplace=True, no_trace=True)
    for module in list(copied.modules()):  # submodules that the tracer took for one operation
        for (name, first), (next_name, second) in pairwise(list(module.named_children())):
            if isinstance(first, nn.Conv2d) and isinstance(second, nn.BatchNorm2d):
                setattr(module, name, fuse_conv_bn_eval(first, second))
                setattr(module, next_name, nn.Identity())
    return copied.to(device).to(memory_format=memory_layout(device))


def memory_layout(device: torch.device) -> torch.memory_format:
    """The memory format in which images are processed fastest: channels last on a CPU."""
    return torch.channels_last if device.type == "cpu" else torch.contiguous_format
