"""Progress of long work, without the library depending on a terminal.

Library functions take a `progress: Progress` and default to `SILENT`; the command line passes
`RichProgress`, which shows a bar with rate and time left on a terminal.
"""

import contextlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Protocol

from loco_tools.wording import visible

if TYPE_CHECKING:
    from rich.progress import Progress as RichDisplay

Advance = Callable[[int], None]


class Progress(Protocol):
    """Receives the progress of long work."""

    def task(
        self, description: str, total: int | None = None
    ) -> contextlib.AbstractContextManager[Advance]:
        """Open a task of `total` steps; the block calls its target with the steps done."""
        ...

    def note(self, message: str) -> None:
        """Show one line of text."""
        ...


class Silent:
    """Ignores all progress."""

    @contextlib.contextmanager
    def task(self, description: str, total: int | None = None) -> Iterator[Advance]:
        """See `Progress.task`."""
        del description, total
        yield lambda _steps: None

    def note(self, message: str) -> None:
        """See `Progress.note`."""


SILENT = Silent()


class RichProgress:
    """Bars with rate and time left on a terminal, and only lines elsewhere. Writes to stderr.

    Tasks may be nested; all of them share one display.
    """

    def __init__(self) -> None:
        from rich.console import Console

        self._console = Console(stderr=True)
        self._display: RichDisplay | None = None
        self._open = 0

    @contextlib.contextmanager
    def task(self, description: str, total: int | None = None) -> Iterator[Advance]:
        """See `Progress.task`."""
        from rich import progress as bars

        if self._display is None:
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
            self._display.start()
        display = self._display
        self._open += 1
        bar = display.add_task(visible(description), total=total, rate="")

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
        self._console.print(visible(message), markup=False, highlight=False, soft_wrap=True)
