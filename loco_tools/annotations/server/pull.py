"""From a Label Studio project to `labelstudio.json`, through an export snapshot.

The direct export times out on big projects; a snapshot is made by the server at its own pace and
then downloaded.
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
    """Write what was annotated in a project as Label Studio's full JSON export, atomically.

    Waiting and downloading are tried again, up to five times with growing pauses, when the server
    does not answer or breaks off.

    Args:
        url: address of the server.
        project: title of the project.
        token: see `server.read_token`.
        out: file to write; replaced when it is there.
        timeout_s: how long the server may take to make the snapshot.
        progress: where to report to.

    Returns:
        `out`.

    Raises:
        LabelStudioError: the server cannot be reached, refuses or fails, has no such project, or
            takes too long.
    """
    server = Server(url, token)
    target = server.project(project)
    snapshot = server.begin_snapshot(target)
    try:
        with progress.task(f"export {project}"):
            _wait(server, target, snapshot, timeout_s)
        with progress.task(f"download {project}"):
            _again(lambda: _download(server, target, snapshot, out), progress)
    finally:
        _tidy(server, target, snapshot, progress)
    return out


def _wait(server: Server, project: Project, snapshot: int, timeout_s: float) -> None:
    """Return once the snapshot is complete."""
    end, pause = time.monotonic() + timeout_s, _POLL_S
    while (status := _again(lambda: server.snapshot_status(project, snapshot))) != "completed":
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


def _download(server: Server, project: Project, snapshot: int, out: Path) -> None:
    """Replace `out` by the snapshot once it is checked to be whole."""
    with files.file_swapped_in(out) as stream:
        server.download_snapshot(project, snapshot, stream)
        stream.flush()
        if not is_whole_list(Path(stream.name)):
            raise LabelStudioError(
                f"{server.url}: expected a list of tasks as JSON, got {stream.tell()} bytes that "
                "are something else or a part of it; next step: pull again",
                temporary=True,
            )


def _again(ask: Callable[[], Answer], progress: Progress = SILENT) -> Answer:
    """Ask until there is an answer, or a fault that asking again does not mend."""
    pause = _FIRST_PAUSE_S
    for _ in range(_ATTEMPTS - 1):
        try:
            return ask()
        except LabelStudioError as error:
            if not error.temporary:
                raise
            progress.note(f"{error}; trying again in {pause:g} s")
        time.sleep(pause)
        pause *= 2
    return ask()


def _tidy(server: Server, project: Project, snapshot: int, progress: Progress) -> None:
    """Snapshots pile up on the server otherwise; one that stays does no harm."""
    try:
        server.delete_snapshot(project, snapshot)
    except LabelStudioError as error:
        progress.note(f"snapshot {snapshot} stays on the server ({error})")
