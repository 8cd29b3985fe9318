"""HTML from templates, and SVG from elements, with every text escaped.

Names of classes, methods and files may hold anything, so nothing is put into a page unescaped: the
templates in `templates/` escape by themselves, and `element` escapes its children.
"""

from collections.abc import Iterable
from functools import cache
from typing import Any

from jinja2 import Environment
from markupsafe import Markup, escape

from loco_tools.benchmark.report.tables import MARKS, READING
from loco_tools.templates import load_templates

Child = str | None | Iterable["Child"]
Value = str | float | bool | None


@cache
def _environment() -> Environment:
    environment = load_templates(
        "loco_tools.benchmark.report", trim_blocks=True, lstrip_blocks=True
    )
    environment.policies["json.dumps_kwargs"] = {"separators": (",", ":")}
    environment.filters |= {"breakable": breakable, "signed": signed}
    environment.globals |= {"MARKS": MARKS, "READING": READING}
    return environment


def render(template: str, **content: Any) -> Markup:
    """The text of a template in `templates/` with the content filled in."""
    # the template has escaped all of its content
    return Markup(_environment().get_template(template).render(content))  # noqa: S704


def breakable(name: str) -> Markup:
    """A name that may be broken into lines after its underscores."""
    return Markup("_<wbr>").join(name.split("_"))


def signed(value: float) -> str:
    """A difference with its sign, to three digits.

    >>> signed(-0.01234)
    '−0.012'
    """
    return f"{value:+.3f}".replace("-", "−")


def element(tag: str, /, *children: Child, **attributes: Value) -> Markup:
    """One element of an SVG; `class_` stands for class, `aria_label` for aria-label.

    An attribute that is None or False is left out, one that is True has no value.

    >>> element("text", "1 < 2", class_="note")
    Markup('<text class="note">1 &lt; 2</text>')
    """
    written = ""
    for key, value in attributes.items():
        if value is not None and value is not False:
            shown = f"{value:g}" if isinstance(value, float) else str(value)
            written += f" {key.rstrip('_').replace('_', '-')}"
            written += "" if value is True else f'="{escape(shown)}"'
    return Markup(f"<{tag}{written}>{join(*children)}</{tag}>")  # noqa: S704


def join(*children: Child) -> Markup:
    """Children one after the other, each escaped unless it is markup."""
    return Markup("").join(
        escape(child) if isinstance(child, str) else join(*child)
        for child in children
        if child is not None
    )
