"""A printed sheet instead of the part, seen by the twin's camera: for calibration.

The sheet lies in the plane of the table with its middle under the middle of the part, where the
twin's scale holds, or is held up and tilted.
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
from loco_tools.twin.viewpoint import Viewpoint, look

_PAPER = 0.6
_INK = 0.02
_SAMPLES = 4  # matt paper under wide lights shows no noise beside the sensor's
_CLEAR_MM = 0.5
"""How far the lowest corner of a tilted sheet stays above the table."""


@dataclass(frozen=True)
class SheetPose:
    """How a sheet is held: turned in its own plane, then tilted towards a direction.

    Untilted it lies on the table. The shift moves its middle, in widths of the picture.
    """

    turn_deg: float = 0.0
    tilt_deg: float = 0.0
    towards_deg: float = 0.0
    shift: tuple[float, float] = (0.0, 0.0)


@dataclass(frozen=True)
class SheetPicture:
    """A photograph (H, W, 3) uint8 RGB of a sheet, and the truth about the camera.

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
    """Photograph a sheet under the rig's light.

    Args:
        plan: of the class; gives the camera and the place.
        view: of the plan.
        sheet: (h, w) uint8, what is printed: 0 black, 255 white.
        size_mm: width and height of the sheet.
        pose: how it is held; None: it lies on the table, unturned.
        seed: of light and noise.

    Raises:
        DefinitionError: the plan has no such view.
        MissingExtraError: the extra "twin" is not installed.
    """
    load_renderer()
    seen_as = plan.view(view)
    viewpoint = look(plan.camera, seen_as, _middle(plan))
    rng = np.random.default_rng(seed)
    objects = {
        "sheet": _sheet(sheet, _corners(plan, size_mm, pose or SheetPose())),
        **scene.lights(seen_as.azimuth_deg, rng),
    }
    whole = (0, 0, viewpoint.width_px, viewpoint.height_px)
    radiance = scene.picture(viewpoint, objects, whole, samples=_SAMPLES, seed=seed)
    image = sensor.develop(radiance, plan.camera, rng)
    return SheetPicture(image, viewpoint.px_per_mm, _focal_px(viewpoint))


def _focal_px(viewpoint: Viewpoint) -> float:
    return viewpoint.width_px / 2 / math.tan(math.radians(viewpoint.fov_deg) / 2)


def _middle(plan: Plan) -> Points:
    low, high = extent(plan.part)
    return np.asarray((low + high) / 2)


def _corners(plan: Plan, size_mm: tuple[float, float], pose: SheetPose) -> Points:
    """Corners (4, 3) of the sheet: lower left, lower right, upper right, upper left."""
    signs = np.array([[-1.0, -1.0], [1.0, -1.0], [1.0, 1.0], [-1.0, 1.0]])
    flat = np.append(signs * np.array(size_mm) / 2, np.zeros((4, 1)), axis=1)
    turn, towards = math.radians(pose.turn_deg), math.radians(pose.towards_deg)
    lean = _about_z(towards) @ _about_y(math.radians(pose.tilt_deg)) @ _about_z(turn - towards)
    corners = flat @ lean.T
    lift = _CLEAR_MM - corners[:, 2].min() if pose.tilt_deg else 0.0
    middle = _middle(plan)[:2] + np.array(pose.shift) * plan.camera.field_mm
    return np.asarray(corners + np.array([*middle, lift]))


def _about_z(angle: float) -> Points:
    cos, sin = math.cos(angle), math.sin(angle)
    return np.array([[cos, -sin, 0.0], [sin, cos, 0.0], [0.0, 0.0, 1.0]])


def _about_y(angle: float) -> Points:
    cos, sin = math.cos(angle), math.sin(angle)
    return np.array([[cos, 0.0, sin], [0.0, 1.0, 0.0], [-sin, 0.0, cos]])


def _sheet(printed: NDArray[np.uint8], corners: Points) -> Any:
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
