"""Where a feature-level ensemble cuts its members; what does not fit is said before training."""

from collections.abc import Mapping

from loco_tools.ensembles.feature_level.config import FusionConfig
from loco_tools.errors import MethodError
from loco_tools.methods.detector import Detector


def cuts_of(
    members: Mapping[str, Detector], config: FusionConfig, *, ensemble: str
) -> dict[str, str]:
    """Each member's cut: the one that the configuration names, else the first that it has.

    Raises:
        MethodError: a cut that a member does not have, a member without any, settings of someone
            who is no member, or components that do not fit the block.
    """
    _check_named(members, "cuts", config.cuts, ensemble)
    if isinstance(config.components, dict):
        _check_named(members, "components", config.components, ensemble)
        missing = sorted(set(members) - set(config.components))
        if config.block == "global" or missing:
            raise MethodError(
                f"{ensemble}: components per member are for the independent block and name every "
                f"member; got block {config.block}, members without a number: "
                f"{', '.join(missing) or 'none'}"
            )
    found = {}
    for name, member in members.items():
        if not member.cuts:
            raise MethodError(
                f"{ensemble}: {name} names no place to cut it, which a feature-level ensemble "
                "needs; next step: leave it out, or use an output-level ensemble such as "
                "ensemble-mean"
            )
        found[name] = config.cuts.get(name, member.cuts[0])
        member.check_cut(found[name])
    return found


def _check_named(
    members: Mapping[str, Detector], field: str, named: Mapping[str, object], ensemble: str
) -> None:
    unknown = sorted(set(named) - set(members))
    if unknown:
        raise MethodError(
            f'{ensemble}: {field} names "{unknown[0]}", which is no member; '
            f"members: {', '.join(members)}"
        )
