"""The commands `demo` and `capture`."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from loco_tools import extras
from loco_tools.cli.printing import (
    AS_JSON,
    PATH,
    echo,
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
@click.option(
    "--out", type=PATH, default=Path("demo"), show_default=True, help="Folder of the demo."
)
@click.option(
    "--seed", type=int, default=0, show_default=True, help="Random seed of the simulated parts."
)
@AS_JSON
@click.pass_obj
def demo(progress: Progress, out: Path, seed: int, as_json: bool) -> None:
    """Run all steps on simulated parts: capture, annotate, convert, benchmark and report.

    If it is interrupted, run it again: it continues where it stopped.

    Example: loco-tools demo --out demo
    """
    from loco_tools.demo import run_demo

    outcome = run_demo(out, seed=seed, progress=progress)
    print_run(outcome.run, outcome.report, as_json=as_json)
    end_with(outcome.run)


@click.command()
@click.option(
    "--class", "class_name", required=True, metavar="NAME", help="Name or path of a plan."
)
@click.option(
    "--camera",
    default="twin",
    show_default=True,
    envvar="LOCO_TOOLS_CAMERA",
    show_envvar=True,
    help="Camera, as listed by `loco-tools cameras`, or module:Class for one of your own.",
)
@click.option(
    "--out", type=PATH, default=CAPTURES, show_default=True, help="Folder of all sessions."
)
@click.option("--session", help="Name of the session to begin or to continue.")
@click.option("--new", is_flag=True, help="Begin a new session even if one is unfinished.")
@click.option("--skipped", is_flag=True, help="Reopen the shots that were skipped.")
@click.option(
    "--calibration", type=PATH, metavar="FILE", help="Calibration that `calibrate camera` wrote."
)
@click.option("--station", is_flag=True, help="Serve the station page, for a tablet at the rig.")
@click.option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    help="Address of the station page. Any address but loopback requires a token: that in "
    "LOCO_TOOLS_STATION_TOKEN, or a random one that is printed.",
)
@click.option("--port", type=int, default=8000, show_default=True, help="Port of the station page.")
@click.option(
    "--unattended", is_flag=True, help="Take all shots without an operator, even at a terminal."
)
@click.option(
    "--keep-failing", is_flag=True, help="Without an operator, keep shots that fail a gate."
)
@click.option(
    "--seed", type=int, default=0, show_default=True, help="Random seed of the simulated parts."
)
@click.option(
    "--demo", "small", is_flag=True, help="Small version of the plan: fewer and smaller pictures."
)
@click.option("--full", is_flag=True, help="Full-size version of the plan, like a published class.")
@click.option(
    "--limit", type=click.IntRange(min=1), help="Without an operator, stop after this many shots."
)
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
    """Photograph a class according to its plan.

    If it is interrupted, run it again: it continues where it stopped. Without --camera the digital
    twin renders the parts, and every record says so. With a real camera and a terminal, keys shoot,
    accept, retake, skip and undo. Without a terminal, or with --unattended, all shots are taken in
    turn, and a real one that fails a quality gate ends the run. A full-size class takes hours to
    render; with --limit, each run renders a part of it.

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
        raise click.UsageError("--limit is for runs without an operator, but --station has one")
    plan = load_plan(class_name)
    plan = plan.for_demo() if small else plan.for_full() if full else plan
    if dry_run:
        print_plan(plan, as_json=as_json)
        return
    is_terminal = sys.stdin.isatty() and sys.stdout.isatty()
    has_operator = is_terminal and not (unattended or limit or keep_failing or as_json)
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
        elif has_operator and not guide.record.simulated:
            operate(guide)
        else:
            take_missing_shots(guide, keep_failing=keep_failing, limit=limit, progress=progress)
        _print_progress(guide, as_json=as_json)


def _serve(guide: "Guide", host: str, port: int, progress: Progress) -> None:
    extras.require("The station page", "station")
    from loco_tools.capture.station import serve

    token = os.environ.get("LOCO_TOOLS_STATION_TOKEN") or None
    # The address is printed even with --quiet: the page cannot be opened without it.
    noted = RichProgress() if click.get_current_context().find_root().obj.quiet else progress
    serve(guide, host=host, port=port, token=token, progress=noted)


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
    echo(f"{guide.folder}: {far.done} of {far.planned} shots{skipped}")


@click.command()
@click.option(
    "--camera",
    "asked",
    multiple=True,
    metavar="CAMERA",
    help="Also test this camera, e.g. rtsp://HOST/PATH or folder:DIR; can be repeated.",
)
@AS_JSON
@click.pass_obj
def cameras(progress: Progress, asked: tuple[str, ...], as_json: bool) -> int:
    """List the connected cameras and take a test frame from each.

    Each line begins with the name that `loco-tools capture --camera` takes. The exit code is 1 if a
    camera that was given with --camera yields no frame.

    Example: loco-tools cameras --camera rtsp://192.0.2.7/live
    """
    from loco_tools.capture.probing import failed, probe_cameras

    reports = probe_cameras(asked, progress)
    if as_json:
        print_json([report.model_dump(exclude_none=True) for report in reports])
    else:
        for report in reports:
            echo(report.describe())
    return 1 if failed(reports) else 0
