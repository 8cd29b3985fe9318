"""Download the annotations of a Label Studio project, through an export snapshot.

The direct export of the server times out on big projects. A snapshot has no such limit: the server
makes it in the background, and it is downloaded afterwards.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from pydantic import SecretStr

from loco_tools import files
from loco_tools.annotations.formats.task_file import is_whole_list
from loco_tools.annotations.server.client import Project, Server
from loco_tools.errors import LabelStudioError
from loco_tools.progress import SILENT, Progress

_ATTEMPTS = 5
_FIRST_PAUSE_S = 1.0
_POLL_S = 0.5
_LONGEST_POLL_S = 10.0

Answer = TypeVar("Answer")


def pull(
    *,
    url: str,
    project: str,
    token: SecretStr,
    out: Path,
    timeout_s: float = 1800.0,
    progress: Progress = SILENT,
) -> Path:
    """Write the annotations of a project as Label Studio's full JSON export, atomically.

    Polling and downloading are repeated up to five times, with growing pauses, when the server does
    not answer or the connection breaks off.

    Args:
        url: address of the server.
        project: title of the project.
        token: see `client.read_token`.
        out: file to write; an existing file is replaced.
        timeout_s: how long the server may take to make the snapshot, in seconds.
        progress: where progress is reported.

    Returns:
        `out`.

    Raises:
        LabelStudioError: the server cannot be reached, refuses or fails, has no such project, or
            takes too long.
    """
    server = Server(url, token)
    target = server.project(project)
    snapshot = server.begin_snapshot(target)

    def download() -> None:
        with files.file_swapped_in(out) as stream:
            server.download_snapshot(target, snapshot, stream)
            stream.flush()
            if not is_whole_list(Path(stream.name)):
                raise LabelStudioError(
                    f"{server.url}: expected a list of tasks as JSON, got {stream.tell()} bytes "
                    "that are not a complete list; next step: pull again",
                    temporary=True,
                )

    try:
        with progress.task(f"export {project}"):
            _wait_for_snapshot(server, target, snapshot, timeout_s)
        with progress.task(f"download {project}"):
            _retry(download, progress)
    finally:  # snapshots would pile up on the server; one that stays is harmless
        try:
            server.delete_snapshot(target, snapshot)
        except LabelStudioError as error:
            progress.note(f"snapshot {snapshot} stays on the server ({error})")
    return out


def _wait_for_snapshot(server: Server, project: Project, snapshot: int, timeout_s: float) -> None:
    """Return once the snapshot is complete."""
    end, pause = time.monotonic() + timeout_s, _POLL_S
    while (status := _retry(lambda: server.snapshot_status(project, snapshot))) != "completed":
        if status == "failed":
            raise LabelStudioError(
                f'{server.url}: failed to make a snapshot of "{project.title}"; next step: look '
                "into the server's log, and pull again"
            )
        if time.monotonic() > end:
            raise LabelStudioError(
                f'{server.url}: expected a snapshot of "{project.title}" within {timeout_s:g} s, '
                f"got status {status}; next step: pull again with a longer --timeout"
            )
        time.sleep(pause)
        pause = min(pause * 1.5, _LONGEST_POLL_S)


def _retry(request: Callable[[], Answer], progress: Progress = SILENT) -> Answer:
    """Repeat a request after temporary errors, at most `_ATTEMPTS` times in all."""
    pause = _FIRST_PAUSE_S
    for _ in range(_ATTEMPTS - 1):
        try:
            return request()
        except LabelStudioError as error:
            if not error.temporary:
                raise
            progress.note(f"{error}; trying again in {pause:g} s")
        time.sleep(pause)
        pause *= 2
    return request()
