"""Plates and screws as they really are: what the plan says, plus what has happened to them."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from loco_tools.plan import Plate, Screw
from loco_tools.twin import solids
from loco_tools.twin.surface import Points, Surface, bend_zone, bent, from_solid, placement

CHAMFER_MM = 0.25
CLEARANCE_MM = 0.3
"""How much wider than its thread a screw's hole is."""

_SKIN_MM = 0.02


@dataclass(frozen=True)
class Patch:
    """A visible stretch of surface with one material; `marked` where it belongs to the defect."""

    surface: Surface
    material: str
    marked: bool


@dataclass(frozen=True)
class PlateState:
    """A plate and what is done to it; solids are in the coordinates of its flat blank.

    Attributes:
        plate: as in the plan, or with holes, fold or place changed by a defect.
        clearances: (x, y, diameter) of the holes that screws need.
        cuts, bare_cuts: taken away; the second kind leaves bare steel instead of the finish.
        ridges: bare metal added.
        regions: where the defect is, for the mask; never rendered.
        marked: all of the plate is the defect.
        marked_beyond: the plate beyond this x is the defect.
        shift: (dx, dy, yaw) by which it sits off its place: harmless, within the clearance.
    """

    plate: Plate
    clearances: tuple[tuple[float, float, float], ...] = ()
    cuts: tuple[Any, ...] = ()
    bare_cuts: tuple[Any, ...] = ()
    ridges: tuple[Any, ...] = ()
    regions: tuple[Any, ...] = ()
    marked: bool = False
    marked_beyond: float | None = None
    shift: tuple[float, float, float] = (0.0, 0.0, 0.0)

    def matrix(self) -> Points:
        """From the plate's own coordinates to those of the part."""
        (x, y, z), (dx, dy, yaw) = self.plate.at_mm, self.shift
        return placement(x + dx, y + dy, z, self.plate.rotation_deg + yaw)

    def patches(self) -> list[Patch]:
        """Everything of the plate that can be seen."""
        solid, bare = self._solid()
        surface = from_solid(solid)
        is_bare = np.isin(surface.source, bare)
        found = []
        for chosen, material in ((~is_bare, self.plate.finish), (is_bare, "bare_steel")):
            if chosen.any():
                found += self._marked_patches(surface.select(chosen), material)
        return found

    def region_surfaces(self) -> list[Surface]:
        """Boundaries of the regions, bent and placed as the plate is."""
        return [bent(from_solid(r), self.plate).moved(self.matrix()) for r in self.regions]

    def _solid(self) -> tuple[Any, list[int]]:
        body = blank(self.plate)
        for hole in self.plate.holes:
            cutter = solids.hole_cutter(hole.diameter_mm, self.plate.thickness_mm, CHAMFER_MM * 0.6)
            body -= cutter.translate([hole.x_mm, hole.y_mm, 0.0])
        for x, y, diameter in self.clearances:
            cutter = solids.hole_cutter(diameter, self.plate.thickness_mm, 0.1)
            body -= cutter.translate([x, y, 0.0])
        for cut in (*self.cuts, *self.bare_cuts):
            body -= cut
        for ridge in self.ridges:
            body += ridge
        return body, [solid.original_id() for solid in (*self.bare_cuts, *self.ridges)]

    def _marked_patches(self, surface: Surface, material: str) -> list[Patch]:
        curved = bent(surface, self.plate).moved(self.matrix())
        if self.marked_beyond is None:
            return [Patch(curved, material, self.marked)]
        beyond = curved.flat[..., 0].mean(axis=1) > self.marked_beyond
        return [
            Patch(curved.select(chosen), material, marked)
            for chosen, marked in ((beyond, True), (~beyond, False))
            if chosen.any()
        ]


