"""What SLURM says of jobs, through its commands; no accounting database is needed for that."""

import json
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path

from loco_tools import files

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
"""For one of SLURM's commands."""


def states(job_ids: Iterable[str]) -> dict[str, str]:
    """The state of each job, `GONE` for those that are not listed.

    Args:
        job_ids: as SLURM writes them, "12" or "12_3" in an array.

    Returns:
        Nothing at all while SLURM does not answer.
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
    """Whether a job will not run again."""
    return state in ENDED or state == GONE


def cancel(job_ids: Iterable[str], signal: str | None = None) -> None:
    """End jobs, or send the processes of running ones a signal; jobs that have ended are passed."""
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
    """The cells that SLURM has, by key, in a file: a run that was killed finds them again."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._jobs = _read(path)

    def job_of(self, key: str) -> str | None:
        """The id of the job that an earlier run has submitted for a cell."""
        return self._jobs.get(key)

    def add(self, jobs: Mapping[str, str]) -> None:
        """Note jobs, key -> id."""
        self._jobs |= jobs
        files.write_json(self._path, self._jobs)

    def remove(self, keys: Iterable[str]) -> None:
        """Forget jobs that have ended."""
        for key in keys:
            self._jobs.pop(key, None)
        files.write_json(self._path, self._jobs)


def _read(path: Path) -> dict[str, str]:
    """What the file says; a damaged one counts as empty."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
