"""A table of the report as data: shown in the page, and written as Markdown, CSV and LaTeX."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from loco_tools.benchmark.run.results_csv import Spread

Mark = Literal["", "best", "level"]

MARKS: dict[Mark, str] = {"": "", "best": "★", "level": "≈"}
"""How a mark is written in text; "level" is not told apart from the best."""

NOTHING = "–"
"""Stands where a figure does not apply."""


@dataclass(frozen=True)
class Cell:
    """A figure with its spread, or a text; neither where a figure does not apply.

    `digits` after the point; `signed` writes a plus sign too; `words` stand below the figure.
    """

    value: float | None = None
    deviation: float | None = None
    text: str = ""
    mark: Mark = ""
    digits: int = 3
    signed: bool = False
    words: str = ""
    bad: bool = False

    def figure(self) -> str:
        """The figure without its spread, or the text."""
        if self.value is None:
            return self.text or NOTHING
        sign = "+" if self.signed else ""
        return f"{self.value:{sign},.{self.digits}f}".replace("-", "−")

    def spread(self) -> str:
        """The spread as it stands behind the figure; nothing where there is none."""
        return "" if self.deviation is None else f"±{self.deviation:.{self.digits}f}"


@dataclass(frozen=True)
class Column:
    """A column; `guess` is what guessing earns where the figures lie between that and 1."""

    name: str
    numeric: bool = True
    tip: str = ""
    guess: float | None = None


@dataclass(frozen=True)
class Row:
    """Cells in the order of the columns; `total` sets it apart, `link` leads from its first one."""

    cells: tuple[Cell, ...]
    total: bool = False
    link: str = ""


@dataclass(frozen=True)
class Table:
    """One table: `key` names its files, `notes` say how it is to be read."""

    key: str
    caption: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()

    @property
    def marked(self) -> bool:
        """Whether any figure carries a mark."""
        return any(cell.mark for row in self.rows for cell in row.cells)


def text(value: str) -> Cell:
    """A name."""
    return Cell(text=value)


def spread_cell(found: Spread | None, mark: Mark = "", *, failed: bool = False) -> Cell:
    """A figure over seeds; "failed" where it has none because its cell failed."""
    if found is None:
        return Cell(text="failed" if failed else "", bad=failed)
    return Cell(found.mean, found.deviation, mark=mark)


def number(value: float | None, digits: int = 3, *, signed: bool = False) -> Cell:
    """A plain number."""
    return Cell(value, digits=digits, signed=signed)


def names(*columns: str) -> tuple[Column, ...]:
    """Columns of names."""
    return tuple(Column(name, numeric=False) for name in columns)


def key_of(*words: str) -> str:
    """A file's name without its suffix, made of words that may hold anything.

    >>> key_of("defect types", "Plate/../x")
    'defect_types_plate_x'
    """
    joined = "_".join(words).lower()
    kept = "".join(letter if letter.isascii() and letter.isalnum() else "_" for letter in joined)
    return "_".join(part for part in kept.split("_") if part)[:80] or "table"


def with_distinct_keys(tables: Sequence[Table]) -> list[Table]:
    """The same tables; those whose keys are equal get a number."""
    taken: set[str] = set()
    found = []
    for table in tables:
        key, number_ = table.key, 2
        while key in taken:
            key, number_ = f"{table.key}_{number_}", number_ + 1
        taken.add(key)
        found.append(Table(key, table.caption, table.columns, table.rows, table.notes))
    return found
