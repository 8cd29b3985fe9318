"""Against a real Ray cluster of two nodes on this machine."""

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from executor_runs import RecordingProgress, table, wait_for

ray = pytest.importorskip("ray", reason="the extra 'ray' is not installed")

from ray.cluster_utils import Cluster  # noqa: E402

from loco_tools.benchmark.executor_settings import RaySettings  # noqa: E402
from loco_tools.benchmark.run.runner import run  # noqa: E402
from loco_tools.benchmark.suite import Suite  # noqa: E402
from loco_tools.errors import BenchmarkError  # noqa: E402

Make = Callable[..., Path]
MakeSuite = Callable[..., Suite]
Fits = Callable[[], int]


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """A head node that takes no cells, and one node with room for two; tests add others."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    made = Cluster(
        initialize_head=True, head_node_args={"num_cpus": 0, "object_store_memory": 10**8}
    )
    made.add_node(num_cpus=1, object_store_memory=10**8)
    yield made
    made.shutdown()


def on(cluster: Cluster, **settings: Any) -> dict[str, Any]:
    """The settings of a Ray executor whose workers find the stubs."""
    environment = {"env_vars": {"PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}}
    return {
        "kind": "ray",
        "address": cluster.address,
        "runtime_env": environment,
        "node_death_s": 30,
        **settings,
    }


def contents(folder: Path) -> dict[str, bytes]:
    """Every file by its place."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_a_node_that_is_killed_costs_nothing_and_results_equal_the_local_ones(
    tmp_path: Path, make_loco_class: Make, make_suite: MakeSuite, fits: Fits, cluster: Cluster
) -> None:
    doomed = cluster.add_node(num_cpus=1, object_store_memory=10**8)
    data, out, progress = make_loco_class(), tmp_path / "out", RecordingProgress()
    titles = ("a", "b", "c", "d")
    for label in titles:
        (tmp_path / f"fault-{label}").write_text("wait")
    overrides = {label: {"fault": str(tmp_path / f"fault-{label}")} for label in titles}
    stubs = make_suite(*titles, overrides=overrides).methods
    suite = Suite(
        methods=[*stubs, {"name": "ensemble-mean"}], backbone="scattering", executor=on(cluster)
    )

    def kill_a_node_in_the_middle() -> None:
        wait_for(lambda: len(list(tmp_path.glob("*.reached"))) == 2)  # one cell on each node
        cluster.remove_node(doomed, allow_graceful=False)
        wait_for(lambda: any("its node has died" in note for note in progress.notes))
        for label in titles:
            (tmp_path / f"fault-{label}").unlink()

    killer = threading.Thread(target=kill_a_node_in_the_middle)
    killer.start()
    report = run(suite, [data], out, progress)
    killer.join()
    assert report.exit_code == 0
    assert fits() == 5, "four cells, and one of them begun twice"
    local = suite.model_copy(update={"executor": make_suite().executor})
    run(local, [data], tmp_path / "here")
    assert table(out) == table(tmp_path / "here")
    assert run(local, [data], out).reused == 5
    assert not list((out / "cells").rglob(".*.new"))


def test_through_the_object_store_nothing_is_shared_and_everything_comes_back(
    tmp_path: Path, make_loco_class: Make, make_suite: MakeSuite, fits: Fits, cluster: Cluster
) -> None:
    data, out, here = make_loco_class(), tmp_path / "out", tmp_path / "here"
    methods = [*make_suite("a").methods, {"name": "ensemble-mean"}]
    local = Suite(methods=methods, backbone="scattering", executor=make_suite().executor)
    carried = local.model_copy(update={"executor": RaySettings(**on(cluster, data="object-store"))})
    assert run(carried, [data], out).exit_code == 0
    run(local, [data], here)
    assert table(out) == table(here)
    assert set(contents(out / "cells")) == set(contents(here / "cells"))
    alone = {"methods": tuple(make_suite("a").methods), "maps": True}
    fitted = fits()
    assert run(carried.model_copy(update=alone), [data], out).exit_code == 0
    assert fits() == fitted, "only predicted again, with the model that travelled"
    run(local.model_copy(update=alone), [data], here)
    assert contents(out / "maps") == contents(here / "maps")
    assert sum("/test/" in name for name in contents(out / "maps")) == 7


def test_a_worker_that_kills_itself_fails_its_cell_alone_and_is_not_tried_for_ever(
    tmp_path: Path, make_loco_class: Make, make_suite: MakeSuite, fits: Fits, cluster: Cluster
) -> None:
    fault, out = tmp_path / "fault", tmp_path / "out"
    fault.write_text("killed")
    suite = make_suite(
        "a",
        "b",
        overrides={"a": {"fault": str(fault)}},
        executor=on(cluster, node_death_s=3),
    )
    report = run(suite, [make_loco_class()], out)
    assert [row["status"] for row in table(out)] == ["failed", "ok"]
    assert "a worker process died" in report.failures[0].error
    assert fits() == 2
    assert not list((out / "cells").rglob(".*.new"))


def test_ctrl_c_takes_the_cells_back_from_the_cluster(
    tmp_path: Path, make_loco_class: Make, make_suite: MakeSuite, cluster: Cluster
) -> None:
    fault, out = tmp_path / "fault", tmp_path / "out"
    fault.write_text("wait")
    suite = make_suite("a", overrides={"a": {"fault": str(fault)}}, executor=on(cluster))

    def press() -> None:
        wait_for(fault.with_suffix(".reached").exists)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=press).start()
    with pytest.raises(KeyboardInterrupt):
        run(suite, [make_loco_class()], out)
    assert fault.exists(), "it was stopped, not finished"
    assert not list((out / "cells").rglob(".*.new"))
    assert not (out / "cells" / "a" / "plate" / "0").exists()


def test_without_a_cluster_the_message_says_how_to_start_one(
    tmp_path: Path, make_loco_class: Make, make_suite: MakeSuite
) -> None:
    suite = make_suite(executor={"kind": "ray", "address": "127.0.0.1:1"})
    with pytest.raises(BenchmarkError, match=r"Ray cluster at address .*next step: start one"):
        run(suite, [make_loco_class()], tmp_path / "out")
