"""Verdicts on a frame: its measurements against the limits of the plan, in words."""

from collections.abc import Mapping
from dataclasses import dataclass

from loco_tools.plan import Gates

_HALF_TURN_DEG = 135.0
"""From here on a part counts as lying the other way round."""


@dataclass(frozen=True)
class Verdict:
    """What one quality gate says of a frame.

    Attributes:
        gate: its name.
        value: what was measured, in the unit of the limit.
        limit: what the plan allows.
        passed: whether the value keeps to the limit.
        words: what is wrong and what to do about it, or that it is fine.
    """

    gate: str
    value: float
    limit: float
    passed: bool
    words: str


@dataclass(frozen=True)
class _Rule:
    """A gate: which figure it asks, which field of `Gates` limits it, and what it says.

    The words may name `value`, `limit`, and what `_advice` holds.
    """

    gate: str
    figure: str
    limit: str
    fine: str
    wrong: str
    at_least: bool = False


_PART = _Rule(
    "part",
    "contrast",
    "contrast_min",
    "the part is seen",
    "no part is seen: the lightest thing is {value:.0f} grey levels lighter than the cloth, at "
    "least {limit:g} are wanted; put the part under the camera, take off the lens cap, or give "
    "more light",
    at_least=True,
)
_RULES = (
    _Rule(
        "saturated",
        "saturated_share",
        "saturated_share_max",
        "{value:.1%} of the part is saturated",
        "{value:.1%} of the part is saturated, at most {limit:.1%} may be; lower the light, or the "
        "plan's exposure",
    ),
    _Rule(
        "black",
        "black_share",
        "black_share_max",
        "{value:.1%} of the part is black",
        "{value:.1%} of the part is black, at most {limit:.1%} may be; raise the light, or the "
        "plan's exposure",
    ),
    _Rule(
        "position",
        "offset_mm",
        "offset_mm_max",
        "the part lies {value:.1f} mm from the reference's place",
        "the part lies {value:.1f} mm from the reference's place, at most {limit:g} mm are "
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
        "the sharpness is {value:.0%} of the reference's, at least {limit:.0%} are wanted; "
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
        "{value:.1f} times the noise, at least {limit:g} are wanted); mount the next part",
        at_least=True,
    ),
)


def judge(
    gates: Gates, measured: Mapping[str, float], *, resembles: str = ""
) -> tuple[Verdict, ...]:
    """The verdict of every gate whose figure was measured and whose limit is set.

    A frame without a part gets one verdict only, that there is none.

    Args:
        gates: the limits.
        measured: figures by the names that `Inspector.inspect` gives them.
        resembles: the photograph of another part that the frame resembles most.
    """
    advice = {**_advice(measured), "resembles": resembles}
    part = _verdict(_PART, gates, measured, advice)
    if part is not None and not part.passed:
        return (part,)
    found = (part, *(_verdict(rule, gates, measured, advice) for rule in _RULES))
    return tuple(verdict for verdict in found if verdict is not None)


def _verdict(
    rule: _Rule, gates: Gates, measured: Mapping[str, float], advice: Mapping[str, str]
) -> Verdict | None:
    limit: float | None = getattr(gates, rule.limit)
    if limit is None or rule.figure not in measured:
        return None
    value = abs(measured[rule.figure])
    passed = value >= limit if rule.at_least else value <= limit
    words = (rule.fine if passed else rule.wrong).format(value=value, limit=limit, **advice)
    return Verdict(rule.gate, value, limit, passed, words)


def _advice(measured: Mapping[str, float]) -> dict[str, str]:
    """How the part lies and what to do about it, in words; empty without a reference."""
    if "offset_mm" not in measured:
        return {}
    angle = measured["angle_deg"]
    turned, turn_back = "is turned clockwise", "turn it back"
    if abs(angle) >= _HALF_TURN_DEG:
        turned, turn_back = "lies the other way round", "turn it by half a turn"
    elif angle < 0:
        turned, turn_back = "is turned counter-clockwise", "turn it clockwise"
    way = _way_back(measured["right_mm"], measured["down_mm"])
    return {"way": way, "turned": turned, "turn_back": turn_back}


def _way_back(right_mm: float, down_mm: float) -> str:
    """As in: 4 mm to the left and 2 mm up; less than half a millimetre is not worth a word."""
    ways = []
    if abs(right_mm) >= 0.5:
        ways.append(f"{abs(right_mm):.0f} mm to the {'left' if right_mm > 0 else 'right'}")
    if abs(down_mm) >= 0.5:
        ways.append(f"{abs(down_mm):.0f} mm {'up' if down_mm > 0 else 'down'}")
    return " and ".join(ways) or "a little"
