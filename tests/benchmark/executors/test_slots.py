import pytest

from loco_tools.benchmark.executors import slots as module
from loco_tools.benchmark.executors.slots import slots


@pytest.fixture(autouse=True)
def _eight_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "available_cores", lambda: 8)


def test_on_a_cpu_one_worker_has_all_threads_and_several_share_them() -> None:
    assert [slot.threads for slot in slots("cpu", None, {})] == [8]
    three = slots("cpu", 3, {})
    assert [slot.threads for slot in three] == [2, 2, 2]
    assert three[0].environment["OMP_NUM_THREADS"] == "2"
    assert "CUDA_VISIBLE_DEVICES" not in three[0].environment


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
