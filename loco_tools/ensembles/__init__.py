"""Ensembles by name: detectors that fuse other detectors, which are fitted before them.

To add a name, add its line to `ENSEMBLES`; a new kind of ensemble also needs its class.
Importing this module imports no torch; `ensemble_class` imports the one file it needs.

>>> dict(describe_ensembles())["ensemble-max"]
'Maximum over the members of their empirical normal scores.'
"""

import importlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from loco_tools.errors import MethodError, did_you_mean

if TYPE_CHECKING:
    from loco_tools.ensembles.base import Ensemble
    from loco_tools.methods.backbones import Backbone
    from loco_tools.methods.detector import Detector

FEATURE_LEVEL = "loco_tools.ensembles.feature_level.ensemble:FeatureFusion"
OUTPUT_LEVEL = "loco_tools.ensembles.output_level.ensemble:OutputFusion"


class EnsembleDefinition(NamedTuple):
    """A named ensemble: a class and the settings in which it differs from the class's preset."""

    import_path: str
    """"package.module:Class"."""
    description: str
    """One line."""
    overrides: Mapping[str, Any] = {}
    """Settings that differ from the preset; the user's overrides are applied after them."""


def _fuse_scores(description: str, **overrides: Any) -> EnsembleDefinition:
    return EnsembleDefinition(OUTPUT_LEVEL, description, overrides)


def _fuse_features(description: str, **overrides: Any) -> EnsembleDefinition:
    return EnsembleDefinition(FEATURE_LEVEL, description, overrides)


ENSEMBLES = {
    "ensemble": _fuse_features(
        "Feature level: one PCA of all members' features, a discriminator and a memory bank."
    ),
    "ensemble-independent": _fuse_features(
        "Feature level: one PCA per member instead of one of all.", block="independent"
    ),
    "ensemble-bank": _fuse_features(
        "Feature level: a memory bank on the fused features, no discriminator.",
        heads=("memory_bank",),
    ),
    "ensemble-gaussian": _fuse_features(
        "Feature level: Mahalanobis distance on the fused features.", heads=("gaussian",)
    ),
    "ensemble-output": _fuse_scores(
        "Output level: choose calibrator and combiner in its settings; by default ensemble-mean."
    ),
    "ensemble-mean": _fuse_scores(
        "Mean of the members' z-scores.", calibrator="z_score", combiner="mean"
    ),
    "ensemble-weighted": _fuse_scores(
        "Mean of the z-scores, weighted by each member's AUROC on synthetic anomalies.",
        calibrator="z_score",
        combiner="weighted",
    ),
    "ensemble-max": _fuse_scores(
        "Maximum over the members of their empirical normal scores.",
        calibrator="empirical",
        combiner="max",
    ),
    "ensemble-median": _fuse_scores(
        "Median of the members' z-scores.", calibrator="z_score", combiner="median"
    ),
    "ensemble-vote": _fuse_scores(
        "Number of members whose score exceeds a quantile of good scores.",
        calibrator="z_score",
        combiner="vote",
    ),
    "ensemble-rank": _fuse_scores(
        "Mean rank of the members' scores among good scores.",
        calibrator="empirical",
        combiner="rank",
    ),
    "ensemble-stack": _fuse_scores(
        "Logistic regression with non-negative weights on the z-scores (stacking).",
        calibrator="z_score",
        combiner="stack",
    ),
    "ensemble-forest": _fuse_scores(
        "Random forest on the z-scores.", calibrator="z_score", combiner="forest"
    ),
    "ensemble-boost": _fuse_scores(
        "Gradient boosting on the z-scores.", calibrator="z_score", combiner="boost"
    ),
    "ensemble-bag": _fuse_scores(
        "Mean of the z-scores of three bootstrap refits of every member (bagging).",
        calibrator="z_score",
        combiner="mean",
        bags=3,
    ),
    "ensemble-cawpe": _fuse_scores(
        "Mean of Platt probabilities, weighted by accuracy to the fourth power (CAWPE).",
        calibrator="platt",
        combiner="cawpe",
    ),
}
"""Name -> definition. "ensemble" and "ensemble-output" are the two classes with their presets; the
other names are settings of these."""


def describe_ensembles() -> list[tuple[str, str]]:
    """(name, one line of description) of every ensemble in `ENSEMBLES`."""
    return [(name, definition.description) for name, definition in ENSEMBLES.items()]


def ensemble_definition(name: str) -> EnsembleDefinition:
    """The definition of a name in `ENSEMBLES`; MethodError with the nearest name when unknown."""
    if name not in ENSEMBLES:
        raise MethodError(f'unknown ensemble "{name}"; {did_you_mean(name, ENSEMBLES)}')
    return ENSEMBLES[name]


def ensemble_class(name: str) -> "type[Ensemble]":
    """The class of a name in `ENSEMBLES`; MethodError with the nearest name when unknown."""
    module, _, class_name = ensemble_definition(name).import_path.partition(":")
    loaded: type[Ensemble] = getattr(importlib.import_module(module), class_name)
    return loaded


def create_ensemble(
    members: "Mapping[str, Detector]",
    name: str = "ensemble",
    *,
    preset: str = "fast",
    overrides: "Mapping[str, Any] | None" = None,
    device: str = "cpu",
) -> "Ensemble":
    """Create an ensemble of some detectors, to be fitted on the images that they are fitted on.

    Args:
        members: the detectors by name; they must be fitted before the ensemble is.
        name: a name in `ENSEMBLES`.
        preset: "paper" or "fast".
        overrides: configuration fields that differ from the name's definition.
        device: "cpu", "cuda" or "auto".

    Raises:
        MethodError: no members, an unknown name or preset, or a member that does not expose the
            features that the ensemble fuses.
        DefinitionError: an unknown field (with the nearest one) or a value out of range.
    """
    implementation = ensemble_class(name)
    settings = {**ensemble_definition(name).overrides, **(overrides or {})}
    return implementation(implementation.configure(preset, settings), members, device=device)


def load_ensemble(
    folder: Path,
    backbone: "Backbone | Mapping[str, Backbone] | None" = None,
    *,
    device: str = "auto",
    plugins: Iterable[str] = (),
) -> "Ensemble":
    """Load a saved ensemble of any kind with its members.

    Reads data only. The code of a plug-in is imported only if the caller names it.

    Args:
        folder: the folder that it was saved to.
        backbone: one backbone for all members, or one per member name; see `Detector.load`.
        device: "auto", "cpu" or "cuda".
        plugins: names of plug-ins that may be imported, see `loco_tools.methods.load_detector`.

    Raises:
        MethodError: the folder holds no ensemble, a file is damaged, or the backbone is not the one
            that a member was fitted with.
    """
    from loco_tools.methods import allow_plugins, checkpoint

    allow_plugins(plugins)
    kind = checkpoint.read_record(folder).method
    if kind not in ENSEMBLES:
        raise MethodError(f"{folder}: expected a fitted ensemble, got a fitted {kind}")
    return ensemble_class(kind).load(folder, backbone, device=device)
