"""Defects of plates: outline, surface, fold and holes.

Each function takes a good assembly, draws the position and size of the defect, and returns the
defective assembly with the region of the defect. Sizes are in mm; those of gradual defects are
multiplied by the severity of the assembly.
"""

import math
from typing import Any

import numpy as np

from loco_tools.errors import DefinitionError
from loco_tools.plan import Hole, Plate
from loco_tools.twin import solids
from loco_tools.twin.assembly import Assembly
from loco_tools.twin.free_area import (
    choose_plate_with_free_area,
    no_free_area_error,
    obstacles,
    place_inside,
    unsuitable_part_error,
)
from loco_tools.twin.plates import flat_zones, outline, sheet_region
from loco_tools.twin.surface import Points, bend_zone

_TRIES = 200
_WRONG_SIZES = (0.7, 1.3, 1.4, 1.6)
"""Factors on the diameter of a hole: 3.5, 6.5, 7 or 8 mm instead of 5 mm."""


def cut_corner(assembly: Assembly, rng: np.random.Generator) -> Assembly:
    """A corner is sheared off without touching a hole."""
    from shapely.geometry import Polygon

    index = _choose_plate(assembly, rng)
    plate, taken = assembly.plates[index].plate, obstacles(assembly, assembly.plates[index])
    largest = 0.36 * assembly.severity * min(plate.width_mm, plate.length_mm)
    for _ in range(_TRIES):
        sign_x, sign_y = rng.choice([-1.0, 1.0], 2)
        along, across = rng.uniform(0.55, 1.0, 2) * largest
        x, y = sign_x * plate.length_mm / 2, sign_y * plate.width_mm / 2
        first, second = np.array([x - sign_x * along, y]), np.array([x, y - sign_y * across])
        corner = Polygon([(x, y), first, second])
        if not corner.buffer(1.2).intersects(taken) and _is_flat(corner, plate):
            on, out = (first - second) / 2, np.array([x + sign_x * 9.0, y + sign_y * 9.0])
            shear = Polygon([out, first + on, second - on])
            cut = solids.prism(shear, -1.0, plate.thickness_mm + 1.0)
            region = sheet_region(corner & outline(plate), plate)
            return assembly.with_plate(index, bare_cuts=(cut,), regions=(region,))
    raise no_free_area_error("cut_corner")


def edge_damage(assembly: Assembly, rng: np.random.Generator) -> Assembly:
    """A blow on an edge: a notch with ragged walls, surrounded by raised metal."""
    from shapely.geometry import Polygon

    index = _choose_plate(assembly, rng)
    plate, taken = assembly.plates[index].plate, obstacles(assembly, assembly.plates[index])
    for _ in range(_TRIES):
        width, depth = assembly.severity * np.array([rng.uniform(4.5, 8.0), rng.uniform(1.8, 3.4)])
        notch = _notch(plate, rng, width, depth)
        around = Polygon(notch).buffer(1.25) & outline(plate).buffer(0.15)
        if around.buffer(0.45).intersects(taken) or not _is_flat(around, plate):
            continue
        thickness, height = plate.thickness_mm, assembly.severity * rng.uniform(0.3, 0.55)
        # walls lean outwards at the top: the blow came from above
        wider = _stretched(notch, 0.35)
        cut = solids.drafted_prism(notch, wider, -0.5, thickness + 1.0)
        rim = _notch_rim(notch, thickness, height)
        inside = solids.prism(outline(plate), -0.1, thickness + 2.0)
        region = sheet_region(around, plate, above_mm=height + 0.02)
        return assembly.with_plate(
            index, bare_cuts=(cut,), ridges=((rim ^ inside).as_original(),), regions=(region,)
        )
    raise no_free_area_error("edge_damage")


