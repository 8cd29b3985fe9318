"""Progress across processes: what a worker reports is sent as messages and replayed by the run."""

import contextlib
import time
from collections.abc import Callable, Iterator
from itertools import count
from typing import NamedTuple

from loco_tools.progress import Advance, Progress

PERIOD_S = 0.2
"""Advances are summed up for so long before they are sent."""


class Note(NamedTuple):
    """See `Progress.note`."""

    message: str


class Opened(NamedTuple):
    """A task was opened; `number` tells tasks of one worker apart."""

    number: int
    description: str
    total: int | None


class Advanced(NamedTuple):
    """Steps of a task were done."""

    number: int
    steps: int


class Closed(NamedTuple):
    """A task has ended."""

    number: int


Report = Note | Opened | Advanced | Closed


class SendingProgress:
    """A `Progress` whose reports are messages."""

    def __init__(self, send: Callable[[Report], None]) -> None:
        self._send = send
        self._numbers = count()

    @contextlib.contextmanager
    def task(self, description: str, total: int | None = None) -> Iterator[Advance]:
        """See `Progress.task`."""
        number, steps, sent = next(self._numbers), 0, 0.0
        self._send(Opened(number, description, total))

        def advance(done: int) -> None:
            nonlocal steps, sent
            steps += done
            now = time.monotonic()
            if now - sent >= PERIOD_S:
                self._send(Advanced(number, steps))
                steps, sent = 0, now

        try:
            yield advance
        finally:
            self._send(Closed(number))

    def note(self, message: str) -> None:
        """See `Progress.note`."""
        self._send(Note(message))


class Replay:
    """Shows the reports of one worker; `closed` ends the tasks that it left open by dying."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._open: dict[int, tuple[contextlib.ExitStack, Advance]] = {}

    def show(self, report: Report, title: str = "") -> None:
        """Show a report; `title` opens the description of a new task."""
        match report:
            case Note(message):
                self._progress.note(message)
            case Opened(number, description, total):
                stack = contextlib.ExitStack()
                advance = stack.enter_context(self._progress.task(title + description, total))
                self._open[number] = (stack, advance)
            case Advanced(number, steps):
                self._open[number][1](steps)
            case Closed(number):
                self._open.pop(number)[0].close()

    def close(self) -> None:
        """End every task that is still open."""
        while self._open:
            self._open.popitem()[1][0].close()
