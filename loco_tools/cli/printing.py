"""Printing of outcomes, and the arguments and options that several commands take."""

import json
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import click

from loco_tools.cli.output import Output
from loco_tools.errors import BenchmarkError
from loco_tools.wording import json_text, plural, visible

if TYPE_CHECKING:
    from loco_tools.benchmark.run.runner import RunReport
    from loco_tools.plan import Plan

EXISTING = click.Path(exists=True, path_type=Path)
PATH = click.Path(path_type=Path)
AS_JSON = click.option("--json", "as_json", is_flag=True, help="Print the outcome as JSON.")


def wants_json(words: Sequence[str]) -> bool:
    """Whether a command line asks for its outcome as JSON, also when it cannot be parsed.

    `--json FILE` of `evaluate` writes a file and prints for people, so it does not count.
    """
    if "--json" not in words:
        return False
    after = words[words.index("--json") + 1 :][:1]
    return "evaluate" not in words or not after or after[0].startswith("-")


def print_json(content: Any) -> None:
    """Print the outcome of the command as the one JSON document on standard output."""
    write_json(content)
    context = click.get_current_context(silent=True)
    if context is not None:
        context.find_root().ensure_object(Output).answered = True


def write_json(content: Any) -> None:
    """Print valid JSON, whatever names hold and whatever the terminal can show."""
    try:
        text = json_text(content, indent=2)
    except ValueError:  # JSON has neither NaN nor infinity.
        content = json.loads(json.dumps(content), parse_constant=lambda _: None)
        text = json_text(content, indent=2)
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:
        text = json.dumps(content, indent=2, allow_nan=False)
    click.echo(text)


def echo(text: str, *, err: bool = False) -> None:
    """Print text for a person; control characters in names do not reach the terminal."""
    click.echo(visible(text), err=err)


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
        echo(outcome.describe())


def print_figures(metrics: dict[str, Any]) -> None:
    """Print the metrics of an evaluation as tables, and its notes."""
    from rich.console import Console

    from loco_tools.cli.evaluation_table import tables

    console = Console()
    for table in tables(metrics):
        console.print(table)
    for note in metrics["notes"]:
        console.print(f"note: {visible(note)}", markup=False, highlight=False, soft_wrap=True)


def print_paths(paths: dict[str, Path], *, as_json: bool) -> None:
    """Print the files that a command wrote: one a line, or as a JSON object with their names."""
    if as_json:
        print_json({name: str(path) for name, path in paths.items()})
    else:
        echo("\n".join(str(path) for path in paths.values()))


def print_plan(plan: "Plan", *, as_json: bool) -> None:
    from loco_tools.twin import estimated_s

    shots = list(plan.planned_shots())
    if as_json:
        print_json([shot._asdict() for shot in shots])
        return
    camera = plan.camera
    echo(f"{plan.part.title}: {plan.part.bought_as}")
    echo(f"{len(shots)} shots of {camera.width_px} x {camera.height_px} px")
    minutes = estimated_s(plan) * len(shots) / 60
    took = f"{minutes:.0f} minutes" if minutes < 90 else f"{minutes / 60:.1f} hours"
    echo(f"The digital twin would render them in about {took} on this machine.")
    for line in plan.shots:
        condition = line.defect or "good"
        echo(f"  {line.split:<11} {line.parts:>3} parts x {len(plan.views)}  {condition}")


def print_run(outcome: "RunReport", report: Path, *, as_json: bool) -> None:
    """Print the results of a run as tables, and where its files lie."""
    if as_json:
        print_json(
            {
                "results": str(outcome.results_csv),
                "report": str(report),
                "cells": len(outcome.records),
                "reused": outcome.reused,
                "failed": outcome.failed,
                "not_repeated": len(outcome.kept),
                "maps_missing": len(outcome.without_maps),
                "data_errors": sum(info.data_errors for info in outcome.classes),
                "data_warnings": sum(info.data_warnings for info in outcome.classes),
            }
        )
        return
    from rich.console import Console

    from loco_tools.benchmark.run.results_csv import tables

    console = Console()
    for table in tables(outcome.records):
        console.print(table)
    for info in outcome.classes:
        if info.findings:
            errors = f"{plural(info.data_errors, 'error')} accepted, " if info.data_errors else ""
            echo(
                f"Data:    {info.name}: {errors}"
                f"{plural(info.data_warnings, 'warning')}: loco-tools validate {info.path}"
            )
            echo("\n".join(f"         {line}" for line in info.findings))
    echo(f"Results: {outcome.results_csv}\nReport:  {report}")


def end_with(outcome: "RunReport") -> None:
    """Raise BenchmarkError with the error of each cell that failed or whose maps are missing."""
    lines = []
    if outcome.failed:
        cells = "1 cell" if outcome.failed == 1 else f"{outcome.failed} cells"
        lines.append(f"{cells} failed:")
        lines += [f"  {record.cell}: {record.error}" for record in outcome.failures]
        if outcome.kept:
            lines.append(
                f"{len(outcome.kept)} of them failed in an earlier run and were not repeated; "
                "next step: fix the cause, then add --retry-failed"
            )
    if missing := outcome.without_maps:
        cells = "1 finished cell" if len(missing) == 1 else f"{len(missing)} finished cells"
        lines.append(f"the maps of {cells} are missing, the results are kept:")
        lines += [f"  {record.cell}: {record.maps_error}" for record in missing]
        lines.append("next step: fix the cause and run the command again")
    if lines:
        raise BenchmarkError("\n".join(lines))


def command_line() -> str:
    return shlex.join(["loco-tools", *sys.argv[1:]])
