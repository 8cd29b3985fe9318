import csv
import errno
import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import threadpoolctl
import tifffile
import torch
from stub_detectors import Brightness

from loco_tools.benchmark.cell.failures import explain_full_disk
from loco_tools.benchmark.cell.record import Cell, read_record, read_scores
from loco_tools.benchmark.run import planning
from loco_tools.benchmark.run.runner import run
from loco_tools.benchmark.suite import Suite
from loco_tools.errors import BenchmarkError, DefinitionError, MethodError
from loco_tools.lock import held

Make = Callable[..., Path]
MakeSuite = Callable[..., Suite]
Fits = Callable[[], int]


def rows(out: Path) -> list[dict[str, str]]:
    with (out / "results.csv").open(newline="") as stream:
        return list(csv.DictReader(stream))


def leftovers(out: Path) -> list[Path]:
    return [path for path in out.rglob(".*") if path.name != ".lock"]


def test_a_run_fills_every_cell_and_writes_one_row_for_each(
    tmp_path: Path, make_loco_class: Make, make_ad_class: Make, make_suite: MakeSuite, fits: Fits
) -> None:
    out = tmp_path / "out"
    report = run(make_suite("a", "b", seeds=[0, 1]), [make_loco_class(), make_ad_class()], out)
    assert (report.exit_code, report.reused, fits()) == (0, 0, 8)
    found = rows(out)
    assert [(row["method"], row["class"], row["seed"]) for row in found][:4] == [
        ("a", "plate", "0"),
        ("b", "plate", "0"),
        ("a", "plate", "1"),
        ("b", "plate", "1"),
    ]
    loco, ad = found[0], found[4]
    assert loco["image_auroc_mean"] == "1.000000", "the defects are the brightest spots"
    assert loco["au_spro_0.05"]
    assert ad["au_spro_0.05"] == ""
    assert ad["au_pro_0.3"]
    assert ad["image_auroc_logical"] == ""
    cell = out / "cells" / "a" / "plate" / "0"
    assert sorted(path.name for path in cell.iterdir()) == [
        *("curves.json", "model", "result.json", "scores.csv", "thumbnails.npz"),
        "validation_scores.csv",
    ]
    assert len(read_scores(cell / "scores.csv")) == 7
    assert not leftovers(out)


def test_two_runs_in_one_folder_at_once_are_refused(
    tmp_path: Path, make_loco_class: Make, make_suite: MakeSuite, fits: Fits
) -> None:
    out = tmp_path / "out"
    with (
        held(out, BenchmarkError, "wait"),
        pytest.raises(BenchmarkError, match=r"is being written by process .* another folder"),
    ):
        run(make_suite("a"), [make_loco_class()], out)
    assert fits() == 0
    assert not (out / "run.json").exists()
    assert run(make_suite("a"), [make_loco_class()], out).exit_code == 0


def test_the_columns_that_others_rely_on_come_first(
    tmp_path: Path, make_loco_class: Make, make_suite: MakeSuite
) -> None:
    out = tmp_path / "out"
    run(make_suite(), [make_loco_class()], out)
    header = (out / "results.csv").read_text().splitlines()[0]
    assert header.startswith(
        "method,class,seed,backbone,preset,status,image_auroc_mean,image_auroc_logical,"
        "image_auroc_structural,image_auroc_pooled,pixel_auroc,au_pro_0.3,au_spro_0.05,fit_s,"
        "ms_per_image,peak_mb,"
    )
    row = rows(out)[0]
    assert (row["status"], row["backbone"], row["weights"]) == ("ok", "scattering", "none")
    assert row["selection"] == "last"
    assert float(row["peak_mb"]) > 50
    assert float(row["ms_per_image"]) > 0


def test_a_second_run_reuses_every_finished_cell(
    tmp_path: Path, make_loco_class: Make, make_suite: MakeSuite, fits: Fits
) -> None:
    data, out = make_loco_class(), tmp_path / "out"
    first = run(make_suite("a", "b"), [data], out)
    second = run(make_suite("a", "b"), [data], out)
    assert (second.reused, fits()) == (2, 2)
    assert second.records == first.records


