"""Comparing detectors: methods, bench, report."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import click

from loco_tools.cli.printing import (
    AS_JSON,
    EXISTING,
    PATH,
    command_line,
    echo,
    end_with,
    print_json,
    print_outcome,
    print_paths,
    print_run,
)
from loco_tools.errors import BenchmarkError
from loco_tools.progress import Progress


def _parse_seeds(_context: Any, _parameter: Any, text: str | None) -> tuple[int, ...] | None:
    try:
        return None if text is None else tuple(int(number) for number in text.split(","))
    except ValueError as error:
        raise click.BadParameter(f"expected numbers like 0,1,2, got {text!r}") from error


def _add_sink_options(command: Any) -> Any:
    """Add the options that copy results to other tools."""
    tracking = click.option(
        "--mlflow",
        metavar="URI",
        help="Also write the results to this MLflow store, for example sqlite:///runs.db.",
    )
    events = click.option(
        "--tensorboard",
        metavar="[DIR]",
        type=PATH,
        is_flag=False,
        flag_value=Path(),
        help="Also write TensorBoard event files to this folder. "
        "Without DIR, they go into the run's folder.",
    )
    return tracking(events(command))


def _add_executor_options(command: Any) -> Any:
    """Add the options that say where and which cells run."""
    options = (
        click.option(
            "--executor",
            type=click.Choice(["local", "ray", "slurm"]),
            help="Run cells in processes of this machine (local, the default), on a Ray cluster "
            "or on SLURM.",
        ),
        click.option(
            "--workers",
            type=click.IntRange(0),
            help="Number of cells that run at the same time. Default: one per GPU, one on a CPU, "
            "or as many as a cluster has room for. 0 runs them in this process.",
        ),
        click.option(
            "--address", metavar="HOST:PORT", help="Address of the Ray cluster. Default: auto."
        ),
        click.option("--retry-failed", is_flag=True, help="Repeat cells that failed before."),
        click.option(
            "--despite-findings",
            is_flag=True,
            help="Run in spite of faults of the data that change or prevent metrics; the report "
            "lists them.",
        ),
        click.option(
            "--dry-run",
            is_flag=True,
            help="List the cells that would run, with estimates of time and memory, and stop.",
        ),
    )
    for option in reversed(options):
        command = option(command)
    return command


@click.command()
@click.option(
    "--methods",
    metavar="A,B",
    help="Methods to compare, separated by commas. 'ensemble' combines the other methods; "
    "my_file:MyDetector is a detector of your own.",
)
@click.option("--suite", metavar="NAME", help="Name or path of a suite, instead of --methods.")
@click.option(
    "--data",
    type=EXISTING,
    multiple=True,
    help="A class folder, or a folder of classes; can be repeated. Default: data.",
)
@click.option(
    "--class",
    "classes",
    metavar="NAME",
    multiple=True,
    help="Use only this class of the data; can be repeated.",
)
@click.option(
    "--backbone",
    metavar="NAME",
    help="Feature extractor: dictionary, scattering, or a torchvision classifier.",
)
@click.option(
    "--weights", type=EXISTING, help="Local file with the backbone's weights (a state dict)."
)
@click.option(
    "--preset",
    type=click.Choice(["paper", "fast"]),
    help="Settings as published, or fast ones. Default: fast on a CPU, paper on a GPU.",
)
@click.option("--seeds", metavar="0,1,2", callback=_parse_seeds, help="Random seeds. Default: 0.")
@click.option(
    "--size",
    "input_size_px",
    type=click.IntRange(32),
    help="Shorter side of the detector's input in pixels.",
)
@click.option(
    "--resize",
    type=click.Choice(["keep", "square", "area"]),
    help="Shape of the detector's input: keep the aspect ratio (default), square, or area, which "
    "keeps the aspect ratio with as many pixels as the square has.",
)
@click.option("--device", help="Device of the cells: auto (default), cpu, cuda or cuda:1.")
@click.option(
    "--set",
    "changes",
    metavar="METHOD.FIELD=VALUE",
    multiple=True,
    help="Change a setting of a method or of the executor; can be repeated.",
)
@click.option(
    "--maps", is_flag=True, help="Keep the anomaly maps, in the layout of the official evaluators."
)
@click.option(
    "--out",
    type=PATH,
    help="Folder of the run. Default: runs/<name of the suite>, or runs/bench without a suite.",
)
@_add_executor_options
@_add_sink_options
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
    despite_findings: bool,
    dry_run: bool,
    mlflow: str | None,
    tensorboard: Path | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Compare anomaly detectors on dataset classes; write results.csv and an HTML report.

    A cell is one method on one class with one seed. Finished cells are reused when the command is
    run again, also after Ctrl-C. When a cell fails or runs out of memory, the others still run.
    Before anything is fitted, the classes are checked by the rules of loco-tools validate.

    Example: loco-tools bench --methods patchcore,simplenet,ensemble
    """
    from loco_tools import extras
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
    executor_options = {"kind": kind, "workers": workers, "address": address}
    chosen = make_suite(
        None if methods is None else [name.strip() for name in methods.split(",") if name.strip()],
        suite,
        {name: value for name, value in options.items() if value not in ((), False)},
        executor={k: value for k, value in executor_options.items() if value is not None},
        settings=parse_settings(changes),
        origin="command line",
    )
    class_paths = find_class_paths(data)
    folder = out or Path("runs") / chosen.name
    if dry_run:
        from loco_tools.benchmark.run.dry_run import dry_run as plan_run

        plan = plan_run(
            chosen,
            class_paths,
            folder,
            progress,
            retry_failed=retry_failed,
            despite_findings=despite_findings,
        )
        print_outcome(plan, as_json=as_json)
        if plan.faults:
            raise click.exceptions.Exit(1)
        return
    outcome = run(
        chosen,
        class_paths,
        folder,
        progress,
        command=command_line(),
        retry_failed=retry_failed,
        despite_findings=despite_findings,
    )
    with progress.task("report"):
        report_file = _run_report_command(folder)
    print_run(outcome, report_file, as_json=as_json)
    for line in sinks.fill(folder, progress):
        progress.note(line)
    end_with(outcome)


