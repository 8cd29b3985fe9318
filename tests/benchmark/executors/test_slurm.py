"""Against a real slurmctld and slurmd on loopback, skipped where they are not installed."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import slurm_rig
from executor_runs import table, wait_for

pytest.importorskip("submitit", reason="the extra 'slurm' is not installed")

from loco_tools.benchmark.executor_settings import SlurmSettings
from loco_tools.benchmark.executors import slurm
from loco_tools.benchmark.run.runner import run
from loco_tools.benchmark.suite import Suite
from loco_tools.errors import BenchmarkError

Make = Callable[..., Path]
MakeSuite = Callable[..., Suite]
Fits = Callable[[], int]

needs_slurm = pytest.mark.skipif(bool(slurm_rig.missing()), reason=slurm_rig.missing())


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """SLURM's commands of this process speak to a SLURM of our own."""
    with (
        slurm_rig.slurm(tmp_path_factory.mktemp("slurm")) as environment,
        pytest.MonkeyPatch.context() as patch,
    ):
        for name, value in environment.items():
            patch.setenv(name, value)
        yield


def on_slurm(**settings: object) -> SlurmSettings:
    return SlurmSettings(cpus=1, poll_s=0.5, time_min=10, memory_mb=1500, **settings)


@needs_slurm
def test_a_preempted_cell_is_requeued_a_killed_one_fails_alone_and_the_rest_equals_a_local_run(
    tmp_path: Path, make_loco_class: Make, make_suite: MakeSuite, fits: Fits, cluster: None
) -> None:
    data, out = make_loco_class(), tmp_path / "out"
    preempted, killed = tmp_path / "fault-a", tmp_path / "fault-b"
    preempted.write_text("wait")
    killed.write_text("killed")
    overrides = {"a": {"fault": str(preempted)}, "b": {"fault": str(killed)}}
    stubs = make_suite("a", "b", "c", overrides=overrides).methods
    suite = Suite(
        methods=[*stubs, {"name": "ensemble-mean", "members": ["a", "c"]}],
        backbone="scattering",
        executor=on_slurm(),
    )

    def preempt() -> None:
        """Have a job of a higher partition take the whole node."""
        wait_for(lambda: fits() == 3 and (out / "cells" / "c" / "plate" / "0").exists())
        urgent = ["sbatch", "-p", "urgent", "--exclusive", "-o", "/dev/null", "--wrap", "sleep 1"]
        said = subprocess.run(urgent, check=True, capture_output=True, text=True).stdout
        wait_for(lambda: f"{said.split()[-1]} COMPLETED" in _queue())
        preempted.unlink()

    other = threading.Thread(target=preempt)
    other.start()
    report = run(suite, [data], out)
    other.join()
    assert [record.status for record in report.records] == ["ok", "failed", "ok", "ok"]
    assert "SLURM job" in report.failures[0].error
    assert "ended as FAILED before the cell was finished" in report.failures[0].error
    assert fits() == 4, "the preempted one was begun twice, the killed one once"
    killed.unlink()
    local = suite.model_copy(update={"executor": make_suite().executor})
    run(local, [data], out, retry_failed=True)
    run(local, [data], tmp_path / "here")
    assert table(out) == table(tmp_path / "here")
    assert not list((out / "cells").rglob(".*.new"))


@needs_slurm
def test_a_run_that_was_killed_finds_its_jobs_again_and_ctrl_c_cancels_them(
    tmp_path: Path, make_loco_class: Make, make_suite: MakeSuite, fits: Fits, cluster: None
) -> None:
    data, out, fault = make_loco_class(), tmp_path / "out", tmp_path / "fault"
    fault.write_text("wait")
    suite = make_suite("a", overrides={"a": {"fault": str(fault)}}, executor=on_slurm())
    (tmp_path / "suite.json").write_text(suite.model_dump_json(by_alias=True))
    program = (
        "import sys; from pathlib import Path; from loco_tools.benchmark.run.runner import run\n"
        "from loco_tools.benchmark.suite import Suite\n"
        "suite = Suite.model_validate_json(Path(sys.argv[1]).read_text())\n"
        "run(suite, [Path(sys.argv[2])], Path(sys.argv[3]))"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "suite.json"), str(data), str(out)]
    path = os.pathsep.join(sys.path)
    with subprocess.Popen(command, env={**os.environ, "PYTHONPATH": path}) as process:
        wait_for(fault.with_suffix(".reached").exists)
        process.kill()

    def press() -> None:
        wait_for((out / "results.csv").exists)
        time.sleep(2)
        os.kill(os.getpid(), signal.SIGINT)

    assert "RUNNING" in _queue()
    threading.Thread(target=press).start()
    with pytest.raises(KeyboardInterrupt):
        run(suite, [data], out)
    assert fits() == 1, "the job of the first run was waited for, not submitted again"
    wait_for(lambda: "RUNNING" not in _queue())
    assert fault.exists()
    assert not list((out / "cells").rglob(".*.new"))
    assert not (out / "cells" / "a" / "plate" / "0").exists()


def test_submitits_stand_in_runs_without_slurm(
    tmp_path: Path, make_loco_class: Make, make_suite: MakeSuite, fits: Fits
) -> None:
    suite = make_suite(
        "a", "b", executor={"kind": "slurm", "cluster": "local", "workers": 2, "poll_s": 0.2}
    )
    assert run(suite, [make_loco_class()], tmp_path / "out").exit_code == 0
    assert fits() == 2


def test_without_slurm_the_message_says_what_to_do(
    tmp_path: Path,
    make_loco_class: Make,
    make_suite: MakeSuite,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BenchmarkError, match=r"SLURM cannot be used from here.*next step"):
        run(make_suite(executor={"kind": "slurm"}), [make_loco_class()], tmp_path / "out")


def test_a_job_that_slurm_does_not_list_any_more_has_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    listing = "7_0 RUNNING\n7_1 OUT_OF_MEMORY\n"
    monkeypatch.setattr(
        slurm.subprocess,
        "run",
        lambda *_args, **_named: subprocess.CompletedProcess([], 0, stdout=listing),
    )
    found = slurm.job_states(["7_0", "7_1", "7_2"])
    assert [slurm.has_ended(state) for state in found.values()] == [False, True, True]


def _queue() -> str:
    command = ["squeue", "--noheader", "--states=all", "--format=%i %T"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout
