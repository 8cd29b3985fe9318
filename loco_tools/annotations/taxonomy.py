"""The taxonomy of a class: its defects, how to annotate them, and their saturation thresholds.

Taxonomies are edited by people in `annotations/<class>.toml`. The `defects_config.json` of a LOCO
class and the labelling configuration of Label Studio are generated from them.

The saturation threshold of a defect is the area that has to be detected for full sPRO credit
(Bergmann et al., "Beyond Dents and Scratches", 2022, section 4).
"""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from loco_tools import definitions
from loco_tools.errors import AnnotationError, DefinitionError, did_you_mean
from loco_tools.plan import Plan
from loco_tools.schema import Schema, read_toml


class Relative(Schema):
    """The threshold is this share of the defect's own area, in (0, 1]."""

    relative: Annotated[float, Field(gt=0, le=1)]


class AreaPx(Schema):
    """The threshold is an area in pixels of the full image."""

    area_px: PositiveInt


class AreaMm2(Schema):
    """The threshold is an area on the part, converted to pixels with the session's scale."""

    area_mm2: PositiveFloat


class Feature(Schema):
    """The threshold is the area of `count` features of the plan, such as holes or screw heads."""

    feature: str
    count: PositiveInt = 1


Saturation = Relative | AreaPx | AreaMm2 | Feature


class DefectType(Schema):
    """One type of defect.

    Attributes:
        name: its name, which is also the label in Label Studio.
        kind: structural (damage) or logical (something is missing, additional or misplaced).
        pixel_value: value of its pixels in the mask files, 1-255.
        saturation: its saturation threshold.
        reason: why this threshold was chosen.
        guide: instructions for annotators.
        colour: colour of its regions, #rrggbb.
    """

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_]*$")]
    kind: Literal["structural", "logical"]
    pixel_value: Annotated[int, Field(ge=1, le=255)]
    saturation: Saturation
    reason: str
    guide: str
    colour: Annotated[str, Field(pattern=r"^#[0-9a-fA-F]{6}$")]


class Taxonomy(Schema):
    """The defects of one class."""

    schema_version: Literal[1]
    name: str
    defects: tuple[DefectType, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _unique(self) -> Self:
        for what in ("name", "pixel_value"):
            values = [getattr(defect, what) for defect in self.defects]
            repeated = sorted({value for value in values if values.count(value) > 1})
            if repeated:
                raise ValueError(f"each defect needs its own {what}, got {repeated} twice")
        return self

    def defect(self, name: str) -> DefectType:
        """The defect of that name.

        Raises:
            AnnotationError: the taxonomy has no such defect.
        """
        for defect in self.defects:
            if defect.name == name:
                return defect
        known = [defect.name for defect in self.defects]
        raise AnnotationError(
            f'taxonomy {self.name}: unknown defect "{name}"; {did_you_mean(name, known)}'
        )


def load_taxonomy(name: str) -> Taxonomy:
    """Read the taxonomy of a class by name ("angle") or path.

    Raises:
        DefinitionError: no such taxonomy, or the file is wrong.
    """
    return read_toml(Taxonomy, definitions.locate("annotations", name))


def defects_config(
    taxonomy: Taxonomy, *, px_per_mm: float | None, plan: Plan | None
) -> list[dict[str, Any]]:
    """The entries of `defects_config.json`, with the types that the official loader requires.

    A relative threshold is a float in (0, 1]; an absolute one is an int of at least 1, in pixels
    of the full image.

    Args:
        taxonomy: the defects.
        px_per_mm: the session's scale in the plane of the part; None when it is not calibrated.
        plan: the plan of the session, for thresholds by feature.

    Raises:
        AnnotationError: a threshold in mm2 or by feature lacks the scale or the plan.
        DefinitionError: the plan has no such feature.
    """
    entries = []
    for defect in taxonomy.defects:
        saturation = defect.saturation
        threshold: float | int
        if isinstance(saturation, Relative):
            threshold = float(saturation.relative)
        elif isinstance(saturation, AreaPx):
            threshold = saturation.area_px
        elif px_per_mm is None:
            raise AnnotationError(
                f'defect "{defect.name}" saturates at an area on the part, but the session has no '
                "scale; expected px_per_mm in its session.json; next step: loco-tools calibrate "
                "camera, then loco-tools capture --session NAME --calibration FILE, or give the "
                "saturation in pixels"
            )
        elif isinstance(saturation, AreaMm2):
            threshold = max(1, round(saturation.area_mm2 * px_per_mm**2))
        elif plan is None:
            raise AnnotationError(
                f'defect "{defect.name}" saturates at the area of feature '
                f'"{saturation.feature}", but there is no plan; next step: give --session'
            )
        else:
            area_mm2 = plan.part.feature_area_mm2(saturation.feature) * saturation.count
            threshold = max(1, round(area_mm2 * px_per_mm**2))
        entries.append(
            {
                "defect_name": defect.name,
                "pixel_value": defect.pixel_value,
                "saturation_threshold": threshold,
                "relative_saturation": isinstance(saturation, Relative),
            }
        )
    return entries


def check_against_plan(taxonomy: Taxonomy, plan: Plan) -> None:
    """Refuse a plan with shots of defects that the taxonomy lacks or lists as another kind.

    Raises:
        DefinitionError: the message names every such defect.
    """
    kinds = {defect.name: defect.kind for defect in taxonomy.defects}
    faults = [
        f'"{shots.defect}" as {shots.kind}'
        for shots in plan.shots
        if shots.defect is not None and kinds.get(shots.defect) != shots.kind
    ]
    if faults:
        raise DefinitionError(
            f"plan {plan.name} photographs {', '.join(faults)}, which its taxonomy lists "
            f"differently; known: {', '.join(f'{n} ({k})' for n, k in sorted(kinds.items()))}"
        )
