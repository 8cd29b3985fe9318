"""Single fields of JSON that anybody may have written: taken when they are what they should be."""

from typing import Any, TypeGuard

_SHOWN = 40
_HUGE = 10**18


def text(found: Any) -> str | None:
    """A name or number as printable text; None for everything else."""
    if isinstance(found, bool) or not isinstance(found, int | str) or found == "":
        return None
    if isinstance(found, str):
        return clean(found)
    return str(found) if abs(found) < _HUGE else None


def clean(found: str) -> str:
    """Half of a surrogate pair is legal JSON, but can neither be printed nor written as UTF-8."""
    return found.encode("utf-8", "backslashreplace").decode("utf-8")


def is_number(found: Any) -> TypeGuard[int | float]:
    """Whether it is a number; true and false are none."""
    return isinstance(found, int | float) and not isinstance(found, bool)


def described(found: Any) -> str:
    """What was found, short enough for a message."""
    if isinstance(found, dict | list):
        return "an object" if isinstance(found, dict) else f"a list of {len(found)}"
    if found is None:
        return "nothing"
    if isinstance(found, int) and abs(found) > _HUGE:
        return "a huge number"
    shown = repr(found[: 2 * _SHOWN] if isinstance(found, str) else found)
    return shown if len(shown) <= _SHOWN else f"{shown[: _SHOWN - 3]}..."
