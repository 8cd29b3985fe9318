"""Which requests the station allows: those with the right host, origin and token.

A page of another website must neither get the pictures nor send commands, even if it is open in
the same browser. So the Host header has to name this station (against DNS rebinding), commands
have to come from the station's own page as JSON (against forged requests), and at any address
other than loopback each request has to carry the token. All of this is decided by the head of a
request, before anything of its body is kept.
"""

import hmac
import ipaddress
import re
import socket
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import parse_qs

import h11
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MOST_REQUESTS = 32
"""Requests that are answered at a time, the live streams included."""

MOST_BODY_BYTES = 4096
"""Commands, the only requests with a body, are about 100 bytes long."""

_HOST = re.compile(r"\[?([0-9A-Za-z._:%-]+?)\]?(?::[0-9]{0,5})?")
_OPENING = """<!doctype html><html lang="en"><meta charset="utf-8">
<meta http-equiv="refresh" content="0; url=/"><title>Opening the station</title>
<p><a href="/">Open the station</a></p></html>
"""
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": _POLICY,
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
}
"""Headers of every answer."""


@dataclass(frozen=True)
class Access:
    """Where the station listens, and the token that it requires; None requires none."""

    host: str
    port: int
    token: str | None

    @property
    def cookie(self) -> str:
        """Name of the cookie; browsers share cookies between the ports of a host."""
        return f"loco_station_{self.port}"


def is_loopback(host: str) -> bool:
    """Whether only this computer can reach that address."""
    if host == "localhost":
        return True
    address = _address(host)
    return address is not None and address.is_loopback


def is_wildcard(host: str) -> bool:
    """Whether the address means all addresses of this computer."""
    address = _address(host)
    return address is not None and address.is_unspecified


class Guarded:
    """An application that answers allowed requests only, with `HEADERS` on every answer.

    Args:
        app: the application.
        access: which requests are allowed.
        say: receives one line for every failure of the application, for the terminal.
    """

    def __init__(self, app: ASGIApp, access: Access, say: Callable[[str], None]) -> None:
        self._app = app
        self._access = access
        self._say = say
        self._under_way = 0
        if not is_loopback(access.host):
            _own_names()  # Here, because it may ask a name server and requests must not wait.

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; see the ASGI specification."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        answer: ASGIApp = verdict(Request(scope), self._access) or self._app
        if self._under_way >= MOST_REQUESTS:
            answer = _refused(503, "The station is answering too many requests; try again.")
        self._under_way += 1
        try:
            await answer(scope, receive, send_guarded)
        except (h11.LocalProtocolError, ClientDisconnect):
            pass  # The client has gone or broken the protocol.
        except Exception as error:  # The answer has been a plain 500.
            self._say(f"The station could not answer a request: {error!r}")
        finally:
            self._under_way -= 1


def verdict(request: Request, access: Access) -> Response | None:
    """None if a request is allowed; else a refusal, or the answer that stores a token."""
    if not _host_is_known(request.headers.get("host", ""), access):
        return _refused(421, "This is not the address of the station.")
    if not _body_is_short(request.headers):
        words = f"The station takes bodies of at most {MOST_BODY_BYTES} bytes, and their length."
        return _refused(413, words, {"Connection": "close"})  # That drops the body.
    if request.method not in ("GET", "HEAD") and not _is_own_page(request.headers):
        return _refused(403, "Only the station's own page may do this.")
    return _check_token(request, access)


def _check_token(request: Request, access: Access) -> Response | None:
    """None if a request has the token; else a refusal, or the answer that stores it."""
    if access.token is None or _is_token(request.cookies.get(access.cookie, ""), access.token):
        return None
    kind, _, value = request.headers.get("authorization", "").partition(" ")
    if kind.lower() == "bearer" and _is_token(value, access.token):
        return None
    query = request.scope["query_string"].decode("latin-1")
    in_address = parse_qs(query, errors="replace").get("token", [""])[0]
    if request.method == "GET" and _is_token(in_address, access.token):
        # Store the token in a cookie and open the page without it. This is not a redirect: after a
        # link in a chat, a browser sends a strict cookie only with requests from this page.
        answer = HTMLResponse(_OPENING)
        answer.set_cookie(access.cookie, access.token, httponly=True, samesite="strict", path="/")
        return answer
    return _refused(
        401, "The station requires its token: open the address that it printed when it started."
    )


def _host_is_known(header: str, access: Access) -> bool:
    found = _HOST.fullmatch(header)
    if found is None:
        return False
    name = found[1].lower()
    if _address(name) is not None:
        # DNS rebinding needs a name. A station on loopback answers to loopback addresses only.
        return not is_loopback(access.host) or is_loopback(name)
    if is_loopback(access.host):
        return name == "localhost"
    return name in {access.host.lower(), "localhost", *_own_names()}


@lru_cache
def _own_names() -> frozenset[str]:
    """The names of this computer in its network."""
    own = socket.gethostname().lower()
    return frozenset({own, f"{own}.local", socket.getfqdn().lower()})


def _body_is_short(headers: Headers) -> bool:
    length = headers.get("content-length", "0")
    is_number = length.isdecimal() and len(length) <= len(str(MOST_BODY_BYTES))
    return "transfer-encoding" not in headers and is_number and int(length) <= MOST_BODY_BYTES


def _is_own_page(headers: Headers) -> bool:
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    site = headers.get("sec-fetch-site", "same-origin")
    host, origin = headers.get("host"), headers.get("origin")
    own = origin is None or origin in (f"http://{host}", f"https://{host}")
    return kind == "application/json" and site == "same-origin" and own


def _is_token(given: str, token: str) -> bool:
    return hmac.compare_digest(given.encode(), token.encode())


def _refused(status: int, words: str, headers: dict[str, str] | None = None) -> Response:
    return PlainTextResponse(words + "\n", status, headers)


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None
