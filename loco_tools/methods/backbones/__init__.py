"""Feature extractors by name: any torchvision classifier, and two that need no weights.

A backbone gives feature maps of an image at several strides; most detectors take those at 8 and 16
(for ResNets the ends of `layer2` and `layer3`). Its `tag` identifies it: architecture plus the
origin of the weights.

>>> for name, description in describe_backbones()[:2]:
...     print(f"{name}: {description}")
scattering: Wavelet scattering of brightness and colour; needs no weights.
dictionary: A dictionary learned in seconds from the class's own good images; needs no weights.
"""

from pathlib import Path

from loco_tools import files
from loco_tools.errors import MethodError, did_you_mean
from loco_tools.methods.backbones.base import (
    ALL_STRIDES,
    DEFAULT,
    DEFAULT_WEIGHTS,
    FALL_BACK,
    IMAGENET_MEAN,
    IMAGENET_STD,
    NO_WEIGHTS,
    STRIDES,
    Backbone,
)
from loco_tools.methods.backbones.dictionary import Dictionary
from loco_tools.methods.backbones.scattering import Scattering
from loco_tools.methods.backbones.torchvision import TorchvisionBackbone
from loco_tools.methods.backbones.weight_files import read_state, torchvision_state
from loco_tools.progress import SILENT, Progress

__all__ = [
    "ALL_STRIDES",
    "DEFAULT",
    "IMAGENET_MEAN",
    "IMAGENET_STD",
    "STRIDES",
    "WEIGHT_FREE",
    "Backbone",
    "TorchvisionBackbone",
    "backbone_for",
    "backbone_names",
    "describe_backbones",
    "named_backbone",
    "random_backbone",
    "read_state",
    "resolve_backbone",
]

WEIGHT_FREE: dict[str, type[Backbone]] = {"scattering": Scattering, "dictionary": Dictionary}
"""Backbones that need no weights, by name."""
LEARNED = ("dictionary",)
"""Backbones that are fitted to each class; what they learn is saved with the detector."""


def resolve_backbone(
    name: str | None = None,
    weights: Path | None = None,
    progress: Progress = SILENT,
    *,
    default: str | None = None,
) -> Backbone:
    """The backbone that a user asked for, or the default one.

    Without a name and weights this is `default` (wide_resnet50_2 unless a method was published
    with another) with torchvision's ImageNet weights. When those are neither cached nor
    downloadable, it is scattering, after a note. A backbone asked for by name is never replaced.

    Raises:
        MethodError: unknown name (with the nearest one), weights that do not fit, or the weights
            of a named backbone are not available.
    """
    if name is not None or weights is not None:
        return named_backbone(name or DEFAULT, weights, progress)
    default = default or DEFAULT
    try:
        return named_backbone(default, None, progress)
    except MethodError:
        progress.note(
            f"The ImageNet weights of {default} are neither cached nor downloadable: going on "
            f"with the backbone {FALL_BACK}, which needs none"
        )
        return WEIGHT_FREE[FALL_BACK]()


def named_backbone(name: str, weights: Path | None = None, progress: Progress = SILENT) -> Backbone:
    """The backbone of that name with torchvision's weights or those of a file.

    Raises:
        MethodError: see `resolve_backbone`.
    """
    if name in WEIGHT_FREE:
        if weights is not None:
            raise MethodError(f'backbone "{name}" takes no weights, got {weights}')
        return WEIGHT_FREE[name]()
    if name not in backbone_names():
        raise MethodError(f'unknown backbone "{name}"; {did_you_mean(name, backbone_names())}')
    if weights is not None:
        state = read_state(weights)
        tag, origin = files.sha256_of(weights)[:12], str(weights)
    else:
        state = torchvision_state(name, progress)
        tag, origin = DEFAULT_WEIGHTS, f"torchvision's weights of {name}"
    backbone = TorchvisionBackbone(name)
    backbone.fill(state, weights=tag, origin=origin)
    return backbone


def random_backbone(name: str) -> Backbone:
    """A torchvision architecture with random weights (always the same): for tests and ablations."""
    if name not in backbone_names():
        raise MethodError(f'unknown backbone "{name}"; {did_you_mean(name, backbone_names())}')
    return TorchvisionBackbone(name)


def backbone_names() -> list[str]:
    """Every name that `named_backbone` takes; a few of torchvision's have no convolutional maps."""
    from torchvision import models

    return [*WEIGHT_FREE, *models.list_models(module=models)]


def describe_backbones() -> list[tuple[str, str]]:
    """(name, one line) of every backbone, as `loco-tools methods` lists them."""
    from torchvision import models

    described = [(name, backbone.summary) for name, backbone in WEIGHT_FREE.items()]
    for name in models.list_models(module=models):
        weights = models.get_model_weights(name).__members__.get(DEFAULT_WEIGHTS)
        if weights is not None:
            millions = weights.meta["num_params"] / 1e6
            described.append((name, f"torchvision, {millions:.1f} M parameters."))
    return described


def backbone_for(tag: str | None, given: Backbone | None, *, origin: str) -> Backbone:
    """The backbone of a saved detector: `given` if its tag fits, else loaded by its name.

    Raises:
        MethodError: `given` is another one, or the weights came from a file and none was given.
    """
    name, _, weights = (tag or "").partition(":")
    if given is not None and name in LEARNED and given.name == name:
        return given.own()
    if given is not None:
        if given.tag != tag:
            raise MethodError(f"{origin}: was fitted with backbone {tag}, got {given.tag}")
        return given
    if name in LEARNED or (weights == NO_WEIGHTS and name in WEIGHT_FREE):
        return WEIGHT_FREE[name]()
    if weights == NO_WEIGHTS:
        return random_backbone(name)
    if weights == DEFAULT_WEIGHTS:
        return named_backbone(name)
    raise MethodError(
        f"{origin}: was fitted with backbone {tag}, whose weights came from a file with that "
        f"SHA-256; next step: give that backbone (--backbone {name} --weights FILE)"
    )