def scratch(assembly: Assembly, rng: np.random.Generator) -> Assembly:
    """A groove down to bare steel with raised metal along both sides."""
    from shapely.geometry import LineString

    width, steepness = assembly.severity * rng.uniform(0.9, 1.35), rng.uniform(0.5, 0.7)
    rim_width = assembly.severity * rng.uniform(0.35, 0.5)
    rim_height = assembly.severity * rng.uniform(0.18, 0.28)
    reach = width / 2 + rim_width
    index, free_area = choose_plate_with_free_area(assembly, rng, "scratch", 0.8)
    plate = assembly.plates[index].plate
    depth = min(steepness * width, 0.45 * plate.thickness_mm)
    for length in assembly.severity * rng.uniform(12.0, 26.0) * np.array([1.0, 0.75, 0.5]):
        path = _curved_path(rng, float(length))
        try:
            x, y = place_inside(free_area, LineString(path).buffer(reach), rng, "scratch")
        except DefinitionError:
            continue
        path = path + np.array([x, y])
        along = np.linspace(0.0, 1.0, len(path))
        size = np.clip(np.minimum(along / 0.1, (1 - along) / 0.3), 0.12, 1.0) ** 0.7
        size *= rng.uniform(0.72, 1.0, len(path))
        groove = solids.sweep(path, [(-width, depth), (0.0, -depth), (width, depth)], size)
        section = [(0.0, -0.06), (rim_width, -0.06), (0.4 * rim_width, rim_height)]
        rims = [
            solids.sweep(path, [(s * (width / 2 + u), z) for u, z in section], size)
            for s in (-1.0, 1.0)
        ]
        top = rim_height + 0.02
        across = [(-reach, -0.01), (reach, -0.01), (reach, top), (-reach, top)]
        stripe = solids.sweep(path, across, size)
        face = _visible_face(plate, x, rng)
        return assembly.with_plate(
            index,
            bare_cuts=(face(groove),),
            ridges=tuple(face(rim) for rim in rims),
            regions=(face(stripe),),
        )
    raise no_free_area_error("scratch")


def dent(assembly: Assembly, rng: np.random.Generator) -> Assembly:
    """A smooth hollow, as from a dropped tool."""
    from shapely.affinity import rotate, scale
    from shapely.geometry import Point

    index, free_area = choose_plate_with_free_area(assembly, rng, "dent", 0.4)
    plate = assembly.plates[index].plate
    stretch, turn = rng.uniform(0.75, 1.0), rng.uniform(0, 180)
    for radius in assembly.severity * rng.uniform(3.6, 5.5) * np.array([1.0, 0.8, 0.6]):
        shape = rotate(scale(Point(0, 0).buffer(radius), 1.0, stretch), turn, origin=(0, 0))
        try:
            x, y = place_inside(free_area, shape, rng, "dent")
        except DefinitionError:
            continue
        depth = min(rng.uniform(0.19, 0.26) * radius, 0.6 * plate.thickness_mm)
        steps = np.linspace(0.0, 1.0, 14)
        bowl = [(radius * s, -depth * (1 - s**2) ** 2) for s in steps]
        hollow = solids.lathe([*bowl, (radius, 1.0), (0.0, 1.0)], segments=64)
        hollow = hollow.scale([1.0, stretch, 1.0]).rotate([0.0, 0.0, turn]).translate([x, y, 0.0])
        mark = scale(shape, 0.92, 0.92, origin=(0, 0))
        disc = solids.prism(mark, -0.01, 0.02).translate([x, y, 0.0])
        face = _visible_face(plate, x, rng)
        return assembly.with_plate(index, cuts=(face(hollow),), regions=(face(disc),))
    raise no_free_area_error("dent")


def bent_leg(assembly: Assembly, rng: np.random.Generator) -> Assembly:
    """The upright leg is bent to a wrong angle."""
    folded = [k for k, state in enumerate(assembly.plates) if state.plate.fold is not None]
    if not folded:
        raise unsuitable_part_error("bent_leg", "a plate with a fold")
    index = int(rng.choice(folded))
    plate = assembly.plates[index].plate
    fold = plate.fold
    if fold is None:
        raise unsuitable_part_error("bent_leg", "a plate with a fold")
    off = assembly.severity * float(rng.uniform(9.0, 16.0) * rng.choice([-1.0, 1.0]))
    angle = float(np.clip(fold.angle_deg + off, 10.0, 140.0))
    off_fold = fold.model_copy(update={"angle_deg": angle})
    wrong = plate.model_copy(update={"fold": off_fold})
    return assembly.with_plate(index, plate=wrong, marked_beyond=bend_zone(wrong, off_fold)[0])


