"""How one machine is divided among worker processes: GPUs one by one, CPU threads evenly."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from loco_tools.datasets.reading import available_cores

THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


@dataclass(frozen=True)
class Slot:
    """A share of the machine: what a worker's environment adds, and its CPU threads."""

    environment: Mapping[str, str]
    threads: int


def slots(
    device: str, workers: int | None, environment: Mapping[str, str] = os.environ
) -> list[Slot]:
    """The shares of this machine.

    Args:
        device: of the cells. With "cuda" every worker sees one GPU; further workers go round.
        workers: how many; None: one per GPU, one on a CPU or on a GPU named by its number.
        environment: of the run; a limit on threads that it sets holds for every worker too.
    """
    gpus = _visible_gpus(environment) if device == "cuda" else []
    count = workers or len(gpus) or 1
    threads = max(1, available_cores() // count)
    limit = environment.get(THREADS[0], "")
    if limit.isdecimal() and int(limit) > 0:
        threads = min(threads, int(limit))
    limits = dict.fromkeys(THREADS, str(threads))
    return [Slot({**limits, **_one_gpu(gpus, number)}, threads) for number in range(count)]


def _one_gpu(gpus: Sequence[str], number: int) -> dict[str, str]:
    return {"CUDA_VISIBLE_DEVICES": gpus[number % len(gpus)]} if gpus else {}


def _visible_gpus(environment: Mapping[str, str]) -> list[str]:
    """The GPUs that this process may use, as CUDA_VISIBLE_DEVICES names them."""
    named = environment.get("CUDA_VISIBLE_DEVICES", "")
    if named:
        return [name.strip() for name in named.split(",")]
    import torch

    return [str(number) for number in range(torch.cuda.device_count())]
