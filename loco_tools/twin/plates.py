"""The state of a plate: the plate of the plan plus holes for screws, damage and marks."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from loco_tools.plan import Plate
from loco_tools.twin import solids
from loco_tools.twin.surface import Points, Surface, bend_zone, bent, from_solid, placement

CHAMFER_MM = 0.25
CLEARANCE_MM = 0.3
"""The clearance of a hole: its diameter minus that of the screw's thread."""

_SKIN_MM = 0.02


@dataclass(frozen=True)
class Patch:
    """A visible surface with one material; `marked` when it belongs to the defect."""

    surface: Surface
    material: str
    marked: bool


@dataclass(frozen=True)
class PlateState:
    """A plate with everything done to it; solids are in the coordinates of its flat blank.

    Attributes:
        plate: as in the plan, or with holes, fold or position changed by a defect.
        clearances: (x, y, diameter) of the holes for screws.
        cuts, bare_cuts, sprayed_cuts: removed solids; the surface that they expose has the finish
            of the plate, is bare steel, or is covered with zinc spray.
        ridges: added solids of bare metal.
        regions: solids that contain the defect, for the mask; they are not rendered.
        marked: the whole plate is the defect.
        marked_beyond: the plate beyond this x is the defect.
        shift: harmless displacement (dx, dy, yaw) within the clearance.
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
        """The visible surfaces of the plate."""
        surface = from_solid(self._solid())
        bare = np.isin(surface.source, _ids((*self.bare_cuts, *self.ridges)))
        sprayed = np.isin(surface.source, _ids(self.sprayed_cuts))
        # spray has the colour of the plate
        spray = "zinc_spray" if self.plate.finish == "zinc" else self.plate.finish
        patches = []
        for chosen, material in (
            (~bare & ~sprayed, self.plate.finish),
            (bare, "bare_steel"),
            (sprayed, spray),
        ):
            if not chosen.any():
                continue
            visible = bent(surface.select(chosen), self.plate).moved(self.matrix())
            if self.marked_beyond is None:
                patches.append(Patch(visible, material, self.marked))
                continue
            beyond = visible.flat[..., 0].mean(axis=1) > self.marked_beyond
            for side, marked in ((beyond, True), (~beyond, False)):
                if side.any():
                    patches.append(Patch(visible.select(side), material, marked))
        return patches

    def region_surfaces(self) -> list[Surface]:
        """Boundaries of the regions, bent and placed like the plate."""
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


def outline(plate: Plate) -> Any:
    """The flat outline as a shapely polygon, centred on the origin."""
    from shapely.geometry import box

    radius = plate.corner_radius_mm
    half_x, half_y = plate.length_mm / 2 - radius, plate.width_mm / 2 - radius
    return box(-half_x, -half_y, half_x, half_y).buffer(radius, quad_segs=10)


def blank(plate: Plate) -> Any:
    """The plate without holes, with edges chamfered as by tumbling."""
    from manifold3d import Manifold

    thickness = plate.thickness_mm
    chamfer = min(CHAMFER_MM, thickness / 5)
    shape = outline(plate)
    wide = solids.prism(shape, chamfer, thickness - chamfer)
    high = solids.prism(shape.buffer(-chamfer), 0.0, thickness)
    return Manifold.batch_hull([wide, high]).as_original()


def sheet_region(shape: Any, plate: Plate, *, above_mm: float = _SKIN_MM) -> Any:
    """A region of the mask through the whole thickness of the plate, slightly thicker than it."""
    return solids.prism(shape, -_SKIN_MM, plate.thickness_mm + above_mm)


def flat_zones(plate: Plate) -> list[tuple[float, float]]:
    """The ranges of x (flat coordinates) that the fold does not bend."""
    half = plate.length_mm / 2
    if plate.fold is None:
        return [(-half, half)]
    start, end = bend_zone(plate, plate.fold)
    return [(-half, start), (end, half)]


def _ids(of_solids: tuple[Any, ...]) -> list[int]:
    return [solid.original_id() for solid in of_solids]
