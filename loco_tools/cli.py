"""Every command: parse, call one public function, print.

Results go to standard output, progress and messages to standard error. Exit code 0: done; 1: a
fault that the message explains; 2: wrong usage.
"""

import errno
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from loco_tools.errors import LocoToolsError
from loco_tools.progress import SILENT, Progress, RichProgress

EXISTING = click.Path(exists=True, path_type=Path)
PATH = click.Path(path_type=Path)
CAPTURES = Path("captures")


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="loco-tools", prog_name="loco-tools")
@click.option("--quiet", "-q", is_flag=True, help="No progress, results only.")
@click.pass_context
def cli(context: click.Context, quiet: bool) -> None:
    """From a camera and a table of metal parts to a trustworthy anomaly-detection benchmark.

    Start with `loco-tools demo`, which walks the whole path on a simulated station.
    """
    context.obj = SILENT if quiet else RichProgress()


@cli.command()
@click.option("--out", type=PATH, default=Path("demo"), show_default=True, help="Its workspace.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the simulated parts.")
@click.pass_obj
def demo(progress: Progress, out: Path, seed: int) -> None:
    """Walk the whole path on the simulated station: capture, annotate, convert, benchmark, report.

    Run again, it goes on where it stopped.

    Example: loco-tools demo --out demo
    """
    from loco_tools.demo import run_demo

    outcome = run_demo(out, seed=seed, progress=progress)
    _print_table(outcome)
    click.echo(f"Report: {outcome.report}")


@cli.command()
@click.option("--class", "class_name", required=True, metavar="NAME", help="Plan, by name or path.")
@click.option("--camera", default="twin", show_default=True, help="Only the twin in this version.")
@click.option("--out", type=PATH, default=CAPTURES, show_default=True, help="Folder of sessions.")
@click.option("--session", help="Begin this session, or go on with it.")
@click.option("--new", is_flag=True, help="Begin a new session even if one is unfinished.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the simulated parts.")
@click.option("--demo", "small", is_flag=True, help="The plan's small version: fewer, smaller.")
@click.option("--dry-run", is_flag=True, help="Only list the shots of the plan.")
@click.option("--json", "as_json", is_flag=True, help="Print the outcome as JSON.")
@click.pass_obj
def capture(
    progress: Progress,
    *,
    class_name: str,
    camera: str,
    out: Path,
    session: str | None,
    new: bool,
    seed: int,
    small: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Photograph a class as its plan says; run again, it goes on where it stopped.

    Without --camera the digital twin renders the parts, and every record says so.

    Example: loco-tools capture --class angle
    """
    from loco_tools.capture.capture import capture as take
    from loco_tools.capture.session import progress_of
    from loco_tools.plan import load_plan

    plan = load_plan(class_name)
    plan = plan.for_demo() if small else plan
    if dry_run:
        _print_plan(plan, as_json=as_json)
        return
    folder = take(
        plan,
        camera=camera,
        captures=out,
        session=session,
        new=new,
        seed=seed,
        progress=progress,
    )
    far = progress_of(folder)
    if as_json:
        _print_json({"session": str(folder), "shots": far.done, "planned": far.planned})
    else:
        click.echo(f"{folder}: {far.done} of {far.planned} shots")


@cli.group()
def label() -> None:
    """Have the photographs marked."""


@label.command("simulate")
@click.argument("session", type=EXISTING)
@click.option("--taxonomy", metavar="NAME", help="By name or path; default: the class's own.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the annotator's hand.")
def label_simulate(session: Path, taxonomy: str | None, seed: int) -> None:
    """Let a simulated annotator mark a simulated session, as a Label Studio export.

    Example: loco-tools label simulate captures/angle/session-001
    """
    from loco_tools.annotations.simulated import annotate_session
    from loco_tools.annotations.taxonomy import load_taxonomy
    from loco_tools.capture.session import read_session

    name = taxonomy or read_session(session).name
    click.echo(annotate_session(session, load_taxonomy(name), seed=seed))


@cli.command()
@click.argument("export", type=EXISTING)
@click.option("--out", type=PATH, help="Default: data, or masks with --masks-only.")
@click.option(
    "--session", "sessions", type=EXISTING, multiple=True, help="Where its photographs are."
)
@click.option("--taxonomy", metavar="NAME", help="By name or path; default: the class's own.")
@click.option("--masks-only", is_flag=True, help="One black-and-white mask per region, no dataset.")
@click.option("--images", type=EXISTING, help="With --masks-only: folder of the images.")
@click.option("--alpha-threshold", type=click.IntRange(1, 255), default=128, show_default=True)
@click.option("--overwrite", is_flag=True, help="Replace an output that is there.")
@click.option("--json", "as_json", is_flag=True, help="Print the outcome as JSON.")
@click.pass_obj
def convert(
    progress: Progress,
    *,
    export: Path,
    out: Path | None,
    sessions: tuple[Path, ...],
    taxonomy: str | None,
    masks_only: bool,
    images: Path | None,
    alpha_threshold: int,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Turn a Label Studio export into a dataset class in MVTec LOCO AD format.

    Example: loco-tools convert captures/angle/session-001/labelstudio.json
    """
    if masks_only:
        _convert_to_masks(export, out, images, alpha_threshold, overwrite, as_json, progress)
    else:
        _convert_to_class(export, out, sessions, taxonomy, overwrite, as_json, progress)


@cli.command()
@click.argument("maps", type=EXISTING)
@click.option("--data", type=EXISTING, required=True, help="The class that the maps belong to.")
@click.option("--json", "json_file", type=PATH, help="Also write the figures to this file.")
@click.pass_obj
def evaluate(progress: Progress, maps: Path, data: Path, json_file: Path | None) -> None:
    """Print the official figures for anybody's anomaly maps of one class.

    MAPS is the folder of the class, with test/<kind>/<id>.tiff in it.

    Example: loco-tools evaluate maps/angle --data data/angle --json metrics.json
    """
    from loco_tools import files
    from loco_tools.datasets import load
    from loco_tools.evaluation import evaluate_folder

    evaluation = evaluate_folder(maps, load(data), progress=progress)
    if json_file is not None:
        files.write_json(json_file, evaluation.metrics)
    _print_json(evaluation.metrics)


@cli.command()
@click.argument("run", type=EXISTING)
def report(run: Path) -> None:
    """Write the HTML report of a finished or unfinished benchmark run.

    Example: loco-tools report runs/bench
    """
    from loco_tools.benchmark.report import write_report

    click.echo(write_report(run))


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


def _print_json(content: Any) -> None:
    click.echo(json.dumps(content, indent=2, ensure_ascii=False))
