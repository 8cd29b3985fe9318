"""Photographing: demo, capture."""

from pathlib import Path

import click

from loco_tools.cli.printing import (
    PATH,
    end_with,
    print_json,
    print_plan,
    print_results,
)
from loco_tools.progress import Progress

CAPTURES = Path("captures")


@click.command()
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
    print_results(outcome.run)
    click.echo(f"Report: {outcome.report}")
    end_with(outcome.run)


@click.command()
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
        print_plan(plan, as_json=as_json)
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
        print_json({"session": str(folder), "shots": far.done, "planned": far.planned})
    else:
        click.echo(f"{folder}: {far.done} of {far.planned} shots")
