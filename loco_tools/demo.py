"""The demo: the whole way from capture to report on the simulated station."""

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
    """The outcome of the benchmark, and the path of its report."""

    run: RunReport
    report: Path


def run_demo(workspace: Path, *, seed: int = 0, progress: Progress = SILENT) -> Demo:
    """Render all three classes with the twin, annotate and convert them, and compare detectors.

    `workspace` gets the folders of a real workspace: `captures/`, `data/` and `runs/demo/`. Results
    of an earlier demo that was interrupted are reused.

    Args:
        workspace: a folder, which is created if it does not exist.
        seed: random seed of the simulated parts.
        progress: receives progress and messages.

    Raises:
        MissingExtraError: the extra `bench` or `twin` is not installed.
    """
    extras.require("The demo", "twin")
    extras.require("The demo", "bench")
    data = workspace / "data"
    for name in CLASSES:
        plan, taxonomy = load_plan(name).for_demo(), load_taxonomy(name)
        request = SessionRequest(plan, captures=workspace / "captures", seed=seed)
        session = capture(request, progress=progress)
        export = annotate_session(session, taxonomy, seed=seed)
        convert(export, out_root=data, taxonomy=taxonomy, progress=progress)
        progress.note(load(data / name).describe())
    out = workspace / "runs" / "demo"
    outcome = run(
        load_suite("demo"),
        [data / name for name in CLASSES],
        out,
        progress,
        command="loco-tools demo",
        retry_failed=True,
    )
    return Demo(outcome, write_report(out))
