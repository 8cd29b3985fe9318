"""The report's tables as Markdown, CSV and LaTeX, with the figures of the page."""

import csv
import io
from collections.abc import Sequence

from loco_tools.benchmark.report.tables import MARKS, NOTHING, Cell, Column, Row, Table
from loco_tools.benchmark.run.results_csv import inert

READING = {
    "best": "the best of its column",
    "level": "not told apart from the best",
}


def as_markdown(table: Table) -> str:
    """A table of GitHub's Markdown, its caption above and its notes below."""
    heads = [_markdown(column.name) for column in table.columns]
    rules = ["---:" if column.numeric else "---" for column in table.columns]
    lines = [f"**{_markdown(table.caption)}**", "", _piped(heads), _piped(rules)]
    for row in table.rows:
        cells = [_markdown_cell(cell) for cell in row.cells]
        lines.append(_piped([f"**{cell}**" for cell in cells] if row.total else cells))
    if table.marked:
        lines += ["", f"★ {READING['best']}, ≈ {READING['level']}."]
    lines += [f"\n{_markdown(note)}" for note in table.notes]
    return "\n".join(lines) + "\n"


def as_csv(table: Table) -> str:
    """One column per figure; beside it its spread and its mark where any row has one."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    parts = [_parts(table.rows, place) for place in range(len(table.columns))]
    writer.writerow(
        [
            inert(name)
            for column, has in zip(table.columns, parts, strict=True)
            for name in _heads(column, has)
        ]
    )
    for row in table.rows:
        cells = zip(row.cells, parts, strict=True)
        writer.writerow([inert(value) for cell, has in cells for value in _values(cell, has)])
    return text.getvalue()


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


def _latex_cell(cell: Cell) -> str:
    figure = latex(cell.figure())
    if cell.mark == "best":
        figure = rf"\textbf{{{figure}}}"
    if cell.mark == "level":
        figure = rf"{latex(MARKS['level'])}{figure}"
    spread = rf"\,{{\scriptsize {latex(cell.spread())}}}" if cell.spread() else ""
    words = f" ({latex(cell.words)})" if cell.words else ""
    return figure + spread + words


def _markdown(text: str) -> str:
    """Text in which nothing is markup and which stays in its column."""
    escaped = "".join(f"\\{letter}" if letter in r"\`*_{}[]<>#|~&" else letter for letter in text)
    return " ".join(escaped.split())


def _markdown_cell(cell: Cell) -> str:
    mark = f"{MARKS[cell.mark]} " if cell.mark else ""
    spread = f" {cell.spread()}" if cell.spread() else ""
    words = f" ({cell.words})" if cell.words else ""
    return _markdown(f"{mark}{cell.figure()}{spread}{words}")


def _piped(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _parts(rows: Sequence[Row], place: int) -> tuple[bool, bool, bool]:
    """Whether any row has a spread, a mark or words there."""
    cells = [row.cells[place] for row in rows]
    return (
        any(cell.deviation is not None for cell in cells),
        any(cell.mark for cell in cells),
        any(cell.words for cell in cells),
    )


def _heads(column: Column, has: tuple[bool, bool, bool]) -> list[str]:
    name = column.name
    more = zip((f"{name} deviation", f"{name} mark", f"{name} remark"), has, strict=True)
    return [name, *(head for head, present in more if present)]


def _values(cell: Cell, has: tuple[bool, bool, bool]) -> list[str]:
    plain = "" if cell.figure() == NOTHING else cell.figure()
    digits = max(cell.digits, 0)
    value = plain if cell.value is None else f"{cell.value:.{digits}f}"
    deviation = "" if cell.deviation is None else f"{cell.deviation:.{digits}f}"
    more = zip((deviation, cell.mark, cell.words), has, strict=True)
    return [value, *(part for part, present in more if present)]
