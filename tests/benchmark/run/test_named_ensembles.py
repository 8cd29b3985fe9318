"""Ensembles by name in a run: what they share, what they are made of, what stops them early."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from loco_tools.benchmark.cell import hashes
from loco_tools.benchmark.run.runner import RunReport, run
from loco_tools.benchmark.suite import Suite
from loco_tools.errors import MethodError

Make = Callable[..., Path]
MakeSuite = Callable[..., Suite]
Fits = Callable[[], int]


def with_ensembles(suite: Suite, *entries: str | dict[str, Any]) -> Suite:
    """The suite with further lines; few synthetic anomalies, so that they take no time."""
    few = {"synthetic": 14, "patches": 1000}
    lines = [{"name": entry} if isinstance(entry, str) else entry for entry in entries]
    lines = [line | {"overrides": few | line.get("overrides", {})} for line in lines]
    return Suite.model_validate(
        suite.model_dump(by_alias=True)
        | {"methods": [*suite.model_dump(by_alias=True)["methods"], *lines]}
    )


def outcome(report: RunReport) -> list[tuple[str, str]]:
    return [(record.stamp.method, record.error or record.status) for record in report.records]


def test_several_ensembles_share_members_that_are_fitted_once(
    tmp_path: Path, make_loco_class: Make, make_suite: MakeSuite, fits: Fits
) -> None:
    own = {"name": "ensemble-max", "label": "mine", "overrides": {"calibrator": "beta"}}
    suite = with_ensembles(make_suite("a", "b"), "ensemble-mean", "ensemble-stack", own)
    out, data = tmp_path / "out", make_loco_class()
    report = run(suite, [data], out)
    titles = ("a", "b", "ensemble-mean", "ensemble-stack", "mine")
    assert outcome(report) == [(title, "ok") for title in titles]
    assert fits() == 2
    assert report.records[4].config["combiner"] == "max"
    assert report.records[4].config["calibrator"] == "beta"
    assert (run(suite, [data], out).reused, fits()) == (5, 2)


def test_another_ensemble_under_the_same_label_is_another_cell(
    tmp_path: Path, make_loco_class: Make, make_suite: MakeSuite
) -> None:
    out, data = tmp_path / "out", make_loco_class()
    for name in ("ensemble-mean", "ensemble-max"):
        suite = with_ensembles(make_suite("a"), {"name": name, "label": "mine"})
        report = run(suite, [data], out)
    assert report.reused == 1
    assert report.records[1].stamp.overrides["combiner"] == "max"


def test_bags_are_fitted_in_addition_to_the_members(
    tmp_path: Path, make_loco_class: Make, make_suite: MakeSuite, fits: Fits
) -> None:
    bag = {"name": "ensemble-bag", "overrides": {"bags": 2}}
    report = run(with_ensembles(make_suite("a", "b"), bag), [make_loco_class()], tmp_path / "out")
    assert outcome(report)[-1] == ("ensemble-bag", "ok")
    assert fits() == 2 + 2 * 2


def test_a_finished_ensemble_is_loaded_where_only_its_maps_are_missing(
    tmp_path: Path, make_loco_class: Make
) -> None:
    small = {"size_px": 64, "pretrain_dim": 16, "target_dim": 16}
    patchcore = Suite(methods=[{"name": "patchcore", "overrides": small}], backbone="scattering")
    suite = with_ensembles(patchcore, "ensemble-stack")
    out, data = tmp_path / "out", make_loco_class(size=(64, 96))
    before = run(suite, [data], out).records[1]
    after = run(suite.model_copy(update={"maps": True}), [data], out).records[1]
    assert after.cost is not None
    assert before.cost is not None
    assert after.cost.fit_s == before.cost.fit_s
    assert after.figures == before.figures
    assert list((out / "maps" / "ensemble-stack").rglob("*.tiff"))


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("ensemble-mediann", 'unknown method "ensemble-mediann"; did you mean "ensemble-median"'),
        (
            {"name": "ensemble-mean", "overrides": {"calibrater": "platt"}},
            'ensemble "ensemble-mean": .* calibrater; did you mean "calibrator"',
        ),
        (
            {"name": "ensemble-cawpe", "label": "mine", "overrides": {"calibrator": "z_score"}},
            'ensemble "mine": .*"cawpe" weights probabilities, which calibrator "z_score" does not',
        ),
        (
            {"name": "ensemble", "overrides": {"cuts": {"a": "gray"}}},
            'ensemble "ensemble": .* has no cut "gray"; did you mean "grey"',
        ),
        (
            {"name": "ensemble", "overrides": {"cuts": {"b": "grey"}}},
            'cuts names "b", which is no member; members: a',
        ),
        (
            {"name": "ensemble-stack", "overrides": {"families": ["stains"]}},
            'unknown family "stains"; did you mean "stain"',
        ),
    ],
)
def test_a_wrong_ensemble_is_an_error_before_anything_is_fitted(
    tmp_path: Path,
    make_suite: MakeSuite,
    fits: Fits,
    entry: str | dict[str, Any],
    message: str,
) -> None:
    lines = [{"name": entry} if isinstance(entry, str) else entry]
    suite = make_suite("a")
    suite = Suite.model_validate(
        suite.model_dump(by_alias=True)
        | {"methods": [*suite.model_dump(by_alias=True)["methods"], *lines]}
    )
    with pytest.raises(MethodError, match=message):
        run(suite, [tmp_path / "plate"], tmp_path / "out")
    assert fits() == 0


def test_the_code_of_ensembles_is_not_behind_single_methods(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: set[str] = set()
    real = hashes._source_file
    monkeypatch.setattr(hashes, "_source_file", lambda m: seen.add(m) or real(m))  # type: ignore[func-returns-value]
    hashes.code_behind("patchcore")
    assert "loco_tools.synthesis.families" in seen
    assert not any(m.startswith("loco_tools.ensembles") for m in seen)
    hashes.code_behind("ensemble-mean")
    assert "loco_tools.ensembles.output_level.learned_combiners" in seen
    assert "loco_tools.ensembles.feature_level.ensemble" not in seen
