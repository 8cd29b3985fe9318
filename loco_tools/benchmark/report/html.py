"""Writing HTML and SVG with every text escaped: names of classes and files may hold anything."""

import html
from collections.abc import Iterable, Sequence

from loco_tools.benchmark.analysis.run_data import ReportData
from loco_tools.benchmark.report.tables import MARKS, Cell, Column, Row, Table

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


def section(key: str, title: str, note: str, *content: Child) -> Markup:
    """One section of the page, which the navigation leads to by its key."""
    text = element("p", note, class_="quiet") if note else None
    return element("section", element("h2", title), text, *content, id=key)


def captioned(caption: str, picture: Markup, *more: Child) -> Markup:
    """A drawing with what it shows above it."""
    return element("figure", element("figcaption", caption), picture, *more)


def folded(summary: str, *content: Child, key: str | None = None) -> Markup:
    """What opens when it is asked for; printed all the same."""
    return element("details", element("summary", summary), *content, id=key)


def seed_note(data: ReportData) -> str:
    """Which seed is shown, where there are several."""
    seeds = data.run.suite.seeds
    return f"Shown for seed {seeds[0]}." if len(seeds) > 1 else ""


_WORDS = {"best": "best of the column", "level": "not told apart from the best"}


def html_table(table: Table, *, visible: bool = False, snug: bool = False) -> Markup:
    """The table, which scrolls sideways where the page is too narrow for it.

    Args:
        table: what it shows.
        visible: whether its caption is shown, and not only read out.
        snug: whether its columns are as narrow as they can be.
    """
    head = [
        element(
            "th",
            breakable(column.name),
            scope="col",
            class_="num" if column.numeric else None,
            title=column.tip or None,
        )
        for column in table.columns
    ]
    drawn = element(
        "table",
        element("caption", table.caption, class_="unseen"),
        element("thead", element("tr", head)),
        element("tbody", [_row(row, table.columns) for row in table.rows]),
        id=f"table-{table.key}",
    )
    scroll = element(
        "div",
        drawn,
        class_="scroll snug" if snug else "scroll",
        tabindex="0",
        role="region",
        aria_label=table.caption,
    )
    title = element("p", table.caption, class_="caption", aria_hidden="true") if visible else None
    notes: list[Markup] = [element("p", note, class_="quiet") for note in table.notes]
    if table.marked and notes:
        notes = [folded("How the marks were decided", notes)]
    return element("div", title, scroll, notes, class_="tabled")


def rows_table(
    caption: str, firsts: Sequence[str], head: Sequence[Markup], body: Sequence[Markup]
) -> Markup:
    """A table whose rows hold more than figures.

    Args:
        caption: what it shows.
        firsts: heads of the columns with names.
        head: heads of the columns with figures.
        body: rows.
    """
    first = [element("th", text, scope="col") for text in firsts]
    table = element(
        "table",
        element("caption", caption, class_="unseen"),
        element("thead", element("tr", first, head)),
        element("tbody", list(body)),
    )
    title = element("p", caption, class_="caption", aria_hidden="true")
    return element(
        "div",
        title,
        element("div", table, class_="scroll", tabindex="0", role="region", aria_label=caption),
        class_="tabled",
    )


def _row(row: Row, columns: tuple[Column, ...]) -> Markup:
    first, *rest = zip(columns, row.cells, strict=True)
    name = breakable(first[1].figure())
    if row.link:
        name = element("a", name, href=f"#{row.link}")
    heading = element("th", name, scope="row")
    cells = [_cell(cell, column) for column, cell in rest]
    return element("tr", heading, cells, class_="total" if row.total else None)


def _cell(cell: Cell, column: Column) -> Markup:
    if not column.numeric:
        return element("td", breakable(cell.figure()))
    if cell.value is None:
        shown = element("span", cell.figure(), class_="bad") if cell.bad else cell.figure()
        return element("td", shown, class_="num")
    mark = None
    if cell.mark:
        mark = element(
            "span",
            MARKS[cell.mark],
            class_="star",
            title=_WORDS[cell.mark],
            role="img",
            aria_label=_WORDS[cell.mark],
        )
    spread = element("small", f" {cell.spread()}") if cell.deviation is not None else None
    return element(
        "td",
        element("span", mark, cell.figure(), spread, class_="figure"),
        _gauge(cell.value, column.guess),
        element("span", cell.words, class_="verdict") if cell.words else None,
        class_=f"num {cell.mark}".rstrip(),
    )


def _gauge(value: float, guess: float | None) -> Markup | None:
    """A bar from where guessing would be to 1."""
    if guess is None:
        return None
    share = max(0.0, (value - guess) / (1 - guess))
    return element("span", element("span", style=f"width:{100 * share:.1f}%"), class_="gauge")
