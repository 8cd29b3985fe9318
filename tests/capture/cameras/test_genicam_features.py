"""GenICam features on a real GenApi node map, made from a description as a camera sends it."""

from collections.abc import Callable
from typing import Any

import pytest

from loco_tools.capture.cameras.genicam import GenApiFeatures
from loco_tools.capture.cameras.genicam_features import (
    Limits,
    apply_settings,
    read_settings,
)
from loco_tools.errors import CaptureError
from loco_tools.plan import CameraSettings

genapi = pytest.importorskip("genicam.genapi", reason="needs the extra 'genicam'")

MakeFeatures = Callable[..., GenApiFeatures]
DESCRIPTION = """<?xml version="1.0" encoding="utf-8"?>
<RegisterDescription ModelName="Paper" VendorName="LocoTools" ToolTip="" StandardNameSpace="None"
  SchemaMajorVersion="1" SchemaMinorVersion="1" SchemaSubMinorVersion="0" MajorVersion="1"
  MinorVersion="0" SubMinorVersion="0" ProductGuid="0fa1d1b4-3f43-4a49-8f6c-1b1a8f0b5d01"
  VersionGuid="0fa1d1b4-3f43-4a49-8f6c-1b1a8f0b5d02"
  xmlns="http://www.genicam.org/GenApi/Version_1_1"
  xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"
  xsi:schemaLocation="http://www.genicam.org/GenApi/Version_1_1 GenApiSchema_Version_1_1.xsd">
<Category Name="Root" NameSpace="Standard">{features}</Category>
{nodes}
</RegisterDescription>"""


def integer(name: str, value: int, least: int, most: int, step: int = 1) -> str:
    return (
        f'<Integer Name="{name}"><Value>{value}</Value><Min>{least}</Min><Max>{most}</Max>'
        f"<Inc>{step}</Inc></Integer>"
    )


def number(name: str, value: float, least: float, most: float) -> str:
    return f'<Float Name="{name}"><Value>{value}</Value><Min>{least}</Min><Max>{most}</Max></Float>'


def choice(name: str, *choices: str, chosen: int = 0) -> str:
    entries = "".join(
        f'<EnumEntry Name="{word}"><Value>{value}</Value></EnumEntry>'
        for value, word in enumerate(choices)
    )
    return f'<Enumeration Name="{name}">{entries}<Value>{chosen}</Value></Enumeration>'


REGION = (
    integer("Width", 640, 16, 640, 16),
    integer("Height", 480, 2, 480, 2),
    integer("OffsetX", 32, 0, 320, 4),
    integer("OffsetY", 32, 0, 243, 2),
)


@pytest.fixture
def make_features() -> MakeFeatures:
    maps: list[Any] = []

    def make(*nodes: str) -> GenApiFeatures:
        names = [node.split('Name="')[1].split('"')[0] for node in nodes]
        text = DESCRIPTION.format(
            features="".join(f"<pFeature>{name}</pFeature>" for name in names),
            nodes="\n".join(nodes),
        )
        maps.append(genapi.NodeMap())
        maps[-1].load_xml_from_string(text)
        return GenApiFeatures(maps[-1])

    return make


def make_wanted(**settings: Any) -> CameraSettings:
    wanted = {"width_px": 320, "height_px": 240, "field_mm": 100, "exposure_us": 5000}
    return CameraSettings(**{**wanted, **settings})


def test_the_region_has_the_size_of_the_plan_and_lies_in_the_middle(
    make_features: MakeFeatures,
) -> None:
    features = make_features(*REGION)
    apply_settings(features, make_wanted())
    assert read_settings(features) == {"width_px": 320, "height_px": 240}
    assert (features.value("OffsetX"), features.value("OffsetY")) == (160, 122)


def test_a_size_between_the_steps_becomes_the_nearest_for_the_read_back_to_refuse(
    make_features: MakeFeatures,
) -> None:
    features = make_features(*REGION)
    apply_settings(features, make_wanted(width_px=330))
    assert read_settings(features)["width_px"] == 336


def test_a_size_beyond_the_limits_is_refused_with_the_limits(make_features: MakeFeatures) -> None:
    with pytest.raises(CaptureError, match="Width: expected 16 to 640 in steps of 16, got 1600"):
        apply_settings(make_features(*REGION), make_wanted(width_px=1600))


def test_automatic_modes_are_switched_off_and_the_exposure_is_timed(
    make_features: MakeFeatures,
) -> None:
    features = make_features(
        choice("ExposureAuto", "Off", "Continuous", chosen=1),
        choice("GainAuto", "Off", "Once", chosen=1),
        choice("BalanceWhiteAuto", "Continuous", "Off"),
        choice("ExposureMode", "TriggerWidth", "Timed"),
    )
    apply_settings(features, make_wanted())
    names = ("ExposureAuto", "GainAuto", "BalanceWhiteAuto", "ExposureMode")
    assert [features.value(name) for name in names] == ["Off", "Off", "Off", "Timed"]