def test_other_data_or_settings_make_a_cell_run_again(
    tmp_path: Path, make_loco_class: Make, make_suite: MakeSuite, fits: Fits
) -> None:
    data, out = make_loco_class(), tmp_path / "out"
    run(make_suite(), [data], out)
    run(make_suite(input_size_px=48), [data], out)
    assert fits() == 2
    (data / "train" / "good" / "003.png").unlink()
    run(make_suite(input_size_px=48), [data], out)
    assert fits() == 3


def test_two_images_that_changed_places_and_parts_that_were_merged_make_a_cell_run_again(
    tmp_path: Path, make_ad_class: Make, make_suite: MakeSuite, fits: Fits
) -> None:
    data, out = make_ad_class(suffix=".bmp"), tmp_path / "out"
    os.utime(data / "test" / "good" / "000.bmp", (0, 0))
    os.utime(data / "test" / "crack" / "000.bmp", (0, 0))
    run(make_suite(), [data], out)
    good, crack = data / "test" / "good" / "000.bmp", data / "test" / "crack" / "000.bmp"
    good.rename(data / "aside")
    crack.rename(good)
    (data / "aside").rename(crack)
    assert run(make_suite(), [data], out).reused == 0
    lines = [
        {"image": f"test/good/{number:03d}.bmp", "part": str(number), "view": "top"}
        for number in range(3)
    ]
    sidecar = data.with_name("bottle.jsonl")
    sidecar.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert run(make_suite(), [data], out).reused == 0
    lines[1] |= {"part": "0", "view": "side"}
    sidecar.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert run(make_suite(), [data], out).reused == 0
    assert run(make_suite(), [data], out).reused == 1
    assert fits() == 4


def test_the_shape_of_the_input_is_in_the_stamp_of_its_line_and_of_ensembles_of_it(
    tmp_path: Path, make_loco_class: Make, fits: Fits, make_suite: MakeSuite
) -> None:
    (line,) = make_suite().model_dump(by_alias=True)["methods"]
    lines = [line | {"label": shape, "resize": shape} for shape in ("square", "area")]
    both = {"name": "ensemble-mean", "members": ["square", "area"]}
    one = {"name": "ensemble-mean", "label": "ensemble-area", "members": ["area"]}
    suite = Suite(methods=[*lines, both, one], backbone="scattering", input_size_px=64)
    data, out = make_loco_class(size=(32, 96)), tmp_path / "out"
    run(suite, [data], out)
    found = {row["method"]: row["resize"] for row in rows(out)}
    assert found == {
        "square": "square",
        "area": "area",
        "ensemble-mean": "area+square",
        "ensemble-area": "area",
    }
    sizes = [
        json.loads((out / "cells" / shape / "plate" / "0" / "model" / "detector.json").read_text())
        for shape in ("square", "area")
    ]
    assert [one["input_size"] for one in sizes] == [[64, 64], [32, 112]]
    square = lines[0] | {"label": "area", "resize": "square"}
    run(Suite(methods=[square], backbone="scattering", input_size_px=64), [data], out)
    assert fits() == 3, "another shape is another cell"


def test_a_failed_cell_is_a_row_and_the_run_goes_on_and_it_is_repeated_only_when_asked(
    tmp_path: Path, make_loco_class: Make, make_suite: MakeSuite, fits: Fits
) -> None:
    fault, data, out = tmp_path / "fault", make_loco_class(), tmp_path / "out"
    suite = make_suite("a", "b", overrides={"a": {"fault": str(fault)}})
    fault.write_text("crash")
    report = run(suite, [data], out)
    assert (report.exit_code, report.failed) == (1, 1)
    assert [row["status"] for row in rows(out)] == ["failed", "ok"]
    assert re.fullmatch(
        r"RuntimeError: boom <b>crash</b> \(in stub_detectors, line \d+\); next step: read "
        r"traceback.txt in the cell's folder",
        rows(out)[0]["error"],
    )
    cell = out / "cells" / "a" / "plate" / "0"
    assert sorted(path.name for path in cell.iterdir()) == ["result.json", "traceback.txt"]
    fault.unlink()
    listed = run(suite, [data], out)
    assert (listed.exit_code, listed.reused, listed.kept, fits()) == (
        *(1, 1, {Cell("a", "plate", 0)}, 2),
    )
    again = run(suite, [data], out, retry_failed=True)
    assert (again.exit_code, again.reused, again.kept, fits()) == (0, 1, frozenset(), 3)
    assert not leftovers(out)


