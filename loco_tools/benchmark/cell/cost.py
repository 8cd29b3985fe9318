"""Measuring what a cell costs (time, peak memory), and what it ran on (hardware, versions)."""

import contextlib
import importlib.metadata
import platform
import threading
import time
from pathlib import Path
from types import ModuleType
from typing import Self, cast

from loco_tools.datasets.reading import available_cores
from loco_tools.errors import MissingExtraError

_MEBI = 2**20
_PERIOD_S = 0.05
_PACKAGES = (
    "loco-tools",
    "torch",
    "torchvision",
    "numpy",
    "scikit-learn",
    "opencv-python-headless",
    "anomalib",
    "lightning",
    "timm",
)


class PeakMemory:
    """The highest memory use between entering and leaving the block, in MiB.

    On a GPU this is the memory that torch allocated there. On a CPU it is the resident memory of
    the process, sampled every 50 ms, which includes what the process used before.
    """

    def __init__(self, device: str) -> None:
        self.peak_mb = 0.0
        self.of = "gpu" if device.startswith("cuda") else "process"
        self._device = device
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        if self.of == "gpu":
            import torch

            torch.cuda.reset_peak_memory_stats(self._device)
        else:
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.of == "gpu":
            import torch

            self.peak_mb = torch.cuda.max_memory_allocated(self._device) / _MEBI
        else:
            self._done.set()
            self._thread.join()

    def _watch(self) -> None:
        process = _psutil().Process()
        while True:
            self.peak_mb = max(self.peak_mb, process.memory_info().rss / _MEBI)
            if self._done.wait(_PERIOD_S):
                return


class Stopwatch:
    """Adds up the time spent in its `with` blocks, in seconds."""

    def __init__(self) -> None:
        self.total_s = 0.0
        self._began = 0.0

    def __enter__(self) -> Self:
        self._began = time.perf_counter()
        return self

    def __exit__(self, *_: object) -> None:
        self.total_s += time.perf_counter() - self._began


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that results depend on; absent ones are left out."""
    installed = {"python": platform.python_version()}
    for package in _PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            installed[package] = importlib.metadata.version(package)
    return installed


def hardware(device: str) -> dict[str, str]:
    """The hardware of this machine in words; nothing that identifies the machine or its user."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    processors = [line.split(":", 1)[1].strip() for line in lines if "model name" in line]
    described = {
        "system": f"{platform.system()} {platform.machine()}",
        "processor": next(iter(processors), platform.processor() or platform.machine()),
        "cpu_cores": str(available_cores()),
        "memory": f"{_psutil().virtual_memory().total / 2**30:.0f} GiB",
        "device": device,
    }
    if device.startswith("cuda"):
        import torch

        described["gpu"] = torch.cuda.get_device_name(device)
    return described


def _psutil() -> ModuleType:
    try:
        import psutil
    except ImportError as error:
        raise MissingExtraError("loco-tools bench", "bench") from error
    return cast(ModuleType, psutil)
