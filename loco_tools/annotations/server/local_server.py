"""Run a Label Studio server on this machine: `make label-studio`.

Everything lies in one folder (`.label-studio/`, git-ignored): a Python environment with Label
Studio, the server's data, its log, and the files `token` and `password`, which only their owner may
read. The server listens on the loopback address only, sends no usage statistics, and serves local
storages under `captures/`.
"""

import contextlib
import http.client
import os
import secrets
import signal
import subprocess
import sys
import time
import venv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click

from loco_tools.errors import LabelStudioError, LocoToolsError
from loco_tools.progress import SILENT, Progress, RichProgress
from loco_tools.wording import visible

FOLDER = Path(".label-studio")
PACKAGE = "label-studio>=1.20"
USER = "annotator@example.com"

_HOST = "127.0.0.1"
_LONGEST_START_S = 180.0
_STOP_S = 10.0
_LOG_LINES = 15


@dataclass(frozen=True)
class LocalServer:
    """A running server: its address, and the files with its password, token and log."""

    url: str
    user: str
    password_file: Path
    token_file: Path
    log: Path


def install(environment: Path, progress: Progress = SILENT) -> Path:
    """Make an environment with Label Studio, unless it exists already.

    Returns:
        Its `label-studio` command.

    Raises:
        LabelStudioError: Label Studio cannot be installed.
    """
    command = environment / "bin" / "label-studio"
    if command.is_file():
        return command
    progress.note(f"installing Label Studio into {environment} (once, one or two minutes)")
    venv.create(environment, with_pip=True)
    pip = [str(environment / "bin" / "python"), "-m", "pip", "install", "--quiet", PACKAGE]
    done = subprocess.run(pip, capture_output=True, text=True, check=False)  # noqa: S603 - our own
    if done.returncode != 0 or not command.is_file():
        raise LabelStudioError(
            f"{environment}: Label Studio cannot be installed; pip says: {_last_lines(done.stderr)}"
        )
    return command


@contextlib.contextmanager
def running(
    command: Path,
    folder: Path,
    *,
    port: int,
    documents: Path | None = None,
    progress: Progress = SILENT,
) -> Iterator[LocalServer]:
    """Run a server on the loopback address for the duration of a `with` block.

    Its data stay in `folder`. The first start creates a user, a password and a legacy token.

    Args:
        command: `label-studio`, see `install`.
        folder: folder of the server's data, log, password and token.
        port: port to listen on.
        documents: folder that local storages may serve.
        progress: where progress is reported.

    Raises:
        LabelStudioError: the server stops, or does not answer within three minutes.
    """
    server = LocalServer(
        url=f"http://{_HOST}:{port}",
        user=USER,
        password_file=_secret(folder / "password", 12),
        token_file=_secret(folder / "token", 20),
        log=folder / "server.log",
    )
    if _answers(port):
        raise LabelStudioError(f"{server.url}: something else answers there; give another --port")
    arguments = ["start", "--no-browser", "--internal-host", _HOST, "--port", str(port)]
    with server.log.open("wb") as log:
        process = subprocess.Popen(  # noqa: S603 - our own command
            [str(command.absolute()), *arguments],
            env=_settings(server, folder, documents),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            cwd=folder,
        )
        try:
            with progress.task("Label Studio starts"):
                end = time.monotonic() + _LONGEST_START_S
                while not _answers(port):
                    if process.poll() is not None or time.monotonic() > end:
                        state = "does not answer" if process.poll() is None else "ended"
                        lines = _last_lines(server.log.read_text(errors="replace"))
                        raise LabelStudioError(f"Label Studio {state}; {server.log} says: {lines}")
                    time.sleep(0.5)
            yield server
        finally:
            process.terminate()
            try:
                process.wait(_STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _settings(server: LocalServer, folder: Path, documents: Path | None) -> dict[str, str]:
    """The server's environment variables; other users could read passwords on a command line."""
    settings = {
        **os.environ,
        "LABEL_STUDIO_BASE_DATA_DIR": str((folder / "data").absolute()),
        "LABEL_STUDIO_USERNAME": server.user,
        "LABEL_STUDIO_PASSWORD": server.password_file.read_text().strip(),
        "LABEL_STUDIO_USER_TOKEN": server.token_file.read_text().strip(),
        "LABEL_STUDIO_ENABLE_LEGACY_API_TOKEN": "true",
        "LABEL_STUDIO_DISABLE_SIGNUP_WITHOUT_LINK": "true",
        "COLLECT_ANALYTICS": "False",
        "LATEST_VERSION_CHECK": "False",
        "SENTRY_DSN": "",
        "FRONTEND_SENTRY_DSN": "",
    }
    if documents is not None:
        settings["LABEL_STUDIO_LOCAL_FILES_SERVING_ENABLED"] = "true"
        settings["LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT"] = str(documents.absolute())
    return settings


def _secret(path: Path, length: int) -> Path:
    """A file with a random secret that only its owner may read, created unless it exists."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(FileExistsError):
        number = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(number, "w") as stream:
            stream.write(secrets.token_hex(length) + "\n")
    return path


def _answers(port: int) -> bool:
    connection = http.client.HTTPConnection(_HOST, port, timeout=2)
    try:
        connection.request("GET", "/health")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _last_lines(text: str) -> str:
    return " | ".join(text.strip().splitlines()[-_LOG_LINES:])


@click.command()
@click.option("--folder", type=click.Path(path_type=Path), default=FOLDER, show_default=True)
@click.option("--port", type=int, default=8080, show_default=True)
@click.option("--documents", type=click.Path(path_type=Path), default=Path("captures"))
def main(folder: Path, port: int, documents: Path) -> None:
    """Install Label Studio into an environment of its own, and run it until ctrl-c."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    progress = RichProgress()
    try:
        command = install(folder / "venv", progress)
        with running(command, folder, port=port, documents=documents, progress=progress) as server:
            lines = [
                f"Label Studio: {server.url}",
                f"  user:     {server.user}",
                f"  password: in {server.password_file}",
                f"  token:    in {server.token_file}, for --token-file",
                f"  local files: {documents}, for --local-files",
                f"Example: loco-tools label push captures/angle/session-001 --url {server.url} "
                f"--project angle --token-file {server.token_file}",
                "Stop it with ctrl-c.",
            ]
            click.echo(visible("\n".join(lines)))
            while True:
                time.sleep(3600)
    except KeyboardInterrupt:
        sys.exit(0)
    except LocoToolsError as error:
        sys.exit(f"label-studio: {error}")


if __name__ == "__main__":
    main()
