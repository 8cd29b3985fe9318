"""Where a command's progress, messages and log go: `--quiet`, `--verbose`, `--log-file`.

The three options are taken before and after the name of every command. Results always go to
standard output; progress, messages and the log of `--verbose` go to standard error.
"""

import contextlib
import logging
import re
import sys
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from loco_tools.errors import DatasetWarning
from loco_tools.progress import SILENT, Advance, Progress, RichProgress
from loco_tools.wording import visible

LOGGER = logging.getLogger("loco_tools")
LOGGER.addHandler(logging.NullHandler())
_FORMAT = "%(asctime)s %(levelname)s %(message)s"
_PASSWORD = re.compile(r"(?<=://)[^/@\s]+(?=@)")


class Output:
    """What the options of one command line ask for; closed when the command has ended."""

    def __init__(self) -> None:
        self.quiet = False
        self.answered = False
        """Whether a JSON document was printed: standard output holds one at most."""
        self._verbose = False
        self._handlers: list[logging.Handler] = []

    def set_option(self, name: str, value: bool | Path) -> None:
        """Switch one of the three options on.

        Args:
            name: "quiet", "verbose" or "log_file".
            value: True, or the path of the log file.

        Raises:
            OSError: the log file cannot be opened for writing.
        """
        if name == "quiet":
            self.quiet = True
        elif isinstance(value, Path):
            self._add_handler(logging.FileHandler(value, encoding="utf-8"))
        elif not self._verbose:
            self._verbose = True
            self._add_handler(logging.StreamHandler(sys.stderr))

    @property
    def progress(self) -> Progress:
        """Where the command reports to; the reports are logged too when there is a log."""
        shown: Progress = SILENT if self.quiet else RichProgress()
        return LoggedProgress(shown) if self._handlers else shown

    def close(self) -> None:
        """Take the handlers of this command line off the logger, and close the log file."""
        for handler in self._handlers:
            LOGGER.removeHandler(handler)
            handler.close()
        self._handlers.clear()
        LOGGER.setLevel(logging.NOTSET)

    def _add_handler(self, handler: logging.Handler) -> None:
        handler.setFormatter(_PasswordsHidden(_FORMAT))
        LOGGER.addHandler(handler)
        LOGGER.setLevel(logging.DEBUG)
        self._handlers.append(handler)


@contextlib.contextmanager
def warnings_on_terminal() -> Iterator[None]:
    """Print what is notable about a dataset class as a message, without the line of our code."""
    with warnings.catch_warnings():
        warnings.simplefilter("always", DatasetWarning)
        show_other = warnings.showwarning

        def show(message: Warning | str, category: type[Warning], *rest: Any, **named: Any) -> None:
            if issubclass(category, DatasetWarning):
                click.echo(visible(f"loco-tools: warning: {message}"), err=True)
                LOGGER.warning("%s", message)
            else:
                show_other(message, category, *rest, **named)

        warnings.showwarning = show
        yield


class LoggedProgress:
    """Passes reports on, and logs notes and how long tasks take."""

    def __init__(self, shown: Progress) -> None:
        self.shown = shown

    @contextlib.contextmanager
    def task(self, description: str, total: int | None = None) -> Iterator[Advance]:
        """See `Progress.task`."""
        start, steps_done = time.monotonic(), 0
        with self.shown.task(description, total) as advance:

            def advance_and_count(steps: int) -> None:
                nonlocal steps_done
                steps_done += steps
                advance(steps)

            yield advance_and_count
        took_s = time.monotonic() - start
        LOGGER.debug("%s: %d steps in %.2f s", description, steps_done, took_s)

    def note(self, message: str) -> None:
        """See `Progress.note`."""
        self.shown.note(message)
        LOGGER.info("%s", message)


class _PasswordsHidden(logging.Formatter):
    """Takes user names and passwords out of the addresses in a log line, and control characters."""

    def format(self, record: logging.LogRecord) -> str:
        return visible(_PASSWORD.sub("***", super().format(record)))


def add_output_options(command: click.Command) -> None:
    """Give a command, and all commands below it, the three options."""
    command.params += [
        click.Option(["-q", "--quiet"], is_flag=True, help="Show no progress, only results."),
        click.Option(
            ["-v", "--verbose"], is_flag=True, help="Log to standard error, with tracebacks."
        ),
        click.Option(
            ["--log-file"],
            type=click.Path(dir_okay=False, path_type=Path),
            help="Append the log, with tracebacks, to this file.",
        ),
    ]
    for option in command.params[-3:]:
        option.expose_value, option.callback = False, _set_option
    for subcommand in getattr(command, "commands", {}).values():
        add_output_options(subcommand)


def _set_option(
    context: click.Context, parameter: click.Parameter, value: bool | Path | None
) -> None:
    root = context.find_root()
    output = root.ensure_object(Output)
    if value and parameter.name:
        output.set_option(parameter.name, value)
    if context is not root:
        context.obj = output.progress
