"""Plates as they really are: what the plan says, plus what has happened to them."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from loco_tools.plan import Plate
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
        cuts, bare_cuts, sprayed_cuts: taken away; what they lay open keeps the finish, is bare
            steel, or has been painted over with zinc spray.
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
    sprayed_cuts: tuple[Any, ...] = ()
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
        surface = from_solid(self._solid())
        bare = np.isin(surface.source, _ids((*self.bare_cuts, *self.ridges)))
        sprayed = np.isin(surface.source, _ids(self.sprayed_cuts))
        # spray comes in the colour of the sheet
        spray = "zinc_spray" if self.plate.finish == "zinc" else self.plate.finish
        found = []
        for chosen, material in (
            (~bare & ~sprayed, self.plate.finish),
            (bare, "bare_steel"),
            (sprayed, spray),
        ):
            if chosen.any():
                found += self._marked_patches(surface.select(chosen), material)
        return found

    def region_surfaces(self) -> list[Surface]:
        """Boundaries of the regions, bent and placed as the plate is."""
        return [bent(from_solid(r), self.plate).moved(self.matrix()) for r in self.regions]

    def _solid(self) -> Any:
        body = blank(self.plate)
        for hole in self.plate.holes:
            cutter = solids.hole_cutter(hole.diameter_mm, self.plate.thickness_mm, CHAMFER_MM * 0.6)
            body -= cutter.translate([hole.x_mm, hole.y_mm, 0.0])
        for x, y, diameter in self.clearances:
            cutter = solids.hole_cutter(diameter, self.plate.thickness_mm, 0.1)
            body -= cutter.translate([x, y, 0.0])
        for cut in (*self.cuts, *self.bare_cuts, *self.sprayed_cuts):
            body -= cut
        for ridge in self.ridges:
            body += ridge
        return body

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


def _ids(solids_: tuple[Any, ...]) -> list[int]:
    return [solid.original_id() for solid in solids_]
