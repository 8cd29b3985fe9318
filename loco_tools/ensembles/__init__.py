"""Ensembles of fitted detectors, themselves detectors, by name.

`ENSEMBLES` says what each name stands for: a class and the settings that make it what it is.
Importing this module imports no torch; `ensemble_class` imports the one file it needs.
"""

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from loco_tools.errors import MethodError, did_you_mean

if TYPE_CHECKING:
    from loco_tools.ensembles.base import Ensemble
    from loco_tools.methods.backbones import Backbone
    from loco_tools.methods.detector import Detector

_FEATURES = "loco_tools.ensembles.feature_level.ensemble:FeatureFusion"
_OUTPUTS = "loco_tools.ensembles.output_level.ensemble:OutputFusion"


class Named(NamedTuple):
    """What the name of an ensemble stands for."""

    place: str
    """"package.module:Class"."""
    overrides: Mapping[str, Any] = {}
    """Settings that differ from the class's preset; one's own come on top."""


ENSEMBLES = {
    # Of what the members know inside.
    "ensemble": Named(_FEATURES),
    "ensemble-independent": Named(_FEATURES, {"block": "independent"}),
    "ensemble-bank": Named(_FEATURES, {"heads": ("memory_bank",)}),
    "ensemble-gaussian": Named(_FEATURES, {"heads": ("gaussian",)}),
    # Of what the members say.
    "ensemble-output": Named(_OUTPUTS),
    "ensemble-mean": Named(_OUTPUTS, {"calibrator": "z_score", "combiner": "mean"}),
    "ensemble-weighted": Named(_OUTPUTS, {"calibrator": "z_score", "combiner": "weighted"}),
    "ensemble-max": Named(_OUTPUTS, {"calibrator": "empirical", "combiner": "max"}),
    "ensemble-median": Named(_OUTPUTS, {"calibrator": "z_score", "combiner": "median"}),
    "ensemble-vote": Named(_OUTPUTS, {"calibrator": "z_score", "combiner": "vote"}),
    "ensemble-rank": Named(_OUTPUTS, {"calibrator": "empirical", "combiner": "rank"}),
    "ensemble-stack": Named(_OUTPUTS, {"calibrator": "z_score", "combiner": "stack"}),
    "ensemble-forest": Named(_OUTPUTS, {"calibrator": "z_score", "combiner": "forest"}),
    "ensemble-boost": Named(_OUTPUTS, {"calibrator": "z_score", "combiner": "boost"}),
    "ensemble-bag": Named(_OUTPUTS, {"calibrator": "z_score", "combiner": "mean", "bags": 3}),
    "ensemble-cawpe": Named(_OUTPUTS, {"calibrator": "platt", "combiner": "cawpe"}),
}
"""Name -> what it stands for; "ensemble" and "ensemble-output" are what others are settings of."""


def ensemble_place(name: str) -> Named:
    """What a name of `ENSEMBLES` stands for; MethodError with the nearest one when unknown."""
    if name not in ENSEMBLES:
        raise MethodError(f'unknown ensemble "{name}"; {did_you_mean(name, ENSEMBLES)}')
    return ENSEMBLES[name]


def ensemble_class(name: str) -> "type[Ensemble]":
    """The class behind a name of `ENSEMBLES`; MethodError with the nearest one when unknown."""
    module, _, attribute = ensemble_place(name).place.partition(":")
    found: type[Ensemble] = getattr(importlib.import_module(module), attribute)
    return found


def create_ensemble(
    members: "Mapping[str, Detector]",
    name: str = "ensemble",
    *,
    preset: str = "fast",
    overrides: "Mapping[str, Any] | None" = None,
    device: str = "cpu",
) -> "Ensemble":
    """The ensemble of some detectors, ready to be fitted on the same images.

    Args:
        members: by name, fitted by the time the ensemble is.
        name: of `ENSEMBLES`.
        preset: "paper" or "fast".
        overrides: fields of the ensemble's configuration that differ from what the name stands for.
        device: "cpu", "cuda" or "auto".

    Raises:
        MethodError: no members, an unknown name or preset, or a member without the chosen cut.
        DefinitionError: an unknown field or a value out of range, with the nearest field.
    """
    found = ensemble_class(name)
    settings = {**ensemble_place(name).overrides, **(overrides or {})}
    return found(found.configure(preset, settings), members, device=device)


def load_ensemble(
    folder: Path,
    backbone: "Backbone | Mapping[str, Backbone] | None" = None,
    *,
    device: str = "auto",
) -> "Ensemble":
    """A saved ensemble of any kind, with its members. Reads data, executes nothing.

    Args:
        folder: what its `save` was given.
        backbone: of all members, or of each by its name; see `Detector.load`.
        device: "auto", "cpu" or "cuda".

    Raises:
        MethodError: no ensemble there, a damaged file, or another backbone.
    """
    from loco_tools.methods import checkpoint

    kind = checkpoint.read_record(folder).method
    if kind not in ENSEMBLES:
        raise MethodError(f"{folder}: expected a fitted ensemble, got a fitted {kind}")
    return ensemble_class(kind).load(folder, backbone, device=device)
