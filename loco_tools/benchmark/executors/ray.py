"""Cells as tasks of an existing Ray cluster.

Ray's own retries are disabled: they repeat a task that the memory monitor has killed without limit,
and do not distinguish a dead node from a cell that killed its worker. Here a cell is restarted when
its node has died, and fails when only its own process has died.
"""

import socket
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import ray
from ray import exceptions

from loco_tools.benchmark.cell.record import CellRecord
from loco_tools.benchmark.cell.work import Job, run_cell
from loco_tools.benchmark.executor_settings import RaySettings
from loco_tools.benchmark.executors.base import Executor, record_crash, remove_leftovers
from loco_tools.benchmark.executors.transfer import (
    CellInputs,
    CellOutputs,
    InputPacker,
    run_with_inputs,
    store_outputs,
)
from loco_tools.errors import BenchmarkError
from loco_tools.progress import SILENT, Progress

GRACE_S = 10.0
"""Time that cells have to clean up after they were asked to stop."""

CONNECT_S = 10.0
"""Time that the head of a cluster has to accept a connection."""

PERIOD_S = 1.0
"""Time between two checks of which nodes are alive."""


@dataclass
class _Task:
    """A submitted cell, and how often it was restarted."""

    job: Job
    restarts: int = 0


class RayCluster(Executor):
    """Every cell is a Ray task with the resources of the settings; Ray chooses the node."""

    def __init__(self, settings: RaySettings, progress: Progress = SILENT) -> None:
        self.at_once = settings.workers
        self._settings, self._progress = settings, progress
        self._connected = not ray.is_initialized()
        if self._connected:
            _connect(settings)
        self._packer: InputPacker[Any] = InputPacker(ray.put)
        self._tasks: dict[Any, _Task] = {}
        self._alive = _alive_nodes()
        self._last_death_s = float("-inf")
        self._report_missing_resources()

    def submit(self, jobs: Sequence[Job]) -> None:
        """See `Executor.submit`."""
        for job in jobs:
            self._start(_Task(job))

    def wait(self) -> list[CellRecord]:
        """See `Executor.wait`."""
        while True:
            self._check_nodes()
            done, _ = ray.wait(list(self._tasks), num_returns=1, timeout=PERIOD_S)
            records = [record for ref in done if (record := self._end(ref)) is not None]
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
            remove_leftovers(task.job)
        self._tasks.clear()
        if self._connected:
            ray.shutdown()

    def _start(self, task: _Task) -> None:
        """Submit a cell as a task."""
        settings = self._settings
        options: dict[str, Any] = {
            "name": str(task.job.cell),
            "num_cpus": settings.cpus,
            "num_gpus": settings.gpus,
            "max_retries": 0,
        }
        if settings.memory_mb is not None:
            options["memory"] = settings.memory_mb * 2**20
        inputs = None if settings.data == "path" else self._packer.inputs_of(task.job)
        ref = ray.remote(_run_cell).options(**options).remote(task.job, inputs, sys.path)
        self._tasks[ref] = task

    def _end(self, ref: Any) -> CellRecord | None:
        """The record of a task that has ended; None when the cell was restarted."""
        task = self._tasks.pop(ref)
        try:
            outcome = ray.get(ref)
        except exceptions.RayTaskError as error:
            raise BenchmarkError(str(error.cause)) from error
        except exceptions.OutOfMemoryError as error:
            return record_crash(
                task.job,
                f"Ray's memory monitor killed the process ({_first_line(error)}); next step: use "
                "--set executor.memory_mb=N so that fewer cells share a node, --preset fast or a "
                "smaller --size, and add --retry-failed",
            )
        except exceptions.RayError as error:
            return self._restart_or_fail(task, error)
        return store_outputs(task.job, outcome) if isinstance(outcome, CellOutputs) else outcome

    def _restart_or_fail(self, task: _Task, error: exceptions.RayError) -> CellRecord | None:
        """Restart a cell whose node has died; fail a cell if only its process has died."""
        if not self._has_a_node_died():
            return record_crash(
                task.job,
                "a worker process died, most likely because memory ran out or by a fault in "
                f"compiled code ({_first_line(error)}); next step: use --set executor.memory_mb=N, "
                "--preset fast or a smaller --size, and add --retry-failed",
            )
        if task.restarts >= self._settings.retries:
            return record_crash(
                task.job,
                f"the node of the cell died {task.restarts + 1} times "
                f"({_first_line(error)}); next step: add --retry-failed when the cluster is "
                "stable again",
            )
        self._progress.note(f"{task.job.cell}: its node has died, restarted on another node")
        remove_leftovers(task.job)
        task.restarts += 1
        self._start(task)
        return None

    def _has_a_node_died(self) -> bool:
        """Whether a node has died recently; this waits as long as Ray may take to notice."""
        until = time.monotonic() + self._settings.node_death_s
        while time.monotonic() - self._last_death_s > 2 * self._settings.node_death_s:
            if time.monotonic() > until:
                return False
            time.sleep(PERIOD_S)
            self._check_nodes()
        return True

    def _check_nodes(self) -> None:
        alive = _alive_nodes()
        if self._alive - alive:
            self._last_death_s = time.monotonic()
        self._alive = alive

    def _report_missing_resources(self) -> None:
        """Tell the user if no node has the resources of a cell at present."""
        needed = {"CPU": self._settings.cpus, "GPU": self._settings.gpus}
        if self._settings.memory_mb is not None:
            needed["memory"] = self._settings.memory_mb * 2**20
        for node in ray.nodes():
            has = node["Resources"]
            if node["Alive"] and all(has.get(name, 0) >= need for name, need in needed.items()):
                return
        self._progress.note(
            "at present no node of the Ray cluster has the resources of a cell "
            f"({self._settings.cpus:g} CPUs, {self._settings.gpus:g} GPUs, memory "
            f"{self._settings.memory_mb or 'any'} MB); waiting for such a node"
        )


def _run_cell(
    job: Job, inputs: CellInputs[Any] | None, search_path: Sequence[str]
) -> CellRecord | CellOutputs:
    """The function of a Ray task; plug-ins are imported from the folders of the run's path."""
    sys.path += [folder for folder in search_path if folder not in sys.path]
    return run_cell(job) if inputs is None else run_with_inputs(job, inputs, ray.get)


def _connect(settings: RaySettings) -> None:
    host, colon, port = settings.address.removeprefix("ray://").rpartition(":")
    try:
        if colon and port.isdecimal():  # Ray itself would wait for minutes if nobody listens
            socket.create_connection((host, int(port)), timeout=CONNECT_S).close()
        ray.init(
            address=settings.address,
            log_to_driver=False,
            configure_logging=False,
            runtime_env=settings.runtime_env or None,
        )
    except (OSError, RuntimeError, ValueError) as error:
        raise BenchmarkError(
            f'expected a Ray cluster at address "{settings.address}", got none '
            f"({_first_line(error)}); next step: start one with ray start --head, or give its "
            "address with --address HOST:6379"
        ) from error


def _alive_nodes() -> set[str]:
    return {node["NodeID"] for node in ray.nodes() if node["Alive"]}


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