def missing_hole(assembly: Assembly, rng: np.random.Generator) -> Assembly:
    """A hole is filled and painted over, which leaves a dull spot and a shallow hollow."""
    index, hole = _choose_hole(assembly, rng, "missing_hole")
    plate = assembly.plates[index].plate
    others = tuple(other for other in plate.holes if other is not hole)
    radius, sunk = hole.diameter_mm / 2, float(rng.uniform(0.06, 0.15))
    slope, overspray = rng.uniform(0.25, 0.6), min(rng.uniform(0.1, 0.4), assembly.tolerance_mm)
    top, film = plate.thickness_mm, 0.012
    above = [
        (0.0, top - sunk),
        (radius - slope, top - sunk),
        (radius, top - film),
        (radius + overspray, top - film),
        (radius + overspray, top + 0.5),
        (0.0, top + 0.5),
    ]
    below = [(r, top - z) for r, z in reversed(above)]
    hollows = [solids.lathe(side).translate([hole.x_mm, hole.y_mm, 0.0]) for side in (above, below)]
    region = _disc(plate, hole.x_mm, hole.y_mm, radius + assembly.tolerance_mm)
    return assembly.with_plate(
        index,
        plate=plate.model_copy(update={"holes": others}),
        sprayed_cuts=tuple(hollow.as_original() for hollow in hollows),
        regions=(region,),
    )


def additional_hole(assembly: Assembly, rng: np.random.Generator) -> Assembly:
    """A surplus hole, drilled after the coating: its walls are bare and its edge has a burr."""
    from shapely.geometry import Point

    drill = assembly.severity * _choose_hole(assembly, rng, "additional_hole")[1].diameter_mm
    burr = assembly.severity * float(rng.uniform(0.45, 0.8))
    height = assembly.severity * float(rng.uniform(0.5, 0.9))
    index, free_area = choose_plate_with_free_area(assembly, rng, "additional_hole", 1.3)
    plate = assembly.plates[index].plate
    x, y = place_inside(free_area, Point(0, 0).buffer(drill / 2 + burr), rng, "additional_hole")
    radius, top = drill / 2, plate.thickness_mm
    cutter = solids.lathe([(0.0, -1.0), (radius, -1.0), (radius, top + 1), (0.0, top + 1)], 56)
    cutter = cutter.translate([x, y, 0.0]).as_original()
    face = _visible_face(plate, x, rng)
    # the burr is higher here and lower there
    turn = np.linspace(0.0, 2 * math.pi, 49) + rng.uniform(0.0, 2 * math.pi)
    waves = 0.72 + 0.16 * np.cos(turn + 1.0) + 0.12 * np.cos(3 * turn + rng.uniform(0.0, 6.0))
    waves = np.clip(waves + 0.07 * np.cos(11 * turn), 0.35, 1.0)
    waves[-1] = waves[0]
    path = (radius - 0.02) * np.column_stack([np.cos(turn), np.sin(turn)])
    section = [(-0.3, -0.1), (burr, -0.1), (0.35 * burr, height), (0.1 * burr, height)]
    ring = face(solids.sweep(path, section, waves).translate([x, y, 0.0]))
    region = face(solids.cylinder(radius + burr, -top - 0.02, height + 0.02).translate([x, y, 0.0]))
    return assembly.with_plate(
        index, bare_cuts=(cutter,), ridges=((ring - cutter).as_original(),), regions=(region,)
    )


def wrong_hole_size(assembly: Assembly, rng: np.random.Generator) -> Assembly:
    """One hole is drilled too wide or too narrow."""
    index, hole = _choose_hole(assembly, rng, "wrong_hole_size")
    plate = assembly.plates[index].plate
    factor = 1.0 + assembly.severity * (float(rng.choice(_WRONG_SIZES)) - 1.0)
    wrong = hole.model_copy(update={"diameter_mm": hole.diameter_mm * factor})
    holes = tuple(wrong if other is hole else other for other in plate.holes)
    # when a hole is too small, the surplus metal belongs to the defect
    region = _disc(plate, hole.x_mm, hole.y_mm, max(wrong.diameter_mm, hole.diameter_mm) / 2)
    changed = plate.model_copy(update={"holes": holes})
    return assembly.with_plate(index, plate=changed, regions=(region,))


def _choose_plate(assembly: Assembly, rng: np.random.Generator) -> int:
    if not assembly.plates:
        raise unsuitable_part_error("this defect", "a plate")
    return int(rng.integers(len(assembly.plates)))


def _choose_hole(assembly: Assembly, rng: np.random.Generator, defect: str) -> tuple[int, Hole]:
    """One of the holes whose feature is "hole", or any hole when there is no such feature."""
    every = [(k, hole) for k, state in enumerate(assembly.plates) for hole in state.plate.holes]
    usual = [(k, hole) for k, hole in every if hole.feature == "hole"] or every
    if not usual:
        raise unsuitable_part_error(defect, "a plate with a hole")
    return usual[int(rng.integers(len(usual)))]


