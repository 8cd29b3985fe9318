"""Writing HTML and SVG with every text escaped: names of classes and files may hold anything."""

import html
from collections.abc import Iterable

_VOID = {"br", "col", "hr", "img", "input", "meta", "wbr"}


class Markup(str):
    """Text that is markup already; any other string is escaped where it is put in."""

    __slots__ = ()


Child = str | None | Iterable["Child"]
Value = str | float | bool | None


def element(tag: str, /, *children: Child, **attributes: Value) -> Markup:
    """One element; `class_` stands for class, `data_kind` for data-kind.

    An attribute that is None or False is left out, one that is True has no value.

    >>> element("p", "1 < 2", class_="note")
    '<p class="note">1 &lt; 2</p>'
    """
    opening = f"<{tag}{''.join(_attribute(key, value) for key, value in attributes.items())}>"
    if tag in _VOID:
        return Markup(opening)
    return Markup(f"{opening}{join(*children)}</{tag}>")


def join(*children: Child) -> Markup:
    """Children one after the other."""
    return Markup("".join(_text(child) for child in children))


def breakable(name: str) -> Markup:
    """A name that may be broken into lines after its underscores."""
    first, *rest = name.split("_")
    return join(first, [("_", element("wbr"), part) for part in rest])


def _text(child: Child) -> str:
    if child is None:
        return ""
    if isinstance(child, Markup):
        return child
    if isinstance(child, str):
        return html.escape(child, quote=True)
    return "".join(_text(inner) for inner in child)


def _attribute(key: str, value: Value) -> str:
    name = key.rstrip("_").replace("_", "-")
    if value is None or value is False:
        return ""
    if value is True:
        return f" {name}"
    shown = f"{value:g}" if isinstance(value, float) else str(value)
    return f' {name}="{html.escape(shown, quote=True)}"'
