"""A sample of the faults; `make chaos` tries all of them.

Run as a program, this file tries every operation, prints the table, and ends with 1 if anything is
left that must not be: `python tests/faults/test_faults.py [COMMAND...]`.
"""

import importlib
import os
import runpy
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

if sys.platform != "linux":
    pytest.skip("needs fork and /proc", allow_module_level=True)

from fault_harness import Outcome, Scenario, Workspace, in_child, table
from fault_scenarios import BEFORE, SCENARIOS, write_inputs

ROWS = [
    *((scenario.name, scenario) for scenario in SCENARIOS),
    *((f"{scenario.name} again", scenario) for scenario in SCENARIOS if scenario.name in BEFORE),
]
PRELOADED = (
    "torch",
    "stub_detectors",
    "loco_tools.ensembles",
    "loco_tools.benchmark.report",
    "loco_tools.evaluation",
)
KILLS, SEED = 3, 0


def make_start(root: Path, make_loco_class: Callable[..., Path]) -> Path:
    """The folder that every command starts from; commands that need a run find a finished one."""
    for module in PRELOADED:
        importlib.import_module(module)  # so that no child has to
    start = root / "start"
    root.mkdir(exist_ok=True)
    code, said = in_child(lambda: write_inputs(start, make_loco_class) or 0, root / "output")
    assert code == 0, said
    bench = next(scenario for scenario in SCENARIOS if scenario.name == "bench")
    work = Workspace(bench, start, root / "work").work
    shutil.move(work / "run", start / "finished")
    return start


def open_row(name: str, scenario: Scenario, root: Path) -> Workspace:
    """The workspace of a row of the table."""
    start = root / "start"
    if name == scenario.name:
        return Workspace(scenario, start, root / "work")
    first = Scenario(name, BEFORE[scenario.name], lambda work: None)
    earlier = root / name
    if not earlier.exists():
        shutil.copytree(Workspace(first, start, root / "work").work, earlier)
    return Workspace(scenario, earlier, root / "work")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("faults")
    make_start(folder, class_builder())
    return folder


def class_builder() -> Callable[..., Path]:
    """`make_loco_class` of the tests' conftest, outside of a test."""
    # by its path: every folder of tests has a conftest, and one of them has the name
    conftest = runpy.run_path(str(Path(__file__).parents[1] / "conftest.py"))
    return conftest["make_loco_class"].__wrapped__(Path())


@pytest.mark.parametrize(("name", "scenario"), ROWS, ids=[name for name, _ in ROWS])
def test_what_a_killed_command_leaves_is_old_or_new_and_its_next_run_heals_it(
    root: Path, name: str, scenario: Scenario
) -> None:
    workspace = open_row(name, scenario, root)
    for at in workspace.sample(KILLS, SEED):
        workspace.try_fault("kill", at)
    assert workspace.outcome.problems == []


def main(names: list[str]) -> int:
    """Try every operation of the named rows, or of all."""
    outcomes: dict[str, Outcome] = {}
    with tempfile.TemporaryDirectory(prefix="chaos-") as folder:
        make_start(Path(folder), class_builder())
        for name, scenario in ROWS:
            if names and name not in names:
                continue
            workspace = open_row(name, scenario, Path(folder))
            for fault in ("kill", "full"):
                workspace.outcome = Outcome(workspace.outcome.operations)
                for at in range(workspace.outcome.operations):
                    workspace.try_fault(fault, at)
                outcomes[f"{name}, {fault}"] = workspace.outcome
            print(table(outcomes).splitlines()[-2:], flush=True)
    for outcome in outcomes.values():
        for problem in outcome.problems:
            print(problem)
    print(table(outcomes))
    return int(any(outcome.problems for outcome in outcomes.values()))


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    sys.exit(main(sys.argv[1:]))
