"""Wording that messages share: counts with their nouns, lists of names, printable names.

Every room may import this module; it imports nothing of loco-tools.
"""

from collections.abc import Sequence


def plural(number: int, noun: str, nouns: str | None = None) -> str:
    """A number with its noun in the singular or the plural.

    Args:
        number: how many there are.
        noun: the singular.
        nouns: the plural where it is not the singular with an "s".

    >>> plural(1, "cell"), plural(0, "cell"), plural(2, "class", "classes")
    ('1 cell', '0 cells', '2 classes')
    """
    return f"{number} {noun if number == 1 else nouns or noun + 's'}"


def listed(names: Sequence[str], limit: int = 5) -> str:
    """The first `limit` names and the number of the others, for examples of a fault.

    A list of what can be chosen is never cut this way; see `loco_tools.errors.did_you_mean`.

    >>> listed(["a", "b", "c"], 2)
    'a, b and 1 more'
    """
    rest = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + rest


def shortened(text: str, limit: int = 100) -> str:
    """The first `limit` characters, for quoting what a file of outside holds.

    >>> shortened("abcdef", 3)
    'abc...'
    """
    return text if len(text) <= limit else f"{text[:limit]}..."


def printable(text: str) -> str:
    r"""The text with control characters and bytes that are not UTF-8 escaped.

    >>> printable("a\nb")
    'a\\nb'
    """
    safe = text.encode("utf-8", "backslashreplace").decode("utf-8")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in safe)