def test_a_failed_cell_whose_settings_have_changed_is_another_cell_and_runs(
    tmp_path: Path, make_loco_class: Make, make_suite: MakeSuite
) -> None:
    fault, data, out = tmp_path / "fault", make_loco_class(), tmp_path / "out"
    fault.write_text("crash")
    assert run(make_suite("a", overrides={"a": {"fault": str(fault)}}), [data], out).failed == 1
    assert run(make_suite("a"), [data], out).exit_code == 0


def test_an_interrupted_run_keeps_finished_cells_and_goes_on(
    tmp_path: Path, make_loco_class: Make, make_suite: MakeSuite, fits: Fits
) -> None:
    fault, data, out = tmp_path / "fault", make_loco_class(), tmp_path / "out"
    suite = make_suite("a", "b", overrides={"b": {"fault": str(fault)}})
    fault.write_text("interrupt")
    with pytest.raises(KeyboardInterrupt):
        run(suite, [data], out)
    assert [row["method"] for row in rows(out)] == ["a"]
    assert not (out / "cells" / "b" / "plate" / "0").exists()
    assert not leftovers(out)
    fault.unlink()
    assert run(suite, [data], out).reused == 1
    assert fits() == 3


def test_a_full_disk_ends_the_run_with_a_clear_message_and_nothing_half_written(
    tmp_path: Path, make_loco_class: Make, make_suite: MakeSuite
) -> None:
    fault, data, out = tmp_path / "fault", make_loco_class(), tmp_path / "out"
    suite = make_suite("a", "b", overrides={"b": {"fault": str(fault)}})
    fault.write_text("full")
    with pytest.raises(
        BenchmarkError, match=r"disk is full \(b on plate, seed 0.*finished cells are kept"
    ):
        run(suite, [data], out)
    assert [row["status"] for row in rows(out)] == ["ok"]
    assert not (out / "cells" / "b" / "plate" / "0").exists()
    assert not leftovers(out)


def test_a_full_disk_is_recognised_behind_other_errors_and_named(
    tmp_path: Path, make_loco_class: Make, make_suite: MakeSuite
) -> None:
    prepared = planning.prepare(make_suite(), [make_loco_class()], tmp_path / "out")
    (job,) = planning.jobs(prepared)
    hidden = ValueError("saving failed")
    hidden.__cause__ = RuntimeError("SafetensorError: Os { message: No space left on device }")
    assert "or that of temporary files" in explain_full_disk(hidden, job)
    named = OSError(errno.ENOSPC, "No space left on device", "/elsewhere/cache.bin")
    assert explain_full_disk(named, job).startswith("/elsewhere/cache.bin: the disk is full (")
    assert explain_full_disk(ValueError("other"), job) == ""


def test_a_damaged_image_fails_its_class_and_is_named(
    tmp_path: Path, make_loco_class: Make, make_suite: MakeSuite
) -> None:
    good, bad = make_loco_class("good"), make_loco_class("bad")
    image = bad / "train" / "good" / "001.png"
    image.write_bytes(image.read_bytes()[:200])
    report = run(make_suite(), [bad, good], tmp_path / "out")
    assert [record.status for record in report.records] == ["failed", "ok"]
    assert str(image) in report.failures[0].error
    assert "damaged" in report.failures[0].error


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"classes": ["plat"]}, BenchmarkError, 'unknown class "plat"; did you mean "plate"'),
        ({"methods": ["patchcor"]}, MethodError, 'method "patchcor"; did you mean "patchcore"'),
        ({"methods": ["no_such:Method"]}, MethodError, "cannot be imported"),
        ({"backbone": "scatering"}, MethodError, 'did you mean "scattering"'),
        ({"device": "tpu"}, MethodError, "tpu"),
        (
            {"methods": [{"name": "patchcore", "overrides": {"sise_px": 3}}]},
            DefinitionError,
            'did you mean "size_px"',
        ),
    ],
)
def test_unknown_names_are_errors_before_anything_is_fitted_or_written(
    tmp_path: Path,
    make_loco_class: Make,
    make_suite: MakeSuite,
    *,
    settings: dict[str, object],
    error: type[Exception],
    message: str,
) -> None:
    out = tmp_path / "out"
    with pytest.raises(error, match=message):
        run(make_suite(**settings), [make_loco_class()], out)
    assert not out.exists()


