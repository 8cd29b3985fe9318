"""Cells as jobs of SLURM, in arrays, through submitit.

Every batch of cells that are ready is one array. submitit puts a cell that is preempted or reaches
its time limit back into the queue; begun again, it goes on with the training that its folder keeps.
"""

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import submitit
from submitit.helpers import DelayedSubmission

from loco_tools.benchmark.cell.attempt import attempt
from loco_tools.benchmark.cell.record import CellRecord
from loco_tools.benchmark.cell.work import Job
from loco_tools.benchmark.executor_settings import SlurmSettings
from loco_tools.benchmark.executors import slurm_queue
from loco_tools.benchmark.executors.base import Executor, crashed, tidy
from loco_tools.errors import BenchmarkError
from loco_tools.progress import SILENT, Progress

SETTLE_S = 15.0
"""How long a job may have ended before its result is seen over a shared disk."""

GRACE_S = 10.0
"""How long cells that are told to stop may take to clear away what they have half-written."""

FOLDER = "slurm"
"""Under the run's folder: submitit's files, and `in_flight.json`."""


class CellTask:
    """A cell as submitit runs it, on whatever node SLURM chooses."""

    def __init__(self) -> None:
        self._search = list(sys.path)

    def __call__(self, job: Job) -> CellRecord:
        """Work on the cell, unless it was finished before the job was begun again."""
        sys.path[:] = self._search  # methods are found where the run finds them
        tidy(job)
        finished = None if job.maps_missing else job.reusable()
        return finished or attempt(job)

    def checkpoint(self, job: Job) -> DelayedSubmission:
        """What is put back into the queue when SLURM wants the node: the same again."""
        return DelayedSubmission(self, job)


@dataclass
class _Submitted:
    """A cell in SLURM's hands; `ended_s` is when it was first seen to have ended."""

    job: Job
    handle: Any
    ended_s: float | None = None


class SlurmArrays(Executor):
    """Submits cells and waits for their results, which appear as files in the run's folder."""

    def __init__(self, settings: SlurmSettings, out: Path, progress: Progress = SILENT) -> None:
        self._settings, self._progress = settings, progress
        self._is_slurm = settings.cluster == "slurm"
        self.at_once = None if self._is_slurm else (settings.workers or 1)
        self._folder = out.resolve() / FOLDER
        self._executor = _executor(settings, self._folder)
        self._in_flight = slurm_queue.InFlight(self._folder / "in_flight.json")
        self._submitted: dict[str, _Submitted] = {}

    def submit(self, jobs: Sequence[Job]) -> None:
        """See `Executor.submit`."""
        new = [job for job in jobs if not self._found_again(job)]
        if not new:
            return
        handles = self._executor.map_array(CellTask(), new)
        for job, handle in zip(new, handles, strict=True):
            self._submitted[job.stamp.key] = _Submitted(job, handle)
        if self._is_slurm:
            self._in_flight.add(
                {job.stamp.key: h.job_id for job, h in zip(new, handles, strict=True)}
            )
            self._progress.note(f"{len(new)} cells submitted to SLURM: {_ids(handles)}")

    def wait(self) -> list[CellRecord]:
        """See `Executor.wait`."""
        while True:
            states = self._states()
            ended = {
                key: record
                for key, submitted in self._submitted.items()
                if (record := self._collect(submitted, states.get(submitted.handle.job_id)))
            }
            if ended:
                for key in ended:
                    del self._submitted[key]
                if self._is_slurm:
                    self._in_flight.remove(ended)
                return list(ended.values())
            time.sleep(self._settings.poll_s)

    def stop(self) -> None:
        """See `Executor.stop`."""
        if not self._submitted:
            return
        handles = [submitted.handle for submitted in self._submitted.values()]
        if self._is_slurm:
            _cancel([handle.job_id for handle in handles])
            self._in_flight.remove(self._submitted)
        else:
            for handle in handles:
                handle.cancel(check=False)
        for submitted in self._submitted.values():
            tidy(submitted.job)
        self._submitted.clear()

    def _found_again(self, job: Job) -> bool:
        """Whether an earlier run, killed meanwhile, has submitted this cell; then wait for that."""
        job_id = self._in_flight.job_of(job.stamp.key)
        if not self._is_slurm or job_id is None:
            return False
        state = slurm_queue.states([job_id]).get(job_id, slurm_queue.GONE)
        if slurm_queue.has_ended(state):
            return False
        self._progress.note(f"{job.cell}: SLURM job {job_id} of an earlier run is still at it")
        handle = submitit.SlurmJob(self._folder, job_id)
        self._submitted[job.stamp.key] = _Submitted(job, handle)
        return True

    def _states(self) -> dict[str, str]:
        """The state of every job, as far as it is known."""
        handles = [submitted.handle for submitted in self._submitted.values()]
        if self._is_slurm:
            return slurm_queue.states(handle.job_id for handle in handles)
        return {handle.job_id: handle.state for handle in handles}

    def _collect(self, submitted: _Submitted, state: str | None) -> CellRecord | None:
        """The record of a job that has ended; None while it has not."""
        if submitted.handle.paths.result_pickle.exists():
            return _result(submitted)
        if state is None or not self._ended(state):
            submitted.ended_s = None
            return None
        now = time.monotonic()
        submitted.ended_s = submitted.ended_s or now
        if now - submitted.ended_s < SETTLE_S:
            return None
        log = submitted.handle.paths.stderr
        return crashed(
            submitted.job,
            f"SLURM job {submitted.handle.job_id} ended as {state} in the middle of the cell; "
            f"next step: look at {log}, and for OUT_OF_MEMORY --set executor.memory_mb=N, for "
            "TIMEOUT --set executor.time_min=N, and --retry-failed",
        )

    def _ended(self, state: str) -> bool:
        return slurm_queue.has_ended(state) if self._is_slurm else state != "RUNNING"


