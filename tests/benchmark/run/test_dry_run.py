import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from loco_tools.benchmark.cell.record import MAPS_FILE, Cell
from loco_tools.benchmark.executor_settings import RaySettings
from loco_tools.benchmark.run import estimates
from loco_tools.benchmark.run.dry_run import DryRun, dry_run, duration
from loco_tools.benchmark.run.runner import run
from loco_tools.benchmark.suite import Suite

Make = Callable[..., Path]
MakeSuite = Callable[..., Suite]
Fits = Callable[[], int]


def fates(found: DryRun) -> dict[str, str]:
    return {one.cell.method: one.plan.action for one in found.forecasts}


def sources(found: DryRun) -> dict[str, str]:
    return {one.cell.method: one.estimate.source for one in found.forecasts if one.estimate}


def test_it_lists_what_would_run_and_writes_nothing(
    tmp_path: Path, make_loco_class: Make, make_suite: MakeSuite, fits: Fits
) -> None:
    data, out = make_loco_class(), tmp_path / "out"
    found = dry_run(make_suite("a", "b"), [data], out)
    assert fates(found) == {"a": "run", "b": "run"}
    assert not out.exists()
    assert fits() == 0
    assert "2 cells would run, 0 would be reused, 0 failed before; nothing was written" in (
        found.describe()
    )
    assert "the total leaves out 2 cells without an estimate" in found.describe()


def test_finished_cells_are_reused_and_failed_cells_run_only_on_request(
    tmp_path: Path, make_loco_class: Make, make_suite: MakeSuite
) -> None:
    fault, data, out = tmp_path / "fault", make_loco_class(), tmp_path / "out"
    fault.write_text("crash")
    suite = make_suite("a", "b", overrides={"b": {"fault": str(fault)}})
    run(suite, [data], out)
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    wider = suite.model_copy(update={"methods": (*suite.methods, *make_suite("c").methods)})
    found = dry_run(wider, [data], out)
    assert fates(found) == {"a": "reuse", "b": "failed", "c": "run"}
    assert "failed before: RuntimeError: boom" in found.describe()
    assert "next step: add --retry-failed to repeat the cells that failed" in found.describe()
    again = dry_run(wider, [data], out, retry_failed=True)
    assert fates(again) == {"a": "reuse", "b": "run", "c": "run"}
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*")} == before


def test_estimates_come_from_the_most_similar_cell_of_this_run_and_its_neighbours(
    tmp_path: Path, make_loco_class: Make, make_suite: MakeSuite
) -> None:
    small, large = make_loco_class("small"), make_loco_class("large", train=40, good=13)
    run(make_suite("a"), [small], tmp_path / "runs" / "first")
    found = dry_run(make_suite("renamed"), [small, large], tmp_path / "runs" / "second")
    assert sources(found) == {"renamed": "as in first on small, seed 0"}
    cost = run(make_suite("a"), [small], tmp_path / "runs" / "first").records[0].cost
    assert cost is not None
    assert cost.total_s is not None
    like_it, ten_times = (one.estimate for one in found.forecasts)
    assert like_it is not None
    assert ten_times is not None
    assert like_it.total_s == pytest.approx(cost.total_s)
    rest_s = cost.total_s - cost.fit_s - 7 * cost.ms_per_image / 1000
    expected_s = 10 * cost.fit_s + 17 * cost.ms_per_image / 1000 + rest_s * 17 / 7
    assert ten_times.total_s == pytest.approx(expected_s)
    other = make_suite("a", overrides={"a": {"sign": -1.0}})
    assert sources(dry_run(other, [small], tmp_path / "runs" / "second")) == {
        "a": "nothing is known"
    }


def test_without_earlier_cells_estimates_come_from_the_shipped_table(
    tmp_path: Path, make_loco_class: Make
) -> None:
    data = make_loco_class(train=27, size=(64, 64))
    suite = Suite(
        methods=["patchcore", "simplenet", "ensemble"], backbone="scattering", preset="fast"
    )
    found = dry_run(suite, [data], tmp_path / "runs" / "out")
    assert set(sources(found).values()) == {"table, rough"}
    patchcore, simplenet, _ = (one.estimate for one in found.forecasts)
    table = estimates.reference_costs()
    evaluation_s = 7 * 64 * 64 / 1e6 * table.evaluation_s_per_megapixel
    assert patchcore is not None
    assert simplenet is not None
    # 256 x 256 as in the table; a fifth of its 135 training images, 7 test images
    assert patchcore.total_s == pytest.approx(28 / 5 + 7 * 0.239 + evaluation_s)
    assert patchcore.peak_mb == pytest.approx(600 + (1497 - 600) / 5)
    assert simplenet.total_s == pytest.approx(68 + 7 * 0.128 + evaluation_s), "fixed steps"


@pytest.mark.parametrize("device", ["cpu", "cuda"])
@pytest.mark.parametrize(
    "method", ["patchcore", "simplenet", "draem", "rd4ad", "csflow", "ast", "ensemble-mean"]
)
def test_every_method_has_a_row_for_the_preset_of_its_device(method: str, device: str) -> None:
    preset = "fast" if device == "cpu" else "paper"
    assert estimates.reference_cost(method, preset, device) is not None
    assert estimates.reference_cost(method, "paper", "cpu") is None


