"""The layout of MVTec LOCO AD (Bergmann et al., IJCV 2022), also that of our own classes.

    <class>/train/good/000.png
    <class>/validation/good/000.png
    <class>/test/{good,logical_anomalies,structural_anomalies}/000.png
    <class>/ground_truth/{logical_anomalies,structural_anomalies}/000/000.png, 001.png, ...
    <class>/defects_config.json

The ground truth of an image is a folder with one mask per defect. The one positive value of a mask
says, by `defects_config.json`, which defect it is and where it saturates.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, StrictBool, StrictFloat, StrictInt, model_validator

from loco_tools.datasets.sample import DatasetClass, Defect, Sample, Threshold
from loco_tools.datasets.tree import ReadMask, class_of, images_in, read_masks, subfolders
from loco_tools.errors import DatasetError, DefinitionError
from loco_tools.schema import Schema, parse

CONFIG = "defects_config.json"

DefectKind = Literal["structural", "logical"]

KIND_FOLDERS: Mapping[str, DefectKind] = {
    "logical_anomalies": "logical",
    "structural_anomalies": "structural",
}


class DefectType(Schema):
    """One entry of `defects_config.json`.

    Whole numbers are read in either spelling: the official loader refuses `1` for a relative and
    `120.0` for an absolute threshold, but their meaning is beyond doubt.
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
        """The threshold as samples carry it."""
        return Threshold(float(self.saturation_threshold), self.relative_saturation)


class _Config(Schema):
    entries: tuple[DefectType, ...] = Field(min_length=1)


def load(class_dir: Path) -> DatasetClass:
    """Read a class folder; every mask is decoded once, because its value says which defect it is.

    Raises:
        DatasetError: `defects_config.json` is missing or wrong; an anomalous image has no mask,
            a mask folder no image; a mask is damaged, empty, of another size than its image, has
            two positive values or one that is not in the config; or the sidecar cannot be read.
    """
    _refuse_other_kinds(class_dir)
    return class_of(class_dir, "mvtec_loco", anomalous_samples(class_dir, KIND_FOLDERS))


def read_config(path: Path) -> dict[int, DefectType]:
    """Read `defects_config.json`: the defect types by pixel value.

    Raises:
        DatasetError: the file is missing, no JSON, or an entry is wrong or repeats a pixel value.
    """
    try:
        content: Any = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise DatasetError(
            f"{path}: no such file; expected the list of this class's defects with their pixel "
            "values and saturation thresholds"
        ) from error
    except (OSError, json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
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
                f"{path}: expected a pixel value of its own for each defect, got "
                f'{entry.pixel_value} for both "{other.defect_name}" and "{entry.defect_name}"'
            )
    return types


def anomalous_samples(
    class_dir: Path, kinds: Mapping[str, DefectKind], *, masks_in_colour: bool = False
) -> Iterator[Sample]:
    """The anomalous test images, each with the masks in its own folder of the ground truth.

    Args:
        class_dir: the class.
        kinds: the folders under `test/` to read, and of which kind their images are.
        masks_in_colour: as for `read_mask`.

    Raises:
        DatasetError: as for `load`.
    """
    images = {folder: images_in(class_dir / "test" / folder) for folder in kinds}
    masks = {
        path: _masks_of(class_dir / "ground_truth" / folder / stem, path)
        for folder, paths in images.items()
        for stem, path in paths.items()
    }
    _refuse_masks_without_image(class_dir, images)
    types = read_config(class_dir / CONFIG) if masks else {}
    pairs = ((mask, path) for path, found in masks.items() for mask in found)
    read = read_masks(pairs, in_colour=masks_in_colour)
    for folder, kind in kinds.items():
        for stem, path in images[folder].items():
            defects = tuple(
                _defect(mask, read[mask], kind, types, class_dir / CONFIG) for mask in masks[path]
            )
            yield Sample(stem, class_dir.name, "test", kind, folder, path, defects)


def _masks_of(folder: Path, image: Path) -> list[Path]:
    masks = [path for path in images_in(folder).values() if path.suffix.lower() == ".png"]
    if not masks:
        got = "a folder without masks" if folder.is_dir() else "no such folder"
        raise DatasetError(
            f"{image}: expected its masks in {folder}/000.png and on, got {got}; next step: add "
            "one mask per defect, or move the image to test/good"
        )
    return masks


def _refuse_other_kinds(class_dir: Path) -> None:
    for folder in [*subfolders(class_dir / "test"), *subfolders(class_dir / "ground_truth")]:
        if folder.name not in ("good", *KIND_FOLDERS):
            raise DatasetError(
                f"{folder}: expected only good, {' and '.join(KIND_FOLDERS)} beside {CONFIG}, "
                f"got a folder {folder.name}; next step: rename it, or remove it"
            )


def _refuse_masks_without_image(class_dir: Path, images: Mapping[str, Mapping[str, Path]]) -> None:
    for name, paths in images.items():
        for folder in subfolders(class_dir / "ground_truth" / name):
            if folder.name not in paths and images_in(folder):
                raise DatasetError(
                    f"{folder}: expected the image of these masks at "
                    f"{class_dir / 'test' / name / folder.name}.png, got none; next step: add the "
                    "image, or remove the folder"
                )


def _defect(
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
            f"({', '.join(map(str, values[:5]))}{', ...' if len(values) > 5 else ''}); next step: "
            "write one mask file per defect"
        )
    if values[0] not in types:
        known = ", ".join(f"{value} {entry.defect_name}" for value, entry in types.items())
        raise DatasetError(
            f"{mask}: expected a value of {config} ({known}), got {values[0]}; next step: add the "
            "defect there, or write the mask with its value"
        )
    found = types[values[0]]
    return Defect(found.defect_name, kind, mask, values[0], found.threshold, packed)