@dataclass(frozen=True)
class ScrewState:
    """A screw as it sits: turned at random, perhaps leaning about the hole's upper rim.

    `raised_mm` is how far the head stands off the sheet, along the screw.
    """

    screw: Screw
    turn_deg: float = 0.0
    lean_deg: float = 0.0
    lean_azimuth_deg: float = 0.0
    raised_mm: float = 0.0
    marked: bool = False

    def patches(self) -> list[Patch]:
        """Head and shank."""
        surface = from_solid(screw_solid(self.screw), crease_deg=28.0)
        return [Patch(surface.moved(self._matrix()), "screw", self.marked)]

    def _matrix(self) -> Points:
        screw, lean = self.screw, math.radians(self.lean_deg)
        azimuth = placement(0.0, 0.0, 0.0, self.lean_azimuth_deg)
        tilt = np.eye(4)
        cos, sin = math.cos(lean), math.sin(lean)
        tilt[[0, 0, 2, 2], [0, 2, 0, 2]] = cos, sin, -sin, cos
        place = placement(screw.x_mm, screw.y_mm, screw.z_mm, 0.0)
        out = placement(0.0, 0.0, self.raised_mm, self.turn_deg)
        return np.asarray(place @ azimuth @ tilt @ np.linalg.inv(azimuth) @ out)


def outline(plate: Plate) -> Any:
    """The flat outline as a shapely polygon, centred on the origin."""
    from shapely.geometry import box

    radius = plate.corner_radius_mm
    half_x, half_y = plate.length_mm / 2 - radius, plate.width_mm / 2 - radius
    return box(-half_x, -half_y, half_x, half_y).buffer(radius, quad_segs=10)


def blank(plate: Plate) -> Any:
    """The sheet without holes, its edges chamfered as tumbling leaves them."""
    from manifold3d import Manifold

    thickness = plate.thickness_mm
    chamfer = min(CHAMFER_MM, thickness / 5)
    shape = outline(plate)
    wide = solids.prism(shape, chamfer, thickness - chamfer)
    high = solids.prism(shape.buffer(-chamfer), 0.0, thickness)
    return Manifold.batch_hull([wide, high]).as_original()


def sheet_region(shape: Any, plate: Plate, *, above_mm: float = _SKIN_MM) -> Any:
    """A region of the mask through the whole sheet, a hair thicker than it."""
    return solids.prism(shape, -_SKIN_MM, plate.thickness_mm + above_mm)


def flat_zones(plate: Plate) -> list[tuple[float, float]]:
    """The stretches of x (flat coordinates) that the fold leaves straight."""
    half = plate.length_mm / 2
    if plate.fold is None:
        return [(-half, half)]
    start, end = bend_zone(plate, plate.fold)
    return [(-half, start), (end, half)]


def screw_solid(screw: Screw) -> Any:
    """Head and shank along z; z = 0 is the underside of the head."""
    head = _hex_head(screw) if screw.head == "hex" else _pan_head(screw)
    return (head + _shank(screw)).as_original()


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
    return head - _cross_recess(screw)


def _cross_recess(screw: Screw) -> Any:
    """A Phillips recess: two tapering slots and the cone where they meet."""
    size, height = screw.thread_mm, screw.head_height_mm
    depth = 0.62 * height
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
    return recess


def _rectangle(half_x: float, half_y: float) -> Points:
    return np.array([[-half_x, -half_y], [half_x, -half_y], [half_x, half_y], [-half_x, half_y]])


def _shank(screw: Screw) -> Any:
    """A shank with the grooves of a metric coarse thread (pitch 0.16 d), ending at the table."""
    radius, pitch = screw.thread_mm / 2, 0.16 * screw.thread_mm
    end = -min(screw.length_mm, screw.z_mm + 0.5)
    levels = np.arange(end, 0.0, pitch / 2)
    depth = 0.61 * pitch
    profile = [(radius - (depth if k % 2 else 0.0), float(z)) for k, z in enumerate(levels)]
    return solids.lathe([(0.0, end), *profile, (radius - 0.1, 0.1), (0.0, 0.1)], segments=32)
