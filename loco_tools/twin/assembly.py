"""The part on the table: its pieces in their places, before any defect and after one."""

import itertools
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np

from loco_tools.plan import Part, Plate, Screw
from loco_tools.twin.plates import CLEARANCE_MM, Patch, PlateState, blank, outline
from loco_tools.twin.screws import ScrewState, head_reach
from loco_tools.twin.surface import Points, Surface, bent, from_solid, placement

_SEAT_MM = 0.15
_SEAT_DEG = 0.35
_PLAY_MM = 0.3
_PLAY_DEG = 0.5
"""How far a screw's head may stand off its height, and lean: nobody turns them in alike."""


@dataclass(frozen=True)
class Assembly:
    """All pieces.

    Attributes:
        ghosts: regions of the mask where something should be and is not.
        tells: surfaces without which the defect does not show; a view that hides them is good.
        tolerance_mm: how far a missing thing could be from its nominal place; widens its region.
        severity: size of defects that are a matter of degree, as a share of the usual.
    """

    plates: tuple[PlateState, ...]
    screws: tuple[ScrewState, ...]
    ghosts: tuple[Any, ...] = ()
    tells: tuple[Surface, ...] = ()
    tolerance_mm: float = 0.0
    severity: float = 1.0

    def patches(self) -> list[Patch]:
        """Every visible surface of the part, in its own coordinates."""
        pieces: tuple[PlateState | ScrewState, ...] = (*self.plates, *self.screws)
        return [patch for piece in pieces for patch in piece.patches()]

    def regions(self) -> list[Surface]:
        """Boundaries of every region of the mask that is no surface of the part."""
        placed = [surface for plate in self.plates for surface in plate.region_surfaces()]
        return placed + [from_solid(ghost) for ghost in self.ghosts]

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
    """A good part: as planned, with the play that its holes leave and screws turned anyhow."""
    plates = tuple(_seated(plate, part.screws, rng) for plate in part.plates)
    screws = tuple(turned_in(screw, rng) for screw in part.screws)
    return Assembly(plates, screws, tolerance_mm=tolerance_mm, severity=severity)


def turned_in(screw: Screw, rng: np.random.Generator, *, marked: bool = False) -> ScrewState:
    """A screw in its hole; one that stands off its sheet has a little play."""
    turn, azimuth = (float(value) for value in rng.uniform(0.0, 360.0, 2))
    lean, raised = float(rng.uniform(0.0, _PLAY_DEG)), float(rng.uniform(-_PLAY_MM, _PLAY_MM))
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
    """Points (N, 3) in mm whose hull holds the part as planned; not to be changed."""
    points = [_blank_surface(plate).corners.reshape(-1, 3) for plate in part.plates]
    for screw in part.screws:
        reach, height = head_reach(screw), screw.stands_mm + screw.head_height_mm
        centre = np.array([screw.x_mm, screw.y_mm, screw.z_mm])
        corners = itertools.product((-reach, reach), (-reach, reach), (0.0, height))
        points.append(centre + np.array(list(corners)))
    return np.concatenate(points)


def extent(part: Part) -> tuple[Points, Points]:
    """The lowest and highest corner (3,) of the nominal part, in mm."""
    every = nominal_points(part)
    return every.min(axis=0), every.max(axis=0)


def _blank_surface(plate: Plate) -> Surface:
    return bent(from_solid(blank(plate)), plate).moved(PlateState(plate).matrix())


def _seated(plate: Plate, screws: tuple[Screw, ...], rng: np.random.Generator) -> PlateState:
    dx, dy, yaw = (float(value) for value in rng.uniform(-1.0, 1.0, 3))
    below = plate.at_mm[2] <= 0.0
    shift = (0.0, 0.0, 0.0) if below else (dx * _SEAT_MM, dy * _SEAT_MM, yaw * _SEAT_DEG)
    return PlateState(plate, clearances=_clearances(plate, screws), shift=shift)


def _clearances(plate: Plate, screws: tuple[Screw, ...]) -> tuple[tuple[float, float, float], ...]:
    """Holes for the screws that pass through a plate, where the plan has none."""
    from shapely.geometry import Point

    top = plate.at_mm[2] + plate.thickness_mm
    shape = outline(plate)
    found = []
    for screw in screws:
        x, y = to_plate(plate, screw.x_mm, screw.y_mm)
        drilled = any(np.hypot(h.x_mm - x, h.y_mm - y) < h.diameter_mm / 2 for h in plate.holes)
        if screw.z_mm >= top - 0.01 and shape.contains(Point(x, y)) and not drilled:
            found.append((x, y, screw.thread_mm + CLEARANCE_MM))
    return tuple(found)


def to_plate(plate: Plate, x_mm: float, y_mm: float) -> tuple[float, float]:
    """A place of the part in the coordinates of one of its flat plates."""
    matrix = placement(*plate.at_mm, plate.rotation_deg)
    x, y = np.linalg.inv(matrix)[:2] @ np.array([x_mm, y_mm, plate.at_mm[2], 1.0])
    return float(x), float(y)


def from_plate(plate: Plate, x_mm: float, y_mm: float) -> tuple[float, float]:
    """A place of a flat plate in the coordinates of the part."""
    matrix = placement(*plate.at_mm, plate.rotation_deg)
    x, y = matrix[:2] @ np.array([x_mm, y_mm, 0.0, 1.0])
    return float(x), float(y)
