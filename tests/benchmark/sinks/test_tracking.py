import contextlib
import os
import shutil
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from trained_runs import change, fail, make_trained_run

from loco_tools import cli, extras, files
from loco_tools.benchmark.cell.record import Cell
from loco_tools.benchmark.sinks import Sinks
from loco_tools.benchmark.sinks.tracking import check_uri, track
from loco_tools.errors import BenchmarkError, MissingExtraError

Client = Any


@pytest.fixture(scope="module")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An SQLite store with MLflow's tables and nothing in them, which take seconds to make."""
    path = tmp_path_factory.mktemp("mlflow") / "empty.db"
    client_of(path).search_experiments()
    return path


@pytest.fixture
def store(tmp_path: Path, empty_store: Path) -> Path:
    return Path(shutil.copy(empty_store, tmp_path / "runs.db"))


def client_of(path: Path) -> Client:
    from mlflow.tracking import MlflowClient

    return MlflowClient(tracking_uri=f"sqlite:///{path}")


def runs(path: Path, text: str = "") -> list[Any]:
    client = client_of(path)
    experiments = [one.experiment_id for one in client.search_experiments()]
    return list(client.search_runs(experiments, text))


def nested(path: Path) -> dict[str, Any]:
    found = {run.info.run_name: run for run in runs(path) if "mlflow.parentRunId" in run.data.tags}
    children = [run for run in runs(path) if "mlflow.parentRunId" in run.data.tags]
    assert len(found) == len(children), "no cell is there twice"
    return found


def parents(path: Path) -> list[Any]:
    return [run for run in runs(path) if "mlflow.parentRunId" not in run.data.tags]


def test_every_cell_is_a_nested_run_with_stamp_figures_curves_and_artefacts(
    tmp_path: Path, store: Path
) -> None:
    out = make_trained_run(tmp_path / "out")
    assert track(out, f"sqlite:///{store}") == "4 cells written, 0 were up to date"
    (parent,) = parents(store)
    experiment = client_of(store).get_experiment(parent.info.experiment_id)
    assert experiment.tags["mlflow.experimentKind"] == "custom_model_development"
    cells = nested(store)
    assert set(cells) == {f"{m} plate {s}" for m in ("bank", "trained") for s in (0, 1)}
    one = cells["trained plate 1"]
    assert one.data.tags["mlflow.parentRunId"] == parent.info.run_id
    assert one.info.status == "FINISHED"
    params = one.data.params
    assert (params["method"], params["class_name"], params["seed"]) == ("trained", "plate", "1")
    assert (params["preset"], params["selection"]) == ("fast", "last")
    assert one.data.metrics["au_spro_0.05"] == 0.5
    assert one.data.metrics["ms_per_image"] == 10
    assert "au_pro_0.3" not in one.data.metrics, "a figure that does not apply is absent"
    client = client_of(store)
    losses = client.get_metric_history(one.info.run_id, "training/loss")
    assert [(point.step, point.value) for point in losses] == [(5, 3.0), (10, 1.5)]
    assert client.get_metric_history(one.info.run_id, "training/loss/good")[1].value == 0.5
    assert {file.path for file in client.list_artifacts(one.info.run_id)} == {
        "result.json",
        "scores.csv",
    }
    assert one.info.artifact_uri.startswith((tmp_path / "runs-artifacts").as_uri())
    kept = client.download_artifacts(one.info.run_id, "result.json", str(tmp_path))
    original = Cell("trained", "plate", 1).folder(out) / "result.json"
    assert Path(kept).read_bytes() == original.read_bytes()
    assert parent.data.tags["cells"] == "4 of 4 finished, 0 failed"
    assert {file.path for file in client.list_artifacts(parent.info.run_id)} == {
        "run.json",
        "results.csv",
    }