def _disc(plate: Plate, x: float, y: float, radius: float) -> Any:
    top = plate.thickness_mm + 0.02
    return solids.cylinder(radius, -0.02, top).translate([x, y, 0.0]).as_original()


def _visible_face(plate: Plate, x: float, rng: np.random.Generator) -> Any:
    """A function that moves solids made for z = 0 upwards onto a visible face of the plate.

    Both faces of the upright leg are visible; of the rest only the upper face is.
    """
    upright = plate.fold is not None and x > plate.fold.at_mm
    outside = bool(rng.random() < 0.5) and upright

    def onto_face(solid: Any) -> Any:
        if outside:
            return solid.mirror([0.0, 0.0, 1.0]).as_original()
        return solid.translate([0.0, 0.0, plate.thickness_mm]).as_original()

    return onto_face


def _is_flat(shape: Any, plate: Plate) -> bool:
    low, _, high, _ = shape.bounds
    # shapes may extend over the ends of the plate, but not into its bend
    return any(
        start - (2.0 if start < -plate.length_mm / 2 + 0.1 else 0.0) <= low
        and high <= end + (2.0 if end > plate.length_mm / 2 - 0.1 else 0.0)
        for start, end in flat_zones(plate)
    )


def _notch(plate: Plate, rng: np.random.Generator, width: float, depth: float) -> Points:
    """A ragged notch into one of the four edges: (K, 2), open side outside the plate."""
    shares = np.array([-0.62, -0.5, -0.3, -0.05, 0.2, 0.36, 0.5, 0.62])
    depths = np.array([-1.2, 0.0, 0.62, 1.0, 0.85, 0.55, 0.0, -1.2])
    depths[2:6] *= rng.uniform(0.8, 1.15, 4)
    inward = np.where(depths < 0, depths, depths * depth)
    along = shares * width * rng.uniform(0.92, 1.08, len(shares))
    if rng.random() < plate.length_mm / (plate.length_mm + plate.width_mm):
        spare = plate.length_mm / 2 - plate.corner_radius_mm - width
        at, side = rng.uniform(-spare, spare), float(rng.choice([-1.0, 1.0]))
        return np.column_stack([at + along, side * (plate.width_mm / 2 - inward)])
    spare = max(plate.width_mm / 2 - plate.corner_radius_mm - width, 0.5)
    at, side = rng.uniform(-spare, spare), float(rng.choice([-1.0, 1.0]))
    return np.column_stack([side * (plate.length_mm / 2 - inward), at + along])


def _notch_rim(notch: Points, thickness: float, height: float) -> Any:
    """Raised metal along the walls of a notch, lowest at its ends."""
    wall = _stretched(notch, 0.75)[1:-1]
    lengths = np.linalg.norm(np.diff(wall, axis=0), axis=1)
    along = np.concatenate([[0.0], np.cumsum(lengths)])
    stations = np.linspace(0.0, along[-1], 15)
    path = np.column_stack([np.interp(stations, along, wall[:, axis]) for axis in range(2)])
    swell = np.sin(np.linspace(0.25, math.pi - 0.25, len(path)))
    section = [(-0.65, -0.1), (0.65, -0.1), (0.3, height), (-0.25, height * 0.9)]
    return solids.sweep(path, section, swell).translate([0.0, 0.0, thickness]).as_original()


def _stretched(points: Points, by_mm: float) -> Points:
    """Points moved away from their centre by a fixed length."""
    away = points - points.mean(axis=0)
    return np.asarray(points + by_mm * away / np.linalg.norm(away, axis=1, keepdims=True))


def _curved_path(rng: np.random.Generator, length: float) -> Points:
    """A gently curved line of that length about the origin, (K, 2)."""
    s = np.linspace(-0.5, 0.5, 22)
    bow = rng.uniform(-0.12, 0.12) * (1 - 4 * s**2) + 0.01 * np.sin(9 * s + rng.uniform(0, 6))
    turn = rng.uniform(0, math.pi)
    line = np.column_stack([s, bow]) * length
    cos, sin = math.cos(turn), math.sin(turn)
    return np.asarray(line @ np.array([[cos, sin], [-sin, cos]]))
