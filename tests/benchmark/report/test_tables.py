import csv
import io
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pytest

from loco_tools.benchmark.report.html import render
from loco_tools.benchmark.report.tables import (
    Table,
    TableCell,
    TableColumn,
    TableRow,
    as_csv,
    as_latex,
    as_markdown,
    latex_document,
    names,
    with_distinct_keys,
)

HOSTILE = r"a_b|c & 50% {\input{/etc/passwd}} $x^2$ #1 ~ <script>alert(1)</script> `é 中"


def make_table(name: str = "a_method", **changes: object) -> Table:
    settings = {
        "key": "overview",
        "caption": "Means of 2 methods",
        "columns": (*names("method"), TableColumn("image AUROC", guess=0.5), TableColumn("gap")),
        "rows": (
            TableRow(
                (
                    TableCell(text=name),
                    TableCell(0.91, 0.0123, mark="best"),
                    TableCell(0.011, signed=True),
                )
            ),
            TableRow(
                (
                    TableCell(text="other"),
                    TableCell(0.9, mark="level"),
                    TableCell(-0.02, signed=True),
                ),
                total=True,
            ),
            TableRow(
                (
                    TableCell(text="=HYPERLINK(1)"),
                    TableCell(text="failed", bad=True),
                    TableCell(),
                )
            ),
        ),
    }
    return Table(**{**settings, **changes})  # type: ignore[arg-type]


def test_markdown_has_captions_marks_spreads_and_what_marks_mean() -> None:
    assert as_markdown(make_table(notes=("A note.",))).splitlines() == [
        "**Means of 2 methods**",
        "",
        "| method | image AUROC | gap |",
        "| --- | ---: | ---: |",
        "| a_method | ★ 0.910 ±0.012 | +0.011 |",
        "| **other** | **≈ 0.900** | **−0.020** |",
        "| =HYPERLINK(1) | failed | – |",
        "",
        "★ the best of its column, ≈ not significantly different from the best.",
        "",
        "A note.",
    ]


def test_markdown_of_hostile_names_stays_in_its_cell() -> None:
    row = as_markdown(make_table(f"{HOSTILE}\nnext | line")).splitlines()[4]
    assert row.startswith("| a_b\\|c \\& 50% \\{")
    assert row.replace("\\|", "").count("|") == 4
    assert "<script>" not in row.replace("\\<", "")


def test_csv_has_a_column_for_what_any_row_has() -> None:
    rows = list(csv.reader(io.StringIO(as_csv(make_table()))))
    assert rows == [
        ["method", "image AUROC", "image AUROC deviation", "image AUROC mark", "gap"],
        ["a_method", "0.910", "0.012", "best", "0.011"],
        ["other", "0.900", "", "level", "-0.020"],
        ["'=HYPERLINK(1)", "failed", "", "", ""],
    ]


def test_latex_is_a_booktabs_table_with_everything_escaped() -> None:
    text = as_latex(make_table(HOSTILE))
    for line in (
        r"\begin{tabular}{lrr}",
        r"\toprule",
        r"method & image AUROC & gap \\",
        r"\textbf{0.910}\,{\scriptsize $\pm$0.012} & +0.011 \\",
        r"$\approx$0.900 & $-$0.020 \\",
        r"\label{tab:overview}",
    ):
        assert line in text, line
    assert r"\input{/etc" not in text
    assert r"a\_b\textbar{}c \& 50\% \{\textbackslash{}input\{/etc/passwd\}\}" in text
    assert "é [U+4E2D]" in text


def test_the_latex_of_hostile_names_compiles(tmp_path: Path) -> None:
    if shutil.which("pdflatex") is None:
        pytest.skip("needs pdflatex (apt: texlive-latex-base, texlive-latex-recommended)")
    made = [
        make_table(HOSTILE, caption=HOSTILE, notes=(HOSTILE, "≈ ★ – “x” ▲ ▼ ≤ → …")),
        make_table(key="second", columns=(*names(HOSTILE), TableColumn("\\"), TableColumn("x\ty"))),
    ]
    for one in made:
        (tmp_path / f"{one.key}.tex").write_text(as_latex(one))
    (tmp_path / "all.tex").write_text(latex_document(made))
    command = ["pdflatex", "-no-shell-escape", "-interaction=nonstopmode", "-halt-on-error"]
    done = subprocess.run(
        [*command, "all.tex"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-2000:]
    assert "2 pages" in done.stdout


def test_every_kind_of_file_has_the_figures_of_the_page() -> None:
    class Texts(HTMLParser):
        def handle_data(self, data: str) -> None:
            found.append(data.strip())

    found: list[str] = []
    Texts().feed(render("published.html", published=make_table()))
    for figure in ("0.910", "0.900", "+0.011", "−0.020"):
        assert figure in found
        assert figure.replace("−", "-").lstrip("+") in as_csv(make_table())
        assert figure in as_markdown(make_table())


def test_tables_of_one_name_do_not_overwrite_each_other() -> None:
    made = with_distinct_keys([make_table(), make_table(), make_table()])
    assert [one.key for one in made] == ["overview", "overview_2", "overview_3"]


def test_a_gauge_begins_where_guessing_would_be() -> None:
    page = render("published.html", published=make_table())
    assert "width:82.0%" in page, "0.91 lies 82 % of the way from 0.5 to 1"
    assert page.count("gauge") == 2
