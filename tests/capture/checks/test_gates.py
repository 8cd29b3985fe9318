import pytest

from loco_tools.capture.checks.gates import Verdict, judge
from loco_tools.plan import Gates

FINE = {
    "contrast": 90.0,
    "saturated_share": 0.001,
    "black_share": 0.0,
    "sharpness_ratio": 0.98,
    "right_mm": 1.0,
    "down_mm": -1.0,
    "offset_mm": 1.4,
    "angle_deg": -3.0,
    "motion_px": 0.1,
    "duplicate_difference": 9.0,
}
ALL = ["part", "saturated", "black", "position", "angle", "sharpness", "motion", "duplicate"]


def failed(**measured: float) -> Verdict:
    """The one verdict that fails when these figures are as given and all others are fine."""
    wrong = [v for v in judge(Gates(), FINE | measured, resembles="p0003-top") if not v.passed]
    assert len(wrong) == 1
    return wrong[0]


def test_a_good_frame_passes_every_gate_and_each_says_what_was_measured() -> None:
    verdicts = judge(Gates(), FINE, resembles="p0003-top")
    assert [verdict.gate for verdict in verdicts] == ALL
    assert all(verdict.passed for verdict in verdicts)
    assert [verdict.words for verdict in verdicts] == [
        "a part is in the picture",
        "0.1% of the part is saturated",
        "0.0% of the part is black",
        "the part lies 1.4 mm from its position in the reference",
        "the part is turned by 3.0 degrees",
        "the sharpness is 98% of the reference's",
        "nothing moves",
        "no earlier photograph is like it",
    ]


@pytest.mark.parametrize(
    ("gate", "measured", "words"),
    [
        (
            "saturated",
            {"saturated_share": 0.071},
            "7.1% of the part is saturated, at most 2.0% may be; reduce the light, or the plan's "
            "exposure",
        ),
        (
            "black",
            {"black_share": 0.25},
            "25.0% of the part is black, at most 10.0% may be; increase the light, or the plan's "
            "exposure",
        ),
        (
            "position",
            {"offset_mm": 12.6, "right_mm": 12.0, "down_mm": -4.0},
            "the part lies 12.6 mm from its position in the reference, at most 10 mm are allowed; "
            "move it 12 mm to the left and 4 mm down in the picture",
        ),
        (
            "position",
            {"offset_mm": 11.0, "right_mm": -0.1, "down_mm": 11.0},
            "the part lies 11.0 mm from its position in the reference, at most 10 mm are allowed; "
            "move it 11 mm up in the picture",
        ),
        (
            "angle",
            {"angle_deg": 25.0},
            "the part is turned clockwise (25 degrees, at most 12 are allowed); turn it back",
        ),
        (
            "angle",
            {"angle_deg": -25.0},
            "the part is turned counter-clockwise (25 degrees, at most 12 are allowed); turn it "
            "clockwise",
        ),
        (
            "angle",
            {"angle_deg": -178.0},
            "the part lies the other way round (178 degrees, at most 12 are allowed); turn it by "
            "half a turn",
        ),
        (
            "sharpness",
            {"sharpness_ratio": 0.62},
            "the sharpness is 62% of the reference's, expected at least 85%; refocus, and clean "
            "the lens",
        ),
        (
            "motion",
            {"motion_px": 1.3},
            "the picture moved by 1.3 px between two frames, at most 0.5 px are allowed; let part "
            "and camera come to rest",
        ),
        (
            "duplicate",
            {"duplicate_difference": 0.8},
            "it is the same picture as p0003-top, which is of another part (they differ by 0.8 "
            "times the noise, expected at least 2); mount the next part",
        ),
    ],
)
def test_a_failed_gate_says_what_is_wrong_and_what_to_do(
    gate: str, measured: dict[str, float], words: str
) -> None:
    verdict = failed(**measured)
    assert verdict.gate == gate
    assert verdict.words == words


def test_without_a_part_nothing_else_is_judged() -> None:
    (verdict,) = judge(Gates(), FINE | {"contrast": 3.0})
    assert not verdict.passed
    assert verdict.words == (
        "there is no part in the picture: the brightest region is 3 grey levels lighter than the "
        "cloth, expected at least 20; put the part under the camera, take off the lens cap, or add "
        "light"
    )


def test_a_value_at_its_limit_passes() -> None:
    at_limit = {"sharpness_ratio": 0.85, "motion_px": 0.5, "angle_deg": 12.0, "offset_mm": 10.0}
    assert all(verdict.passed for verdict in judge(Gates(), FINE | at_limit))


def test_gates_without_a_limit_or_without_a_figure_are_not_asked() -> None:
    none = Gates.model_validate(dict.fromkeys(Gates.model_fields))
    assert judge(none, FINE) == ()
    first = {name: FINE[name] for name in ("contrast", "saturated_share", "black_share")}
    assert [verdict.gate for verdict in judge(Gates(), first)] == ["part", "saturated", "black"]