def test_no_class_and_two_of_one_name_are_refused(
    tmp_path: Path, make_loco_class: Make, make_suite: MakeSuite
) -> None:
    with pytest.raises(BenchmarkError, match=r"no dataset class; expected folders.*next step"):
        run(make_suite(), [], tmp_path / "out")
    twice = [make_loco_class(root=tmp_path / "a"), make_loco_class(root=tmp_path / "b")]
    with pytest.raises(BenchmarkError, match='two classes are named "plate"'):
        run(make_suite(), twice, tmp_path / "out")


def test_maps_are_kept_in_the_official_layout_and_made_without_fitting_again(
    tmp_path: Path, make_loco_class: Make, make_suite: MakeSuite, fits: Fits
) -> None:
    data, out = make_loco_class(), tmp_path / "out"
    run(make_suite(), [data], out)
    assert not (out / "maps").exists()
    report = run(make_suite(maps=True), [data], out)
    assert (report.reused, fits()) == (0, 1)
    maps = out / "maps" / "bright" / "0" / "plate" / "test"
    assert sorted(path.name for path in maps.iterdir()) == [
        *("good", "logical_anomalies", "structural_anomalies"),
    ]
    stored = tifffile.imread(maps / "good" / "000.tiff")
    assert (stored.shape, stored.dtype) == ((32, 48), "float32")
    assert run(make_suite(maps=True), [data], out).reused == 1


def test_a_class_without_a_validation_split_gets_one_from_training_images(
    tmp_path: Path, make_ad_class: Make, make_suite: MakeSuite
) -> None:
    report = run(make_suite(), [make_ad_class(train=10)], tmp_path / "out")
    assert report.records[0].counts["train"] == 9
    assert report.records[0].counts["validation"] == 1


def test_a_record_that_cannot_be_read_counts_as_none(
    tmp_path: Path, make_loco_class: Make, make_suite: MakeSuite, fits: Fits
) -> None:
    data, out = make_loco_class(), tmp_path / "out"
    run(make_suite(), [data], out)
    cell = Cell("bright", "plate", 0)
    (cell.folder(out) / "result.json").write_text("{")
    assert read_record(cell, out) is None
    run(make_suite(), [data], out)
    assert fits() == 2


