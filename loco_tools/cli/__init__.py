"""Every command: parse, call one public function, print.

Results go to standard output, progress and messages to standard error. Exit code 0: done; 1: a
fault that the message explains; 2: wrong usage; 130: interrupted with Ctrl-C. With `--json`,
standard output holds one JSON document, which is `{"error": ...}` when the command failed before
it had an outcome.
"""

import contextlib
import io
import os
import platform
import shlex
import sys
import time
import warnings
from collections.abc import Sequence
from importlib.metadata import version

import click

from loco_tools import files
from loco_tools.cli import benching, calibrating, dataset, labelling, station
from loco_tools.cli.output import LOGGER, Output, add_output_options, warnings_on_terminal
from loco_tools.cli.printing import echo, wants_json, write_json
from loco_tools.errors import LocoToolsError

INTERRUPTED = 130
"""The exit code after Ctrl-C: 128 and the number of the signal, as in a shell."""

CONTINUING = ("bench", "capture", "demo")
"""The commands that go on where they stopped; every other one writes everything or nothing."""


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="loco-tools", prog_name="loco-tools")
def cli() -> None:
    """From a camera and a table of metal parts to a trustworthy anomaly-detection benchmark.

    Start with `loco-tools demo`, which walks the whole path on a simulated station.
    """


for command in (
    station.demo,
    station.cameras,
    station.capture,
    calibrating.calibrate,
    labelling.label,
    labelling.convert,
    dataset.validate,
    dataset.show,
    dataset.export,
    dataset.card,
    dataset.evaluate,
    benching.bench,
    benching.report,
    benching.methods,
):
    cli.add_command(command)
add_output_options(cli)


def main(arguments: Sequence[str] | None = None) -> None:
    """The entry point: run a command and end with its exit code."""
    sys.exit(run(arguments))


def run(arguments: Sequence[str] | None = None) -> int:
    """Run a command line and return its exit code; every fault becomes one message here."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    # OpenCV and Pillow report damaged files without their name; our errors name them
    os.environ.setdefault("OPENCV_LOG_LEVEL", "OFF")
    warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")
    start_s = time.monotonic()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # What the terminal's encoding lacks is escaped.
            stream.reconfigure(errors="backslashreplace")
    with contextlib.closing(Output()) as output, warnings_on_terminal():
        try:
            result = cli.main(words, prog_name="loco-tools", standalone_mode=False, obj=output)
            code = result if isinstance(result, int) else 0
        except click.ClickException as error:
            shown = io.StringIO()
            error.show(shown)
            echo(shown.getvalue().rstrip("\n"), err=True)
            code = _explain(error, error.format_message(), words, output, code=error.exit_code)
        except (click.Abort, KeyboardInterrupt) as error:
            message = f"interrupted; {_what_is_kept(words)}"
            echo(f"loco-tools: {message}", err=True)
            code = _explain(error, message, words, output, code=INTERRUPTED)
        except (LocoToolsError, OSError) as error:
            message = _describe(error, words) if isinstance(error, OSError) else str(error)
            echo(f"loco-tools: {message}", err=True)
            code = _explain(error, message, words, output, code=1)
        took_s = time.monotonic() - start_s
        LOGGER.info("loco-tools %s: exit code %d, %.1f s", shlex.join(words), code, took_s)
    return code


def _explain(
    error: BaseException, message: str, words: list[str], output: Output, *, code: int
) -> int:
    """Log a fault, print it as JSON where JSON was asked for, and return its exit code."""
    LOGGER.debug(
        "loco-tools %s, Python %s, %s", version("loco-tools"), sys.version, platform.platform()
    )
    LOGGER.debug("the command failed", exc_info=error)
    if wants_json(words) and not output.answered:
        fault = {"type": type(error).__name__, "message": message, "exit_code": code}
        write_json({"error": fault})
    return code


def _describe(error: OSError, words: list[str]) -> str:
    place = f"{error.filename}: " if error.filename else ""
    if files.is_full(error):
        return f"{place}the disk is full; next step: make room; {_what_is_kept(words)}"
    return f"{place}{error.strerror or error}"


def _what_is_kept(words: list[str]) -> str:
    """What a command that was stopped leaves, and what running it again does."""
    command = next((word for word in words if word in cli.commands), "")
    if command in CONTINUING:
        return "what was finished is kept, run the command again to go on"
    return "an earlier output is unchanged, run the command again to start anew"