def test_running_again_doubles_nothing_even_from_another_place(tmp_path: Path, store: Path) -> None:
    out = make_trained_run(tmp_path / "out")
    track(out, f"sqlite:///{store}")
    before = {name: run.info.run_id for name, run in nested(store).items()}
    out.rename(tmp_path / "moved")
    done = track(tmp_path / "moved", f"sqlite:///{store}")
    assert done == "0 cells written, 4 were up to date"
    assert {name: run.info.run_id for name, run in nested(store).items()} == before
    assert len(parents(store)) == 1


def test_cells_that_come_later_or_are_worked_on_again_are_brought_up_to_date(
    tmp_path: Path, store: Path
) -> None:
    out = make_trained_run(tmp_path / "out", seeds=[0])
    fail(out, Cell("bank", "plate", 0), "too little memory")
    track(out, f"sqlite:///{store}")
    failed = nested(store)["bank plate 0"]
    assert (failed.info.status, failed.data.tags["error"]) == ("FAILED", "too little memory")
    assert failed.data.metrics == {}
    assert parents(store)[0].data.tags["cells"] == "1 of 2 finished, 1 failed"
    make_trained_run(out, seeds=[0, 1])
    change(out, Cell("trained", "plate", 0), au_spro=0.75)
    assert track(out, f"sqlite:///{store}") == "4 cells written, 0 were up to date"
    cells = nested(store)
    assert len(cells) == 4
    assert cells["bank plate 0"].info.status == "FINISHED"
    assert cells["trained plate 0"].data.metrics["au_spro_0.05"] == 0.75


