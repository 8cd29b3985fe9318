"""The camera pose of a view, and the projection of points into its picture.

Azimuth 0 puts the camera on the side of negative y, so that x runs to the right in the picture; a
positive azimuth moves it towards positive x. Elevation 90 looks straight down.
"""

import math
from dataclasses import dataclass

import numpy as np

from loco_tools.plan import CameraSettings, View
from loco_tools.twin.surface import Points

_DISTANCE = 6.0
"""Working distance in picture widths; it is large, so that perspective is weak."""


@dataclass(frozen=True)
class Viewpoint:
    """A pinhole camera.

    Attributes:
        origin, target: (3,) in mm.
        up: (3,) unit vector that points upwards in the picture, at right angles to the view.
        fov_deg: angle of view across the width.
        width_px, height_px: size of the picture.
        px_per_mm: scale in the plane of the table, at the part.
    """

    origin: Points
    target: Points
    up: Points
    fov_deg: float
    width_px: int
    height_px: int
    px_per_mm: float

    @property
    def focal_px(self) -> float:
        """Focal length in pixels."""
        return self.width_px / 2 / math.tan(math.radians(self.fov_deg) / 2)

    def project(self, points: Points) -> Points:
        """Pixel coordinates (.., 2), x right and y down from the upper left corner, of (.., 3)."""
        forward = self.target - self.origin
        forward = forward / np.linalg.norm(forward)
        right = np.cross(forward, self.up)
        offset = points - self.origin
        depth = offset @ forward
        x = self.width_px / 2 + self.focal_px * (offset @ right) / depth
        y = self.height_px / 2 - self.focal_px * (offset @ self.up) / depth
        return np.stack([x, y], axis=-1)


def look(camera: CameraSettings, view: View, centre: Points) -> Viewpoint:
    """The viewpoint of a view of a part with its middle at `centre` (3,).

    The picture is `camera.field_mm` wide at the distance, along the camera's axis, of the point of
    the table right below that middle.
    """
    azimuth, elevation = math.radians(view.azimuth_deg), math.radians(view.elevation_deg)
    level = np.array([math.sin(azimuth), -math.cos(azimuth), 0.0])
    towards = level * math.cos(elevation) + np.array([0.0, 0.0, math.sin(elevation)])
    up = np.array([0.0, 0.0, math.cos(elevation)]) - level * math.sin(elevation)
    to_table = _DISTANCE * camera.field_mm
    distance = to_table - float(centre[2]) * math.sin(elevation)
    return Viewpoint(
        origin=centre + towards * distance,
        target=centre,
        up=up,
        fov_deg=math.degrees(2 * math.atan(camera.field_mm / 2 / to_table)),
        width_px=camera.width_px,
        height_px=camera.height_px,
        px_per_mm=camera.width_px / camera.field_mm,
    )
