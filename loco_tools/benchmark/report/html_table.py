"""A table of the report as HTML."""

from collections.abc import Sequence

from loco_tools.benchmark.report.html import Markup, breakable, element
from loco_tools.benchmark.report.section import folded
from loco_tools.benchmark.report.tables import MARKS, Cell, Column, Row, Table

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
