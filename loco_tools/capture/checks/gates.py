"""Quality gates: the measurements of a frame against the limits of the plan."""

from collections.abc import Mapping
from dataclasses import dataclass

from loco_tools.plan import Gates

_HALF_TURN_DEG = 135.0
"""From this angle on, the message says that the part lies the other way round."""


@dataclass(frozen=True)
class Verdict:
    """The result of one quality gate for a frame.

    Attributes:
        gate: the name of the gate.
        value: the measurement, in the unit of the limit.
        limit: the limit of the plan.
        passed: whether the value is within the limit.
        words: what is wrong and what to do about it, or that nothing is wrong.
    """

    gate: str
    value: float
    limit: float
    passed: bool
    words: str


@dataclass(frozen=True)
class _Rule:
    """A gate: its measurement, the field of `Gates` that limits it, and its messages.

    The messages may contain `value`, `limit`, and the keys of `_describe_displacement`.
    """

    gate: str
    measurement: str
    limit: str
    fine: str
    wrong: str
    at_least: bool = False


_PART = _Rule(
    "part",
    "contrast",
    "contrast_min",
    "a part is in the picture",
    "there is no part in the picture: the brightest region is {value:.0f} grey levels lighter than "
    "the cloth, expected at least {limit:g}; put the part under the camera, take off the lens cap, "
    "or add light",
    at_least=True,
)
_RULES = (
    _Rule(
        "saturated",
        "saturated_share",
        "saturated_share_max",
        "{value:.1%} of the part is saturated",
        "{value:.1%} of the part is saturated, at most {limit:.1%} may be; reduce the light, or "
        "the plan's exposure",
    ),
    _Rule(
        "black",
        "black_share",
        "black_share_max",
        "{value:.1%} of the part is black",
        "{value:.1%} of the part is black, at most {limit:.1%} may be; increase the light, or the "
        "plan's exposure",
    ),
    _Rule(
        "position",
        "offset_mm",
        "offset_mm_max",
        "the part lies {value:.1f} mm from its position in the reference",
        "the part lies {value:.1f} mm from its position in the reference, at most {limit:g} mm are "
        "allowed; move it {way} in the picture",
    ),
    _Rule(
        "angle",
        "angle_deg",
        "angle_deg_max",
        "the part is turned by {value:.1f} degrees",
        "the part {turned} ({value:.0f} degrees, at most {limit:g} are allowed); {turn_back}",
    ),
    _Rule(
        "sharpness",
        "sharpness_ratio",
        "sharpness_min_ratio",
        "the sharpness is {value:.0%} of the reference's",
        "the sharpness is {value:.0%} of the reference's, expected at least {limit:.0%}; "
        "refocus, and clean the lens",
        at_least=True,
    ),
    _Rule(
        "motion",
        "motion_px",
        "motion_px_max",
        "nothing moves",
        "the picture moved by {value:.1f} px between two frames, at most {limit:g} px are allowed; "
        "let part and camera come to rest",
    ),
    _Rule(
        "duplicate",
        "duplicate_difference",
        "duplicate_min_difference",
        "no earlier photograph is like it",
        "it is the same picture as {resembles}, which is of another part (they differ by "
        "{value:.1f} times the noise, expected at least {limit:g}); mount the next part",
        at_least=True,
    ),
)


def judge(
    gates: Gates, measured: Mapping[str, float], *, resembles: str = ""
) -> tuple[Verdict, ...]:
    """The verdict of every gate whose measurement exists and whose limit is set.

    A frame without a part gets a single verdict, which says so.

    Args:
        gates: the limits.
        measured: the measurements, by the names of `Inspector.inspect`.
        resembles: the photograph of another part that is most similar to the frame.
    """
    advice = {**_describe_displacement(measured), "resembles": resembles}
    part = _verdict(_PART, gates, measured, advice)
    if part is not None and not part.passed:
        return (part,)
    verdicts = (part, *(_verdict(rule, gates, measured, advice) for rule in _RULES))
    return tuple(verdict for verdict in verdicts if verdict is not None)


def _verdict(
    rule: _Rule, gates: Gates, measured: Mapping[str, float], advice: Mapping[str, str]
) -> Verdict | None:
    limit: float | None = getattr(gates, rule.limit)
    if limit is None or rule.measurement not in measured:
        return None
    value = abs(measured[rule.measurement])
    passed = value >= limit if rule.at_least else value <= limit
    words = (rule.fine if passed else rule.wrong).format(value=value, limit=limit, **advice)
    return Verdict(rule.gate, value, limit, passed, words)


def _describe_displacement(measured: Mapping[str, float]) -> dict[str, str]:
    """How the part lies and how to correct it, in words; empty without a reference."""
    if "offset_mm" not in measured:
        return {}
    angle = measured["angle_deg"]
    turned, turn_back = "is turned clockwise", "turn it back"
    if abs(angle) >= _HALF_TURN_DEG:
        turned, turn_back = "lies the other way round", "turn it by half a turn"
    elif angle < 0:
        turned, turn_back = "is turned counter-clockwise", "turn it clockwise"
    right_mm, down_mm = measured["right_mm"], measured["down_mm"]
    ways = []
    if abs(right_mm) >= 0.5:
        ways.append(f"{abs(right_mm):.0f} mm to the {'left' if right_mm > 0 else 'right'}")
    if abs(down_mm) >= 0.5:
        ways.append(f"{abs(down_mm):.0f} mm {'up' if down_mm > 0 else 'down'}")
    way = " and ".join(ways) or "a little"
    return {"way": way, "turned": turned, "turn_back": turn_back}
