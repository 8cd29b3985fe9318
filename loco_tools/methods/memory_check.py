"""Whether a fit will find the memory that it needs, before it begins."""

import psutil
import torch
from torch import nn

from loco_tools.errors import MethodError
from loco_tools.progress import Progress

_TOLD_FROM_MB = 2000.0
_BYTES_PER_TRAINED = 16
"""Of a float32 parameter under Adam: itself, its gradient, two moments."""


def check_memory(title: str, needed_mb: float, device: torch.device, progress: Progress) -> None:
    """Say what a fit will need when that is much, and refuse when it is more than there is.

    Raises:
        MethodError: the device has less memory left.
    """
    if needed_mb < _TOLD_FROM_MB:
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
    """Free memory of a device in megabytes: of the machine for the CPU."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return free / 1e6
    return float(psutil.virtual_memory().available) / 1e6


def trained_mb(*modules: nn.Module) -> float:
    """Megabytes of networks under training with Adam: parameters, gradients and moments."""
    count = sum(p.numel() for module in modules for p in module.parameters() if p.requires_grad)
    return count * _BYTES_PER_TRAINED / 1e6
