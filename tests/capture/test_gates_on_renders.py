"""The shipped plans' gates on parts that the twin renders: no false alarm, and bad frames fail."""

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from loco_tools.capture.checks.quality import find_part, to_grey
from loco_tools.capture.frame_inspector import Inspector
from loco_tools.capture.guide import Guide, open_guide
from loco_tools.capture.session import Shot
from loco_tools.capture.session_opening import SessionRequest
from loco_tools.datasets.images import Pixels, read_image
from loco_tools.plan import Plan, PlannedShot, Shots, load_plan

pytest.importorskip("mitsuba", reason="needs the extra twin")
pytest.importorskip("manifold3d", reason="needs the extra twin")

DEFECTS = {"flat_connector": "edge_damage", "angle": "bent_leg", "composite_part": "swapped_pieces"}
"""The defect of each class that looks most like another pose."""


def small_plan(name: str) -> Plan:
    """Two good parts and one with a defect, in one view."""
    plan = load_plan(name).for_demo()
    defect = DEFECTS[name]
    kind = next(shots.kind for shots in plan.shots if shots.defect == defect)
    shots = (
        Shots(split="train", kind="good", parts=2, demo_parts=0),
        Shots(split="test", kind=kind, defect=defect, parts=1, demo_parts=0),
    )
    return plan.model_copy(update={"shots": shots, "views": plan.views[:1]})


@pytest.fixture(scope="module", params=DEFECTS)
def session(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole session of rendered parts; its journal says which gates failed."""
    captures = tmp_path_factory.mktemp("captures")
    with open_guide(SessionRequest(small_plan(request.param), captures=captures)) as guide:
        while guide.current is not None:
            guide.shoot()
            guide.accept(override=True, by="unattended")
        return guide.folder


@pytest.fixture(scope="module")
def guide(session: Path) -> Iterator[Guide]:
    plan = small_plan(session.parent.name)
    with open_guide(
        SessionRequest(plan, captures=session.parent.parent, session=session.name)
    ) as one:
        yield one


def shots_of(guide: Guide) -> list[Shot]:
    steps = guide.steps()
    assert {step.status for step in steps} == {"done"}
    journal = (guide.folder / "shots.jsonl").read_text().splitlines()
    return [Shot.model_validate_json(line) for line in journal]


def failed_gates(guide: Guide, image: Pixels, *, part: str = "p9999") -> set[str]:
    """The gates that a photograph of a good part would fail in the session's first view."""
    view = guide.record.plan.views[0].name
    shot = PlannedShot(f"{part}-{view}", part, view, "test", "good", None)
    inspector = Inspector(guide.folder, guide.record)
    _, verdicts = inspector.inspect(shot, image, None, shots_of(guide))
    return {verdict.gate for verdict in verdicts if not verdict.passed}


def second_part(guide: Guide) -> Pixels:
    view = guide.record.plan.views[0].name
    return read_image(guide.folder / "images" / f"p0001-{view}.png")


def moved(image: Pixels, *, right: float = 0.0, turn: float = 0.0) -> Pixels:
    height, width = image.shape[:2]
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), -turn, 1.0)
    matrix[0, 2] += right
    warped = cv2.warpAffine(image, matrix, (width, height), borderMode=cv2.BORDER_REFLECT)
    return np.asarray(warped, dtype=np.uint8)


def in_deep_shade(image: Pixels) -> Pixels:
    """The middle of the part is so dark that nothing is left of it."""
    part = find_part(to_grey(image))
    assert part is not None
    x, y = (value / part.scale for value in part.centre())
    radius = 0.4 * np.sqrt(part.mask(image.shape).sum() / np.pi)
    shaded = image.copy()
    cv2.circle(shaded, (round(x), round(y)), round(float(radius)), (0, 0, 0), -1)
    return shaded


def test_sound_photographs_of_good_and_damaged_parts_pass(guide: Guide) -> None:
    failing = {shot.shot: shot.overridden for shot in shots_of(guide) if shot.overridden}
    assert failing == {}


def test_frames_that_are_bad_in_one_way_fail_that_gate(guide: Guide) -> None:
    image = second_part(guide)
    camera = guide.record.plan.camera
    far = 0.16 * camera.width_px
    bad = {
        "sharpness": np.asarray(cv2.GaussianBlur(image, (0, 0), 2.0), dtype=np.uint8),
        "saturated": np.clip(image.astype(np.float64) * 2.5, 0, 255).astype(np.uint8),
        "black": in_deep_shade(image),
        "position": moved(image, right=far),
        "angle": moved(image, turn=30.0),
    }
    assert {
        gate: gate in failed_gates(guide, frame) for gate, frame in bad.items()
    } == dict.fromkeys(bad, True)


def test_an_empty_table_has_no_part(guide: Guide) -> None:
    image = second_part(guide)
    corner = image[: image.shape[0] // 8, : image.shape[1] // 8]
    cloth = np.tile(corner, (8, 8, 1))
    height, width = image.shape[:2]
    assert failed_gates(guide, cv2.resize(cloth, (width, height))) == {"part"}
    assert failed_gates(guide, np.zeros_like(image)) == {"part"}


def test_a_part_that_was_not_changed_is_a_duplicate(guide: Guide) -> None:
    noise = np.random.default_rng(7)
    again = second_part(guide) + noise.normal(0, 1.5, second_part(guide).shape)
    frame = np.clip(np.round(again), 0, 255).astype(np.uint8)
    assert "duplicate" in failed_gates(guide, frame)
    assert "duplicate" not in failed_gates(guide, frame, part="p0001")
