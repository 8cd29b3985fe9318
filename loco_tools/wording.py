"""Wording that messages share, and text of others made inert: one function for each medium.

Names of classes, defects, files and methods may hold anything. On a terminal, control characters
act; in a spreadsheet, a leading "=" does; in Markdown, punctuation does. Each function here returns
text that is only shown. Every room may import this module; it imports nothing of loco-tools.
"""

import csv
import io
import json
import re
from collections.abc import Iterable, Sequence
from typing import Any

# control characters, marks that change the direction of text, line separators, and bytes that are
# not UTF-8, which Python represents by surrogates
_CONTROLS = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)
_ESCAPE_IN_CSV = re.compile(r"\\u([0-9a-f]{4})")
_NUMBER = re.compile(r"[+-]?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?")
_FORMULA = re.compile(
    r"[\s']*[=+@\N{FULLWIDTH EQUALS SIGN}\N{FULLWIDTH PLUS SIGN}"
    r"\N{FULLWIDTH COMMERCIAL AT}\N{FULLWIDTH HYPHEN-MINUS}-]"
)
_MARKUP = re.compile(r"[\\`*{}\[\]<>#|~&$]|(?<!\w)_|_(?!\w)")
_BLOCK = re.compile(r"(\d*)([-+=.)])(?=[-=\s]|$)")
_PLAIN_CODE = re.compile(r"[\w .:/+-]*\w")


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
    return "".join(letter if letter.isprintable() else _escaped(letter) for letter in text)


def visible(text: str, keep: str = "\n") -> str:
    r"""Text of several lines for a terminal: control characters and surrogates are escaped.

    Marks that change the direction of text are escaped too.

    Args:
        text: any text.
        keep: control characters that stay.

    >>> visible("two\n\x1b[31mlines")
    'two\n\\x1b[31mlines'
    """
    return _CONTROLS.sub(lambda c: c[0] if c[0] in keep else _escaped(c[0]), text)


def json_text(content: Any, indent: int | None = None) -> str:
    r"""JSON without control characters or surrogates, so that it is valid UTF-8.

    Raises:
        ValueError: a number is not finite.

    >>> json_text({"M\udcfcller": "é"})
    '{"M\\udcfcller": "é"}'
    """
    text = json.dumps(content, indent=indent, ensure_ascii=False, allow_nan=False)
    return _CONTROLS.sub(lambda c: c[0] if c[0] == "\n" else f"\\u{ord(c[0]):04x}", text)


def csv_text(rows: Iterable[Iterable[str]]) -> str:
    r"""CSV in which no text is a formula or a control sequence; `csv_rows` reads it back.

    Numbers stay numbers. Text that a spreadsheet would evaluate gets a leading apostrophe.

    >>> csv_text([["-0.5", "=1+1", "plain", "\x1b[31m"]])
    "-0.5,'=1+1,plain,\\u001b[31m\n"
    """
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([map(_csv_cell, row) for row in rows])
    return text.getvalue()


def csv_rows(text: str) -> list[dict[str, str]]:
    """The rows of CSV as `csv_text` writes it, by the names in its first row.

    Raises:
        ValueError: the text is not such a table.
    """
    try:
        header, *rows = csv.reader(io.StringIO(text, newline=""), strict=True)
        names = [_from_csv_cell(name) for name in header]
        return [dict(zip(names, map(_from_csv_cell, row), strict=True)) for row in rows if row]
    except csv.Error as error:
        raise ValueError(str(error)) from error


def markdown(text: str) -> str:
    r"""Text of one line for Markdown, in which nothing is markup and which stays in its cell.

    >>> markdown("a|b <i>snake_case</i>")
    'a\\|b \\<i\\>snake_case\\</i\\>'
    """
    line = _MARKUP.sub(r"\\\g<0>", " ".join(visible(text).split()))
    # a list, a rule or an underlined heading begins like this
    return _BLOCK.sub(r"\1\\\2", line, count=1) if _BLOCK.match(line) else line


def markdown_code(name: str) -> str:
    """A name in the type of code where it is harmless, and as `markdown` otherwise."""
    return f"`{name}`" if _PLAIN_CODE.fullmatch(name) else markdown(name)


def _escaped(letter: str) -> str:
    return letter.encode("unicode_escape").decode()


def _csv_cell(text: str) -> str:
    # A backslash that looks like one of our escapes is escaped, so that all can be read back.
    text = _ESCAPE_IN_CSV.sub(r"\\u005cu\1", text)
    text = _CONTROLS.sub(lambda c: c[0] if c[0] == "\n" else f"\\u{ord(c[0]):04x}", text)
    return f"'{text}" if _FORMULA.match(text) and not _NUMBER.fullmatch(text) else text


def _from_csv_cell(text: str) -> str:
    text = text[1:] if text.startswith("'") and _FORMULA.match(text) else text
    return _ESCAPE_IN_CSV.sub(lambda escape: chr(int(escape[1], 16)), text)