def test_an_automatic_mode_that_cannot_be_switched_off_is_refused(
    make_features: MakeFeatures,
) -> None:
    features = make_features(choice("ExposureAuto", "Continuous", "Once"))
    with pytest.raises(CaptureError, match='ExposureAuto has no "Off"; known: Continuous, Once'):
        apply_settings(features, make_wanted())


@pytest.mark.parametrize(
    "node",
    [
        number("ExposureTime", 10.0, 1.0, 1e6),
        number("ExposureTimeAbs", 10.0, 1.0, 1e6),
        integer("ExposureTimeRaw", 10, 1, 10**6),
    ],
)
def test_the_exposure_is_set_by_whatever_name_the_camera_has(
    make_features: MakeFeatures, node: str
) -> None:
    features = make_features(node)
    apply_settings(features, make_wanted(exposure_us=5000))
    assert read_settings(features) == {"exposure_us": 5000}


def test_a_raw_exposure_counts_in_the_time_base_of_the_camera(make_features: MakeFeatures) -> None:
    features = make_features(
        integer("ExposureTimeRaw", 10, 1, 4095), number("ExposureTimeBaseAbs", 20.0, 1.0, 100.0)
    )
    apply_settings(features, make_wanted(exposure_us=5008))
    assert features.value("ExposureTimeRaw") == 250
    assert read_settings(features) == {"exposure_us": 5000}


@pytest.mark.parametrize("name", ["Gain", "GainAbs"])
def test_the_gain_is_set_in_decibels(make_features: MakeFeatures, name: str) -> None:
    features = make_features(number(name, 1.0, 0.0, 24.0))
    apply_settings(features, make_wanted(gain_db=6.5))
    assert read_settings(features) == {"gain_db": 6.5}


def test_a_gain_without_a_unit_is_brought_to_its_least_and_no_other_is_taken(
    make_features: MakeFeatures,
) -> None:
    features = make_features(integer("GainRaw", 300, 192, 1023))
    apply_settings(features, make_wanted())
    assert read_settings(features) == {"gain_raw": 192}
    with pytest.raises(CaptureError, match=r"gain_db: expected 0, got 6: .*GainRaw.* has no unit"):
        apply_settings(features, make_wanted(gain_db=6))


def test_white_balance_is_set_and_read_per_colour(make_features: MakeFeatures) -> None:
    ratio = (
        '<Float Name="BalanceRatio"><pIndex>BalanceRatioSelector</pIndex>'
        '<pValueIndexed Index="0">RedRatio</pValueIndexed>'
        '<pValueIndexed Index="1">GreenRatio</pValueIndexed>'
        "<pValueDefault>BlueRatio</pValueDefault></Float>"
    )
    ratios = [number(f"{colour}Ratio", 1.0, 0.0, 4.0) for colour in ("Red", "Green", "Blue")]
    selector = choice("BalanceRatioSelector", "Red", "Green", "Blue")
    features = make_features(selector, ratio, *ratios)
    apply_settings(features, make_wanted(white_balance_ratio=(1.5, 1.0, 2.25)))
    assert read_settings(features) == {
        "white_balance_red": 1.5,
        "white_balance_green": 1.0,
        "white_balance_blue": 2.25,
    }


def test_every_trigger_is_switched_off(make_features: MakeFeatures) -> None:
    mode = (
        '<Enumeration Name="TriggerMode"><EnumEntry Name="Off"><Value>0</Value></EnumEntry>'
        '<EnumEntry Name="On"><Value>1</Value></EnumEntry><pValue>ModeAt</pValue></Enumeration>'
    )
    mode_at = (
        '<Integer Name="ModeAt"><pIndex>TriggerSelector</pIndex>'
        '<pValueIndexed Index="0">ModeOfStart</pValueIndexed>'
        "<pValueDefault>ModeOfBurst</pValueDefault></Integer>"
    )
    features = make_features(
        choice("TriggerSelector", "FrameStart", "FrameBurstStart"),
        mode,
        mode_at,
        integer("ModeOfStart", 1, 0, 1),
        integer("ModeOfBurst", 1, 0, 1),
    )
    apply_settings(features, make_wanted())
    assert (features.value("ModeOfStart"), features.value("ModeOfBurst")) == (0, 0)


def test_what_the_camera_lacks_is_left_out(make_features: MakeFeatures) -> None:
    features = make_features(integer("Gamma", 1, 0, 2))
    apply_settings(features, make_wanted(gain_db=3, pixel_format="Mono8"))
    assert read_settings(features) == {}


@pytest.mark.parametrize(
    ("limits", "value", "nearest"),
    [
        (Limits(16, 640, 16), 330, 336),
        (Limits(16, 640, 16), 1, 16),
        (Limits(0, 243, 2), 1000, 242),
        (Limits(0.0, 4.0, None), 1.23, 1.23),
        (Limits(0.0, 0.3, 0.1), 0.31, 0.3),
    ],
)
def test_the_nearest_step_lies_within_the_limits(
    limits: Limits, value: float, nearest: float
) -> None:
    assert limits.nearest(value) == pytest.approx(nearest)
    assert limits.contains(limits.nearest(value))
