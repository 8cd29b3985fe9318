"""A table of the report as data: shown in the page, and written as Markdown, CSV and LaTeX."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from loco_tools.benchmark.run.results_csv import MeanOverSeeds
from loco_tools.wording import csv_text, markdown

Mark = Literal["", "best", "level"]

MARKS: dict[Mark, str] = {"": "", "best": "★", "level": "≈"}
"""How a mark is written in text; "level" does not differ significantly from the best."""

NOTHING = "–"
"""Stands where a figure does not apply."""


@dataclass(frozen=True)
class TableCell:
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
class TableColumn:
    """A column; `guess` is what guessing earns where the figures lie between that and 1."""

    name: str
    numeric: bool = True
    tip: str = ""
    guess: float | None = None


@dataclass(frozen=True)
class TableRow:
    """Cells in the order of the columns; `total` sets it apart, `link` leads from its first one."""

    cells: tuple[TableCell, ...]
    total: bool = False
    link: str = ""


@dataclass(frozen=True)
class Table:
    """One table: `key` names its files, `notes` say how it is to be read."""

    key: str
    caption: str
    columns: tuple[TableColumn, ...]
    rows: tuple[TableRow, ...]
    notes: tuple[str, ...] = ()

    @property
    def marked(self) -> bool:
        """True if any figure carries a mark."""
        return any(cell.mark for row in self.rows for cell in row.cells)


def text(value: str) -> TableCell:
    """A name."""
    return TableCell(text=value)


def spread_cell(found: MeanOverSeeds | None, mark: Mark = "", *, failed: bool = False) -> TableCell:
    """A figure over seeds; "failed" where it has none because its cell failed."""
    if found is None:
        return TableCell(text="failed" if failed else "", bad=failed)
    return TableCell(found.mean, found.deviation, mark=mark)


def number(value: float | None, digits: int = 3, *, signed: bool = False) -> TableCell:
    """A plain number."""
    return TableCell(value, digits=digits, signed=signed)


def names(*columns: str) -> tuple[TableColumn, ...]:
    """Columns of names."""
    return tuple(TableColumn(name, numeric=False) for name in columns)


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


READING = {
    "best": "the best of its column",
    "level": "not significantly different from the best",
}
"""Explanation of each mark."""


def as_markdown(table: Table) -> str:
    """A table of GitHub's Markdown, its caption above and its notes below."""
    heads = [markdown(column.name) for column in table.columns]
    rules = ["---:" if column.numeric else "---" for column in table.columns]
    lines = [f"**{markdown(table.caption)}**", "", _piped(heads), _piped(rules)]
    for row in table.rows:
        cells = [_markdown_cell(cell) for cell in row.cells]
        lines.append(_piped([f"**{cell}**" for cell in cells] if row.total else cells))
    if table.marked:
        lines += ["", f"★ {READING['best']}, ≈ {READING['level']}."]
    lines += [f"\n{markdown(note)}" for note in table.notes]
    return "\n".join(lines) + "\n"


def as_csv(table: Table) -> str:
    """One column per metric, followed by its spread and its mark if any row has one."""
    parts = [_parts(table.rows, place) for place in range(len(table.columns))]
    heads = zip(table.columns, parts, strict=True)
    rows = [[name for column, has in heads for name in _heads(column, has)]]
    for row in table.rows:
        cells = zip(row.cells, parts, strict=True)
        rows.append([value for cell, has in cells for value in _values(cell, has)])
    return csv_text(rows)


def as_latex(table: Table) -> str:
    r"""A `table` with a `booktabs` tabular, to be \input; needs \usepackage{booktabs}."""
    shape = "".join("r" if column.numeric else "l" for column in table.columns)
    lines = [
        r"\begin{table}",
        r"  \centering",
        rf"  \caption{{{latex(_latex_caption(table))}}}",
        rf"  \label{{tab:{table.key.replace('_', '-')}}}",
        rf"  \begin{{tabular}}{{{shape}}}",
        r"    \toprule",
        f"    {_latex_row([latex(column.name) for column in table.columns])}",
        r"    \midrule",
    ]
    for number, row in enumerate(table.rows):
        if row.total and number:
            lines.append(r"    \midrule")
        lines.append(f"    {_latex_row([_latex_cell(cell) for cell in row.cells])}")
    lines += [r"    \bottomrule", r"  \end{tabular}", r"\end{table}"]
    return "\n".join(lines) + "\n"


