"""Executors run cells: in processes of this machine, on a Ray cluster or on SLURM.

`open_executor` imports the module of the executor that it opens, and no other.
"""

from pathlib import Path

from loco_tools import extras
from loco_tools.benchmark.executor_settings import (
    ExecutorSettings,
    LocalSettings,
    RaySettings,
    SlurmSettings,
)
from loco_tools.benchmark.executors.base import Executor
from loco_tools.progress import SILENT, Progress


def check_extras(settings: ExecutorSettings) -> None:
    """Raise a MissingExtraError when an executor needs an extra that is not installed."""
    if not isinstance(settings, LocalSettings):
        extras.require(f'Executor "{settings.kind}"', settings.kind)


def open_executor(
    settings: ExecutorSettings, *, device: str, out: Path, progress: Progress = SILENT
) -> Executor:
    """The executor that the settings describe, to be used in a `with` block.

    Args:
        settings: of a suite.
        device: of the cells.
        out: the run's folder, which contains the files of SLURM's jobs.
        progress: receives the progress of the cells, if the executor transmits it.

    Raises:
        MissingExtraError: Ray or submitit is not installed.
        BenchmarkError: the cluster cannot be reached.
    """
    check_extras(settings)
    match settings:
        case LocalSettings():
            from loco_tools.benchmark.executors.local import InProcess, LocalProcesses, slots

            if settings.workers == 0:
                return InProcess(progress)
            return LocalProcesses(slots(device, settings.workers), progress)
        case RaySettings():
            from loco_tools.benchmark.executors.ray import RayCluster

            return RayCluster(settings, progress)
        case SlurmSettings():
            from loco_tools.benchmark.executors.slurm import SlurmArrays

            return SlurmArrays(settings, out, progress)
