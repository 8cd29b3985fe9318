"""Screws: their shape and their pose in the part."""

import math
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np

from loco_tools.plan import Screw
from loco_tools.twin import solids
from loco_tools.twin.plates import Patch
from loco_tools.twin.surface import Points, Surface, from_solid, placement

_BEND_STARTS, _BEND_ENDS = 0.08, 0.72
"""The range in which a bent shank is curved, as shares of its height above the plate."""


@dataclass(frozen=True)
class ScrewState:
    """A screw in the part: turned at random, and possibly leaning, raised or bent.

    Attributes:
        screw: as in the plan, or changed by a defect.
        turn_deg: turn about its own axis.
        lean_deg, lean_azimuth_deg: tilt about the middle of its hole's upper rim; its direction.
        raised_mm: height of the head above its planned height.
        bend_deg: bend of the shank above the plate, in the direction of the tilt.
        marked: whether the screw is the defect.
    """

    screw: Screw
    turn_deg: float = 0.0
    lean_deg: float = 0.0
    lean_azimuth_deg: float = 0.0
    raised_mm: float = 0.0
    bend_deg: float = 0.0
    marked: bool = False

    @property
    def stands_mm(self) -> float:
        """Distance of the head from the plate."""
        return self.screw.stands_mm + self.raised_mm

    def patches(self) -> list[Patch]:
        """The surface of head and shank."""
        raised = placement(0.0, 0.0, self.stands_mm, self.turn_deg - self.lean_azimuth_deg)
        upright = screw_surface(self.screw).moved(raised)
        surface = _bend_shank(upright, self.stands_mm, self.bend_deg)
        screw, lean = self.screw, math.radians(self.lean_deg)
        tilt = np.eye(4)
        cos, sin = math.cos(lean), math.sin(lean)
        tilt[[0, 0, 2, 2], [0, 2, 0, 2]] = cos, sin, -sin, cos
        place = placement(screw.x_mm, screw.y_mm, screw.z_mm, self.lean_azimuth_deg)
        return [Patch(surface.moved(place @ tilt), "screw", self.marked)]


def screw_surface(screw: Screw) -> Surface:
    """Head and shank along z; z = 0 is the underside of the head."""
    return _kind_surface(
        screw.model_copy(
            update={"name": "", "x_mm": 0.0, "y_mm": 0.0, "z_mm": 0.0, "stands_mm": 0.0}
        )
    )


def standing_place(screw: Screw, tolerance_mm: float) -> Any:
    """The solid that a planned screw occupies: head and shank, wider by the tolerance."""
    reach = head_reach(screw) + tolerance_mm
    under = screw.stands_mm
    head = solids.cylinder(reach, under, under + screw.head_height_mm)
    if under > 0:
        head += solids.cylinder(screw.thread_mm / 2 + tolerance_mm, 0.0, under + 0.1)
    return head.translate([screw.x_mm, screw.y_mm, screw.z_mm]).as_original()


def side_between(screw: Screw, low_mm: float, high_mm: float) -> Surface:
    """The side of a shank between two heights above its plate, slightly outside its thread."""
    bar = solids.cylinder(screw.thread_mm / 2 + 0.05, low_mm, high_mm)
    surface = from_solid(bar.translate([screw.x_mm, screw.y_mm, screw.z_mm]))
    return surface.select(np.abs(surface.normals[..., 2]).max(axis=1) < 0.5)


def head_reach(screw: Screw) -> float:
    """Radius in mm of the circle around the head."""
    return screw.head_diameter_mm / (math.sqrt(3) if screw.head == "hex" else 2)


@lru_cache(maxsize=32)
def _kind_surface(screw: Screw) -> Surface:
    head = _hex_head(screw) if screw.head == "hex" else _pan_head(screw)
    return from_solid((head + _shank(screw)).as_original(), crease_deg=28.0)