def test_too_few_predictions_are_a_fault_and_not_a_shorter_test_set(
    tmp_path: Path,
    make_loco_class: Make,
    make_suite: MakeSuite,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("stub_detectors.Brightness.predict", lambda *_args, **_kw: iter(()))
    report = run(make_suite(), [make_loco_class()], tmp_path / "out")
    assert "expected 7 predictions, got only 0" in report.failures[0].error


def test_patchcore_simplenet_and_their_ensemble_run_from_end_to_end(
    tmp_path: Path, make_loco_class: Make
) -> None:
    small = {"size_px": 64}
    suite = Suite(
        methods=[
            {"name": "patchcore", "overrides": small},
            {"name": "simplenet", "overrides": small | {"steps": 3}},
            {"name": "ensemble", "overrides": {"steps": 3, "components": 8}},
        ],
        backbone="scattering",
        preset="fast",
    )
    out, data = tmp_path / "out", make_loco_class(size=(64, 96))
    report = run(suite, [data], out)
    assert [(r.stamp.method, r.status, r.error) for r in report.records] == [
        ("patchcore", "ok", ""),
        ("simplenet", "ok", ""),
        ("ensemble", "ok", ""),
    ]
    assert list(report.records[2].stamp.members) == ["patchcore", "simplenet"]
    assert run(suite, [data], out).reused == 3


def test_a_member_that_failed_fails_its_ensemble_with_the_reason(
    tmp_path: Path, make_loco_class: Make, make_suite: MakeSuite
) -> None:
    fault = tmp_path / "fault"
    fault.write_text("crash")
    stubs = make_suite("a", overrides={"a": {"fault": str(fault)}}).methods
    suite = Suite(methods=[*stubs, {"name": "ensemble"}], backbone="scattering")
    report = run(suite, [make_loco_class()], tmp_path / "out")
    assert report.failed == 2
    assert "member a on plate, seed 0 is not available" in report.failures[1].error
    assert "boom" in report.failures[1].error


def test_the_threads_of_a_cell_are_those_of_its_stamp_whatever_the_process_has(
    tmp_path: Path,
    make_loco_class: Make,
    make_suite: MakeSuite,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data, used = make_loco_class(), []
    fit = Brightness._fit

    def note_threads(*args: Any, **settings: Any) -> None:
        pools = {
            pool["num_threads"]
            for pool in threadpoolctl.threadpool_info()
            if "opencv" not in pool["filepath"]  # which has one thread however it is set
        }
        loaded_later = int(os.environ["OPENBLAS_NUM_THREADS"])
        used.append({torch.get_num_threads(), *pools, loaded_later})
        fit(*args, **settings)

    monkeypatch.setattr("stub_detectors.Brightness._fit", note_threads)
    outside = torch.get_num_threads()
    for threads in (1, 3):
        report = run(make_suite(threads=threads), [data], tmp_path / "out")
        assert (report.reused, report.records[0].stamp.threads) == (0, threads)
        assert rows(tmp_path / "out")[0]["threads"] == str(threads)
    assert used == [{1}, {3}]
    assert torch.get_num_threads() == outside
    assert planning.cell_threads(make_suite(), {}) == 2
    assert planning.cell_threads(make_suite(), {"OMP_NUM_THREADS": "5,2"}) == 5
    assert planning.cell_threads(make_suite(threads=4), {"OMP_NUM_THREADS": "5"}) == 4


def test_scores_of_a_trained_network_do_not_depend_on_the_threads_of_the_process(
    tmp_path: Path, make_loco_class: Make
) -> None:
    data, before, found = make_loco_class(size=(64, 96)), torch.get_num_threads(), []
    entry = {"name": "simplenet", "overrides": {"size_px": 64, "steps": 6}}
    suite = Suite.model_validate(
        {
            "methods": [entry],
            "backbone": "scattering",
            "preset": "fast",
            "threads": 1,
            "executor": {"workers": 0},
        }
    )
    for threads in (1, 2):
        torch.set_num_threads(threads)
        out = tmp_path / f"from {threads}"
        assert run(suite, [data], out).exit_code == 0
        found.append((Cell("simplenet", "plate", 0).folder(out) / "scores.csv").read_bytes())
    torch.set_num_threads(before)
    assert found[0] == found[1]


def test_methods_with_and_without_a_backbone_share_a_run(
    tmp_path: Path, make_loco_class: Make, make_suite: MakeSuite
) -> None:
    suite = Suite(
        methods=["stub_detectors:Brightness", {"name": "stub_detectors:Pixels"}],
        backbone="scattering",
    )
    assert run(suite, [make_loco_class()], tmp_path).exit_code == 0
    assert [row["backbone"] for row in rows(tmp_path)] == ["scattering", "none"]
    again = run(suite, [tmp_path / "data" / "plate"], tmp_path)
    assert again.reused == 2


def test_a_training_is_kept_in_a_folder_of_its_cell_until_it_is_finished(
    tmp_path: Path, make_loco_class: Make, make_suite: MakeSuite, monkeypatch: pytest.MonkeyPatch
) -> None:
    from stub_detectors import Brightness

    kept: list[Path] = []
    fit = Brightness.fit

    def spy(self: Brightness, *args: object, **named: object) -> Brightness:
        kept.append(Path(str(named["keep"])))
        return fit(self, *args, **named)

    monkeypatch.setattr(Brightness, "fit", spy)
    run(make_suite(), [make_loco_class()], tmp_path / "out")
    cell = tmp_path / "out" / "cells" / "bright" / "plate"
    assert kept[0].parent == cell
    assert kept[0].name.startswith(".0.")
