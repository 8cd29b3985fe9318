"""What can go wrong with screws and with the pieces that they hold.

As in `plate_defects`: a good assembly in, the faulty one out, its region marked.
"""

import math
from dataclasses import replace
from typing import Any

import numpy as np

from loco_tools.plan import Screw
from loco_tools.twin.assembly import Assembly, from_plate, to_plate, turned_in
from loco_tools.twin.free_area import misfit
from loco_tools.twin.plates import outline
from loco_tools.twin.screws import ScrewState, side_between, standing_place

_LENGTHS_MM = (6.0, 8.0, 10.0, 12.0, 16.0, 20.0, 25.0, 30.0, 35.0, 40.0, 50.0)
"""Lengths that screws are sold in, ISO 4017 and ISO 7045."""

_LENGTH_OFF_MM = (4.0, 9.0)
"""How much too long or too short a wrong screw is: less is not seen, more is no mistake."""

_LEAST_SHANK_MM = 4.0


def missing_screw(assembly: Assembly, rng: np.random.Generator) -> Assembly:
    """A screw is not there; its hole is."""
    index = _any_screw(assembly, rng, "missing_screw")
    ghost = standing_place(assembly.screws[index].screw, assembly.tolerance_mm)
    return replace(assembly.without_screw(index), ghosts=(ghost,))


def additional_screw(assembly: Assembly, rng: np.random.Generator) -> Assembly:
    """A screw sits in a hole that should be free."""
    like = assembly.screws[_any_screw(assembly, rng, "additional_screw")].screw
    surplus = _in_free_hole(assembly, like, rng, "additional_screw")
    return replace(assembly, screws=(*assembly.screws, surplus))


def misplaced_screw(assembly: Assembly, rng: np.random.Generator) -> Assembly:
    """A screw sits in a free hole and its own is empty; both places are the defect."""
    index = _any_screw(assembly, rng, "misplaced_screw")
    screw = assembly.screws[index].screw
    moved = _in_free_hole(assembly, screw, rng, "misplaced_screw")
    ghost = standing_place(screw, assembly.tolerance_mm)
    return replace(assembly.with_screw(index, moved), ghosts=(ghost,))


def wrong_screw(assembly: Assembly, rng: np.random.Generator) -> Assembly:
    """A screw with the other kind of head, or of another length where its length can be seen."""
    index = _any_screw(assembly, rng, "wrong_screw")
    state = assembly.screws[index]
    lengths = _wrong_lengths(state.screw)
    if lengths and rng.random() < 0.5:
        return _of_length(assembly, index, float(rng.choice(lengths)))
    other = _other_kind(state.screw, [s.screw for s in assembly.screws])
    return assembly.with_screw(index, replace(state, screw=other, marked=True))


def bent_screw(assembly: Assembly, rng: np.random.Generator) -> Assembly:
    """A screw was hit: its shank is bent. One that was driven home has been pulled out as well."""
    index = _any_screw(assembly, rng, "bent_screw")
    state = assembly.screws[index]
    bend, azimuth = assembly.severity * rng.uniform(17.0, 34.0), rng.uniform(0.0, 360.0)
    out = max(rng.uniform(0.6, 0.9) * state.screw.thread_mm - state.stands_mm, 0.0)
    bent = replace(
        state,
        lean_deg=0.0,
        lean_azimuth_deg=float(azimuth),
        raised_mm=state.raised_mm + float(out),
        bend_deg=float(bend),
        marked=True,
    )
    return assembly.with_screw(index, bent)


def swapped_pieces(assembly: Assembly, rng: np.random.Generator) -> Assembly:
    """Two sheets that lie on the same level have changed places; the screws have not."""
    pairs = _exchangeable(assembly)
    if not pairs:
        raise misfit("swapped_pieces", "two unlike plates on the same level")
    first, second = pairs[int(rng.integers(len(pairs)))]
    plates = list(assembly.plates)
    for index, other in ((first, second), (second, first)):
        there = assembly.plates[other].plate
        place = {"at_mm": there.at_mm, "rotation_deg": there.rotation_deg}
        moved = assembly.plates[index].plate.model_copy(update=place)
        plates[index] = replace(plates[index], plate=moved, marked=True)
    covers = [assembly.plates[first].plate, assembly.plates[second].plate]
    screws = tuple(
        replace(state, marked=any(_stands_on(state.screw, cover) for cover in covers))
        for state in assembly.screws
    )
    return replace(assembly, plates=tuple(plates), screws=screws)