def latex_document(tables: Sequence[Table]) -> str:
    """A document that compiles where the tables' files lie, and shows all of them."""
    inputs = [
        rf"{{\tiny\setlength{{\tabcolsep}}{{2pt}}\input{{{table.key}.tex}}}}\clearpage"
        for table in tables
    ]
    return "\n".join(
        [
            r"\documentclass[a4paper,landscape]{article}",
            r"\usepackage[T1]{fontenc}",
            r"\usepackage[utf8]{inputenc}",
            r"\usepackage[margin=12mm]{geometry}",
            r"\usepackage{booktabs}",
            r"\begin{document}",
            *inputs,
            r"\end{document}",
            "",
        ]
    )


def latex(text: str) -> str:
    r"""Text in which nothing is a command; letters that pdfLaTeX lacks become their number.

    >>> latex(r"a_b & 50 % {\input}")
    'a\\_b \\& 50 \\% \\{\\textbackslash{}input\\}'
    """
    return "".join(_latex_letter(letter) for letter in text)


_LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "±": r"$\pm$",
    "−": "$-$",
    "×": r"$\times$",
    "≈": r"$\approx$",
    "★": r"$\star$",
    "≤": r"$\le$",
    "≥": r"$\ge$",
    "→": r"$\rightarrow$",
    "²": r"\textsuperscript{2}",
    "–": "--",
    "—": "---",
    "“": "``",
    "”": "''",
    "’": "'",
    "…": r"\dots{}",
    "▲": r"$\uparrow$",
    "▼": r"$\downarrow$",
} | {letter: f"\\{letter}" for letter in "&%$#_{}"}


def _latex_letter(letter: str) -> str:
    if letter in _LATEX:
        return _LATEX[letter]
    if letter.isascii():
        return letter if letter.isprintable() else " "
    # T1 has the letters of western Europe
    return letter if "À" <= letter <= "ÿ" else f"[U+{ord(letter):04X}]"


def _latex_caption(table: Table) -> str:
    marks = f" Bold: {READING['best']}; ≈: {READING['level']}." if table.marked else ""
    return " ".join([f"{table.caption}.{marks}", *table.notes])


def _latex_row(cells: Sequence[str]) -> str:
    return " & ".join(cells) + r" \\"


def _latex_cell(cell: TableCell) -> str:
    figure = latex(cell.figure())
    if cell.mark == "best":
        figure = rf"\textbf{{{figure}}}"
    if cell.mark == "level":
        figure = rf"{latex(MARKS['level'])}{figure}"
    spread = rf"\,{{\scriptsize {latex(cell.spread())}}}" if cell.spread() else ""
    words = f" ({latex(cell.words)})" if cell.words else ""
    return figure + spread + words


def _markdown_cell(cell: TableCell) -> str:
    mark = f"{MARKS[cell.mark]} " if cell.mark else ""
    spread = f" {cell.spread()}" if cell.spread() else ""
    words = f" ({cell.words})" if cell.words else ""
    return markdown(f"{mark}{cell.figure()}{spread}{words}")


def _piped(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _parts(rows: Sequence[TableRow], place: int) -> tuple[bool, bool, bool]:
    """Whether any row has a spread, a mark or words there."""
    cells = [row.cells[place] for row in rows]
    return (
        any(cell.deviation is not None for cell in cells),
        any(cell.mark for cell in cells),
        any(cell.words for cell in cells),
    )


def _heads(column: TableColumn, has: tuple[bool, bool, bool]) -> list[str]:
    name = column.name
    more = zip((f"{name} deviation", f"{name} mark", f"{name} remark"), has, strict=True)
    return [name, *(head for head, present in more if present)]


def _values(cell: TableCell, has: tuple[bool, bool, bool]) -> list[str]:
    plain = "" if cell.figure() == NOTHING else cell.figure()
    digits = max(cell.digits, 0)
    value = plain if cell.value is None else f"{cell.value:.{digits}f}"
    deviation = "" if cell.deviation is None else f"{cell.deviation:.{digits}f}"
    more = zip((deviation, cell.mark, cell.words), has, strict=True)
    return [value, *(part for part, present in more if present)]
