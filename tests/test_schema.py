from pathlib import Path

import pytest

from loco_tools.annotations.taxonomy import Taxonomy, load_taxonomy
from loco_tools.definitions import locate
from loco_tools.errors import DefinitionError
from loco_tools.plan import Plan
from loco_tools.schema import read_toml

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
