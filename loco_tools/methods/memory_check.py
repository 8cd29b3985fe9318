"""Checks before a fit whether enough memory is free."""

import psutil
import torch
from torch import nn

from loco_tools.errors import MethodError
from loco_tools.progress import Progress

_NOTE_FROM_MB = 2000.0
_BYTES_PER_TRAINED = 16
"""A float32 parameter under Adam: the value, its gradient, two moments."""


def check_memory(title: str, needed_mb: float, device: torch.device, progress: Progress) -> None:
    """Note the estimated need of a fit when it is large; raise when it exceeds the free memory.

    Raises:
        MethodError: the device has less free memory.
    """
    if needed_mb < _NOTE_FROM_MB:
        return
    left_mb = available_mb(device)
    progress.note(f"{title}: needs about {needed_mb:,.0f} MB of {left_mb:,.0f} MB that are free")
    if needed_mb > left_mb:
        raise MethodError(
            f"{title}: fitting needs about {needed_mb:,.0f} MB, expected at most the "
            f"{left_mb:,.0f} MB that are free on {device}; next step: --preset fast, a smaller "
            f"--size, or a smaller batch (--set {title}.batch_size=2)"
        )


def available_mb(device: torch.device) -> float:
    """Free memory of a device in megabytes; for the CPU that of the machine."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return free / 1e6
    return float(psutil.virtual_memory().available) / 1e6


def trained_mb(*modules: nn.Module) -> float:
    """Megabytes for training networks with Adam: parameters, gradients and moments."""
    count = sum(p.numel() for module in modules for p in module.parameters() if p.requires_grad)
    return count * _BYTES_PER_TRAINED / 1e6
