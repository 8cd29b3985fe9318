"""Comparing detectors: bench, report."""

from pathlib import Path
from typing import Any

import click

from loco_tools.cli.printing import (
    AS_JSON,
    EXISTING,
    PATH,
    command_line,
    end_with,
    print_outcome,
    print_paths,
    print_run,
)
from loco_tools.progress import Progress


def _parse_seeds(_context: Any, _parameter: Any, text: str | None) -> tuple[int, ...] | None:
    try:
        return None if text is None else tuple(int(number) for number in text.split(","))
    except ValueError as error:
        raise click.BadParameter(f"expected numbers like 0,1,2, got {text!r}") from error


def _sink_options(command: Any) -> Any:
    """Where results go beside the run's folder."""
    tracking = click.option(
        "--mlflow", metavar="URI", help="An MLflow store to keep results in: sqlite:///runs.db"
    )
    events = click.option(
        "--tensorboard",
        metavar="[DIR]",
        type=PATH,
        is_flag=False,
        flag_value=Path(),
        help="A folder for TensorBoard's event files. Without one: in the run's folder.",
    )
    return tracking(events(command))


def _executor_options(command: Any) -> Any:
    """Where cells are worked on, and which of them."""
    options = (
        click.option(
            "--executor",
            type=click.Choice(["local", "ray", "slurm"]),
            help="Processes of this machine (default), a Ray cluster, or SLURM.",
        ),
        click.option(
            "--workers",
            type=click.IntRange(0),
            help="Cells at once. Default: one per GPU; one on a CPU; what a cluster has room for.",
        ),
        click.option("--address", metavar="HOST:PORT", help="Of the Ray cluster. Default: auto"),
        click.option("--retry-failed", is_flag=True, help="Repeat cells that failed before."),
        click.option(
            "--dry-run",
            is_flag=True,
            help="List what would run, with time and memory; run nothing.",
        ),
    )
    for option in reversed(options):
        command = option(command)
    return command


@click.command()
@click.option("--methods", metavar="A,B", help="Names; 'ensemble' fuses the others named.")
@click.option("--suite", metavar="NAME", help="A suite, by name or path, instead of --methods.")
@click.option(
    "--data", type=EXISTING, multiple=True, help="A class, or a folder of classes. Default: data"
)
@click.option("--class", "classes", metavar="NAME", multiple=True, help="Only these classes.")
@click.option(
    "--backbone", metavar="NAME", help="dictionary, scattering, or any torchvision classifier."
)
@click.option("--weights", type=EXISTING, help="A local state dict for the backbone.")
@click.option("--preset", type=click.Choice(["paper", "fast"]), help="Default: fast on a CPU.")
@click.option("--seeds", metavar="0,1,2", callback=_parse_seeds, help="Random seeds. Default: 0")
@click.option(
    "--size", "input_size_px", type=click.IntRange(32), help="Shorter side of the input in pixels."
)
@click.option(
    "--resize",
    type=click.Choice(["keep", "square", "area"]),
    help="Default: keep the aspect; area: that, with the pixels of a square of --size.",
)
@click.option("--device", help="auto (default), cpu, cuda, cuda:1")
@click.option(
    "--set",
    "changes",
    metavar="METHOD.FIELD=VALUE",
    multiple=True,
    help="Change a setting of a method, or of the executor; again for more.",
)
@click.option("--maps", is_flag=True, help="Keep the anomaly maps, in the official layout.")
@click.option("--out", type=PATH, help="Default: runs/<name of the suite>, runs/bench without one")
@_executor_options
@_sink_options
@AS_JSON
@click.pass_obj
def bench(
    progress: Progress,
    /,
    *,
    methods: str | None,
    suite: str | None,
    data: tuple[Path, ...],
    out: Path | None,
    changes: tuple[str, ...],
    executor: str | None,
    workers: int | None,
    address: str | None,
    retry_failed: bool,
    dry_run: bool,
    mlflow: str | None,
    tensorboard: Path | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Compare anomaly detectors on every class, and write results.csv and an HTML report.

    Finished cells are reused when the command is run again; ctrl-c leaves them in place. A cell
    that fails, or runs out of memory, costs that cell alone.

    Example: loco-tools bench --methods patchcore,simplenet,ensemble
    """
    from loco_tools import extras
    from loco_tools.benchmark.report import write_report
    from loco_tools.benchmark.run.bench import find_class_paths, make_suite
    from loco_tools.benchmark.run.runner import run
    from loco_tools.benchmark.sinks import Sinks
    from loco_tools.benchmark.suite import parse_settings

    if (methods is None) == (suite is None):
        raise click.UsageError("give --methods A,B or --suite NAME, one of the two")
    extras.require("A benchmark", "bench")
    sinks = Sinks(mlflow, tensorboard)
    sinks.check()
    kind = executor or ("ray" if address else None)
    place = {"kind": kind, "workers": workers, "address": address}
    chosen = make_suite(
        None if methods is None else [name.strip() for name in methods.split(",") if name.strip()],
        suite,
        {name: value for name, value in options.items() if value not in ((), False)},
        executor={name: value for name, value in place.items() if value is not None},
        settings=parse_settings(changes),
        origin="command line",
    )
    class_paths = find_class_paths(data)
    folder = out or Path("runs") / chosen.name
    if dry_run:
        from loco_tools.benchmark.run.dry_run import dry_run as plan_run

        plan = plan_run(chosen, class_paths, folder, progress, retry_failed=retry_failed)
        print_outcome(plan, as_json=as_json)
        return
    outcome = run(
        chosen, class_paths, folder, progress, command=command_line(), retry_failed=retry_failed
    )
    written = write_report(folder)
    print_run(outcome, written, as_json=as_json)
    for line in sinks.fill(folder, progress):
        progress.note(line)
    end_with(outcome)


@click.command()
@click.argument("run", type=EXISTING)
@click.option(
    "--publish",
    type=PATH,
    help="A Markdown file that gets conditions and tables, and a CSV file beside it.",
)
@_sink_options
@AS_JSON
@click.pass_obj
def report(
    progress: Progress,
    /,
    *,
    run: Path,
    publish: Path | None,
    mlflow: str | None,
    tensorboard: Path | None,
    as_json: bool,
) -> None:
    """Write the report of a finished or unfinished run: HTML, and its tables as text.

    Example: loco-tools report runs/bench
    """
    from loco_tools.benchmark.report import write_report
    from loco_tools.benchmark.sinks import Sinks

    sinks = Sinks(mlflow, tensorboard)
    sinks.check()
    written = {"report": write_report(run)}
    if publish is not None:
        from loco_tools.benchmark.report.writing import publish as publish_run

        written["published"] = publish_run(run, publish)
    print_paths(written, as_json=as_json)
    for line in sinks.fill(run, progress):
        progress.note(line)
