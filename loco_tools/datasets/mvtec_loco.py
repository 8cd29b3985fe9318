"""The layout of MVTec LOCO AD (Bergmann et al., IJCV 2022), which our own classes have too.

    <class>/train/good/000.png
    <class>/validation/good/000.png
    <class>/test/{good,logical_anomalies,structural_anomalies}/000.png
    <class>/ground_truth/{logical_anomalies,structural_anomalies}/000/000.png, 001.png, ...
    <class>/defects_config.json

The ground truth of an image is a folder with one mask per defect. Each mask has one positive pixel
value; `defects_config.json` maps it to the name of the defect and its saturation threshold.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, StrictBool, StrictFloat, StrictInt, model_validator

from loco_tools import files
from loco_tools.datasets.sample import DatasetClass, Defect, Sample, Threshold
from loco_tools.datasets.tree import ReadMask, images_in, make_class, read_masks, subfolders
from loco_tools.errors import DatasetError, DefinitionError
from loco_tools.schema import Schema, loads_json, parse
from loco_tools.wording import listed

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


def load(class_dir: Path) -> DatasetClass:
    """Read a class folder; every mask is decoded once, because its value identifies the defect.

    Raises:
        DatasetError: `defects_config.json` is missing or wrong; an anomalous image has no mask,
            a mask folder no image; a mask is damaged, empty, differs in size from its image, or
            has two positive values or one that is not in the config; or the sidecar cannot be
            read.
    """
    for folder in [*subfolders(class_dir / "test"), *subfolders(class_dir / "ground_truth")]:
        if folder.name not in ("good", *KIND_FOLDERS):
            raise DatasetError(
                f"{folder}: expected only the folders good, {' and '.join(KIND_FOLDERS)} in a "
                f"class with {CONFIG}, got a folder {folder.name}; next step: rename it, or "
                "remove it"
            )
    return make_class(class_dir, "mvtec_loco", anomalous_samples(class_dir, KIND_FOLDERS))


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


def anomalous_samples(
    class_dir: Path, kinds: Mapping[str, DefectKind], *, masks_in_colour: bool = False
) -> Iterator[Sample]:
    """The anomalous test images, each with the masks in its own folder of the ground truth.

    Args:
        class_dir: the class.
        kinds: the folders under `test/` to read, with the kind of their images.
        masks_in_colour: see `read_mask`.

    Raises:
        DatasetError: as for `load`.
    """
    images = {folder: images_in(class_dir / "test" / folder) for folder in kinds}
    masks = {
        path: _find_masks(class_dir / "ground_truth" / folder / stem, path)
        for folder, paths in images.items()
        for stem, path in paths.items()
    }
    for name, paths in images.items():
        for folder in subfolders(class_dir / "ground_truth" / name):
            if folder.name not in paths and images_in(folder):
                raise DatasetError(
                    f"{folder}: expected the image of these masks at "
                    f"{class_dir / 'test' / name / folder.name}.png, got none; next step: add the "
                    "image, or remove the folder"
                )
    types = read_config(class_dir / CONFIG) if masks else {}
    pairs = ((mask, path) for path, found in masks.items() for mask in found)
    read = read_masks(pairs, in_colour=masks_in_colour)
    for name, kind in kinds.items():
        for stem, path in images[name].items():
            defects = tuple(
                _make_defect(mask, read[mask], kind, types, class_dir / CONFIG)
                for mask in masks[path]
            )
            yield Sample(stem, class_dir.name, "test", kind, name, path, defects)


def _find_masks(folder: Path, image: Path) -> list[Path]:
    masks = [path for path in images_in(folder).values() if path.suffix.lower() == ".png"]
    if not masks:
        got = "a folder without masks" if folder.is_dir() else "no such folder"
        raise DatasetError(
            f"{image}: expected its masks in {folder}/000.png and on, got {got}; next step: add "
            "one mask per defect, or move the image to test/good"
        )
    return masks


def _make_defect(
    mask: Path,
    read: ReadMask,
    kind: DefectKind,
    types: Mapping[int, DefectType],
    config: Path,
) -> Defect:
    values, packed = read
    if len(values) > 1:
        raise DatasetError(
            f"{mask}: expected one positive value, got {len(values)} "
            f"({listed([str(value) for value in values])}); next step: write one mask file per "
            "defect"
        )
    if values[0] not in types:
        known = ", ".join(f"{value} {entry.defect_name}" for value, entry in types.items())
        raise DatasetError(
            f"{mask}: expected a value of {config} ({known}), got {values[0]}; next step: add the "
            "defect there, or write the mask with its value"
        )
    defect_type = types[values[0]]
    return Defect(defect_type.defect_name, kind, mask, values[0], defect_type.threshold, packed)