def test_paper_presets_are_estimated_for_a_gpu_that_this_machine_need_not_have(
    tmp_path: Path, make_loco_class: Make
) -> None:
    suite = Suite(
        methods=["csflow"], backbone="scattering", executor=RaySettings(gpus=1, workers=1)
    )
    data = make_loco_class(train=4)
    here = dry_run(
        Suite(methods=["csflow"], backbone="scattering", device="cuda"), [data], tmp_path
    )
    assert (here.device, here.executor, here.at_once) == ("cuda", "local", 1)
    found = dry_run(suite, [data], tmp_path / "out")
    assert found.work_s == here.work_s
    assert (found.device, found.executor, found.at_once) == ("cuda", "ray", 1)
    assert found.forecasts[0].plan.job.stamp.preset == "paper"
    assert found.work_s > 10
    assert "GB of GPU memory per cell" in found.describe()


def test_the_total_respects_members_and_how_many_are_worked_on_at_once(
    tmp_path: Path, make_loco_class: Make, make_suite: MakeSuite, monkeypatch: pytest.MonkeyPatch
) -> None:
    took = {"a": 10.0, "b": 4.0, "c": 5.0, "ensemble-mean": 2.0}

    def known(job, *_: object) -> estimates.Estimate:  # type: ignore[no-untyped-def]
        return estimates.Estimate(took[job.cell.method], 100 * took[job.cell.method], "")

    monkeypatch.setattr("loco_tools.benchmark.run.dry_run.estimate", known)
    methods = [*make_suite("a", "b", "c").methods, {"name": "ensemble-mean"}]
    expected = {1: (21.0, 1000), 2: (12.0, 1500), 3: (12.0, 1900)}
    for workers, (elapsed_s, peak_mb) in expected.items():
        suite = Suite(methods=methods, backbone="scattering", executor={"workers": workers})
        found = dry_run(suite, [make_loco_class()], tmp_path / "out")
        assert (found.elapsed_s, found.work_s, found.peak_mb) == (elapsed_s, 21.0, peak_mb)


def test_durations_have_a_suitable_unit() -> None:
    assert [duration(s) for s in (0.4, 89, 90, 5400, 200_000)] == [
        *("0 s", "89 s", "2 min", "1.5 h", "2.3 days"),
    ]


STEPS = st.lists(
    st.fixed_dictionaries(
        {
            "maps": st.booleans(),
            "input_size_px": st.sampled_from([32, 48]),
            "retry_failed": st.booleans(),
            "fault": st.booleans(),
            "damage": st.sampled_from(["", "", "result.json", "maps"]),
        }
    ),
    min_size=2,
    max_size=5,
)


@settings(
    max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(steps=STEPS)
def test_a_run_does_with_each_cell_what_the_dry_run_before_it_says(
    steps: list[dict[str, Any]],
    tmp_path_factory: pytest.TempPathFactory,
    make_loco_class: Make,
    make_suite: MakeSuite,
) -> None:
    folder = tmp_path_factory.mktemp("steps")
    data, out, fault = make_loco_class(root=folder), folder / "out", folder / "fault"

    def written(cell: Cell) -> tuple[tuple[str, int] | None, ...]:
        """What the files that end a cell and its maps hold, and their inodes; None if absent."""
        paths = (cell.folder(out) / "result.json", cell.maps_folder(out) / MAPS_FILE)
        return tuple(
            (path.read_text(), path.stat().st_ino) if path.is_file() else None for path in paths
        )

    for step in steps:
        chosen = {name: step[name] for name in ("maps", "input_size_px")}
        suite = make_suite("a", "b", overrides={"a": {"fault": str(fault)}}, **chosen)
        if step["fault"]:
            fault.write_text("crash")
        else:
            fault.unlink(missing_ok=True)
        if step["damage"] == "maps":
            shutil.rmtree(Cell("b", "plate", 0).maps_folder(out), ignore_errors=True)
        elif step["damage"] and Cell("b", "plate", 0).folder(out).is_dir():
            (Cell("b", "plate", 0).folder(out) / step["damage"]).write_text("[" * 5000)
        planned = dry_run(suite, [data], out, retry_failed=step["retry_failed"])
        before = {one.cell: written(one.cell) for one in planned.forecasts}
        report = run(suite, [data], out, retry_failed=step["retry_failed"])
        records = {record.cell: record for record in report.records}
        for one in planned.forecasts:
            (result, maps), (result_now, maps_now) = before[one.cell], written(one.cell)
            if result_now != result:
                done = "run"
            elif records[one.cell].status == "failed":
                done = "failed"
            else:
                done = "maps" if maps_now != maps else "reuse"
            assert one.plan.action == done, (steps, one.cell)


@pytest.mark.parametrize("content", ["[" * 5000, "9" * 5000, "[]", '{"key": 1e999}', ""])
def test_files_of_a_run_that_cannot_be_read_count_as_absent(
    tmp_path: Path, make_loco_class: Make, make_suite: MakeSuite, content: str
) -> None:
    data, out = make_loco_class(), tmp_path / "runs" / "out"
    run(make_suite(), [data], out)
    cell = Cell("bright", "plate", 0).folder(out)
    for path in (out / "run.json", out / "data_hashes.json", cell / "result.json"):
        path.write_text(content)
    (planned,) = dry_run(make_suite(), [data], out).forecasts
    assert planned.plan.action == "run"
    assert run(make_suite(), [data], out).exit_code == 0
    assert run(make_suite(), [data], out).reused == 1
