import os
import signal
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest
from executor_runs import RecordingProgress, table, wait_for

from loco_tools.benchmark.cell.record import Cell
from loco_tools.benchmark.executors import local
from loco_tools.benchmark.executors.base import describe_exit
from loco_tools.benchmark.executors.local import slots
from loco_tools.benchmark.run.runner import run
from loco_tools.benchmark.suite import Suite
from loco_tools.errors import BenchmarkError

Make = Callable[..., Path]
MakeSuite = Callable[..., Suite]
Fits = Callable[[], int]

PROCESSES = {"kind": "local"}


def faults(root: Path, **named: str) -> dict[str, dict[str, str]]:
    """Overrides that make the stub of each label commit a fault."""
    found = {}
    for label, fault in named.items():
        path = root / f"fault-{label}"
        path.write_text(fault)
        found[label] = {"fault": str(path)}
    return found


def test_a_process_that_dies_costs_its_cell_alone_and_results_equal_those_of_one_process(
    tmp_path: Path, make_loco_class: Make, make_suite: MakeSuite, fits: Fits
) -> None:
    data, out, progress = make_loco_class(), tmp_path / "out", RecordingProgress()
    titles = ("a", "killed", "gone", "d")
    overrides = faults(tmp_path, killed="killed", gone="gone", d="loud")
    suite = make_suite(*titles, overrides=overrides, executor=PROCESSES)
    report = run(suite, [data], out, progress)
    assert [record.status for record in report.records] == ["ok", "failed", "failed", "ok"]
    assert (
        "died by signal 9 (SIGKILL), most likely because memory ran out" in table(out)[1]["error"]
    )
    assert "a worker process died with exit code 3" in table(out)[2]["error"]
    assert not list((out / "cells").rglob(".*.new")), "what was half-written is cleared away"
    assert "brightness: predicting" in progress.opened
    assert sum(progress.advanced) > 4
    assert progress.open == 0

    for label in ("killed", "gone"):
        (tmp_path / f"fault-{label}").unlink()
    again = run(suite, [data], out, retry_failed=True)
    assert (again.exit_code, again.reused, fits()) == (0, 2, 6)
    here = make_suite(*titles, overrides=overrides)
    run(here, [data], tmp_path / "here")
    assert table(out) == table(tmp_path / "here"), "no key and no figure depends on the executor"
    assert run(here, [data], out).reused == 4


def test_a_full_disk_in_a_process_ends_the_run_with_the_same_message(
    tmp_path: Path, make_loco_class: Make, make_suite: MakeSuite
) -> None:
    out = tmp_path / "out"
    overrides = faults(tmp_path, b="full")
    suite = make_suite("a", "b", overrides=overrides, executor=PROCESSES)
    with pytest.raises(BenchmarkError, match=r"disk is full \(b on plate, seed 0"):
        run(suite, [make_loco_class()], out)
    assert [row["status"] for row in table(out)] == ["ok"]
    assert [path.name for path in out.rglob(".*")] == [".lock"]


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_a_run_that_is_stopped_stops_its_processes_and_keeps_finished_cells(
    tmp_path: Path, make_loco_class: Make, make_suite: MakeSuite, how: signal.Signals
) -> None:
    data, out = make_loco_class(), tmp_path / "out"
    suite = make_suite("a", "b", overrides=faults(tmp_path, b="wait"), executor=PROCESSES)
    (tmp_path / "suite.json").write_text(suite.model_dump_json(by_alias=True))
    program = (
        "import sys; from pathlib import Path; from loco_tools.benchmark.run.runner import run\n"
        "from loco_tools.benchmark.suite import Suite\n"
        "suite = Suite.model_validate_json(Path(sys.argv[1]).read_text())\n"
        "run(suite, [Path(sys.argv[2])], Path(sys.argv[3]))"  # no guard of a main module
    )
    command = [sys.executable, "-c", program, str(tmp_path / "suite.json"), str(data), str(out)]
    path = os.pathsep.join(sys.path)
    with subprocess.Popen(
        command, env={**os.environ, "PYTHONPATH": path}, stderr=subprocess.DEVNULL
    ) as process:
        wait_for((tmp_path / "fault-b.reached").exists)
        workers = psutil.Process(process.pid).children(recursive=True)
        assert workers
        process.send_signal(how)
        process.wait(30)
    wait_for(lambda: not any(worker.is_running() for worker in workers), 30)
    assert [row["method"] for row in table(out)] == ["a"]
    assert not Cell("b", "plate", 0).folder(out).exists()
    assert not list(out.rglob(".*.new"))


