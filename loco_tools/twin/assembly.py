"""The part on the table: its plates and screws in their places, without or with a defect."""

import itertools
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np

from loco_tools.plan import Part, Plate, Screw
from loco_tools.twin.plates import CLEARANCE_MM, Patch, PlateState, blank, outline
from loco_tools.twin.screws import ScrewState, head_reach
from loco_tools.twin.surface import Points, Surface, bent, from_solid, placement

_PLATE_PLAY_MM = 0.15
_PLATE_PLAY_DEG = 0.35
"""The largest shift and turn of a plate within the clearance of its holes."""

_SCREW_PLAY_MM = 0.3
_SCREW_PLAY_DEG = 0.5
"""The largest deviation of a screw's head from its height, and its largest tilt."""


@dataclass(frozen=True)
class Assembly:
    """The plates and screws of one part.

    Attributes:
        plates: the plates, from bottom to top.
        screws: the screws.
        missing_solids: regions of the mask where something is missing.
        visible_evidence: surfaces that a view must show for the defect to count as visible.
        tolerance_mm: how far a missing object could be from its nominal place; widens its region.
        severity: size of gradual defects relative to their usual size.
    """

    plates: tuple[PlateState, ...]
    screws: tuple[ScrewState, ...]
    missing_solids: tuple[Any, ...] = ()
    visible_evidence: tuple[Surface, ...] = ()
    tolerance_mm: float = 0.0
    severity: float = 1.0

    def patches(self) -> list[Patch]:
        """Every visible surface of the part, in its own coordinates."""
        states: tuple[PlateState | ScrewState, ...] = (*self.plates, *self.screws)
        return [patch for state in states for patch in state.patches()]

    def regions(self) -> list[Surface]:
        """Boundaries of the regions of the mask that are not surfaces of the part."""
        placed = [surface for plate in self.plates for surface in plate.region_surfaces()]
        return placed + [from_solid(solid) for solid in self.missing_solids]

    def with_plate(self, index: int, **changes: Any) -> "Assembly":
        """The assembly with some attributes of one plate changed."""
        plates = list(self.plates)
        plates[index] = replace(plates[index], **changes)
        return replace(self, plates=tuple(plates))

    def with_screw(self, index: int, screw: ScrewState) -> "Assembly":
        """The assembly with one screw replaced."""
        screws = list(self.screws)
        screws[index] = screw
        return replace(self, screws=tuple(screws))

    def without_screw(self, index: int) -> "Assembly":
        """The assembly with one screw taken out."""
        return replace(self, screws=self.screws[:index] + self.screws[index + 1 :])


def assemble(
    part: Part, rng: np.random.Generator, tolerance_mm: float, severity: float = 1.0
) -> Assembly:
    """A good part as planned, with plates shifted within their play and screws at random turns.

    Args:
        part: of the plan.
        rng: draws shifts and turns.
        tolerance_mm: see `Assembly`.
        severity: see `Assembly`.
    """
    plates = []
    for plate in part.plates:
        dx, dy, yaw = (float(value) for value in rng.uniform(-1.0, 1.0, 3))
        rests_on_table = plate.at_mm[2] <= 0.0
        shift = (dx * _PLATE_PLAY_MM, dy * _PLATE_PLAY_MM, yaw * _PLATE_PLAY_DEG)
        if rests_on_table:
            shift = (0.0, 0.0, 0.0)
        holes = _clearance_holes(plate, part.screws)
        plates.append(PlateState(plate, clearances=holes, shift=shift))
    screws = tuple(insert_screw(screw, rng) for screw in part.screws)
    return Assembly(tuple(plates), screws, tolerance_mm=tolerance_mm, severity=severity)


def insert_screw(screw: Screw, rng: np.random.Generator, *, marked: bool = False) -> ScrewState:
    """A screw in its hole at a random turn; one that stands off its plate also tilts a little."""
    turn, azimuth = (float(value) for value in rng.uniform(0.0, 360.0, 2))
    lean = float(rng.uniform(0.0, _SCREW_PLAY_DEG))
    raised = float(rng.uniform(-_SCREW_PLAY_MM, _SCREW_PLAY_MM))
    if screw.stands_mm == 0.0:
        return ScrewState(screw, turn_deg=turn, marked=marked)
    return ScrewState(
        screw,
        turn_deg=turn,
        lean_deg=lean,
        lean_azimuth_deg=azimuth,
        raised_mm=raised,
        marked=marked,
    )


@lru_cache(maxsize=16)
def nominal_points(part: Part) -> Points:
    """Points (N, 3) in mm whose hull contains the part as planned; cached, do not modify."""
    surfaces = [
        bent(from_solid(blank(plate)), plate).moved(PlateState(plate).matrix())
        for plate in part.plates
    ]
    points = [surface.corners.reshape(-1, 3) for surface in surfaces]
    for screw in part.screws:
        reach, height = head_reach(screw), screw.stands_mm + screw.head_height_mm
        centre = np.array([screw.x_mm, screw.y_mm, screw.z_mm])
        corners = itertools.product((-reach, reach), (-reach, reach), (0.0, height))
        points.append(centre + np.array(list(corners)))
    return np.concatenate(points)


def extent(part: Part) -> tuple[Points, Points]:
    """The lowest and highest corner (3,) of the nominal part, in mm."""
    points = nominal_points(part)
    return points.min(axis=0), points.max(axis=0)


def _clearance_holes(
    plate: Plate, screws: tuple[Screw, ...]
) -> tuple[tuple[float, float, float], ...]:
    """Holes (x, y, diameter) for screws that pass through a plate where the plan has no hole."""
    from shapely.geometry import Point

    top = plate.at_mm[2] + plate.thickness_mm
    shape = outline(plate)
    holes = []
    for screw in screws:
        x, y = to_plate(plate, screw.x_mm, screw.y_mm)
        drilled = any(np.hypot(h.x_mm - x, h.y_mm - y) < h.diameter_mm / 2 for h in plate.holes)
        if screw.z_mm >= top - 0.01 and shape.contains(Point(x, y)) and not drilled:
            holes.append((x, y, screw.thread_mm + CLEARANCE_MM))
    return tuple(holes)


def to_plate(plate: Plate, x_mm: float, y_mm: float) -> tuple[float, float]:
    """A point of the part in the coordinates of one of its flat plates."""
    matrix = placement(*plate.at_mm, plate.rotation_deg)
    x, y = np.linalg.inv(matrix)[:2] @ np.array([x_mm, y_mm, plate.at_mm[2], 1.0])
    return float(x), float(y)


def from_plate(plate: Plate, x_mm: float, y_mm: float) -> tuple[float, float]:
    """A point of a flat plate in the coordinates of the part."""
    matrix = placement(*plate.at_mm, plate.rotation_deg)
    x, y = matrix[:2] @ np.array([x_mm, y_mm, 0.0, 1.0])
    return float(x), float(y)
