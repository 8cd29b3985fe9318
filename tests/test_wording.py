import csv
import io
import json
import math
import re
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from loco_tools.templates import load_templates
from loco_tools.wording import (
    csv_rows,
    csv_text,
    json_text,
    markdown,
    markdown_code,
    printable,
    visible,
)

NAMES = st.text(
    st.characters(exclude_categories=())  # surrogates too: bytes of names that are not UTF-8
    | st.sampled_from(list("=+-@\t\r\n\x1b'\"\\u005c ,;|`_*<>&#~$[](){}.:!1aé\u202e\u200f\udcfc")),
    max_size=30,
)
HOSTILE = [
    *("=cmd|'/c calc'!A1", "-1+1", "\t=1", "\r=1", "\n=1", " =1", "'=1", "''=1", "@SUM(1)", "+1-1"),
    *("\x1b[31mred\x1b]0;title\x07", "\x9b31m", "a|b", "`code`", "<script>", "\u202eb", "\udcfc"),
    *("\\u001b", "\\u005cu001b", "\\x1b", "- item", "1. one", "---", "===", "_a_", "snake_case"),
]
CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def hostile(test: Any) -> Any:
    for name in HOSTILE:
        test = example(name)(test)
    return given(NAMES)(test)


@hostile
def test_a_terminal_gets_no_control_character_but_line_breaks(name: str) -> None:
    shown = visible(name)
    assert not CONTROLS.search(shown.replace("\n", ""))
    shown.encode("utf-8")
    assert visible(shown) == shown
    assert printable(name).isprintable()


@hostile
def test_csv_holds_no_formula_and_no_control_and_gives_the_text_back(name: str) -> None:
    text = csv_text([["id", name, "score"], [name, "plain", "-0.5"]])
    assert not CONTROLS.search(text.replace("\n", ""))
    text.encode("utf-8")
    header, row = list(csv.reader(io.StringIO(text, newline="")))
    for cell in (header[1], row[0]):
        assert re.match(r"[=+\-@\t\r]", cell.lstrip()) is None or is_number(cell)
    assert row[1:] == ["plain", "-0.5"]
    if name not in ("id", "score"):
        assert csv_rows(text) == [{"id": name, name: "plain", "score": "-0.5"}]


@given(st.floats() | st.integers().map(float))
def test_numbers_stay_numbers_in_csv(value: float) -> None:
    if math.isfinite(value):
        assert csv_text([[repr(value)]]) == f"{value!r}\n"


@given(st.from_regex(r"[\w][\w .-]*", fullmatch=True))
def test_harmless_names_stay_as_they_are(name: str) -> None:
    assert csv_text([[name]]) in (f"{name}\n", f'"{name}"\n')
    assert visible(name) == name
    assert json_text(name) == json.dumps(name, ensure_ascii=False)


@hostile
def test_json_is_utf_8_and_gives_the_text_back(name: str) -> None:
    text = json_text({name: [name]}, indent=2)
    assert not CONTROLS.search(text.replace("\n", ""))
    assert json.loads(text.encode("utf-8")) == {name: [name]}


@hostile
def test_html_shows_the_text(name: str) -> None:
    page = load_templates("loco_tools.datasets").from_string("<p title='{{ name }}'>{{ name }}</p>")
    html = page.render(name=name)
    assert html.count("<") == html.count(">") == 2
    assert html.count("'") == 2
    assert not CONTROLS.search(re.sub(r"[\n\r\t]", "", html))
    html.encode("utf-8")


@hostile
def test_markdown_is_one_line_in_which_nothing_is_markup(name: str) -> None:
    shown = markdown(name)
    assert "\n" not in shown
    assert not CONTROLS.search(shown)
    unescaped = re.sub(r"\\[!-/:-@\[-`{-~]", "", shown)
    assert not re.search(r"[\\`*{}\[\]<>#|~&$]", unescaped)
    assert not re.match(r"([-+]|\d+[.)])(\s|$)|[-=]+$", shown)
    assert markdown_code(name) in (f"`{name}`", shown)
    # whoever reads it sees the words of the name
    plain = re.sub(r"\\([!-/:-@\[-`{-~])", r"\1", shown)
    assert plain == " ".join(visible(name).split())


def is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text)) and text.isascii()
    except ValueError:
        return False
