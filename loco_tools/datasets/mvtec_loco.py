"""`defects_config.json` of MVTec LOCO AD (Bergmann et al., IJCV 2022): pixel values and thresholds.

Each mask has one positive pixel value; the file maps it to the name of the defect and its
saturation threshold. `validation.layout_loco` describes the folders of the layout.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, StrictBool, StrictFloat, StrictInt, model_validator

from loco_tools import files
from loco_tools.datasets.sample import Threshold
from loco_tools.errors import DatasetError, DefinitionError
from loco_tools.schema import Schema, loads_json, parse

CONFIG = "defects_config.json"

DefectKind = Literal["structural", "logical"]

KIND_FOLDERS: Mapping[str, DefectKind] = {
    "logical_anomalies": "logical",
    "structural_anomalies": "structural",
}


class DefectType(Schema):
    """One entry of `defects_config.json`.

    Whole numbers are accepted as integers and as floats: the official loader rejects `1` as a
    relative and `120.0` as an absolute threshold, although their meaning is unambiguous.
    """

    defect_name: str = Field(min_length=1)
    pixel_value: StrictInt = Field(ge=1, le=255)
    saturation_threshold: StrictInt | StrictFloat
    relative_saturation: StrictBool

    @model_validator(mode="after")
    def _threshold_in_range(self) -> Self:
        value = self.saturation_threshold
        if self.relative_saturation and not 0 < value <= 1:
            raise ValueError(
                f'"{self.defect_name}": expected a relative saturation_threshold in (0, 1], '
                f"got {value}"
            )
        if not self.relative_saturation and (value < 1 or value != int(value)):
            raise ValueError(
                f'"{self.defect_name}": expected an absolute saturation_threshold of 1 or more '
                f"whole pixels, got {value}"
            )
        return self

    @property
    def threshold(self) -> Threshold:
        """The threshold in the form that samples have."""
        return Threshold(float(self.saturation_threshold), self.relative_saturation)


class _Config(Schema):
    entries: tuple[DefectType, ...] = Field(min_length=1)


def read_config(path: Path) -> dict[int, DefectType]:
    """Read `defects_config.json`: the defect types by pixel value.

    Raises:
        DatasetError: the file is missing or not JSON, an entry is wrong, or a pixel value repeats.
    """
    try:
        content: Any = loads_json(files.read_text(path))
    except FileNotFoundError as error:
        raise DatasetError(
            f"{path}: no such file; expected the list of this class's defects with their pixel "
            "values and saturation thresholds"
        ) from error
    except (OSError, ValueError) as error:
        raise DatasetError(f"{path}: expected a JSON list of defects, got: {error}") from error
    if not isinstance(content, list):
        raise DatasetError(
            f"{path}: expected a JSON list of defects, got a {type(content).__name__}"
        )
    try:
        entries = parse(_Config, {"entries": content}, origin=str(path)).entries
    except DefinitionError as error:
        raise DatasetError(str(error)) from error
    types: dict[int, DefectType] = {}
    for entry in entries:
        if (other := types.setdefault(entry.pixel_value, entry)) is not entry:
            raise DatasetError(
                f"{path}: expected a different pixel value for each defect, got "
                f'{entry.pixel_value} for both "{other.defect_name}" and "{entry.defect_name}"'
            )
    return types


def is_readable(path: Path) -> bool:
    """Whether `read_config` reads a file."""
    try:
        read_config(path)
    except DatasetError:
        return False
    return True
