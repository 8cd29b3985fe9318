"""Ensembles of fitted detectors, themselves detectors.

Importing this module imports no torch.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from loco_tools.ensembles.ensemble import Ensemble
    from loco_tools.methods.detector import Detector


def create_ensemble(
    members: "Mapping[str, Detector]",
    *,
    preset: str = "fast",
    overrides: "Mapping[str, Any] | None" = None,
    device: str = "cpu",
) -> "Ensemble":
    """The feature-level ensemble of some detectors, ready to be fitted on the same images.

    Args:
        members: by name, fitted by the time the ensemble is.
        preset: "paper" or "fast".
        overrides: fields of `FusionConfig` that differ from the preset.
        device: "cpu", "cuda" or "auto".

    Raises:
        MethodError: no members, an unknown preset, or a member without the chosen cut.
        DefinitionError: an unknown field or a value out of range, with the nearest field.
    """
    from loco_tools.ensembles.ensemble import Ensemble
    from loco_tools.ensembles.feature_fusion import FeatureFusion

    found: type[Ensemble] = FeatureFusion
    return found(found.configure(preset, overrides), members, device=device)