def _run_report_command(out: Path) -> Path:
    """Run `loco-tools report` in a process of its own, and return the path of the report.

    A report is made from the run's folder alone. This way `bench` proves it at every run, and the
    memory that drawing takes is free again.

    Raises:
        BenchmarkError: with the message of the command, when it failed.
    """
    search_path = os.pathsep.join(path or str(Path.cwd()) for path in sys.path)
    finished = subprocess.run(  # noqa: S603 - our own command
        [sys.executable, "-P", "-m", "loco_tools", "--quiet", "report", str(out)],
        env={**os.environ, "PYTHONPATH": search_path},
        capture_output=True,
        text=True,
        check=False,
    )
    if finished.returncode != 0:
        raise BenchmarkError(finished.stderr.strip().removeprefix("loco-tools: "))
    return Path(finished.stdout.strip())


@click.command()
@click.argument("run", type=EXISTING)
@click.option(
    "--publish",
    type=PATH,
    help="Also write the conditions and the tables to this Markdown file, and a CSV file next to "
    "it.",
)
@_add_sink_options
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
    """Write the report of a finished or unfinished run: an HTML page, and its tables as text.

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


@click.command()
@click.option("--backbones", is_flag=True, help="List the backbones instead.")
@AS_JSON
def methods(backbones: bool, as_json: bool) -> None:
    """List the detectors and ensembles that `bench --methods` takes, with one line each.

    A detector of your own needs no entry: `bench --methods my_file:MyDetector` takes it from the
    current folder. With the extra `anomalib`, `anomalib:NAME` takes any of its image models.

    Example: loco-tools methods --backbones
    """
    if backbones:
        from loco_tools.methods.backbones import describe_backbones

        groups = {"backbones": describe_backbones()}
    else:
        from loco_tools.ensembles import describe_ensembles
        from loco_tools.methods import describe_methods

        groups = {"detectors": describe_methods(), "ensembles": describe_ensembles()}
    if as_json:
        print_json({group: dict(entries) for group, entries in groups.items()})
        return
    width = max(len(name) for entries in groups.values() for name, _ in entries)
    for group, entries in groups.items():
        echo(f"{group}:")
        for name, line in entries:
            echo(f"  {name:<{width}}  {line}")