def _executor(settings: SlurmSettings, folder: Path) -> Any:
    """An executor of submitit with all that the settings say.

    Raises:
        BenchmarkError: SLURM's commands are not there, or submitit does not know a parameter.
    """
    chosen: dict[str, Any] = {
        "name": "loco-tools",
        "timeout_min": settings.time_min,
        "cpus_per_task": settings.cpus,
    }
    if settings.gpus:
        chosen["gpus_per_node"] = settings.gpus
    if settings.memory_mb is not None:
        chosen["mem_gb"] = settings.memory_mb / 1024
    if settings.cluster == "slurm":
        chosen |= _slurm_parameters(settings)
    try:
        limit = {f"{settings.cluster}_max_num_timeout": settings.requeues}
        executor = submitit.AutoExecutor(folder, cluster=settings.cluster, **limit)
        executor.update_parameters(**chosen)
    except (RuntimeError, ValueError, TypeError, NameError) as error:
        raise BenchmarkError(
            f"SLURM cannot be used from here: {error}; next step: run on a machine with sbatch and "
            "srun, or --set executor.cluster=local to try it without SLURM"
        ) from error
    return executor


def _slurm_parameters(settings: SlurmSettings) -> dict[str, Any]:
    named = {
        "slurm_partition": settings.partition,
        "slurm_account": settings.account,
        "slurm_qos": settings.qos,
        "slurm_constraint": settings.constraint,
        "slurm_array_parallelism": settings.workers,
    }
    threads = f"export OMP_NUM_THREADS={settings.cpus}"
    return {
        **{name: value for name, value in named.items() if value is not None},
        "slurm_setup": [threads, *settings.setup],
        "slurm_additional_parameters": {"requeue": True, **settings.parameters},
    }


def _result(submitted: _Submitted) -> CellRecord:
    """What a job has left; a cell that fails leaves its record too.

    Raises:
        BenchmarkError: the disk is full, or the job could not even begin.
    """
    try:
        record: CellRecord = submitted.handle.result()
    except submitit.core.utils.FailedJobError as error:
        lines = [line for line in str(error).splitlines() if line.strip()]
        cause = next((line for line in lines if "Error: " in line), lines[0])
        raise BenchmarkError(
            f"{cause.partition('Error: ')[2] or cause} "
            f"(SLURM job {submitted.handle.job_id}, log {submitted.handle.paths.stderr})"
        ) from error
    return record


def _cancel(job_ids: list[str]) -> None:
    """Ask cells to stop as ctrl-c does, and then end what has not."""
    slurm_queue.cancel(job_ids, signal="INT")
    until = time.monotonic() + GRACE_S
    while time.monotonic() < until:
        if not any(s == "RUNNING" for s in slurm_queue.states(job_ids).values()):
            break
        time.sleep(1)
    slurm_queue.cancel(job_ids)


def _ids(handles: Sequence[Any]) -> str:
    return ", ".join(dict.fromkeys(str(handle.job_id).partition("_")[0] for handle in handles))
