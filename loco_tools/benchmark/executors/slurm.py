"""Cells as jobs of SLURM, in arrays, through submitit.

Cells that are ready at the same time are submitted as one array. submitit requeues a cell that is
preempted or reaches its time limit; the cell then resumes the training that its folder keeps. The
states of jobs come from SLURM's own commands, which need no accounting database.
"""

import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import submitit
from submitit.helpers import DelayedSubmission

from loco_tools import files
from loco_tools.benchmark.cell.record import CellRecord
from loco_tools.benchmark.cell.work import Job, run_cell
from loco_tools.benchmark.executor_settings import SlurmSettings
from loco_tools.benchmark.executors.base import Executor, record_crash, remove_leftovers
from loco_tools.errors import BenchmarkError
from loco_tools.progress import SILENT, Progress
from loco_tools.schema import loads_json

SETTLE_S = 15.0
"""Time until the result of a job that has ended appears on a shared disk."""

GRACE_S = 10.0
"""Time that cells have to clean up after they were asked to stop."""

FOLDER = "slurm"
"""In the run's folder; contains submitit's files and `in_flight.json`."""

ENDED = frozenset(
    [
        *("BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL"),
        *("OUT_OF_MEMORY", "REVOKED", "TIMEOUT"),
    ]
)
"""States that a job does not leave again."""

GONE = "no longer known to SLURM"
"""The state of a job that SLURM does not list any more."""

TIMEOUT_S = 60.0
"""Time limit of SLURM's commands."""


class CellTask:
    """A cell as submitit runs it on a node; this object is pickled."""

    def __init__(self) -> None:
        self._path = list(sys.path)

    def __call__(self, job: Job) -> CellRecord:
        """Run the cell; one that was finished before the job was requeued is returned as it is."""
        sys.path[:] = self._path  # so that methods are found where the run finds them
        remove_leftovers(job)
        return run_cell(job)

    def checkpoint(self, job: Job) -> DelayedSubmission:
        """Requeue the same job when SLURM preempts it; submitit calls this."""
        return DelayedSubmission(self, job)


@dataclass
class _Submitted:
    """A submitted cell; `ended_s` is the time at which its job was first found to have ended."""

    job: Job
    handle: Any
    ended_s: float | None = None


