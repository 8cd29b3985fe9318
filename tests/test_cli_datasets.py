import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import loco_tools
from loco_tools import cli
from loco_tools.datasets.maps import map_path, write_map

MakeClass = Callable[..., Path]


def write_maps(class_folder: Path, root: Path) -> Path:
    """Maps that light up the defects of every test image, with noise."""
    rng = np.random.default_rng(0)
    for sample in loco_tools.load(class_folder).test:
        noise = rng.random(sample.size).astype(np.float32)
        write_map(map_path(root / sample.class_name, sample), noise + sample.ground_truth())
    return root / class_folder.name


def test_evaluate_writes_the_official_keys_and_prints_tables(
    make_loco_class: MakeClass, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plate = make_loco_class()
    maps, figures = write_maps(plate, tmp_path / "maps"), tmp_path / "metrics.json"

    assert cli.run(["evaluate", str(maps), "--data", str(plate), "--json", str(figures)]) == 0

    metrics = json.loads(figures.read_text())
    assert metrics["localization"]["auc_spro"]["mean"]["0.05"] == pytest.approx(1, abs=1e-6)
    assert metrics["classification"]["auc_roc"]["logical_anomalies"] == 1
    printed = capsys.readouterr().out
    assert "AU-sPRO by false positive rate limit" in printed
    assert "missing_hole" in printed


def test_evaluate_prints_mvtec_ad_classes_too(
    make_ad_class: MakeClass, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bottle = make_ad_class()
    maps = write_maps(bottle, tmp_path / "maps")
    assert cli.run(["evaluate", str(maps), "--data", str(bottle), "--bootstrap", "0"]) == 0
    printed = capsys.readouterr().out
    assert "AU-PRO 0.3" in printed
    assert "scratch2" in printed


def test_evaluate_refuses_the_maps_of_another_class(
    make_loco_class: MakeClass, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plate = make_loco_class()
    maps = write_maps(plate, tmp_path / "maps")
    record = maps / "maps.json"
    command = ["evaluate", str(maps), "--data", str(plate), "--bootstrap", "0", "--json"]

    record.write_text('{"schema_version": 1, "key": "", "class_name": "second", "maps": 7}')
    assert cli.run(command) == 1
    error = json.loads(capsys.readouterr().out)["error"]
    assert error["type"] == "DatasetError"
    assert f"{record}: these are the maps of class second; expected plate; next" in error["message"]

    for accepted in ('{"class_name": "plate"}', '{"class_name": null}', '{"key": ""}', "[", "[1]"):
        record.write_text(accepted)
        assert cli.run(command) == 0, accepted


def test_validate_ends_with_0_on_a_sound_class_and_1_on_a_faulty_one(
    make_loco_class: MakeClass, capsys: pytest.CaptureFixture[str]
) -> None:
    plate = make_loco_class()
    assert cli.run(["validate", str(plate)]) == 0
    (plate / "ground_truth" / "logical_anomalies" / "001" / "000.png").unlink()
    (plate / "ground_truth" / "logical_anomalies" / "001" / "001.png").unlink()
    capsys.readouterr()

    assert cli.run(["validate", str(plate), "--json"]) == 1

    found = json.loads(capsys.readouterr().out)
    assert found["errors"] == 1
    assert found["findings"][0]["code"] == "image_without_mask"
    assert found["findings"][0]["mend"]


def test_show_draws_a_sheet_and_points_to_validate_when_the_class_is_broken(
    make_ad_class: MakeClass, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bottle, out = make_ad_class(), tmp_path / "sheets"
    assert cli.run(["show", str(bottle), "--out", str(out)]) == 0
    assert "mvtec_ad" in capsys.readouterr().out
    assert {path.name for path in out.iterdir()} == {"bottle.png", "bottle.html"}

    (bottle / "ground_truth" / "crack" / "000_mask.png").unlink()
    assert cli.run(["show", str(bottle), "--out", str(out)]) == 1
    assert f"loco-tools validate {bottle}" in capsys.readouterr().err


def test_export_lists_what_is_lost_and_card_writes_the_card(
    make_loco_class: MakeClass, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plate, exported = make_loco_class(), tmp_path / "exported" / "plate"
    assert cli.run(["export", str(plate), "--to", "ad", "--out", str(exported)]) == 0
    assert "saturation" in capsys.readouterr().out
    assert loco_tools.load(exported).layout == "mvtec_ad"

    card = tmp_path / "card.md"
    assert cli.run(["card", str(plate), "--out", str(card)]) == 0
    assert "`missing_hole`" in card.read_text()
