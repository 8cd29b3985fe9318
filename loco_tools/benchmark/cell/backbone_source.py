"""The backbone of each entry of a suite, as plain data from which any process can load it."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from loco_tools.benchmark.suite import MethodEntry, Suite
from loco_tools.errors import MethodError
from loco_tools.progress import Progress

if TYPE_CHECKING:
    from loco_tools.methods.backbones import Backbone


@dataclass(frozen=True)
class BackboneSource:
    """The name of a backbone, with a local file of weights where one was given.

    `tag` identifies the weights that started the run; other weights are refused.
    """

    tag: str
    name: str
    weights: Path | None = None

    def load(self) -> "Backbone":
        """The backbone; every process loads it once.

        Raises:
            MethodError: it is not available here, or has other weights.
        """
        backbone = _load(self.name, self.weights)
        if backbone.tag != self.tag:
            raise MethodError(
                f"backbone {self.name}: expected {self.tag} as in the rest of the run, got "
                f"{backbone.tag} here; next step: use the same weights on every machine"
            )
        return backbone


def resolve_backbones(
    suite: Suite, entries: Sequence[MethodEntry], progress: Progress
) -> dict[str, "Backbone"]:
    """The backbone of every entry that needs one, by entry name.

    It is the suite's backbone, or the one that the method was published with.

    Raises:
        MethodError: see `loco_tools.methods.backbones.resolve_backbone`.
    """
    from loco_tools.methods import method_class
    from loco_tools.methods.backbones import resolve_backbone

    weights = weights_file(suite)
    by_default: dict[str | None, Backbone] = {}
    backbones: dict[str, Backbone] = {}
    for entry in entries:
        if entry.is_ensemble:
            continue
        method = method_class(entry.implementation)
        if not method.needs_backbone:
            continue
        default = None if suite.backbone or weights else method.default_backbone
        if default not in by_default:
            by_default[default] = resolve_backbone(
                suite.backbone, weights, progress, default=default
            )
        backbones[entry.name] = by_default[default]
    return backbones


def weights_file(suite: Suite) -> Path | None:
    """The absolute path of the suite's weights; workers may run in other folders."""
    return None if suite.weights is None else Path(suite.weights).resolve()


@cache
def _load(name: str, weights: Path | None) -> "Backbone":
    from loco_tools.methods.backbones import named_backbone

    return named_backbone(name, weights)