def test_a_nested_run_that_was_interrupted_is_replaced(
    tmp_path: Path, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = make_trained_run(tmp_path / "out", seeds=[0])
    from mlflow.tracking import MlflowClient

    with monkeypatch.context() as broken:
        broken.setattr(MlflowClient, "set_terminated", interrupt)
        with pytest.raises(KeyboardInterrupt):
            track(out, f"sqlite:///{store}")
    (left,) = nested(store).values()
    assert left.data.metrics, "it stopped after the figures"
    assert track(out, f"sqlite:///{store}") == "2 cells written, 0 were up to date"
    assert left.info.run_id not in {run.info.run_id for run in nested(store).values()}
    assert len(nested(store)) == 2


def interrupt(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


def test_two_runs_of_one_suite_are_two_parents(tmp_path: Path, store: Path) -> None:
    for name in ("first", "second"):
        track(make_trained_run(tmp_path / name, seeds=[0]), f"sqlite:///{store}")
    assert {run.info.run_name for run in parents(store)} == {"first", "second"}
    children = [run for run in runs(store) if "mlflow.parentRunId" in run.data.tags]
    assert len(children) == 4


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        yield


def test_a_locked_store_costs_one_clear_error_and_no_result(
    tmp_path: Path, store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = make_trained_run(tmp_path / "out")
    with locked(store):
        assert cli.run(["-q", "report", str(out), "--mlflow", f"sqlite:///{store}"]) == 1
    printed = capsys.readouterr()
    assert (out / "report.html").is_file()
    assert printed.err.count("\n") == 1, "one line, no traceback"
    assert "database is locked" in printed.err
    assert f"is not in use, then run loco-tools report {out} --mlflow sqlite" in printed.err
    assert cli.run(["-q", "report", str(out), "--mlflow", f"sqlite:///{store}"]) == 0
    assert len(nested(store)) == 4


def test_a_server_that_is_not_there_is_a_clear_error_within_seconds(tmp_path: Path) -> None:
    out = make_trained_run(tmp_path / "out", seeds=[0])
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(BenchmarkError, match=r"cannot take the run .*results are complete in"):
        track(out, f"http://127.0.0.1:{port}")


WATCHED = """
import sys, threading
from pathlib import Path
def watch(event, arguments):
    if event == "socket.getaddrinfo" or event == "socket.connect":
        print("NETWORK", event, arguments[0 if event == "socket.getaddrinfo" else 1])
sys.addaudithook(watch)
"""
TRACKED = """
from loco_tools.benchmark.sinks.tracking import track
print(track(Path(sys.argv[1]), sys.argv[2]))
"""
WAITING = """
for thread in threading.enumerate():
    if thread is not threading.current_thread():
        thread.join(timeout=4)
"""
UNASKED = """
from mlflow.tracking import MlflowClient
client = MlflowClient(tracking_uri=sys.argv[2])
client.create_experiment("other")
"""


def traffic(program: str, out: Path, store: Path) -> str:
    """What a process of its own prints; MLflow is quiet by itself under pytest and in CI."""
    silencing = ("CI", "PYTEST_CURRENT_TEST", "DO_NOT_TRACK", "MLFLOW_DISABLE_TELEMETRY")
    environment = {k: v for k, v in os.environ.items() if k not in silencing}
    environment["HOME"] = str(out.parent)
    done = subprocess.run(
        [sys.executable, "-c", WATCHED + program + WAITING, str(out), f"sqlite:///{store}"],
        env=environment,
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_nothing_is_sent_to_anybody(tmp_path: Path, store: Path) -> None:
    out = make_trained_run(tmp_path / "out", seeds=[0])
    assert "NETWORK" in traffic(UNASKED, out, store), "left alone, MLflow reports its use"
    assert traffic(TRACKED, out, store) == "2 cells written, 0 were up to date\n"


def test_a_missing_extra_is_named_before_anything_is_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make_loco_class: Callable[..., Path]
) -> None:
    monkeypatch.setitem(extras.MODULES, "mlflow", ("no_such_module",))
    with pytest.raises(MissingExtraError, match=r"--mlflow needs the extra 'mlflow'"):
        Sinks(mlflow="sqlite:///runs.db").check()
    out = tmp_path / "out"
    arguments = ["--methods", "patchcore", "--data", str(make_loco_class()), "--out", str(out)]
    assert cli.run(["bench", *arguments, "--mlflow", "sqlite:///runs.db"]) == 1
    assert not out.exists()


@pytest.mark.parametrize("uri", ["runs.db", "sqlite://runs.db", "sqlite:///", "mlruns"])
def test_a_malformed_tracking_uri_is_answered_with_an_example(uri: str) -> None:
    with pytest.raises(BenchmarkError, match=r"expected a tracking URI such as sqlite:///runs\.db"):
        check_uri(uri)


def test_a_password_is_refused_and_not_repeated() -> None:
    with pytest.raises(BenchmarkError, match="MLFLOW_TRACKING_PASSWORD") as caught:
        check_uri("http://me:secret@host:5000")
    assert "secret" not in str(caught.value)


def test_a_folder_without_a_run_is_an_error(tmp_path: Path, store: Path) -> None:
    files.write_text(tmp_path / "empty" / "note.txt", "")
    with pytest.raises(BenchmarkError, match=r"expected the folder of a benchmark run"):
        track(tmp_path / "empty", f"sqlite:///{store}")


def test_a_benchmark_whose_store_is_locked_keeps_its_results_and_fills_it_the_next_time(
    tmp_path: Path,
    store: Path,
    make_loco_class: Callable[..., Path],
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "out"
    bench = ["-q", "bench", "--methods", "stub_detectors:Brightness", "--backbone", "scattering"]
    bench += ["--data", str(make_loco_class()), "--out", str(out), "--seeds", "0,1"]
    bench += ["--workers", "0"]  # in this process
    sinks = ["--mlflow", f"sqlite:///{store}", "--tensorboard"]
    with locked(store):
        assert cli.run([*bench, *sinks]) == 1
    assert "database is locked" in capsys.readouterr().err
    assert len((out / "results.csv").read_text().splitlines()) == 3
    assert (out / "report.html").is_file()
    for _ in range(2):
        assert cli.run([*bench, *sinks]) == 0
    assert len(nested(store)) == 2
    assert len(list((out / "tensorboard").rglob("events.out.tfevents.*"))) == 2
