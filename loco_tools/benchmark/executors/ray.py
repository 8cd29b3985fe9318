"""Cells as tasks of an existing Ray cluster.

Ray's own retries are off: it repeats a task that its memory monitor has ended without limit, and
does not tell a node that died from a cell that killed its worker. Here a cell is begun again when a
node has died, and fails when nothing but its own process has.
"""

import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import ray
from ray import exceptions

from loco_tools.benchmark.cell.attempt import attempt
from loco_tools.benchmark.cell.record import CellRecord
from loco_tools.benchmark.cell.work import Job
from loco_tools.benchmark.executor_settings import RaySettings
from loco_tools.benchmark.executors.base import Executor, crashed, tidy
from loco_tools.benchmark.executors.carried import (
    CarriedBack,
    Luggage,
    Packing,
    take_in,
    work_carried,
)
from loco_tools.errors import BenchmarkError
from loco_tools.progress import SILENT, Progress

GRACE_S = 10.0
"""How long cells that are told to stop may take to clear away what they have half-written."""

KNOCK_S = 10.0
"""How long the head of a cluster may take to answer."""

PERIOD_S = 1.0
"""Between two looks at which nodes are alive."""


@dataclass
class _Task:
    """A cell in Ray's hands, and how often it was begun again."""

    job: Job
    repeated: int = 0


class RayCluster(Executor):
    """Every cell is a task with the resources of the settings; Ray finds the node."""

    def __init__(self, settings: RaySettings, progress: Progress = SILENT) -> None:
        self.at_once = settings.workers
        self._settings, self._progress = settings, progress
        self._connected = not ray.is_initialized()
        if self._connected:
            _connect(settings)
        self._packing: Packing[Any] = Packing(ray.put)
        self._tasks: dict[Any, _Task] = {}
        self._alive = _alive_nodes()
        self._last_death_s = float("-inf")
        self._say_when_nothing_fits()

    def submit(self, jobs: Sequence[Job]) -> None:
        """See `Executor.submit`."""
        for job in jobs:
            self._begin(_Task(job))

    def wait(self) -> list[CellRecord]:
        """See `Executor.wait`."""
        while True:
            self._look_for_deaths()
            done, _ = ray.wait(list(self._tasks), num_returns=1, timeout=PERIOD_S)
            records = [record for ref in done if (record := self._collect(ref)) is not None]
            if records:
                return records

    def stop(self) -> None:
        """See `Executor.stop`."""
        for ref in self._tasks:
            ray.cancel(ref, force=False)
        if self._tasks:
            _, stubborn = ray.wait(list(self._tasks), num_returns=len(self._tasks), timeout=GRACE_S)
            for ref in stubborn:
                ray.cancel(ref, force=True)
        for task in self._tasks.values():
            tidy(task.job)
        self._tasks.clear()
        if self._connected:
            ray.shutdown()

    def _begin(self, task: _Task) -> None:
        """Put a cell into Ray's hands."""
        settings = self._settings
        options: dict[str, Any] = {
            "name": str(task.job.cell),
            "num_cpus": settings.cpus,
            "num_gpus": settings.gpus,
            "max_retries": 0,
        }
        if settings.memory_mb is not None:
            options["memory"] = settings.memory_mb * 2**20
        if settings.data == "path":
            ref = _remote(attempt, options).remote(task.job)
        else:
            luggage = self._packing.luggage(task.job)
            ref = _remote(_work_from_store, options).remote(task.job, luggage)
        self._tasks[ref] = task

    def _collect(self, ref: Any) -> CellRecord | None:
        """The record of a task that has ended; None when it was begun again."""
        task = self._tasks.pop(ref)
        try:
            outcome = ray.get(ref)
        except exceptions.RayTaskError as error:
            raise BenchmarkError(str(error.cause)) from error
        except exceptions.OutOfMemoryError as error:
            return crashed(task.job, _out_of_memory(error))
        except exceptions.RayError as error:
            return self._after_death(task, error)
        return take_in(task.job, outcome) if isinstance(outcome, CarriedBack) else outcome

    def _after_death(self, task: _Task, error: exceptions.RayError) -> CellRecord | None:
        """Begin a cell again whose node has died; fail one whose process alone has."""
        if not self._a_node_has_died():
            return crashed(
                task.job,
                "the worker process died in the middle of the cell, most likely for want of memory "
                f"or by a fault in compiled code ({_first_line(error)}); next step: --set "
                "executor.memory_mb=N, --preset fast or a smaller --size, and --retry-failed",
            )
        if task.repeated >= self._settings.retries:
            return crashed(
                task.job,
                f"a node of the cluster died under it {task.repeated + 1} times "
                f"({_first_line(error)}); next step: --retry-failed when the cluster is sound",
            )
        self._progress.note(f"{task.job.cell}: its node has died, begun again on another")
        tidy(task.job)
        task.repeated += 1
        self._begin(task)
        return None

    def _a_node_has_died(self) -> bool:
        """Whether a node has died lately, or is seen to die within the time that Ray may take."""
        until = time.monotonic() + self._settings.node_death_s
        while time.monotonic() - self._last_death_s > 2 * self._settings.node_death_s:
            if time.monotonic() > until:
                return False
            time.sleep(PERIOD_S)
            self._look_for_deaths()
        return True

    def _look_for_deaths(self) -> None:
        alive = _alive_nodes()
        if self._alive - alive:
            self._last_death_s = time.monotonic()
        self._alive = alive

    def _say_when_nothing_fits(self) -> None:
        wanted = {"CPU": self._settings.cpus, "GPU": self._settings.gpus}
        if self._settings.memory_mb is not None:
            wanted["memory"] = self._settings.memory_mb * 2**20
        for node in ray.nodes():
            has = node["Resources"]
            if node["Alive"] and all(has.get(name, 0) >= need for name, need in wanted.items()):
                return
        self._progress.note(
            "No node of the Ray cluster has what a cell asks for at present "
            f"({self._settings.cpus:g} CPUs, {self._settings.gpus:g} GPUs, memory "
            f"{self._settings.memory_mb or 'any'} MB): waiting for one that has"
        )


def _work_from_store(job: Job, luggage: Luggage[Any]) -> CarriedBack:
    return work_carried(job, luggage, ray.get)


def _remote(function: Any, options: dict[str, Any]) -> Any:
    return ray.remote(function).options(**options)


def _connect(settings: RaySettings) -> None:
    try:
        _knock(settings.address)
        ray.init(
            address=settings.address,
            log_to_driver=False,
            configure_logging=False,
            runtime_env=settings.runtime_env or None,
        )
    except (OSError, RuntimeError, ValueError) as error:
        raise BenchmarkError(
            f'expected a Ray cluster at address "{settings.address}", got none '
            f"({_first_line(error)}); next step: start one with ray start --head, or name its "
            "address with --address HOST:6379"
        ) from error


def _knock(address: str) -> None:
    """Raise an OSError when nobody listens at HOST:PORT; Ray itself would try for minutes."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if colon and port.isdecimal():
        socket.create_connection((host, int(port)), timeout=KNOCK_S).close()


def _alive_nodes() -> set[str]:
    return {node["NodeID"] for node in ray.nodes() if node["Alive"]}


def _out_of_memory(error: Exception) -> str:
    return (
        f"Ray's memory monitor ended the process ({_first_line(error)}); next step: "
        "--set executor.memory_mb=N so that fewer cells share a node, --preset fast or a smaller "
        "--size, and --retry-failed"
    )


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