class SlurmArrays(Executor):
    """Submits cells and waits for their results, which appear in files of the run's folder."""

    def __init__(self, settings: SlurmSettings, out: Path, progress: Progress = SILENT) -> None:
        self._settings, self._progress = settings, progress
        self._is_slurm = settings.cluster == "slurm"
        self.at_once = None if self._is_slurm else (settings.workers or 1)
        self._folder = out.resolve() / FOLDER
        self._executor = _executor(settings, self._folder)
        self._in_flight = InFlight(self._folder / "in_flight.json")
        self._submitted: dict[str, _Submitted] = {}

    def submit(self, jobs: Sequence[Job]) -> None:
        """See `Executor.submit`."""
        new = [job for job in jobs if not self._resume_waiting(job)]
        if not new:
            return
        handles = self._executor.map_array(CellTask(), new)
        for job, handle in zip(new, handles, strict=True):
            self._submitted[job.stamp.key] = _Submitted(job, handle)
        if self._is_slurm:
            self._in_flight.add(
                {job.stamp.key: h.job_id for job, h in zip(new, handles, strict=True)}
            )
            ids = dict.fromkeys(str(handle.job_id).partition("_")[0] for handle in handles)
            cells = "cell" if len(new) == 1 else "cells"
            self._progress.note(f"{len(new)} {cells} submitted to SLURM: {', '.join(ids)}")

    def wait(self) -> list[CellRecord]:
        """See `Executor.wait`."""
        while True:
            handles = [submitted.handle for submitted in self._submitted.values()]
            if self._is_slurm:
                states = job_states(handle.job_id for handle in handles)
            else:
                states = {handle.job_id: handle.state for handle in handles}
            ended = {
                key: record
                for key, submitted in self._submitted.items()
                if (record := self._end(submitted, states.get(submitted.handle.job_id)))
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
            job_ids = [handle.job_id for handle in handles]
            cancel_jobs(job_ids, signal="INT")  # as ctrl-c does
            until = time.monotonic() + GRACE_S
            while time.monotonic() < until and "RUNNING" in job_states(job_ids).values():
                time.sleep(1)
            cancel_jobs(job_ids)
            self._in_flight.remove(self._submitted)
        else:
            for handle in handles:
                handle.cancel(check=False)
        for submitted in self._submitted.values():
            remove_leftovers(submitted.job)
        self._submitted.clear()

    def _resume_waiting(self, job: Job) -> bool:
        """Wait for a job that a killed run has submitted for this cell; False if there is none."""
        job_id = self._in_flight.job_of(job.stamp.key)
        if not self._is_slurm or job_id is None:
            return False
        if has_ended(job_states([job_id]).get(job_id, GONE)):
            return False
        self._progress.note(f"{job.cell}: waiting for SLURM job {job_id} of an earlier run")
        handle = submitit.SlurmJob(self._folder, job_id)
        self._submitted[job.stamp.key] = _Submitted(job, handle)
        return True

    def _end(self, submitted: _Submitted, state: str | None) -> CellRecord | None:
        """The record of a job that has ended; None if it has not.

        Raises:
            BenchmarkError: the disk is full, or the job could not even start.
        """
        if submitted.handle.paths.result_pickle.exists():
            try:
                record: CellRecord = submitted.handle.result()
            except submitit.core.utils.FailedJobError as error:
                lines = [line for line in str(error).splitlines() if line.strip()]
                cause = next((line for line in lines if "Error: " in line), lines[0])
                raise BenchmarkError(
                    f"{cause.partition('Error: ')[2] or cause} (SLURM job "
                    f"{submitted.handle.job_id}, log {submitted.handle.paths.stderr})"
                ) from error
            return record
        ended = state is not None and (has_ended(state) if self._is_slurm else state != "RUNNING")
        if not ended:
            submitted.ended_s = None
            return None
        now = time.monotonic()
        submitted.ended_s = submitted.ended_s or now
        if now - submitted.ended_s < SETTLE_S:
            return None
        log = submitted.handle.paths.stderr
        return record_crash(
            submitted.job,
            f"SLURM job {submitted.handle.job_id} ended as {state} before the cell was finished; "
            f"next step: read {log}; for OUT_OF_MEMORY use --set executor.memory_mb=N, for TIMEOUT "
            "--set executor.time_min=N, and add --retry-failed",
        )


def _executor(settings: SlurmSettings, folder: Path) -> Any:
    """The executor of submitit that the settings describe.

    Raises:
        BenchmarkError: SLURM's commands are missing, or submitit does not know a parameter.
    """
    parameters: dict[str, Any] = {
        "name": "loco-tools",
        "timeout_min": settings.time_min,
        "cpus_per_task": settings.cpus,
    }
    if settings.gpus:
        parameters["gpus_per_node"] = settings.gpus
    if settings.memory_mb is not None:
        parameters["mem_gb"] = settings.memory_mb / 1024
    if settings.cluster == "slurm":
        named = {
            "slurm_partition": settings.partition,
            "slurm_account": settings.account,
            "slurm_qos": settings.qos,
            "slurm_constraint": settings.constraint,
            "slurm_array_parallelism": settings.workers,
        }
        parameters |= {name: value for name, value in named.items() if value is not None}
        threads = f"export OMP_NUM_THREADS={settings.cpus}"
        parameters["slurm_setup"] = [threads, *settings.setup]
        parameters["slurm_additional_parameters"] = {"requeue": True, **settings.parameters}
    try:
        limit = {f"{settings.cluster}_max_num_timeout": settings.requeues}
        executor = submitit.AutoExecutor(folder, cluster=settings.cluster, **limit)
        executor.update_parameters(**parameters)
    except (RuntimeError, ValueError, TypeError, NameError) as error:
        raise BenchmarkError(
            f"SLURM cannot be used from here: {error}; next step: use a machine with sbatch and "
            "srun, or try it without SLURM with --set executor.cluster=local"
        ) from error
    return executor


def job_states(job_ids: Iterable[str]) -> dict[str, str]:
    """The state of each job, `GONE` for a job that SLURM does not list; empty if squeue fails.

    Args:
        job_ids: as SLURM writes them: "12", or "12_3" in an array.
    """
    command = ["squeue", "--noheader", "--states=all", "--array", "--me", "--format=%i %T"]
    try:
        done = subprocess.run(  # noqa: S603 - our own
            command, capture_output=True, text=True, check=True, timeout=TIMEOUT_S
        )
    except (OSError, subprocess.SubprocessError):
        return {}
    listed = dict(line.split(maxsplit=1) for line in done.stdout.splitlines() if line.strip())
    return {job_id: listed.get(job_id, GONE) for job_id in job_ids}


def has_ended(state: str) -> bool:
    """Whether a job has ended and will not run again."""
    return state in ENDED or state == GONE


def cancel_jobs(job_ids: Iterable[str], signal: str | None = None) -> None:
    """Cancel jobs, or send a signal to the processes of running jobs; ended jobs are ignored."""
    ids = list(job_ids)
    if ids:
        options = [] if signal is None else [f"--signal={signal}"]
        subprocess.run(  # noqa: S603 - our own
            ["scancel", "--quiet", *options, *ids],  # noqa: S607
            capture_output=True,
            check=False,
            timeout=TIMEOUT_S,
        )


class InFlight:
    """The submitted cells by key, in a file, so that a run after a killed run finds their jobs."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            content = loads_json(files.read_text(path))
        except (OSError, ValueError):  # a damaged file counts as empty
            content = None
        self._jobs: dict[str, str] = content if isinstance(content, dict) else {}

    def job_of(self, key: str) -> str | None:
        """The id of the job that an earlier run has submitted for the cell with this key."""
        return self._jobs.get(key)

    def add(self, jobs: Mapping[str, str]) -> None:
        """Add jobs, key -> id."""
        self._jobs |= jobs
        files.write_json(self._path, self._jobs)

    def remove(self, keys: Iterable[str]) -> None:
        """Remove jobs that have ended."""
        for key in keys:
            self._jobs.pop(key, None)
        files.write_json(self._path, self._jobs)
