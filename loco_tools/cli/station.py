"""Photographing: demo, capture."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from loco_tools import extras
from loco_tools.cli.printing import (
    AS_JSON,
    PATH,
    end_with,
    print_json,
    print_plan,
    print_run,
)
from loco_tools.progress import Progress, RichProgress

if TYPE_CHECKING:
    from loco_tools.capture.guide import Guide

CAPTURES = Path("captures")


@click.command()
@click.option("--out", type=PATH, default=Path("demo"), show_default=True, help="Its workspace.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the simulated parts.")
@AS_JSON
@click.pass_obj
def demo(progress: Progress, out: Path, seed: int, as_json: bool) -> None:
    """Walk the whole path on the simulated station: capture, annotate, convert, benchmark, report.

    Run again, it goes on where it stopped.

    Example: loco-tools demo --out demo
    """
    from loco_tools.demo import run_demo

    outcome = run_demo(out, seed=seed, progress=progress)
    print_run(outcome.run, outcome.report, as_json=as_json)
    end_with(outcome.run)


@click.command()
@click.option("--class", "class_name", required=True, metavar="NAME", help="Plan, by name or path.")
@click.option(
    "--camera",
    default="twin",
    show_default=True,
    envvar="LOCO_TOOLS_CAMERA",
    show_envvar=True,
    help="As `loco-tools cameras` lists.",
)
@click.option("--out", type=PATH, default=CAPTURES, show_default=True, help="Folder of sessions.")
@click.option("--session", help="Begin this session, or go on with it.")
@click.option("--new", is_flag=True, help="Begin a new session even if one is unfinished.")
@click.option("--skipped", is_flag=True, help="Take up the shots again that were skipped.")
@click.option("--calibration", type=PATH, metavar="FILE", help="What `calibrate camera` wrote.")
@click.option("--station", is_flag=True, help="Serve a page for a tablet at the rig.")
@click.option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    help="Of the station page. Any but loopback wants a token: the one in LOCO_TOOLS_STATION_TOKEN,"
    " or one that is made up and printed.",
)
@click.option("--port", type=int, default=8000, show_default=True, help="Of the station page.")
@click.option("--unattended", is_flag=True, help="Ask nothing, even at a terminal.")
@click.option("--keep-failing", is_flag=True, help="Unattended, keep shots that fail a gate.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the simulated parts.")
@click.option("--demo", "small", is_flag=True, help="The plan's small version: fewer, smaller.")
@click.option("--full", is_flag=True, help="The plan's full-size version, as published classes.")
@click.option("--limit", type=click.IntRange(min=1), help="Unattended, stop after so many shots.")
@click.option("--dry-run", is_flag=True, help="Only list the shots of the plan.")
@AS_JSON
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
    skipped: bool,
    calibration: Path | None,
    station: bool,
    host: str,
    port: int,
    unattended: bool,
    keep_failing: bool,
    seed: int,
    small: bool,
    full: bool,
    limit: int | None,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Photograph a class as its plan says; run again, it goes on where it stopped.

    Without --camera the digital twin renders the parts, and every record says so. With a real
    camera and a terminal, keys shoot, accept, retake, skip and undo. Without a terminal, or with
    --unattended, every shot is taken in turn; a real one that fails a quality gate ends the run.
    A full-size class takes hours to render: with --limit it is done in pieces, one per run.

    Example: loco-tools capture --class angle
    """
    from loco_tools.capture.guide import open_guide
    from loco_tools.capture.session_opening import SessionRequest
    from loco_tools.capture.unattended import announce, take_missing_shots
    from loco_tools.cli.operating import operate
    from loco_tools.plan import load_plan

    if small and full:
        raise click.UsageError("--demo and --full exclude each other")
    if station and limit:
        raise click.UsageError("--limit is for runs without an operator, --station has one")
    plan = load_plan(class_name)
    plan = plan.for_demo() if small else plan.for_full() if full else plan
    if dry_run:
        print_plan(plan, as_json=as_json)
        return
    request = SessionRequest(
        plan,
        camera=camera,
        captures=out,
        session=session,
        new=new,
        seed=seed,
        calibration=calibration,
        skipped=skipped,
    )
    with open_guide(request) as guide:
        announce(guide, progress)
        if station:
            _serve(guide, host, port, progress)
        elif _someone_is_there(guide, asked=not (unattended or limit or keep_failing or as_json)):
            operate(guide)
        else:
            take_missing_shots(guide, keep_failing=keep_failing, limit=limit, progress=progress)
        _print_progress(guide, as_json=as_json)


def _serve(guide: "Guide", host: str, port: int, progress: Progress) -> None:
    extras.require("The station page", "station")
    from loco_tools.capture.station import serve

    token = os.environ.get("LOCO_TOOLS_STATION_TOKEN") or None
    # also with --quiet: without the address nobody gets in
    told = RichProgress() if click.get_current_context().find_root().obj.quiet else progress
    serve(guide, host=host, port=port, token=token, progress=told)


def _someone_is_there(guide: "Guide", *, asked: bool) -> bool:
    """Whether an operator can be guided: a real camera, and a terminal to see and to press keys."""
    return asked and not guide.record.simulated and sys.stdin.isatty() and sys.stdout.isatty()


def _print_progress(guide: "Guide", *, as_json: bool) -> None:
    far = guide.progress()
    if as_json:
        print_json(
            {
                "session": str(guide.folder),
                "shots": far.done,
                "planned": far.planned,
                "skipped": far.skipped,
            }
        )
        return
    skipped = f", {far.skipped} skipped" if far.skipped else ""
    click.echo(f"{guide.folder}: {far.done} of {far.planned} shots{skipped}")
