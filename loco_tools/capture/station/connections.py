"""The connections of the station: how many there may be, and how long they may keep it waiting.

Nobody who reaches the port is trusted, so that each connection costs little and none stays for
longer than it is of use. If there are too many, a new one takes the place of the one that has kept
the station waiting for longest: a browser sends its request at once, so an attacker who opens
connections and sends nothing displaces his own.
"""

import asyncio
import time
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

MOST_CONNECTIONS = 128
MOST_PER_ADDRESS = 48
"""Browsers open six for each station, and several may share an address."""

REQUEST_S = 10.0
"""Time for a request to arrive, with its body."""

STALLED_S = 20.0
"""Time after which somebody who takes nothing of what is sent is gone."""


class Connection(H11Protocol):
    """A connection that gives way to others; uvicorn makes one for each that is accepted."""

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self._was_answered = False
        self._waits_since = time.monotonic()
        self._stalled_since: float | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """See `asyncio.Protocol`."""
        super().connection_made(transport)
        self._make_room()

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
        try:
            super().data_received(data)
        except Exception:  # The parser cannot answer what breaks the protocol after the answer.
            self.transport.abort()

    def on_response_complete(self) -> None:
        """Uvicorn calls it after each answer."""
        self._was_answered, self._waits_since = True, time.monotonic()
        super().on_response_complete()

    def pause_writing(self) -> None:
        """See `asyncio.Protocol`."""
        self._stalled_since = time.monotonic()
        super().pause_writing()

    def resume_writing(self) -> None:
        """See `asyncio.Protocol`."""
        self._stalled_since = None
        super().resume_writing()

    def close_if_late(self) -> None:
        """Close it if its request or what it has to take has been due for too long."""
        now = time.monotonic()
        request_is_late = self._is_waiting() and now - self._waits_since > REQUEST_S
        is_stalled = self._stalled_since is not None and now - self._stalled_since > STALLED_S
        if request_is_late or is_stalled:
            self.transport.abort()

    def _make_room(self) -> None:
        """If there are too many, close the one that has been waited for longest, or this one."""
        everyone = [c for c in self.connections if isinstance(c, Connection) and c._is_open()]
        neighbours = [c for c in everyone if c._address() == self._address()]
        for members, most in ((neighbours, MOST_PER_ADDRESS), (everyone, MOST_CONNECTIONS)):
            if self._is_open() and sum(c._is_open() for c in members) > most:
                waiting = [c for c in members if c is not self and c._is_open() and c._is_waiting()]
                waiting.sort(key=lambda c: (c._was_answered, c._waits_since))
                (waiting or [self])[0].transport.abort()

    def _is_open(self) -> bool:
        return not self.transport.is_closing()

    def _is_waiting(self) -> bool:
        """Whether a request, or the rest of one, has yet to come."""
        return self.conn.their_state in (h11.IDLE, h11.SEND_BODY)

    def _address(self) -> str | None:
        return self.client and self.client[0]
