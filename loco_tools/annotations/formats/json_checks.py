"""Checks of single values from a JSON file that anybody may have written."""

from typing import Any, TypeGuard

_LONGEST_SHOWN = 40
_HUGE = 10**18


def as_text(value: Any) -> str | None:
    """A name or number as printable text; None for every other value."""
    if isinstance(value, bool) or not isinstance(value, int | str) or value == "":
        return None
    if isinstance(value, str):
        return escape_surrogates(value)
    return str(value) if abs(value) < _HUGE else None


def escape_surrogates(text: str) -> str:
    """The text with unpaired surrogates escaped: they are legal JSON, but not legal UTF-8."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def is_number(value: Any) -> TypeGuard[int | float]:
    """Whether the value is a number; True and False are not."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def describe(value: Any) -> str:
    """The value as it appears in an error message, shortened to 40 characters."""
    if isinstance(value, dict | list):
        return "an object" if isinstance(value, dict) else f"a list of {len(value)}"
    if value is None:
        return "nothing"
    if isinstance(value, int) and abs(value) > _HUGE:
        return "a huge number"
    shown = repr(value[: 2 * _LONGEST_SHOWN] if isinstance(value, str) else value)
    return shown if len(shown) <= _LONGEST_SHOWN else f"{shown[: _LONGEST_SHOWN - 3]}..."
