"""What the tests of sessions are made of: drawn parts on dark cloth, plans, folders of shots."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np

from loco_tools.datasets.images import Pixels, write_png
from loco_tools.plan import Plan, PlannedShot, Shots, View, load_plan

WIDTH, HEIGHT = 320, 240


def make_plan(*, good: int = 3, views: int = 2, **camera: Any) -> Plan:
    """Good parts, then one with a missing hole; pictures of 320 x 240 px at 2 px per mm."""
    plan = load_plan("angle")
    shots = (
        Shots(split="train", kind="good", parts=good, demo_parts=0),
        Shots(split="test", kind="logical", defect="missing_hole", parts=1, demo_parts=0),
    )
    changes = {"width_px": WIDTH, "height_px": HEIGHT, "field_mm": WIDTH / 2} | camera
    return plan.model_copy(
        update={
            "shots": shots,
            "views": tuple(View(name=name) for name in ("top", "side")[:views]),
            "camera": plan.camera.model_copy(update=changes),
        }
    )


def draw_part(
    number: int = 0,
    *,
    right: float = 0.0,
    down: float = 0.0,
    turn: float = 0.0,
    light: float = 1.0,
    noise: float = 2.0,
    rectangle: bool = False,
    noise_seed: int | None = None,
    scale: int = 1,
) -> Pixels:
    """(240, 320, 3) uint8: a plate with a surface of its own number, dark on its right side.

    `right`, `down` in pixels and `turn` in degrees, clockwise, move it; an L unless `rectangle`.
    """
    rng = np.random.default_rng(number)
    fine = 4
    height, width = HEIGHT * scale, WIDTH * scale
    outline = [(-80, -40), (80, -40), (80, 40), (-80, 40)]
    if not rectangle:
        outline = [(-80, -40), (80, -40), (80, 0), (-20, 0), (-20, 40), (-80, 40)]
    spots = cv2.resize(rng.normal(0, 25, (15, 20)).astype(np.float32), (width, height))
    face = 130 + spots + np.where(np.arange(width) > width / 2, -60, 0)
    angle = np.deg2rad(turn)
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    points = np.array(outline) @ rotation.T + (WIDTH / 2 + right, HEIGHT / 2 + down)
    mask = np.zeros((height * fine, width * fine), np.uint8)
    cv2.fillPoly(mask, [np.round(points * fine * scale).astype(np.int32)], 255)
    for x in (-60, -35):
        hole = np.array([x, -20]) @ rotation.T + (WIDTH / 2 + right, HEIGHT / 2 + down)
        cv2.circle(mask, tuple(np.round(hole * fine * scale).astype(int)), 6 * fine * scale, 0, -1)
    share = cv2.resize(mask, (width, height), interpolation=cv2.INTER_AREA) / 255.0
    turned = cv2.getRotationMatrix2D((width / 2, height / 2), -turn, 1.0)
    turned[:, 2] += (right * scale, down * scale)
    face = cv2.warpAffine(face, turned, (width, height), borderMode=cv2.BORDER_REFLECT)
    grey = cv2.GaussianBlur((30 + (face - 30) * share) * light, (0, 0), 0.6)
    sensor = np.random.default_rng(number if noise_seed is None else noise_seed)
    picture = grey[..., None] + sensor.normal(0, noise, (height, width, 3))
    return np.clip(np.round(picture), 0, 255).astype(np.uint8)


def part_of(shot: PlannedShot) -> Pixels:
    """A sound photograph of a planned shot: every part has its own surface and place."""
    number = int(shot.part[1:])
    rng = np.random.default_rng(number)
    right, down = rng.uniform(-6, 6, 2)
    flip = 0.0 if shot.view == "top" else 60.0
    return draw_part(
        number, right=right, down=down, turn=flip + rng.uniform(-4, 4), noise_seed=number
    )


def write_photographs(plan: Plan, folder: Path, **replaced: Pixels) -> Path:
    """A folder with the photograph of every shot of a plan; `p0001_top=...` replaces one."""
    for shot in plan.planned_shots():
        image = replaced.get(shot.shot.replace("-", "_"), part_of(shot))
        write_png(folder / f"{shot.shot}.png", image)
    return folder