def test_two_processes_work_at_once_and_ensembles_wait_for_their_members(
    tmp_path: Path, make_loco_class: Make, make_suite: MakeSuite
) -> None:
    overrides, progress = faults(tmp_path, a="wait", b="wait"), RecordingProgress()
    stubs = make_suite("a", "b", overrides=overrides).methods
    suite = Suite(
        methods=[{"name": "ensemble-mean"}, *stubs],
        backbone="scattering",
        executor={"workers": 2},
    )

    def release() -> None:
        """Let the fits go on when both have been reached, which takes two processes."""
        wait_for(lambda: all((tmp_path / f"fault-{label}.reached").exists() for label in "ab"))
        for label in "ab":
            (tmp_path / f"fault-{label}").unlink()

    with ThreadPoolExecutor() as threads:
        released = threads.submit(release)
        report = run(suite, [make_loco_class()], tmp_path / "out", progress)
        released.result()
    assert report.exit_code == 0
    assert progress.notes[-1].startswith("[3/3] ensemble-mean on plate, seed 0: image AUROC")
    assert "plate, brightness: predicting" in progress.opened, "bars say whose they are"


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (3, "exit code 3"),
        (-9, "signal 9 (SIGKILL), most likely because memory ran out"),
        (-11, "signal 11 (SIGSEGV), which is a fault in compiled code"),
        (-250, "died by signal 250"),
    ],
)
def test_the_error_of_a_dead_process_names_the_next_step(code: int, message: str) -> None:
    assert message in describe_exit(code)
    assert "next step" in describe_exit(code)


@pytest.fixture
def eight_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "available_cores", lambda: 8)


@pytest.mark.usefixtures("eight_cores")
def test_on_a_cpu_one_worker_has_all_threads_and_several_share_them() -> None:
    assert [slot.threads for slot in slots("cpu", None, {})] == [8]
    three = slots("cpu", 3, {})
    assert [slot.threads for slot in three] == [2, 2, 2]
    assert three[0].environment["OMP_NUM_THREADS"] == "2"
    assert "CUDA_VISIBLE_DEVICES" not in three[0].environment


@pytest.mark.usefixtures("eight_cores")
def test_a_limit_on_threads_that_the_user_has_set_holds_for_workers() -> None:
    assert slots("cpu", 2, {"OMP_NUM_THREADS": "1"})[0].threads == 1
    assert slots("cpu", 2, {"OMP_NUM_THREADS": "6"})[0].threads == 4
    assert slots("cpu", 20, {})[0].threads == 1


def test_every_gpu_has_a_worker_and_more_workers_go_round() -> None:
    visible = {"CUDA_VISIBLE_DEVICES": "2, 5"}
    assert [s.environment["CUDA_VISIBLE_DEVICES"] for s in slots("cuda", None, visible)] == [
        *("2", "5"),
    ]
    assert [s.environment["CUDA_VISIBLE_DEVICES"] for s in slots("cuda", 3, visible)] == [
        *("2", "5", "2"),
    ]


def test_a_gpu_named_by_its_number_has_one_worker_that_sees_all_of_them() -> None:
    (only,) = slots("cuda:1", None, {"CUDA_VISIBLE_DEVICES": "2,5"})
    assert "CUDA_VISIBLE_DEVICES" not in only.environment
