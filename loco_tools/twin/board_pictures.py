"""Simulated photographs of a printed sheet instead of the part, for calibration.

The sheet lies on the table, with its middle below the middle of the part, where the scale of the
twin is exact, or it is held up and tilted.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loco_tools.plan import Plan
from loco_tools.twin import scene, sensor
from loco_tools.twin.assembly import extent
from loco_tools.twin.rendering import load_renderer
from loco_tools.twin.surface import Points, Surface
from loco_tools.twin.viewpoint import look

_PAPER = 0.6
_INK = 0.02
_SAMPLES = 4  # matt paper under wide lights has little noise of its own
_CLEAR_MM = 0.5
"""Distance of the lowest corner of a tilted sheet from the table."""


@dataclass(frozen=True)
class SheetPose:
    """The pose of a sheet: turned in its own plane, then tilted towards a direction.

    A sheet without tilt lies on the table. The shift moves its middle, in widths of the picture.
    """

    turn_deg: float = 0.0
    tilt_deg: float = 0.0
    towards_deg: float = 0.0
    shift: tuple[float, float] = (0.0, 0.0)


@dataclass(frozen=True)
class SheetPicture:
    """A photograph (H, W, 3) uint8 RGB of a sheet with the true camera parameters.

    Attributes:
        px_per_mm: scale in the plane of the table, at the part.
        focal_px: focal length; the lens has no distortion and its axis meets the picture's middle.
    """

    image: NDArray[np.uint8]
    px_per_mm: float
    focal_px: float


def photograph(
    plan: Plan,
    view: str,
    sheet: NDArray[np.uint8],
    size_mm: tuple[float, float],
    *,
    pose: SheetPose | None = None,
    seed: int = 0,
) -> SheetPicture:
    """Photograph a sheet under the lights of the rig.

    Args:
        plan: plan of the class, which defines the camera and the position.
        view: name of a view of the plan.
        sheet: (h, w) uint8, the printed image: 0 black, 255 white.
        size_mm: width and height of the sheet.
        pose: pose of the sheet; None: it lies on the table without a turn.
        seed: seed of light and noise.

    Raises:
        DefinitionError: the plan has no such view.
        MissingExtraError: the extra "twin" is not installed.
    """
    load_renderer()
    named_view = plan.view(view)
    viewpoint = look(plan.camera, named_view, _middle(plan))
    rng = np.random.default_rng(seed)
    objects = {
        "sheet": _sheet_mesh(sheet, _sheet_corners(plan, size_mm, pose or SheetPose())),
        **scene.lights(named_view.azimuth_deg, rng),
    }
    whole = (0, 0, viewpoint.width_px, viewpoint.height_px)
    radiance = scene.picture(viewpoint, objects, whole, samples=_SAMPLES, seed=seed)
    image = sensor.develop(radiance, plan.camera, rng)
    return SheetPicture(image, viewpoint.px_per_mm, viewpoint.focal_px)


def _middle(plan: Plan) -> Points:
    low, high = extent(plan.part)
    return np.asarray((low + high) / 2)


def _sheet_corners(plan: Plan, size_mm: tuple[float, float], pose: SheetPose) -> Points:
    """Corners (4, 3) of the sheet: lower left, lower right, upper right, upper left."""
    signs = np.array([[-1.0, -1.0], [1.0, -1.0], [1.0, 1.0], [-1.0, 1.0]])
    flat = np.append(signs * np.array(size_mm) / 2, np.zeros((4, 1)), axis=1)
    turn, towards = math.radians(pose.turn_deg), math.radians(pose.towards_deg)
    cos, sin = math.cos(math.radians(pose.tilt_deg)), math.sin(math.radians(pose.tilt_deg))
    about_y = np.array([[cos, 0.0, sin], [0.0, 1.0, 0.0], [-sin, 0.0, cos]])
    lean = _about_z(towards) @ about_y @ _about_z(turn - towards)
    corners = flat @ lean.T
    lift = _CLEAR_MM - corners[:, 2].min() if pose.tilt_deg else 0.0
    middle = _middle(plan)[:2] + np.array(pose.shift) * plan.camera.field_mm
    return np.asarray(corners + np.array([*middle, lift]))


def _about_z(angle: float) -> Points:
    cos, sin = math.cos(angle), math.sin(angle)
    return np.array([[cos, -sin, 0.0], [sin, cos, 0.0], [0.0, 0.0, 1.0]])


def _sheet_mesh(printed: NDArray[np.uint8], corners: Points) -> Any:
    """The sheet as a mesh of two triangles with matt paper and ink."""
    import mitsuba

    triangles = np.array([[0, 1, 2], [0, 2, 3]])
    unit = np.array([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [1.0, 1.0, 0.0], [0.0, 1.0, 0.0]])
    normal = np.cross(corners[1] - corners[0], corners[3] - corners[0])
    normals = np.broadcast_to(normal / np.linalg.norm(normal), (2, 3, 3))
    surface = Surface(corners[triangles], normals, unit[triangles], np.zeros(2, dtype=np.int64))
    reflectance = _INK + (_PAPER - _INK) * (printed[::-1].astype(np.float32)[..., None] / 255)
    texture = {
        "type": "bitmap",
        "bitmap": mitsuba.Bitmap(np.ascontiguousarray(reflectance)),
        "raw": True,
        "wrap_mode": "clamp",
    }
    paper = mitsuba.load_dict(
        {"type": "twosided", "bsdf": {"type": "diffuse", "reflectance": texture}}
    )
    return scene.mesh(surface, paper, 1.0)
