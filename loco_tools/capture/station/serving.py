"""Putting the station page on a port, and taking it down again."""

import contextlib
import errno
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
_GRACE_S = 2
_LAST_PORT = 65_535
_REASONS = {
    errno.EADDRINUSE: "it is in use; next step: stop the other station, or take another --port",
    errno.EACCES: "this user may not open it; next step: take a --port above 1023",
    errno.EADDRNOTAVAIL: "this computer has no such address; next step: correct --host",
}


@dataclass(frozen=True)
class Running:
    """A station that answers: its address, with the token when it needs one."""

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

    Blocks. The guide belongs to the station meanwhile, and to the caller again afterwards.

    Args:
        guide: of the session; its camera is connected.
        host: address to listen on. Any other than loopback needs a token.
        port: 0 takes a free one.
        token: what a browser has to show; made up when the address needs one and none is given.
        progress: is told the address, and the end.

    Raises:
        CaptureError: the port cannot be opened, or the token is too short.
        MissingExtraError: the extra "station" is not installed.
    """
    with (
        _ended_by_sigterm(),
        running(guide, host=host, port=port, token=token) as station,
        contextlib.suppress(KeyboardInterrupt),
    ):
        progress.note(f"Station: {station.url}  (Ctrl-C ends it)")
        threading.Event().wait()
    more = "" if guide.progress().finished else "; run the same command again to go on"
    progress.note(f"Station ended{more}")


@contextlib.contextmanager
def running(
    guide: Guide, *, host: str = "127.0.0.1", port: int = 0, token: str | None = None
) -> Iterator[Running]:
    """Run the station page for a block, on threads of its own; see `serve`."""
    extras.require("the station page", "station")
    from loco_tools.capture.station.app import make_app
    from loco_tools.capture.station.camera_worker import Desk

    token = _checked(token) or (None if is_loopback(host) else secrets.token_urlsafe(24))
    with contextlib.closing(_listen(host, port)) as listening:
        taken = listening.getsockname()[1]
        with Desk(guide) as desk, _answering(make_app(desk, Access(host, taken, token)), listening):
            try:
                yield Running(_url(host, taken, token), taken, token)
            finally:
                # first of all, so that endless live streams end and the server can too
                desk.stop()


@contextlib.contextmanager
def _answering(app: Any, listening: socket.socket) -> Iterator[None]:
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
        # the resolver would take it modulo 65536
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


def _checked(token: str | None) -> str | None:
    if token is not None and (len(token) < _SHORTEST_TOKEN or not _plain(token)):
        raise CaptureError(
            f"the station's token: expected at least {_SHORTEST_TOKEN} letters, digits, - and _; "
            "next step: leave it out, a good one is made up then"
        )
    return token


def _plain(token: str) -> bool:
    return token.isascii() and token.replace("-", "").replace("_", "").isalnum()


def _url(host: str, port: int, token: str | None) -> str:
    shown = _reachable() if is_wildcard(host) else host
    shown = f"[{shown}]" if ":" in shown else shown
    return f"http://{shown}:{port}/" + (f"?token={token}" if token else "")


def _reachable() -> str:
    """The address of this computer in its network, or its name."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            # asks the routing table only: nothing is sent
            probe.connect(("192.0.2.1", 9))
            return str(probe.getsockname()[0])
        except OSError:
            return socket.gethostname()


@contextlib.contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    """SIGTERM ends the block as Ctrl-C does, so that the camera is released."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
