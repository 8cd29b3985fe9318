import json
from pathlib import Path
from typing import Any

import pytest
from finished_runs import make_run

from loco_tools.benchmark.analysis import published
from loco_tools.benchmark.analysis.published import compare_with_published, read_published
from loco_tools.benchmark.analysis.run_data import ReportData, gather
from loco_tools.benchmark.report.published_section import published as table_of
from loco_tools.errors import DefinitionError

SCORES = [0.1] * 8 + [0.9] * 8


def run_of(
    out: Path, classes: list[str], *, counts: dict[str, tuple[int, int]] | None = None
) -> ReportData:
    """A run of PatchCore whose classes have the official numbers of test images, or others."""
    official = read_published().classes["mvtec_loco"]
    make_run(
        out, [{"method": "patchcore", "class_name": name, "scores": SCORES} for name in classes]
    )
    for name in classes:
        path = out / "cells" / "patchcore" / name / "0" / "result.json"
        record: dict[str, Any] = json.loads(path.read_text())
        good, anomalous = (counts or official).get(name, (5, 5))
        record["counts"] = {"train": 9, "test/good": good, "test/logical_anomalies": anomalous}
        path.write_text(json.dumps(record))
    return gather(out)


def test_every_published_figure_has_a_source_and_fits() -> None:
    found = read_published()
    assert len(found.classes["mvtec_loco"]) == 5
    assert len(found.classes["mvtec_ad"]) == 15
    loco = [one for one in found.figures if one.dataset == "mvtec_loco"]
    values = {(f.method, f.class_name, f.figure): f.value for f in loco}
    assert len(values) == len(loco), "none stands there twice"
    assert values["GCAD", "pushpins", "image_auroc_logical"] == 97.5
    assert values["PatchCore", "", "image_auroc_structural"] == 89.3
    assert values["SPADE", "", "au_spro"] == 45.1
    assert all(one.source.strip() for one in found.figures)


def test_figures_of_a_class_stand_beside_ours_and_means_only_with_all_classes(
    tmp_path: Path,
) -> None:
    few = compare_with_published(
        run_of(tmp_path / "few", ["screw_bag", "pushpins"]), read_published()
    )
    assert {one.published.class_name for one in few} == {"screw_bag", "pushpins"}
    same = [one for one in few if one.ours]
    assert {(one.published.method, one.published.value) for one in same} == {
        ("PatchCore", 57.8),
        ("PatchCore", 63.6),
    }
    every = list(read_published().classes["mvtec_loco"])
    data = run_of(tmp_path / "all", every)
    all_of_them = compare_with_published(data, read_published())
    assert "SALAD" in {one.published.method for one in all_of_them}
    assert not any(one.published.dataset == "mvtec_ad" for one in all_of_them)
    table = table_of(data)
    assert table is not None
    rows = {(row.cells[3].text, row.cells[2].text): row for row in table.rows}
    row = rows["PatchCore", "AUROC structural"]
    assert [cell.figure() for cell in row.cells[4:7]] in (
        ["89.3", "100.0", "+10.7"],
        ["63.6", "100.0", "+36.4"],
    )
    assert row.cells[7].text == "patchcore: preset fast, none, ? px"


def test_a_class_that_only_shares_its_name_is_not_taken_for_the_official_one(
    tmp_path: Path,
) -> None:
    data = run_of(tmp_path, ["screw_bag"], counts={"screw_bag": (8, 8)})
    assert compare_with_published(data, read_published()) == []
    assert table_of(data) is None


def test_a_figure_that_does_not_exist_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "benchmark").mkdir()
    (tmp_path / "benchmark" / "published.toml").write_text(
        'schema_version = 1\nfigures = [{ dataset = "mvtec_ad", method = "X", figure = "auroc", '
        'value = 99, source = "s" }]\n[classes.mvtec_ad]\nbottle = [20, 63]\n'
    )
    monkeypatch.setattr(published, "shipped_root", lambda: tmp_path)
    with pytest.raises(DefinitionError, match="expected the name of a metric"):
        read_published()