def _any_screw(assembly: Assembly, rng: np.random.Generator, defect: str) -> int:
    if not assembly.screws:
        raise misfit(defect, "a screw")
    return int(rng.integers(len(assembly.screws)))


def _in_free_hole(
    assembly: Assembly, like: Screw, rng: np.random.Generator, defect: str
) -> ScrewState:
    places = _free_holes(assembly, like)
    if not places:
        raise misfit(defect, f"a free hole for a thread of {like.thread_mm} mm")
    x, y, z = places[int(rng.integers(len(places)))]
    # turned in as deep as the others, so that its end is as far down as theirs
    stands = like.stands_mm + like.z_mm - z if like.stands_mm else 0.0
    place = {"x_mm": x, "y_mm": y, "z_mm": z, "stands_mm": max(stands, 0.0)}
    return turned_in(like.model_copy(update=place), rng, marked=True)


def _wrong_lengths(screw: Screw) -> list[float]:
    """Lengths that differ enough to be seen; none for a screw whose head sits on its sheet."""
    if screw.stands_mm == 0.0:
        return []
    least, most = _LENGTH_OFF_MM
    return [
        length
        for length in _LENGTHS_MM
        if least <= abs(length - screw.length_mm) <= most
        and screw.stands_mm + length - screw.length_mm >= _LEAST_SHANK_MM
    ]


def _of_length(assembly: Assembly, index: int, length_mm: float) -> Assembly:
    """One screw of another length, turned in as deep: its head stands higher or lower.

    The defect is that screw and the place where its head belongs; a view along the screw does not
    tell its length, so there must be something to see of the side that is too much or missing.
    """
    state = assembly.screws[index]
    right = state.screw
    stands = right.stands_mm + length_mm - right.length_mm
    wrong = right.model_copy(update={"length_mm": length_mm, "stands_mm": stands})
    low, high = sorted((right.stands_mm, stands))
    return replace(
        assembly.with_screw(index, replace(state, screw=wrong, marked=True)),
        ghosts=(standing_place(right, 0.0),),
        tells=(side_between(right, low, high),),
    )


def _free_holes(assembly: Assembly, like: Screw) -> list[tuple[float, float, float]]:
    """Holes (x, y, z of the sheet's upper face) that could take the screw and hold none."""
    found = []
    for state in assembly.plates:
        plate = state.plate
        for hole in plate.holes if plate.fold is None else ():
            x, y = from_plate(plate, hole.x_mm, hole.y_mm)
            z = plate.at_mm[2] + plate.thickness_mm
            taken = any(
                math.hypot(s.screw.x_mm - x, s.screw.y_mm - y) < s.screw.head_diameter_mm
                for s in assembly.screws
            )
            covered = any(
                other.plate.at_mm[2] >= z - 0.01 and _covers(other.plate, x, y)
                for other in assembly.plates
            )
            if hole.diameter_mm >= like.thread_mm and not taken and not covered:
                found.append((x, y, z))
    return found


def _covers(plate: Any, x: float, y: float) -> bool:
    from shapely.geometry import Point

    return bool(outline(plate).contains(Point(*to_plate(plate, x, y))))


def _stands_on(screw: Screw, plate: Any) -> bool:
    top = plate.at_mm[2] + plate.thickness_mm
    return abs(screw.z_mm - top) < 0.01 and _covers(plate, screw.x_mm, screw.y_mm)


def _exchangeable(assembly: Assembly) -> list[tuple[int, int]]:
    plates = [state.plate for state in assembly.plates]
    return [
        (i, k)
        for i in range(len(plates))
        for k in range(i + 1, len(plates))
        if plates[i].at_mm[2] == plates[k].at_mm[2]
        and (plates[i].finish, plates[i].length_mm, plates[i].width_mm)
        != (plates[k].finish, plates[k].length_mm, plates[k].width_mm)
    ]


def _other_kind(screw: Screw, known: list[Screw]) -> Screw:
    """The screw with the plan's other head, or with a usual one when the plan has none."""
    size = screw.thread_mm
    usual = {"hex": (1.6 * size, 0.7 * size), "pan": (2.0 * size, 0.74 * size)}
    head = "pan" if screw.head == "hex" else "hex"
    sizes = [(s.head_diameter_mm, s.head_height_mm) for s in known if s.head == head]
    across, height = sizes[0] if sizes else usual[head]
    return screw.model_copy(
        update={"head": head, "head_diameter_mm": across, "head_height_mm": height}
    )
