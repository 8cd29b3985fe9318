"""Which backbone each line of a suite has, as plain data, so that any process can have it again."""

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
    """A backbone by name, with a local file of weights where one was given.

    `tag` is what the run found; a machine on which the same name gives another tag is refused.
    """

    tag: str
    name: str
    weights: Path | None = None

    def load(self) -> "Backbone":
        """The backbone; one per process, however often it is asked for.

        Raises:
            MethodError: it cannot be had here, or is another one.
        """
        backbone = _loaded(self.name, self.weights)
        if backbone.tag != self.tag:
            raise MethodError(
                f"backbone {self.name}: expected {self.tag} as in the rest of the run, got "
                f"{backbone.tag} here; next step: the same weights on every machine"
            )
        return backbone


def resolved_backbones(
    suite: Suite, entries: Sequence[MethodEntry], progress: Progress
) -> dict[str, "Backbone"]:
    """The backbone of every line that needs one: the suite's, or the method's published one.

    Raises:
        MethodError: see `loco_tools.methods.backbones.resolve_backbone`.
    """
    from loco_tools.methods import method_class
    from loco_tools.methods.backbones import resolve_backbone

    weights = weights_file(suite)
    by_default: dict[str | None, Backbone] = {}
    found: dict[str, Backbone] = {}
    for entry in entries:
        if entry.is_ensemble:
            continue
        method = method_class(entry.name)
        if not method.needs_backbone:
            continue
        default = None if suite.backbone or weights else method.default_backbone
        if default not in by_default:
            by_default[default] = resolve_backbone(
                suite.backbone, weights, progress, default=default
            )
        found[entry.title] = by_default[default]
    return found


def weights_file(suite: Suite) -> Path | None:
    """The file of weights that a suite names, from the root: workers have folders of their own."""
    return None if suite.weights is None else Path(suite.weights).resolve()


@cache
def _loaded(name: str, weights: Path | None) -> "Backbone":
    from loco_tools.methods.backbones import named_backbone

    return named_backbone(name, weights)
