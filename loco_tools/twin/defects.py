"""All defects that the twin can render, by the names that the taxonomies use."""

from collections.abc import Callable

import numpy as np

from loco_tools.errors import DefinitionError, did_you_mean
from loco_tools.twin import plate_defects, screw_defects
from loco_tools.twin.assembly import Assembly

DefectFunction = Callable[[Assembly, np.random.Generator], Assembly]

DEFECTS: dict[str, DefectFunction] = {
    "edge_damage": plate_defects.edge_damage,
    "cut_corner": plate_defects.cut_corner,
    "deep_scratch": plate_defects.scratch,
    "scratch": plate_defects.scratch,
    "dent": plate_defects.dent,
    "bent_leg": plate_defects.bent_leg,
    "missing_hole": plate_defects.missing_hole,
    "additional_hole": plate_defects.additional_hole,
    "wrong_hole_size": plate_defects.wrong_hole_size,
    "missing_screw": screw_defects.missing_screw,
    "additional_screw": screw_defects.additional_screw,
    "wrong_screw": screw_defects.wrong_screw,
    "misplaced_screw": screw_defects.misplaced_screw,
    "bent_screw": screw_defects.bent_screw,
    "swapped_pieces": screw_defects.swapped_pieces,
}


def apply_defect(assembly: Assembly, defect: str, rng: np.random.Generator) -> Assembly:
    """The assembly with one defect.

    Raises:
        DefinitionError: the defect does not exist or does not fit the part, or no area is free.
    """
    if defect not in DEFECTS:
        raise DefinitionError(
            f'the twin cannot render defect "{defect}"; {did_you_mean(defect, DEFECTS)}'
        )
    return DEFECTS[defect](assembly, rng)
