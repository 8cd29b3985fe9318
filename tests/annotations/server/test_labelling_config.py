from xml.etree import ElementTree

import pytest
from annotation_builders import small_plan

from loco_tools.annotations.formats.label_studio import GROUP_CONTROL
from loco_tools.annotations.formats.shapes import SHAPES_WITH_AREA
from loco_tools.annotations.server.labelling_config import TOOLS, VERDICTS, labelling_config
from loco_tools.annotations.taxonomy import AreaPx, DefectType, Taxonomy, load_taxonomy
from loco_tools.plan import load_plan

CLASSES = ("angle", "composite_part", "flat_connector")


def config_of(name: str) -> ElementTree.Element:
    return parsed(labelling_config(load_taxonomy(name), load_plan(name)))


def parsed(config: str) -> ElementTree.Element:
    return ElementTree.fromstring(config)  # noqa: S314 - made by us


def defect(name: str = "scratch", **changes: object) -> DefectType:
    settings = {
        "name": name,
        "kind": "structural",
        "pixel_value": 255,
        "saturation": AreaPx(area_px=9),
        "reason": "small",
        "guide": "Mark it.",
        "colour": "#102030",
    }
    return DefectType.model_validate({**settings, **changes})


def taxonomy_of(*defects: DefectType) -> Taxonomy:
    return Taxonomy(schema_version=1, name="composite_part", defects=defects)


@pytest.mark.parametrize("name", CLASSES)
def test_every_defect_has_its_colour_its_own_hotkey_and_its_guide(name: str) -> None:
    config, taxonomy = config_of(name), load_taxonomy(name)
    labels = config.findall(".//Labels/Label")
    assert [label.get("value") for label in labels] == [d.name for d in taxonomy.defects]
    assert [label.get("background") for label in labels] == [d.colour for d in taxonomy.defects]
    keys = [label.get("hotkey") for label in labels]
    assert None not in keys
    assert len(set(keys)) == len(keys)
    said = " ".join(header.get("value", "") for header in config.findall(".//Panel//Header"))
    assert all(defect.guide in said for defect in taxonomy.defects)


@pytest.mark.parametrize("name", CLASSES)
def test_every_tool_draws_on_the_image_what_the_converter_can_read(name: str) -> None:
    config = config_of(name)
    for tool in TOOLS:
        assert config.find(f".//{tool.capitalize()}").get("toName") == "image"
    assert set(TOOLS) <= set(SHAPES_WITH_AREA)
    assert config.find(".//Image").get("smoothing") == "false"


@pytest.mark.parametrize("name", CLASSES)
def test_regions_can_be_grouped_and_images_judged(name: str) -> None:
    config = config_of(name)
    group = config.find(f".//Number[@name='{GROUP_CONTROL}']")
    assert group.get("perRegion") == "true"
    choices = [choice.get("value") for choice in config.findall(".//Choices/Choice")]
    assert tuple(choices) == VERDICTS


def test_several_views_are_pages_of_one_image_with_a_verdict_each() -> None:
    several, one = config_of("angle"), config_of("flat_connector")
    assert several.find(".//Image").get("valueList") == "$image"
    assert several.find(".//Choices").get("perItem") == "true"
    assert "Pages: top, inside, outside" in {h.get("value") for h in several.findall(".//Header")}
    assert one.find(".//Image").get("value") == "$image"
    assert one.find(".//Choices").get("perItem") is None


def test_markup_and_variables_in_a_guide_stay_text() -> None:
    guide = 'Mark <b>all</b> & "more" of $image'
    text = labelling_config(taxonomy_of(defect(guide=guide)), small_plan())
    label = parsed(text).find(".//Label")
    assert label.get("hint") == guide.replace("$", "＄")


def test_defects_beyond_the_keys_have_no_hotkey() -> None:
    many = [defect(f"defect_{n}", pixel_value=n + 1) for n in range(40)]
    labels = parsed(labelling_config(taxonomy_of(*many), small_plan())).findall(".//Label")
    keys = [label.get("hotkey") for label in labels]
    given = [key for key in keys if key is not None]
    assert len(set(given)) == len(given) == keys.index(None)
