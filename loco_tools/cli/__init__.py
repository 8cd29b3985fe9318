"""Every command: parse, call one public function, print.

Results go to standard output, progress and messages to standard error. Exit code 0: done; 1: a
fault that the message explains; 2: wrong usage.
"""

import errno
import sys
from collections.abc import Sequence

import click

from loco_tools.cli import benching, calibrating, cameras, dataset, labelling, station
from loco_tools.errors import LocoToolsError
from loco_tools.progress import SILENT, RichProgress


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="loco-tools", prog_name="loco-tools")
@click.option("--quiet", "-q", is_flag=True, help="No progress, results only.")
@click.pass_context
def cli(context: click.Context, quiet: bool) -> None:
    """From a camera and a table of metal parts to a trustworthy anomaly-detection benchmark.

    Start with `loco-tools demo`, which walks the whole path on a simulated station.
    """
    context.obj = SILENT if quiet else RichProgress()


for command in (
    station.demo,
    cameras.cameras,
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
):
    cli.add_command(command)


def main(arguments: Sequence[str] | None = None) -> None:
    """The entry point: run a command and end with its exit code."""
    sys.exit(run(arguments))


def run(arguments: Sequence[str] | None = None) -> int:
    """Run a command line and return its exit code; every fault becomes one message here."""
    try:
        code = cli.main(arguments, prog_name="loco-tools", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        return _fail("interrupted; what was finished is kept, run the command again to go on")
    except LocoToolsError as error:
        return _fail(str(error))
    except OSError as error:
        return _fail(_explain(error))
    return code if isinstance(code, int) else 0


def _fail(message: str) -> int:
    click.echo(f"loco-tools: {message}", err=True)
    return 1


def _explain(error: OSError) -> str:
    place = f"{error.filename}: " if error.filename else ""
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return (
            f"{place}the disk is full; nothing is half-written; next step: make room and run the "
            "command again, it goes on where it stopped"
        )
    return f"{place}{error.strerror or error}"
