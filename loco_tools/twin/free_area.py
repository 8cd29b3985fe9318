"""Where on a part there is room for a defect."""

from typing import Any

import numpy as np

from loco_tools.errors import DefinitionError
from loco_tools.plan import Plate
from loco_tools.twin.assembly import Assembly, to_plate
from loco_tools.twin.plates import PlateState, flat_zones, outline
from loco_tools.twin.screws import head_reach

_TRIES = 400


def obstacles(assembly: Assembly, state: PlateState) -> Any:
    """What a defect must keep clear of on a plate: holes, pieces that lie on it, screw heads.

    Returns:
        a shapely geometry in the plate's flat coordinates, perhaps empty.
    """
    from shapely.geometry import Point
    from shapely.ops import unary_union

    plate = state.plate
    taken = [Point(h.x_mm, h.y_mm).buffer(h.diameter_mm / 2) for h in plate.holes]
    taken += [Point(x, y).buffer(diameter / 2) for x, y, diameter in state.clearances]
    taken += [_footprint(plate, other.plate) for other in assembly.plates if _above(other, plate)]
    for screw in (state.screw for state in assembly.screws):
        x, y = to_plate(plate, screw.x_mm, screw.y_mm)
        taken.append(Point(x, y).buffer(head_reach(screw)))
    return unary_union(taken)


def free_face(assembly: Assembly, state: PlateState, margin_mm: float) -> Any:
    """The part of a plate's upper face that is flat, `margin_mm` off its edge and all obstacles.

    Returns:
        a shapely geometry in the plate's flat coordinates, perhaps empty.
    """
    from shapely.geometry import box
    from shapely.ops import unary_union

    plate = state.plate
    half = plate.width_mm
    zones = unary_union([box(start, -half, end, half) for start, end in flat_zones(plate)])
    face = outline(plate) & zones
    return face.difference(obstacles(assembly, state)).buffer(-margin_mm)


def roomy_plate(
    assembly: Assembly, rng: np.random.Generator, what: str, margin_mm: float
) -> tuple[int, Any]:
    """A plate with room, drawn by its free area, and its free face.

    Raises:
        DefinitionError: no plate has any.
    """
    faces = [free_face(assembly, state, margin_mm) for state in assembly.plates]
    areas = np.array([face.area for face in faces])
    if areas.sum() < 1.0:
        raise no_room(what)
    index = int(rng.choice(len(faces), p=areas / areas.sum()))
    return index, faces[index]


def place_inside(room: Any, shape: Any, rng: np.random.Generator, what: str) -> tuple[float, float]:
    """A shift that brings `shape` (drawn about the origin) wholly into `room`.

    Raises:
        DefinitionError: no place was found.
    """
    from shapely.affinity import translate

    if room.is_empty:
        raise no_room(what)
    low_x, low_y, high_x, high_y = room.bounds
    for _ in range(_TRIES):
        x, y = rng.uniform(low_x, high_x), rng.uniform(low_y, high_y)
        if room.contains(translate(shape, x, y)):
            return float(x), float(y)
    raise no_room(what)


def no_room(what: str) -> DefinitionError:
    """The error for a part on which a defect finds no place."""
    return DefinitionError(
        f"no room for {what} on this part; expected a free face large enough for it; "
        "next step: leave the defect out of the plan's shots"
    )


def misfit(defect: str, expected: str) -> DefinitionError:
    """The error for a part that cannot have a defect."""
    return DefinitionError(
        f'defect "{defect}" does not fit this part; expected {expected}, got none; next step: '
        "leave the defect out of the plan's shots"
    )


def _above(other: PlateState, plate: Plate) -> bool:
    return other.plate.at_mm[2] >= plate.at_mm[2] + plate.thickness_mm - 0.01


def _footprint(plate: Plate, cover: Plate) -> Any:
    """The outline of a plate that lies on `plate`, in the coordinates of `plate`."""
    from shapely.affinity import rotate, translate

    x, y = to_plate(plate, cover.at_mm[0], cover.at_mm[1])
    turned = rotate(outline(cover), cover.rotation_deg - plate.rotation_deg, origin=(0, 0))
    return translate(turned, x, y)
