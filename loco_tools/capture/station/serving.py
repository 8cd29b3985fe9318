"""Serving the station page at a port."""

import contextlib
import errno
import re
import secrets
import signal
import socket
import threading
from collections.abc import Iterator
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
_LAST_PORT = 65_535
_REASONS = {
    errno.EADDRINUSE: "it is in use; next step: stop the other station, or take another --port",
    errno.EACCES: "this user may not open it; next step: take a --port above 1023",
    errno.EADDRNOTAVAIL: "this computer has no such address; next step: correct --host",
}


@dataclass(frozen=True)
class Running:
    """A running station: its address, with the token if it requires one."""

    url: str
    port: int
    token: str | None


def serve(
    guide: Guide,
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    token: str | None = None,
    progress: Progress = SILENT,
) -> None:
    """Run the station page until Ctrl-C (or SIGTERM); the session can be resumed afterwards.

    Blocks. The guide must not be used by the caller meanwhile.

    Args:
        guide: of the session; its camera is connected.
        host: address to listen on. Any address other than loopback requires a token.
        port: 0 takes a free one.
        token: required from browsers; a random one is used if the address requires a token and
            none is given.
        progress: receives the address, and a note at the end.

    Raises:
        CaptureError: the port cannot be opened, or the token is too short.
        MissingExtraError: the extra "station" is not installed.
    """
    with (
        _end_at_sigterm(),
        running(guide, host=host, port=port, token=token) as station,
        contextlib.suppress(KeyboardInterrupt),
    ):
        progress.note(f"Station: {station.url}  (Ctrl-C ends it)")
        threading.Event().wait()
    more = "" if guide.progress().finished else "; run the same command again to continue"
    progress.note(f"Station ended{more}")


@contextlib.contextmanager
def running(
    guide: Guide, *, host: str = "127.0.0.1", port: int = 0, token: str | None = None
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
        with (
            CameraWorker(guide) as worker,
            _answer_requests(make_app(worker, Access(host, port, token)), listening),
        ):
            try:
                yield Running(url, port, token)
            finally:
                # The endless live streams have to end before the server can.
                worker.stop()


@contextlib.contextmanager
def _answer_requests(app: Any, listening: socket.socket) -> Iterator[None]:
    import uvicorn

    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        server_header=False,
        ws="none",
        timeout_graceful_shutdown=_GRACE_S,
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, args=([listening],), name="station page")
    thread.start()
    try:
        yield
    finally:
        server.should_exit = True
        thread.join()


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
