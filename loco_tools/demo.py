"""The whole path in one go on the simulated station: capture, mark, convert, compare, report."""

from dataclasses import dataclass
from pathlib import Path

from loco_tools import extras
from loco_tools.annotations.convert import convert
from loco_tools.annotations.simulated import annotate_session
from loco_tools.annotations.taxonomy import load_taxonomy
from loco_tools.benchmark.report import write_report
from loco_tools.benchmark.run.runner import RunReport, run
from loco_tools.benchmark.suite import load_suite
from loco_tools.capture.session_opening import SessionRequest
from loco_tools.capture.unattended import capture
from loco_tools.datasets import load
from loco_tools.plan import load_plan
from loco_tools.progress import SILENT, Progress

CLASSES = ("flat_connector", "angle", "composite_part")


@dataclass(frozen=True)
class Demo:
    """What the demo made: the benchmark's outcome and its report."""

    run: RunReport
    report: Path


def run_demo(workspace: Path, *, seed: int = 0, progress: Progress = SILENT) -> Demo:
    """Photograph all three classes with the twin, have them marked, convert, benchmark, report.

    Everything lands in `workspace`, laid out as in a real one: `captures/`, `data/`, `runs/demo/`.
    What an earlier, interrupted demo finished is reused.

    Args:
        workspace: a folder; made when needed.
        seed: of the simulated parts.
        progress: where to report to.

    Raises:
        MissingExtraError: without the extras `bench` and `twin`.
    """
    extras.require("The demo", "twin")
    extras.require("The demo", "bench")
    classes = [_make_class(name, workspace, seed, progress) for name in CLASSES]
    out = workspace / "runs" / "demo"
    command = "loco-tools demo"
    suite = load_suite("demo")
    outcome = run(suite, classes, out, progress, command=command, retry_failed=True)
    return Demo(outcome, write_report(out))


def _make_class(name: str, workspace: Path, seed: int, progress: Progress) -> Path:
    plan, taxonomy = load_plan(name).for_demo(), load_taxonomy(name)
    session = capture(
        SessionRequest(plan, captures=workspace / "captures", seed=seed), progress=progress
    )
    export = annotate_session(session, taxonomy, seed=seed)
    convert(export, out_root=workspace / "data", taxonomy=taxonomy, progress=progress)
    made = workspace / "data" / name
    progress.note(load(made).describe())
    return made