def _bend_shank(surface: Surface, stands_mm: float, bend_deg: float) -> Surface:
    """Bend the shank towards positive x along an arc between the plate (z = 0) and the head."""
    if bend_deg == 0.0:
        return surface
    start, end = _BEND_STARTS * stands_mm, _BEND_ENDS * stands_mm
    x, z = surface.corners[..., 0], surface.corners[..., 2]
    turn = np.clip((z - start) / (end - start), 0.0, 1.0) * math.radians(bend_deg)
    radius = (end - start) / math.radians(bend_deg)
    below, beyond = np.minimum(z, start), np.maximum(z - end, 0.0)
    cos, sin = np.cos(turn), np.sin(turn)
    corners, normals = surface.corners.copy(), surface.normals.copy()
    corners[..., 0] = radius * (1 - cos) + x * cos + beyond * sin
    corners[..., 2] = below + radius * sin - x * sin + beyond * cos
    nx, nz = surface.normals[..., 0], surface.normals[..., 2]
    normals[..., 0], normals[..., 2] = nx * cos + nz * sin, nz * cos - nx * sin
    return replace(surface, corners=corners, normals=normals)


def _hex_head(screw: Screw) -> Any:
    from manifold3d import CrossSection

    height, across = screw.head_height_mm, screw.head_diameter_mm
    corner = across / math.sqrt(3)
    prism = CrossSection.circle(corner, 6).extrude(height).as_original()
    rise = (corner - 0.44 * across) * math.tan(math.radians(30))
    washer = 0.3
    turned = solids.lathe(
        [
            (0.0, 0.0),
            (0.47 * across, 0.0),
            (0.47 * across, washer),
            (corner + 0.1, washer + 0.1),
            (corner + 0.1, height - rise - 0.06),
            (0.44 * across, height),
            (0.0, height),
        ],
        segments=72,
    )
    return prism ^ turned


def _pan_head(screw: Screw) -> Any:
    radius, height = screw.head_diameter_mm / 2, screw.head_height_mm
    angles = np.linspace(0.0, math.pi / 2, 12)
    wall = 0.22 * height
    dome = [
        (radius * math.cos(a) ** 0.55, wall + (height - wall) * math.sin(a) ** 0.9) for a in angles
    ]
    dome[-1] = (0.0, height)
    head = solids.lathe([(0.0, 0.0), (radius - 0.15, 0.0), (radius, 0.15), *dome], segments=64)
    # the Phillips recess: two tapering slots and the cone where they meet
    size, depth = screw.thread_mm, 0.62 * height
    recess = solids.lathe(
        [(0.0, height - depth), (0.12 * size, height - depth), (0.3 * size, height + 0.2),
         (0.0, height + 0.2)],
        segments=24,
    )  # fmt: skip
    for quarter in (0.0, 90.0):
        lower = _rectangle(0.24 * size, 0.085 * size)
        upper = _rectangle(0.50 * size, 0.125 * size)
        slot = solids.drafted_prism(lower, upper, height - depth, height + 0.2)
        recess += slot.rotate([0.0, 0.0, quarter])
    return head - recess


def _rectangle(half_x: float, half_y: float) -> Points:
    return np.array([[-half_x, -half_y], [half_x, -half_y], [half_x, half_y], [-half_x, half_y]])


def _shank(screw: Screw) -> Any:
    """A shank with a right-handed metric coarse thread (pitch 0.16 d, depth 0.61 of it).

    A circle next to the axis, turned about it while it is extruded, gives a round-crested helix.
    """
    from manifold3d import CrossSection

    pitch = 0.16 * screw.thread_mm
    offset = 0.61 * pitch / 2
    turns = screw.length_mm / pitch
    circle = CrossSection.circle(screw.thread_mm / 2 - offset, 20).translate([offset, 0.0])
    thread = circle.extrude(
        screw.length_mm + 0.1, n_divisions=round(14 * turns), twist_degrees=360.0 * turns
    )
    return thread.translate([0.0, 0.0, -screw.length_mm]).as_original()
