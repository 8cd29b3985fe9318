"""Telling how far long work is, without the library knowing about terminals.

Library functions take a `progress: Progress` and default to `SILENT`; the command line passes
`RichProgress`, which shows a bar with rate and time left on a terminal.
"""

import contextlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from rich.progress import Progress as RichDisplay

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
    """Bars with rate and time left on a terminal, and lines alone elsewhere. Writes to stderr.

    Tasks may be opened within tasks; all of them share one display.
    """

    def __init__(self) -> None:
        from rich.console import Console

        self._console = Console(stderr=True)
        self._display: RichDisplay | None = None
        self._open = 0

    @contextlib.contextmanager
    def task(self, description: str, total: int | None = None) -> Iterator[Advance]:
        """See `Progress.task`."""
        display = self._display or self._new_display()
        if self._open == 0:
            display.start()
        self._open += 1
        bar = display.add_task(description, total=total, rate="")

        def advance(steps: int) -> None:
            display.advance(bar, steps)
            speed = next(task.speed for task in display.tasks if task.id == bar)
            display.update(bar, rate=f"{speed:.1f}/s" if speed else "")

        try:
            yield advance
        finally:
            display.remove_task(bar)
            self._open -= 1
            if self._open == 0:
                display.stop()
                self._display = None

    def note(self, message: str) -> None:
        """See `Progress.note`."""
        self._console.print(message, markup=False, highlight=False, soft_wrap=True)

    def _new_display(self) -> "RichDisplay":
        from rich import progress as bars

        self._display = bars.Progress(
            bars.TextColumn("{task.description}", markup=False),
            bars.BarColumn(bar_width=30),
            bars.MofNCompleteColumn(),
            bars.TextColumn("{task.fields[rate]}"),
            bars.TimeRemainingColumn(),
            console=self._console,
            transient=True,
            disable=not self._console.is_terminal,
        )
        return self._display
