"""A shipped detector takes its file, its line in `METHODS` and its row in the conformance suite."""

from collections.abc import Callable
from pathlib import Path

import pytest

from loco_tools.benchmark.run.runner import run
from loco_tools.benchmark.suite import Suite, load_suite
from loco_tools.datasets import find_classes
from loco_tools.errors import MethodError
from loco_tools.methods import METHODS, create, describe_methods, load_detector, method_class

SOURCE = '''
"""A module of one detector."""

from loco_tools.methods.patchcore import PatchCore


class Brand(PatchCore):
    """Brand: the newest detector."""

    name = "brand"
    category = "density"
'''


@pytest.fixture
def brand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a method that has its file and its line in `METHODS`, and nothing else."""
    (tmp_path / "modules").mkdir()
    (tmp_path / "modules" / "brand_of_today.py").write_text(SOURCE, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path / "modules")
    monkeypatch.setitem(METHODS, "brand", "brand_of_today:Brand")
    return "brand"


def test_a_new_line_in_the_table_appears_in_lists_suites_and_suggestions(brand: str) -> None:
    assert ("brand", "Brand: the newest detector.") in describe_methods()
    for name in ("results", "study-loco", "study-ad"):
        assert brand in [entry.name for entry in load_suite(name).entries()]
    with pytest.raises(MethodError, match='did you mean "brand"'):
        method_class("brant")
    with pytest.raises(MethodError, match="expected a backbone, got none"):
        create(brand, backbone=None)


def test_a_new_line_in_the_table_runs_is_reported_by_its_category_and_loads(
    brand: str, make_loco_class: Callable[..., Path], tmp_path: Path
) -> None:
    data = make_loco_class().parent
    suite = Suite(
        methods=[brand, "patchcore", {"name": "ensemble-mean", "overrides": {"synthetic": 14}}],
        backbone="scattering",
        input_size_px=32,
        preset="fast",
        executor={"workers": 0},  # in this process, whose table has the method
    )
    out = tmp_path / "out"
    report = run(suite, find_classes(data), out)
    assert [record.status for record in report.records] == ["ok"] * 3, report.failures
    categories = {record.stamp.method: record.category for record in report.records}
    assert categories == {
        "brand": "density",
        "patchcore": "memory bank",
        "ensemble-mean": "ensemble",
    }
    (model,) = [path.parent for path in out.rglob("detector.json") if "/brand/" in path.as_posix()]
    assert load_detector(model, device="cpu").name == "brand"
