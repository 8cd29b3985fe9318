"""Names of ensembles: each can be built, and is what its name says."""

import pytest

from loco_tools.ensembles import ENSEMBLES, create_ensemble, ensemble_class
from loco_tools.errors import MethodError
from loco_tools.methods import create
from loco_tools.methods.backbones import named_backbone


@pytest.mark.parametrize("name", ENSEMBLES)
@pytest.mark.parametrize("preset", ["paper", "fast"])
def test_every_name_can_be_built_over_members_that_are_not_fitted_yet(
    name: str, preset: str
) -> None:
    members = {"patchcore": create("patchcore", backbone=named_backbone("scattering"))}
    ensemble = create_ensemble(members, name, preset=preset)
    settings = ensemble.config.model_dump()
    assert {key: settings[key] for key in ENSEMBLES[name].overrides} == ENSEMBLES[name].overrides


def test_saved_ensembles_are_known_by_the_name_that_their_class_has() -> None:
    for name in ENSEMBLES:
        found = ensemble_class(name)
        assert ensemble_class(found.name) is found


def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(MethodError, match='"ensemble-maxx"; did you mean "ensemble-max"'):
        ensemble_class("ensemble-maxx")
