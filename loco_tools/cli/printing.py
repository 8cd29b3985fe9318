"""How outcomes are printed, and the arguments and options that several commands take."""

import json
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import click

from loco_tools.errors import BenchmarkError

if TYPE_CHECKING:
    from loco_tools.benchmark.run.runner import RunReport
    from loco_tools.plan import Plan

EXISTING = click.Path(exists=True, path_type=Path)
PATH = click.Path(path_type=Path)
AS_JSON = click.option("--json", "as_json", is_flag=True, help="Print the outcome as JSON.")


def print_json(content: Any) -> None:
    click.echo(json.dumps(content, indent=2, ensure_ascii=False))


class Outcome(Protocol):
    """What a command reports: for a person, and as plain data."""

    def describe(self) -> str:
        """A few lines for a person."""
        ...

    def as_record(self) -> dict[str, Any]:
        """The same as plain data for JSON."""
        ...


def print_outcome(outcome: Outcome, *, as_json: bool) -> None:
    if as_json:
        print_json(outcome.as_record())
    else:
        click.echo(outcome.describe())


def print_figures(metrics: dict[str, Any]) -> None:
    """Print the figures of an evaluation as tables, and its notes."""
    from rich.console import Console

    from loco_tools.cli.evaluation_table import tables

    console = Console()
    for table in tables(metrics):
        console.print(table)
    for note in metrics["notes"]:
        console.print(f"note: {note}", markup=False, highlight=False, soft_wrap=True)


def print_plan(plan: "Plan", *, as_json: bool) -> None:
    from loco_tools.twin import estimated_s

    shots = list(plan.planned_shots())
    if as_json:
        print_json([shot._asdict() for shot in shots])
        return
    camera = plan.camera
    click.echo(f"{plan.part.title}: {plan.part.bought_as}")
    click.echo(f"{len(shots)} shots of {camera.width_px} x {camera.height_px} px")
    minutes = estimated_s(plan) * len(shots) / 60
    took = f"{minutes:.0f} minutes" if minutes < 90 else f"{minutes / 60:.1f} hours"
    click.echo(f"the twin would render them in about {took} on this machine")
    for line in plan.shots:
        condition = line.defect or "good"
        click.echo(f"  {line.split:<11} {line.parts:>3} parts x {len(plan.views)}  {condition}")


def print_results(outcome: "RunReport") -> None:
    from rich.console import Console

    from loco_tools.benchmark.run.results_csv import tables

    console = Console()
    for table in tables(outcome.records):
        console.print(table)


def end_with(outcome: "RunReport") -> None:
    """End with exit code 1 and the errors when a cell failed."""
    if outcome.failed:
        lines = [f"  {record.cell}: {record.error}" for record in outcome.failures]
        if outcome.kept:
            lines.append(
                f"{len(outcome.kept)} of them had failed before and were not repeated; "
                "next step: mend the cause and add --retry-failed"
            )
        raise BenchmarkError("\n".join([f"{outcome.failed} cells failed:", *lines]))


def command_line() -> str:
    return shlex.join(["loco-tools", *sys.argv[1:]])
