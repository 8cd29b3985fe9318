"""Free areas of a part: faces of plates on which a defect can be placed."""

from typing import Any

import numpy as np

from loco_tools.errors import DefinitionError
from loco_tools.twin.assembly import Assembly, to_plate
from loco_tools.twin.plates import PlateState, flat_zones, outline
from loco_tools.twin.screws import head_reach

_TRIES = 400


def obstacles(assembly: Assembly, state: PlateState) -> Any:
    """The areas of a plate that a defect must avoid: holes, plates on top of it, screw heads.

    Returns:
        a shapely geometry in the flat coordinates of the plate; it may be empty.
    """
    from shapely.affinity import rotate, translate
    from shapely.geometry import Point
    from shapely.ops import unary_union

    plate = state.plate
    taken = [Point(h.x_mm, h.y_mm).buffer(h.diameter_mm / 2) for h in plate.holes]
    taken += [Point(x, y).buffer(diameter / 2) for x, y, diameter in state.clearances]
    for cover in (other.plate for other in assembly.plates):
        if cover.at_mm[2] >= plate.at_mm[2] + plate.thickness_mm - 0.01:
            x, y = to_plate(plate, cover.at_mm[0], cover.at_mm[1])
            angle = cover.rotation_deg - plate.rotation_deg
            taken.append(translate(rotate(outline(cover), angle, origin=(0, 0)), x, y))
    for screw in (state.screw for state in assembly.screws):
        x, y = to_plate(plate, screw.x_mm, screw.y_mm)
        taken.append(Point(x, y).buffer(head_reach(screw)))
    return unary_union(taken)


def free_face(assembly: Assembly, state: PlateState, margin_mm: float) -> Any:
    """The flat area of a plate's upper face, `margin_mm` away from its edge and all obstacles.

    Returns:
        a shapely geometry in the flat coordinates of the plate; it may be empty.
    """
    from shapely.geometry import box
    from shapely.ops import unary_union

    plate = state.plate
    half = plate.width_mm
    zones = unary_union([box(start, -half, end, half) for start, end in flat_zones(plate)])
    face = outline(plate) & zones
    return face.difference(obstacles(assembly, state)).buffer(-margin_mm)


def choose_plate_with_free_area(
    assembly: Assembly, rng: np.random.Generator, defect: str, margin_mm: float
) -> tuple[int, Any]:
    """A plate, drawn in proportion to its free area, and that area.

    Raises:
        DefinitionError: no plate has a free area.
    """
    faces = [free_face(assembly, state, margin_mm) for state in assembly.plates]
    areas = np.array([face.area for face in faces])
    if areas.sum() < 1.0:
        raise no_free_area_error(defect)
    index = int(rng.choice(len(faces), p=areas / areas.sum()))
    return index, faces[index]


def place_inside(
    free_area: Any, shape: Any, rng: np.random.Generator, defect: str
) -> tuple[float, float]:
    """A random shift that moves `shape`, drawn about the origin, inside `free_area`.

    Raises:
        DefinitionError: no such shift was found.
    """
    from shapely.affinity import translate

    if free_area.is_empty:
        raise no_free_area_error(defect)
    low_x, low_y, high_x, high_y = free_area.bounds
    for _ in range(_TRIES):
        x, y = rng.uniform(low_x, high_x), rng.uniform(low_y, high_y)
        if free_area.contains(translate(shape, x, y)):
            return float(x), float(y)
    raise no_free_area_error(defect)


def no_free_area_error(defect: str) -> DefinitionError:
    """The error for a part without a free area for a defect."""
    return DefinitionError(
        f"no free area for {defect} on this part; expected a free face large enough for it; "
        "next step: leave the defect out of the plan's shots"
    )


def unsuitable_part_error(defect: str, expected: str) -> DefinitionError:
    """The error for a part that cannot have a defect."""
    return DefinitionError(
        f'defect "{defect}" does not fit this part; expected {expected}, got none; next step: '
        "leave the defect out of the plan's shots"
    )
