"""Serving the station page at a port."""

import asyncio
import contextlib
import errno
import re
import secrets
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from loco_tools import extras
from loco_tools.capture.guide import Guide
from loco_tools.capture.station.access import Access, is_loopback, is_wildcard
from loco_tools.errors import CaptureError
from loco_tools.progress import SILENT, Progress

_SHORTEST_TOKEN = 16
_TOKEN = re.compile(rf"[A-Za-z0-9_-]{{{_SHORTEST_TOKEN},}}")
_GRACE_S = 2
_BACKLOG = 128
_LONGEST_HEAD_BYTES = 16_384
_IDLE_S = 5
_SAID_AGAIN_S = 60.0
_MOST_REMEMBERED = 100
_LAST_PORT = 65_535
_REASONS = {
    errno.EADDRINUSE: "it is in use; next step: stop the other station, or take another --port",
    errno.EACCES: "this user may not open it; next step: take a --port above 1023",
    errno.EADDRNOTAVAIL: "this computer has no such address; next step: correct --host",
}


@dataclass(frozen=True)
class Running:
    """A running station: its address, with the token if it requires one.

    `ended` is done when its server has ended; it holds the error if it failed.
    """

    url: str
    port: int
    token: str | None
    ended: Future[None]


def serve(
    guide: Guide,
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    token: str | None = None,
    progress: Progress = SILENT,
) -> None:
    """Run the station page until Ctrl-C (or SIGTERM); the session can be resumed afterwards.

    Blocks. A fault of the operating system, e.g. too many open files, is noted and does not end it.
    The guide must not be used by the caller meanwhile.

    Args:
        guide: of the session; its camera is connected.
        host: address to listen on. Any address other than loopback requires a token.
        port: 0 takes a free one.
        token: required from browsers; a random one is used if the address requires a token and
            none is given.
        progress: receives the address, faults, and a note at the end.

    Raises:
        CaptureError: the port cannot be opened, the token is too short, or the server failed.
        MissingExtraError: the extra "station" is not installed.
    """
    notes = _Notes(progress)
    with (
        _end_at_sigterm(),
        running(guide, host=host, port=port, token=token, progress=progress) as station,
        contextlib.suppress(KeyboardInterrupt),
    ):
        notes.say(f"Station: {station.url}  (Ctrl-C ends it)")
        station.ended.result()
    more = "" if guide.progress().finished else "; run the same command again to continue"
    notes.say(f"Station ended{more}")


@contextlib.contextmanager
def running(
    guide: Guide,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    token: str | None = None,
    progress: Progress = SILENT,
) -> Iterator[Running]:
    """Run the station page for a `with` block, on threads of its own; see `serve`."""
    extras.require("the station page", "station")
    from loco_tools.capture.station.app import make_app
    from loco_tools.capture.station.camera_worker import CameraWorker

    if token is not None and not _TOKEN.fullmatch(token):
        raise CaptureError(
            f"the station's token: expected at least {_SHORTEST_TOKEN} letters, digits, - and _; "
            "next step: leave it out, then a random one is used"
        )
    token = token or (None if is_loopback(host) else secrets.token_urlsafe(24))
    with contextlib.closing(_listen(host, port)) as listening:
        port = listening.getsockname()[1]
        shown = _find_own_address() if is_wildcard(host) else host
        shown = f"[{shown}]" if ":" in shown else shown
        url = f"http://{shown}:{port}/" + (f"?token={token}" if token else "")
        say = _Notes(progress).say
        with (
            CameraWorker(guide) as worker,
            _answer(make_app(worker, Access(host, port, token), say), listening, say) as ended,
        ):
            try:
                yield Running(url, port, token, ended)
            finally:
                # The endless live streams have to end before the server can.
                worker.stop()


@contextlib.contextmanager
def _answer(
    app: Any, listening: socket.socket, say: Callable[[str], None]
) -> Iterator[Future[None]]:
    """Answer requests on a thread of its own; the future is done when it has ended."""
    import uvicorn

    from loco_tools.capture.station.connections import Connection

    config = uvicorn.Config(
        app,
        http=Connection,
        ws="none",
        lifespan="off",
        # Its lines are caused by clients and would fill the terminal; `say` has what matters.
        log_config=None,
        log_level="critical",
        access_log=False,
        server_header=False,
        backlog=_BACKLOG,
        h11_max_incomplete_event_size=_LONGEST_HEAD_BYTES,
        timeout_keep_alive=_IDLE_S,
        timeout_graceful_shutdown=_GRACE_S,
    )
    server = uvicorn.Server(config)
    ended: Future[None] = Future()

    def run() -> None:
        try:
            asyncio.run(_serve_connections(server, listening, say))
            ended.set_result(None)
        except BaseException as error:
            ended.set_exception(
                CaptureError(
                    f"the station's server failed ({error!r}); next step: run the same command "
                    "again, the session continues where it stopped"
                )
            )

    thread = threading.Thread(target=run, name="station page")
    thread.start()
    try:
        yield ended
    finally:
        server.should_exit = True
        thread.join()


async def _serve_connections(
    server: Any, listening: socket.socket, say: Callable[[str], None]
) -> None:
    def explain(_loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        why = (error.strerror if isinstance(error, OSError) else None) or repr(error)
        say(f"The station goes on after a fault of a connection: {context['message']} ({why})")

    async def close_late_connections() -> None:
        while True:
            await asyncio.sleep(1)
            for connection in list(server.server_state.connections):
                connection.close_if_late()

    asyncio.get_running_loop().set_exception_handler(explain)
    watch = asyncio.create_task(close_late_connections())
    try:
        await server.serve(sockets=[listening])
    finally:
        watch.cancel()


class _Notes:
    """Notes at the terminal that come often are shown once a minute, and never fail."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._said: dict[str, float] = {}

    def say(self, message: str) -> None:
        now = time.monotonic()
        if now - self._said.get(message, -_SAID_AGAIN_S) < _SAID_AGAIN_S:
            return
        if len(self._said) >= _MOST_REMEMBERED:
            self._said.clear()
        self._said[message] = now
        with contextlib.suppress(OSError):  # The terminal is gone; the session is not.
            self._progress.note(message)


def _listen(host: str, port: int) -> socket.socket:
    if not 0 <= port <= _LAST_PORT:
        # The resolver would take it modulo 65536.
        raise CaptureError(
            f"expected a port from 0 to {_LAST_PORT}, got {port}; next step: correct --port"
        )
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        return socket.create_server(address[:2], family=family)
    except socket.gaierror as error:
        raise CaptureError(
            f"the station cannot listen on {host}: unknown address; next step: correct --host"
        ) from error
    except OSError as error:
        reason = _REASONS.get(error.errno or 0, f"{error.strerror}; next step: another --port")
        raise CaptureError(f"the station cannot open port {port} on {host}: {reason}") from error


def _find_own_address() -> str:
    """The address of this computer in its network, or its name."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            # This only consults the routing table; nothing is sent.
            probe.connect(("192.0.2.1", 9))
            return str(probe.getsockname()[0])
        except OSError:
            return socket.gethostname()


@contextlib.contextmanager
def _end_at_sigterm() -> Iterator[None]:
    """Let SIGTERM end the block like Ctrl-C, so that the camera is released."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
