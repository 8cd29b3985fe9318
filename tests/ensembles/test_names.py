"""Names of ensembles: each can be built with the settings of its definition."""

import pytest

from loco_tools.ensembles import (
    ENSEMBLES,
    OUTPUT_LEVEL,
    EnsembleDefinition,
    create_ensemble,
    describe_ensembles,
    ensemble_class,
)
from loco_tools.errors import MethodError
from loco_tools.methods import create
from loco_tools.methods.backbones import named_backbone

NEW_SETTINGS = {"calibrator": "platt", "combiner": "median"}


@pytest.mark.parametrize("name", ENSEMBLES)
@pytest.mark.parametrize("preset", ["paper", "fast"])
def test_every_name_can_be_built_over_members_that_are_not_fitted_yet(
    name: str, preset: str
) -> None:
    members = {"patchcore": create("patchcore", backbone=named_backbone("scattering"))}
    ensemble = create_ensemble(members, name, preset=preset)
    settings = ensemble.config.model_dump()
    assert {key: settings[key] for key in ENSEMBLES[name].overrides} == ENSEMBLES[name].overrides


def test_every_name_has_one_line_of_description() -> None:
    described = dict(describe_ensembles())
    assert set(described) == set(ENSEMBLES)
    assert len(set(described.values())) == len(ENSEMBLES)
    for line in described.values():
        assert line.endswith(".")
        assert "\n" not in line
        assert len(line) < 100


def test_saved_ensembles_are_loaded_by_the_name_of_their_class() -> None:
    for name in ENSEMBLES:
        implementation = ensemble_class(name)
        assert ensemble_class(implementation.name) is implementation


def test_a_new_name_needs_one_line_in_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    definition = EnsembleDefinition(OUTPUT_LEVEL, "Median of Platt probabilities.", NEW_SETTINGS)
    monkeypatch.setitem(ENSEMBLES, "ensemble-platt-median", definition)
    members = {"patchcore": create("patchcore", backbone=named_backbone("scattering"))}
    ensemble = create_ensemble(members, "ensemble-platt-median")
    settings = ensemble.config.model_dump()
    assert {key: settings[key] for key in NEW_SETTINGS} == NEW_SETTINGS
    assert ("ensemble-platt-median", "Median of Platt probabilities.") in describe_ensembles()


def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(MethodError, match='"ensemble-maxx"; did you mean "ensemble-max"'):
        ensemble_class("ensemble-maxx")
