"""Every command: parse, call one public function, print.

Results go to standard output, progress and messages to standard error. Exit code 0: done; 1: a
fault that the message explains; 2: wrong usage.
"""

import errno
import json
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from loco_tools.errors import BenchmarkError, DatasetError, LocoToolsError
from loco_tools.progress import SILENT, Progress, RichProgress

if TYPE_CHECKING:
    from loco_tools.annotations.convert import ConversionReport
    from loco_tools.annotations.masks_only import MasksReport
    from loco_tools.benchmark.runner import RunReport
    from loco_tools.benchmark.suite import Suite
    from loco_tools.plan import Plan

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
    _print_results(outcome.run)
    click.echo(f"Report: {outcome.report}")
    _end_with(outcome.run)


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
    /,
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
    /,
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
        from loco_tools.annotations.masks_only import export_masks

        masks = export_masks(
            export,
            out or Path("masks"),
            images=images,
            alpha_threshold=alpha_threshold,
            overwrite=overwrite,
            progress=progress,
        )
        _print_outcome(masks, as_json=as_json)
        return
    from loco_tools.annotations.convert import convert as to_class
    from loco_tools.annotations.taxonomy import load_taxonomy

    converted = to_class(
        export,
        out_root=out or Path("data"),
        sessions=sessions,
        alpha_threshold=alpha_threshold,
        taxonomy=load_taxonomy(taxonomy) if taxonomy else None,
        overwrite=overwrite,
        progress=progress,
    )
    _print_outcome(converted, as_json=as_json)


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
@click.option("--methods", metavar="A,B", help="Names; 'ensemble' fuses the others named.")
@click.option("--suite", metavar="NAME", help="A suite, by name or path, instead of --methods.")
@click.option(
    "--data", type=EXISTING, multiple=True, help="A class, or a folder of classes. Default: data"
)
@click.option("--class", "classes", metavar="NAME", multiple=True, help="Only these classes.")
@click.option("--backbone", metavar="NAME", help="scattering, or any torchvision classifier.")
@click.option("--weights", type=EXISTING, help="A local state dict for the backbone.")
@click.option("--preset", type=click.Choice(["paper", "fast"]), help="Default: fast on a CPU.")
@click.option("--seeds", default=None, metavar="0,1,2", help="Default: 0")
@click.option("--size", type=click.IntRange(32), help="Shorter side of the input in pixels.")
@click.option("--resize", type=click.Choice(["keep", "square"]), help="Default: keep the aspect.")
@click.option("--device", help="auto (default), cpu, cuda, cuda:1")
@click.option("--maps", is_flag=True, help="Keep the anomaly maps, in the official layout.")
@click.option("--out", type=PATH, help="Default: runs/<name of the suite>, runs/bench without one")
@click.option("--json", "as_json", is_flag=True, help="Print the outcome as JSON.")
@click.pass_obj
def bench(
    progress: Progress,
    /,
    *,
    methods: str | None,
    suite: str | None,
    data: tuple[Path, ...],
    out: Path | None,
    as_json: bool,
    **settings: Any,
) -> None:
    """Compare anomaly detectors on every class, and write results.csv and an HTML report.

    Finished cells are reused when the command is run again; ctrl-c leaves them in place.

    Example: loco-tools bench --methods patchcore,simplenet,ensemble
    """
    from loco_tools import extras
    from loco_tools.benchmark.report import write_report
    from loco_tools.benchmark.runner import run as run_suite
    from loco_tools.datasets import find_classes

    extras.require("A benchmark", "bench")
    chosen = _suite(methods, suite, settings)
    class_paths = [path for root in _data_roots(data) for path in find_classes(root)]
    folder = out or Path("runs") / chosen.name
    outcome = run_suite(chosen, class_paths, folder, progress, command=_command_line())
    written = write_report(folder)
    if as_json:
        _print_json(
            {
                "results": str(outcome.results_csv),
                "report": str(written),
                "cells": len(outcome.records),
                "reused": outcome.reused,
                "failed": outcome.failed,
            }
        )
    else:
        _print_results(outcome)
        click.echo(f"Results: {outcome.results_csv}\nReport:  {written}")
    _end_with(outcome)


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


def _data_roots(given: tuple[Path, ...]) -> tuple[Path, ...]:
    if not given and not Path("data").is_dir():
        raise DatasetError(
            "expected dataset classes under data/, found no such folder here; next step: name "
            "some with --data, or make one with loco-tools capture, label and convert"
        )
    return given or (Path("data"),)


def _command_line() -> str:
    return shlex.join(["loco-tools", *sys.argv[1:]])


def _suite(methods: str | None, suite: str | None, settings: dict[str, Any]) -> "Suite":
    """The suite asked for; options given on the command line replace what its file says."""
    from loco_tools.benchmark.suite import Suite, load_suite
    from loco_tools.schema import parse

    if (methods is None) == (suite is None):
        raise click.UsageError("give --methods A,B or --suite NAME, one of the two")
    given = {name: value for name, value in settings.items() if value not in (None, (), False)}
    renamed = {"size": "input_size_px"}
    chosen = {renamed.get(name, name): value for name, value in given.items()}
    if "weights" in chosen:
        chosen["weights"] = str(chosen["weights"])
    if "seeds" in chosen:
        chosen["seeds"] = _numbers(str(chosen["seeds"]))
    base = load_suite(suite).model_dump() if suite else {}
    if methods is not None:
        chosen["methods"] = [name.strip() for name in methods.split(",") if name.strip()]
    return parse(Suite, {**base, **chosen}, origin="command line")


def _numbers(text: str) -> list[int]:
    try:
        return [int(number) for number in text.split(",")]
    except ValueError as error:
        raise click.BadParameter(f"expected numbers like 0,1,2, got {text!r}") from error


def _print_plan(plan: "Plan", *, as_json: bool) -> None:
    shots = list(plan.planned_shots())
    if as_json:
        _print_json([shot._asdict() for shot in shots])
        return
    camera = plan.camera
    click.echo(f"{plan.part.title}: {plan.part.bought_as}")
    click.echo(f"{len(shots)} shots of {camera.width_px} x {camera.height_px} px")
    for line in plan.shots:
        condition = line.defect or "good"
        click.echo(f"  {line.split:<11} {line.parts:>3} parts x {len(plan.views)}  {condition}")


def _print_results(outcome: "RunReport") -> None:
    from rich.console import Console

    from loco_tools.benchmark.results import tables

    console = Console()
    for table in tables(outcome.records):
        console.print(table)


def _end_with(outcome: "RunReport") -> None:
    """End with exit code 1 and the errors when a cell failed."""
    if outcome.failed:
        lines = [f"  {r.stamp.method} on {r.stamp.class_name}: {r.error}" for r in outcome.failures]
        raise BenchmarkError("\n".join([f"{outcome.failed} cells failed:", *lines]))


def _print_outcome(outcome: "MasksReport | ConversionReport", *, as_json: bool) -> None:
    if as_json:
        _print_json(outcome.as_record())
    else:
        click.echo(outcome.describe())


def _print_json(content: Any) -> None:
    click.echo(json.dumps(content, indent=2, ensure_ascii=False))
