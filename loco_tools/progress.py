"""Telling how far long work is, without the library knowing about terminals.

Library functions take a `progress: Progress` and default to `SILENT`; the command line passes
`RichProgress`, which shows a bar with rate and time left on a terminal.
"""

import contextlib
from collections.abc import Callable, Iterator
from typing import Protocol

Advance = Callable[[int], None]


class Progress(Protocol):
    """Where long work reports to."""

    def task(
        self, description: str, total: int | None = None
    ) -> contextlib.AbstractContextManager[Advance]:
        """Open a task of `total` steps; the block calls what it gets with the steps just done."""
        ...

    def note(self, message: str) -> None:
        """Say one line to the person watching."""
        ...


class Silent:
    """Reports nothing."""

    @contextlib.contextmanager
    def task(self, description: str, total: int | None = None) -> Iterator[Advance]:
        """See `Progress.task`."""
        del description, total
        yield lambda _steps: None

    def note(self, message: str) -> None:
        """See `Progress.note`."""


SILENT = Silent()


class RichProgress:
    """Bars with rate and time left on a terminal; plain lines elsewhere. Writes to stderr."""

    def __init__(self, *, quiet: bool = False) -> None:
        from rich.console import Console

        self._console = Console(stderr=True, quiet=quiet)

    @contextlib.contextmanager
    def task(self, description: str, total: int | None = None) -> Iterator[Advance]:
        """See `Progress.task`."""
        from rich import progress as bars

        columns = (
            bars.TextColumn("{task.description}"),
            bars.BarColumn(bar_width=30),
            bars.MofNCompleteColumn(),
            bars.TextColumn("{task.fields[rate]}"),
            bars.TimeRemainingColumn(),
        )
        with bars.Progress(*columns, console=self._console, transient=True) as display:
            bar = display.add_task(description, total=total, rate="")

            def advance(steps: int) -> None:
                display.advance(bar, steps)
                speed = display.tasks[0].speed
                display.update(bar, rate=f"{speed:.1f}/s" if speed else "")

            yield advance

    def note(self, message: str) -> None:
        """See `Progress.note`."""
        self._console.print(message, markup=False, highlight=False)
