import contextlib
import json
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loco_tools.annotations.taxonomy import Taxonomy, load_taxonomy
from loco_tools.definitions import locate
from loco_tools.errors import DefinitionError
from loco_tools.plan import Plan
from loco_tools.schema import MAX_DEPTH, MAX_DIGITS, loads_json, loads_toml, read_toml

DEFECT = """
schema_version = 1
name = "angle"
[[defects]]
name = "missing_hole"
kind = "logical"
pixel_value = 255
saturation = {saturation}
reason = "r"
guide = "g"
colour = "#ff0000"
"""


def write_taxonomy(folder: Path, saturation: str = "{ relative = 1.0 }", extra: str = "") -> Path:
    path = folder / "angle.toml"
    path.write_text(DEFECT.format(saturation=saturation) + extra)
    return path


def test_a_sound_taxonomy_is_read_by_path(tmp_path: Path) -> None:
    taxonomy = load_taxonomy(str(write_taxonomy(tmp_path)))
    assert [defect.name for defect in taxonomy.defects] == ["missing_hole"]


@pytest.mark.parametrize(
    ("saturation", "extra", "message"),
    [
        ("{ relative = 1.4 }", "", r"relative.*less than or equal to 1, got 1\.4"),
        ("{ relativ = 1.0 }", "", r"relativ.*did you mean \"relative\""),
        ("{ area_px = 0 }", "", r"area_px.*greater than 0, got 0"),
        ("{ relative = 1.0 }", "colr = 1\n", r"unknown key .*colr; did you mean \"colour\""),
    ],
)
def test_a_wrong_taxonomy_is_refused_with_file_place_and_nearest_key(
    tmp_path: Path, saturation: str, extra: str, message: str
) -> None:
    path = write_taxonomy(tmp_path, saturation, extra)
    with pytest.raises(DefinitionError, match=message) as caught:
        load_taxonomy(str(path))
    assert str(path) in str(caught.value)


def test_two_defects_cannot_share_a_pixel_value(tmp_path: Path) -> None:
    path = write_taxonomy(tmp_path)
    second = DEFECT.split("[[defects]]")[1].format(saturation="{ relative = 1.0 }")
    path.write_text(path.read_text() + "[[defects]]" + second.replace("missing_hole", "dent"))
    with pytest.raises(DefinitionError, match=r"its own pixel_value, got \[255\] twice"):
        load_taxonomy(str(path))


def test_broken_toml_is_an_error_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "x.toml"
    path.write_text("name = \n")
    with pytest.raises(DefinitionError, match=r"expected TOML.*line 1"):
        read_toml(Taxonomy, path)


def test_an_unknown_key_deep_in_a_plan_is_refused_with_the_nearest_one(tmp_path: Path) -> None:
    text = locate("capture", "angle").read_text()
    path = tmp_path / "angle.toml"
    path.write_text(text.replace("diameter_mm = 5.0", "diametre_mm = 5.0", 1))
    with pytest.raises(DefinitionError, match=r"diametre_mm; did you mean \"diameter_mm\""):
        read_toml(Plan, path)


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=20,
)


@given(PLAIN)
def test_json_of_plain_data_is_read_as_json_reads_it(content: object) -> None:
    text = json.dumps(content)
    assert loads_json(text) == loads_json(text.encode()) == json.loads(text)


@given(st.text() | st.binary() | st.text('[]{}":,0123456789eE+-.x_ntf'))
def test_whatever_is_no_json_is_one_value_error(content: str | bytes) -> None:
    with contextlib.suppress(ValueError):
        loads_json(content)


@given(st.text() | st.text("[]{}\"'=.,0123456789ex_abtf\n# -:TZ"))
def test_whatever_is_no_toml_is_one_value_error(content: str) -> None:
    with contextlib.suppress(ValueError):
        loads_toml(content)


@pytest.mark.parametrize("depth", [MAX_DEPTH + 1, 900, 5_000, 100_000])
@pytest.mark.parametrize("pair", ["[]", "{}"])
def test_deep_json_is_refused(depth: int, pair: str) -> None:
    opening = '{"a":' if pair == "{}" else "["
    with pytest.raises(ValueError, match=f"deeper than {MAX_DEPTH} levels"):
        loads_json(opening * depth + "1" + pair[1] * depth)


@pytest.mark.parametrize(
    "text",
    [
        "a = " + "[" * 900 + "]" * 900,
        ".".join("a" * 300) + " = 1",
        "a = " + "{a=" * 400 + "1" + "}" * 400,
    ],
    ids=["lists", "dotted key", "inline tables"],
)
def test_deep_toml_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="deeper than"):
        loads_toml(text)


def test_depth_up_to_the_limit_is_read() -> None:
    text = "[" * MAX_DEPTH + "]" * MAX_DEPTH
    assert loads_json(text) == json.loads(text)
    assert loads_toml(f"a = {text[1:-1]}") == tomllib.loads(f"a = {text[1:-1]}")


@pytest.mark.parametrize("digits", [MAX_DIGITS + 1, 5_000])
def test_numbers_of_too_many_digits_are_refused_in_any_notation(digits: int) -> None:
    for loads, text in [
        (loads_json, f'{{"a": [-{"1" * digits}]}}'),
        (loads_toml, f"a = {'1' * digits}"),
        (loads_toml, f"a = {'1_' * digits}1"),
        (loads_toml, f"a = 0x{'f' * digits}"),
    ]:
        with pytest.raises(ValueError, match="digits"):
            loads(text)
    text = json.dumps({"digits": "1" * digits, "number": 10 ** (MAX_DIGITS - 1)})
    assert loads_json(text) == json.loads(text)


def test_a_wrong_value_is_shown_shortened(tmp_path: Path) -> None:
    path = write_taxonomy(tmp_path, saturation=repr([1] * 2_000))
    with pytest.raises(DefinitionError) as caught:
        load_taxonomy(str(path))
    assert len(str(caught.value)) < 2_000


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"a = \xff", "a byte that is not UTF-8 at position 4"),
        (b"a = " + b"9" * 5_000, "a whole number of more than 300 digits"),
        (b"a = " + b"[" * 5_000 + b"]" * 5_000, "lists or objects nested deeper than 100 levels"),
        (b"a = [", "Invalid value"),
    ],
    ids=["not UTF-8", "long number", "deep", "syntax"],
)
def test_a_file_that_is_no_toml_is_one_error_with_its_cause(
    tmp_path: Path, content: bytes, found: str
) -> None:
    path = tmp_path / "angle.toml"
    path.write_bytes(content)
    with pytest.raises(DefinitionError, match=f"expected TOML, got {found}.*next step") as caught:
        read_toml(Taxonomy, path)
    assert str(path) in str(caught.value)
