from collections.abc import Callable
from pathlib import Path

import pytest

from loco_tools.benchmark.executor_settings import LocalSettings
from loco_tools.benchmark.run.bench import bench, make_suite
from loco_tools.benchmark.suite import Suite
from loco_tools.errors import BenchmarkError, DatasetError, DefinitionError

Make = Callable[..., Path]

STUB = "stub_detectors:Brightness"


def test_one_call_compares_methods_and_leaves_results_and_finished_cells(
    tmp_path: Path, make_loco_class: Make
) -> None:
    data, out = make_loco_class(), tmp_path / "out"

    def compare() -> tuple[int, int]:
        report = bench(
            data,
            [STUB],
            out=out,
            seeds=[0, 1],
            backbone="scattering",
            settings={f"{STUB}.size_px": 48},
            executor=LocalSettings(workers=0),
        )
        assert [record.stamp.overrides for record in report.records] == [{"size_px": 48}] * 2
        assert report.results_csv.is_file()
        return report.failed, report.reused

    assert compare() == (0, 0)
    assert compare() == (0, 2)


def test_a_folder_of_classes_stands_for_all_of_them_and_a_name_selects_one(
    tmp_path: Path, make_loco_class: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("first", "second"):
        make_loco_class(name, root=tmp_path / "data")
    monkeypatch.chdir(tmp_path)
    report = bench(
        methods=[STUB], classes=["second"], backbone="scattering", executor={"workers": 0}
    )
    assert [record.stamp.class_name for record in report.records] == ["second"]
    assert report.out == Path("runs/bench")


def test_options_replace_those_of_a_suite_and_none_keeps_them() -> None:
    suite = Suite(methods=["patchcore"], seeds=(3,), input_size_px=64, maps=True)
    options = {"seeds": [1, 2], "input_size_px": None, "maps": None}
    changed = make_suite(None, suite, options, executor={"workers": 2}, origin="test")
    assert (changed.seeds, changed.input_size_px, changed.maps) == ((1, 2), 64, True)
    assert changed.executor == LocalSettings(workers=2)


def test_unusable_options_are_refused_with_a_reason(
    tmp_path: Path, make_loco_class: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DatasetError, match="in the folder data, got no such folder"):
        bench(methods=["patchcore"])
    data = make_loco_class()
    with pytest.raises(BenchmarkError, match="expected methods or a suite, got both or neither"):
        bench(data)
    with pytest.raises(DefinitionError, match="bench: preset: input should be 'fast' or 'paper'"):
        bench(data, ["patchcore"], preset="slow")  # type: ignore[arg-type]
