"""Defects of screws and of the plates that they hold.

As in `plate_defects`, each function takes a good assembly and returns the defective one with the
region of the defect.
"""

import itertools
import math
from dataclasses import replace
from typing import Any

import numpy as np

from loco_tools.plan import Screw
from loco_tools.twin.assembly import Assembly, from_plate, insert_screw, to_plate
from loco_tools.twin.free_area import unsuitable_part_error
from loco_tools.twin.plates import outline
from loco_tools.twin.screws import ScrewState, side_between, standing_place

_LENGTHS_MM = (6.0, 8.0, 10.0, 12.0, 16.0, 20.0, 25.0, 30.0, 35.0, 40.0, 50.0)
"""Standard lengths of screws, ISO 4017 and ISO 7045."""

_LENGTH_OFF_MM = (4.0, 9.0)
"""By how much a wrong screw is too long or too short: less is invisible, more implausible."""

_LEAST_SHANK_MM = 4.0


def missing_screw(assembly: Assembly, rng: np.random.Generator) -> Assembly:
    """A screw is missing and its hole is empty."""
    index = _choose_screw(assembly, rng, "missing_screw")
    missing = standing_place(assembly.screws[index].screw, assembly.tolerance_mm)
    return replace(assembly.without_screw(index), missing_solids=(missing,))


def additional_screw(assembly: Assembly, rng: np.random.Generator) -> Assembly:
    """A surplus screw sits in a hole that should be empty."""
    like = assembly.screws[_choose_screw(assembly, rng, "additional_screw")].screw
    surplus = _in_free_hole(assembly, like, rng, "additional_screw")
    return replace(assembly, screws=(*assembly.screws, surplus))


def misplaced_screw(assembly: Assembly, rng: np.random.Generator) -> Assembly:
    """A screw sits in the wrong hole and its own is empty; both places are the defect."""
    index = _choose_screw(assembly, rng, "misplaced_screw")
    screw = assembly.screws[index].screw
    moved = _in_free_hole(assembly, screw, rng, "misplaced_screw")
    missing = standing_place(screw, assembly.tolerance_mm)
    return replace(assembly.with_screw(index, moved), missing_solids=(missing,))


def wrong_screw(assembly: Assembly, rng: np.random.Generator) -> Assembly:
    """A screw with the other kind of head, or of another length where its length is visible."""
    index = _choose_screw(assembly, rng, "wrong_screw")
    state = assembly.screws[index]
    screw, (least, most) = state.screw, _LENGTH_OFF_MM
    lengths = [
        length
        for length in _LENGTHS_MM
        if screw.stands_mm != 0.0  # otherwise its head sits on the plate and hides the length
        and least <= abs(length - screw.length_mm) <= most
        and screw.stands_mm + length - screw.length_mm >= _LEAST_SHANK_MM
    ]
    if lengths and rng.random() < 0.5:
        return _with_other_length(assembly, index, float(rng.choice(lengths)))
    usual = {
        "hex": (1.6 * screw.thread_mm, 0.7 * screw.thread_mm),
        "pan": (2.0 * screw.thread_mm, 0.74 * screw.thread_mm),
    }
    head = "pan" if screw.head == "hex" else "hex"
    others = [s.screw for s in assembly.screws if s.screw.head == head]
    sizes = [(other.head_diameter_mm, other.head_height_mm) for other in others]
    across, height = sizes[0] if sizes else usual[head]
    wrong = screw.model_copy(
        update={"head": head, "head_diameter_mm": across, "head_height_mm": height}
    )
    return assembly.with_screw(index, replace(state, screw=wrong, marked=True))


def bent_screw(assembly: Assembly, rng: np.random.Generator) -> Assembly:
    """The shank of a screw is bent; a screw that was driven home is pulled out as well."""
    index = _choose_screw(assembly, rng, "bent_screw")
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
    """Two plates on the same level are exchanged; the screws are not."""
    kinds = [
        (state.plate.finish, state.plate.length_mm, state.plate.width_mm)
        for state in assembly.plates
    ]
    heights = [state.plate.at_mm[2] for state in assembly.plates]
    pairs = [
        (i, k)
        for i, k in itertools.combinations(range(len(kinds)), 2)
        if heights[i] == heights[k] and kinds[i] != kinds[k]
    ]
    if not pairs:
        raise unsuitable_part_error("swapped_pieces", "two unlike plates on the same level")
    first, second = pairs[int(rng.integers(len(pairs)))]
    plates = list(assembly.plates)
    for index, other in ((first, second), (second, first)):
        target = assembly.plates[other].plate
        position = {"at_mm": target.at_mm, "rotation_deg": target.rotation_deg}
        moved = assembly.plates[index].plate.model_copy(update=position)
        plates[index] = replace(plates[index], plate=moved, marked=True)
    covers = [assembly.plates[first].plate, assembly.plates[second].plate]
    screws = []
    for state in assembly.screws:
        screw = state.screw
        stands_on_one = any(
            abs(screw.z_mm - (cover.at_mm[2] + cover.thickness_mm)) < 0.01
            and _covers(cover, screw.x_mm, screw.y_mm)
            for cover in covers
        )
        screws.append(replace(state, marked=stands_on_one))
    return replace(assembly, plates=tuple(plates), screws=tuple(screws))


def _choose_screw(assembly: Assembly, rng: np.random.Generator, defect: str) -> int:
    if not assembly.screws:
        raise unsuitable_part_error(defect, "a screw")
    return int(rng.integers(len(assembly.screws)))


def _in_free_hole(
    assembly: Assembly, like: Screw, rng: np.random.Generator, defect: str
) -> ScrewState:
    """The screw in a hole of a flat plate that could hold it, holds none and is not covered."""
    holes = []  # x, y, and z of the upper face
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
                holes.append((x, y, z))
    if not holes:
        raise unsuitable_part_error(defect, f"a free hole for a thread of {like.thread_mm} mm")
    x, y, z = holes[int(rng.integers(len(holes)))]
    # inserted as deep as the other screws
    stands = like.stands_mm + like.z_mm - z if like.stands_mm else 0.0
    position = {"x_mm": x, "y_mm": y, "z_mm": z, "stands_mm": max(stands, 0.0)}
    return insert_screw(like.model_copy(update=position), rng, marked=True)


def _with_other_length(assembly: Assembly, index: int, length_mm: float) -> Assembly:
    """One screw of another length, inserted equally deep: its head stands higher or lower.

    The defect is the screw and the planned position of its head. A view along the screw does not
    show its length, so the surplus or missing side of the shank must be visible.
    """
    state = assembly.screws[index]
    right = state.screw
    stands = right.stands_mm + length_mm - right.length_mm
    wrong = right.model_copy(update={"length_mm": length_mm, "stands_mm": stands})
    low, high = sorted((right.stands_mm, stands))
    return replace(
        assembly.with_screw(index, replace(state, screw=wrong, marked=True)),
        missing_solids=(standing_place(right, 0.0),),
        visible_evidence=(side_between(right, low, high),),
    )


def _covers(plate: Any, x: float, y: float) -> bool:
    from shapely.geometry import Point

    return bool(outline(plate).contains(Point(*to_plate(plate, x, y))))
