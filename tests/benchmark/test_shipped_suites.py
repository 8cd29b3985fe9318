import json
from collections.abc import Callable
from pathlib import Path

import pytest

from loco_tools import cli
from loco_tools.benchmark.cell.record import Cell
from loco_tools.benchmark.run.runner import run
from loco_tools.benchmark.suite import Suite, load_suite, with_settings
from loco_tools.datasets import find_classes
from loco_tools.methods import METHODS, method_class

Make = Callable[..., Path]

LOCO = ("breakfast_box", "juice_bottle", "pushpins", "screw_bag", "splicing_connectors")
SHAPES = ((40, 50), (80, 40), (50, 85), (44, 64), (34, 68))
"""The official images' (H, W), a thirtieth or a twentieth as large."""
THESIS = ("mean", "weighted", "vote", "stack", "forest", "boost", "bag", "cawpe")


@pytest.fixture
def loco(tmp_path: Path, make_loco_class: Make) -> Path:
    """A folder with the five classes of MVTec LOCO AD, tiny."""
    for name, shape in zip(LOCO, SHAPES, strict=True):
        make_loco_class(name, root=tmp_path / "loco", size=shape)
    return tmp_path / "loco"


def lines(suite: Suite, *names: str) -> Suite:
    """Some lines of a suite."""
    kept = tuple(entry for entry in suite.entries() if entry.name in names)
    return suite.model_copy(update={"methods": kept})


@pytest.mark.parametrize("name", ["study-loco", "study-ad"])
def test_a_study_has_every_method_as_published_and_every_ensemble_of_the_thesis(name: str) -> None:
    suite = load_suite(name)
    single = {entry.implementation: entry for entry in suite.entries() if not entry.is_ensemble}
    assert set(single) == set(METHODS)
    assert (suite.preset, suite.backbone, suite.input_size_px) == ("paper", None, None)
    assert not any(entry.overrides or entry.preset for entry in single.values())
    published = {"csflow": "efficientnet_b5", "ast": "efficientnet_b5"}
    for method in METHODS:
        assert method_class(method).default_backbone == published.get(method, "wide_resnet50_2")
    keeping = {
        entry.implementation for entry in single.values() if suite.resize_of(entry) == "keep"
    }
    assert keeping == {"patchcore", "simplenet"}
    names = {entry.implementation for entry in suite.entries()}
    assert {"ensemble", *(f"ensemble-{one}" for one in THESIS)} <= names
    assert suite.seeds == (0, 1, 2)


def test_the_two_studies_differ_in_their_classes_alone() -> None:
    loco, ad = load_suite("study-loco"), load_suite("study-ad")
    same = {"name": "", "about": "", "classes": ()}
    assert loco.model_copy(update=same) == ad.model_copy(update=same)
    assert set(loco.classes) == set(LOCO)
    assert len(ad.classes) == 15


def test_a_study_runs_where_the_five_classes_lie(tmp_path: Path, loco: Path) -> None:
    suite = lines(load_suite("study-loco"), "patchcore", "rd4ad", "ensemble-mean")
    settings = {
        "rd4ad.steps": 2,
        "rd4ad.bottleneck_blocks": 1,
        "rd4ad.decoder_blocks": [1, 1, 1],
    }
    tiny = {"backbone": "scattering", "input_size_px": 64, "seeds": (0,), "preset": "fast"}
    members = tuple(
        entry.model_copy(update={"members": ("patchcore", "rd4ad")}) if entry.is_ensemble else entry
        for entry in suite.methods
    )
    suite = with_settings(suite.model_copy(update=tiny | {"methods": members}), settings)
    one = suite.model_copy(update={"classes": ("juice_bottle",)})
    out = tmp_path / "out"
    report = run(one, find_classes(loco), out)
    assert [record.status for record in report.records] == ["ok"] * 3, report.failures
    models = {
        method: Cell(method, "juice_bottle", 0).folder(out) / "model"
        for method in ("patchcore", "rd4ad", "ensemble-mean")
    }
    sizes = {
        method: json.loads((folder / "detector.json").read_text())["input_size"]
        for method, folder in models.items()
    }
    assert sizes["patchcore"] == [128, 64], "the shorter side, with the bottle's shape"
    assert sizes["rd4ad"] == [64, 64], "a square"
    tensors = models["ensemble-mean"] / "members" / "1" / "detector.safetensors"
    own = models["rd4ad"] / "detector.safetensors"
    assert tensors.samefile(own), "members lie on the disk once"


def test_classes_that_a_suite_asks_for_and_the_folder_lacks_are_all_named(
    tmp_path: Path, make_loco_class: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "loco"
    for name in LOCO[2:]:
        make_loco_class(name, root=root)
    arguments = ["bench", "--suite", "study-loco", "--data", str(root), "--backbone", "scattering"]
    assert cli.run([*arguments, "--out", str(tmp_path / "out")]) == 1
    message = capsys.readouterr().err
    assert 'unknown class "breakfast_box", "juice_bottle"; ' in message
    assert "known: pushpins, screw_bag, splicing_connectors" in message
    assert "next step: name the folder of all classes with --data, or select some" in message
    assert not (tmp_path / "out" / "cells").exists()


def test_square_and_rectangular_lines_differ_in_shape_alone() -> None:
    suite = load_suite("square-vs-rectangular")
    shapes: dict[str, set[str]] = {}
    for entry in suite.entries():
        if not entry.is_ensemble:
            shapes.setdefault(entry.implementation, set()).add(suite.resize_of(entry))
            assert not entry.overrides
            assert suite.size_of(entry) == suite.input_size_px
    assert all({"square", "area"} <= found for found in shapes.values())
    pairs = [entry.members for entry in suite.entries() if entry.is_ensemble]
    assert [{member.rpartition("-")[2] for member in pair} for pair in pairs] == [
        {"square"},
        {"area"},
    ]
