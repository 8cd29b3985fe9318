"""From parts on a table to a dataset class: demo, capture, label, convert."""

from pathlib import Path

import click

from loco_tools.cli.printing import (
    EXISTING,
    PATH,
    end_with,
    print_json,
    print_outcome,
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


@click.group()
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


@click.command()
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
        print_outcome(masks, as_json=as_json)
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
    print_outcome(converted, as_json=as_json)
