"""Writing a class in the layout of MVTec AD or of MVTec LOCO AD."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from loco_tools import files
from loco_tools.datasets.image_file import read_content
from loco_tools.datasets.images import encode_png, write_png
from loco_tools.datasets.mvtec_loco import CONFIG, read_config
from loco_tools.datasets.reading import in_order
from loco_tools.datasets.sample import DatasetClass, Defect, Sample
from loco_tools.datasets.sidecar import read_records, sidecar_path
from loco_tools.errors import DatasetError
from loco_tools.progress import Progress
from loco_tools.wording import json_text, plural

COMBINED = "combined"
"""Folder of images with several defect types, as in MVTec AD's cable, pill, wood and zipper."""

_KIND_FOLDERS = {
    "good": "good",
    "logical": "logical_anomalies",
    "structural": "structural_anomalies",
}


@dataclass
class Conversion:
    """A class while it is written in another layout.

    Attributes:
        dataset: the class.
        folder: the folder that is written.
        counts: number of images by folder.
        lost: what the layout cannot represent.
        records: one record per image, for the sidecar.
    """

    dataset: DatasetClass
    folder: Path
    counts: Counter[str] = field(default_factory=Counter)
    lost: list[str] = field(default_factory=list)
    records: list[dict[str, Any]] = field(default_factory=list)

    def add_image(self, sample: Sample, kind_folder: str, content: bytes) -> str:
        """Write the PNG file of an image under the next number of its folder; returns it."""
        path = f"{sample.split}/{kind_folder}"
        number = f"{self.counts[path]:03d}"
        self.counts[path] += 1
        files.write_bytes(self.folder / path / f"{number}.png", content)
        self.records.append(
            {
                "image": f"{path}/{number}.png",
                "source": sample.image_path.relative_to(self.dataset.path).as_posix(),
                "split": sample.split,
                "kind": sample.kind,
                "part": sample.part,
                "view": sample.view,
            }
        )
        return number

    def sidecar(self) -> str:
        """The lines of `<class>.jsonl`; other properties in the class's own sidecar are kept."""
        known = read_records(sidecar_path(self.dataset.path))
        moved = ("image", "source", "split", "kind", "defects", "sha256")
        lines = []
        for record in self.records:
            kept = {k: v for k, v in known.get(record["source"], {}).items() if k not in moved}
            lines.append(json_text({**record, **kept}) + "\n")
        return "".join(lines)


def to_mvtec_ad(dataset: DatasetClass, folder: Path, progress: Progress) -> Conversion:
    """Write a class in MVTec AD layout, with a validation folder if it has one.

    Every defect type becomes a folder; the masks of an image are merged into one of 0 and 255.
    """
    conversion = Conversion(dataset, folder)
    merged = 0
    for sample, content in _with_png(dataset, progress, in_rgb=False):
        names = sorted({defect.name for defect in sample.defects})
        kind_folder = "good" if not names else names[0] if len(names) == 1 else COMBINED
        number = conversion.add_image(sample, kind_folder, content)
        if names:
            mask = sample.ground_truth().astype(np.uint8) * np.uint8(255)
            write_png(folder / "ground_truth" / kind_folder / f"{number}_mask.png", mask)
        merged += len(sample.defects) > 1
    conversion.lost += _list_losses_in_ad(dataset, conversion.counts, merged)
    return conversion


def to_mvtec_loco(dataset: DatasetClass, folder: Path, progress: Progress) -> Conversion:
    """Write a class in MVTec LOCO AD layout: one mask per defect, RGB images.

    Defects keep their pixel values and thresholds. Defects of MVTec AD have none; they get values
    from 255 downwards in the order of their folders, and saturate at their whole area.

    Raises:
        DatasetError: there are more than 255 defect types.
    """
    conversion = Conversion(dataset, folder)
    config = _make_config(dataset)
    values = {entry["defect_name"]: entry["pixel_value"] for entry in config}
    for sample, content in _with_png(dataset, progress, in_rgb=True):
        kind_folder = _KIND_FOLDERS[sample.kind]
        number = conversion.add_image(sample, kind_folder, content)
        for index, defect in enumerate(sample.defects):
            value = values[defect.name] if defect.pixel_value is None else defect.pixel_value
            mask = defect.mask.astype(np.uint8) * np.uint8(value)
            write_png(folder / "ground_truth" / kind_folder / number / f"{index:03d}.png", mask)
    files.write_json(folder / CONFIG, config)
    if dataset.layout != "mvtec_loco":
        conversion.lost.append(
            "the folder of each defect type: all images are in structural_anomalies, and the pixel "
            "values of the masks identify the defects"
        )
    return conversion


def _with_png(
    dataset: DatasetClass, progress: Progress, *, in_rgb: bool
) -> Iterator[tuple[Sample, bytes]]:
    """Every sample with its image as a PNG file; every image is decoded to check it.

    A file that already is a PNG file (in RGB, if `in_rgb`) is copied unchanged.
    """

    def png_of(sample: Sample) -> tuple[Sample, bytes]:
        pixels = sample.image()
        header, content = read_content(sample.image_path)
        fits = header.format == "PNG" and (header.mode == "8-bit RGB" or not in_rgb)
        return sample, content if fits else encode_png(pixels)

    with progress.task(f"export {dataset.name}", len(dataset)) as advance:
        for sample, content in in_order(png_of, dataset):
            yield sample, content
            advance(1)


def _make_config(dataset: DatasetClass) -> list[dict[str, Any]]:
    """The entries of `defects_config.json`, with the number types of the official loader."""
    if (dataset.path / CONFIG).is_file():
        types = read_config(dataset.path / CONFIG).values()
        return [
            _entry(t.defect_name, t.pixel_value, t.saturation_threshold, t.relative_saturation)
            for t in types
        ]
    names = list(dict.fromkeys(d.name for sample in dataset.test for d in sample.defects))
    if len(names) > 255:
        raise DatasetError(
            f"{dataset.path}: expected at most 255 defect types, the values of an 8-bit mask, got "
            f"{len(names)}"
        )
    return [_entry(name, 255 - index, 1.0, True) for index, name in enumerate(names)]


def _entry(name: str, value: int, threshold: float, relative: bool) -> dict[str, Any]:
    return {
        "defect_name": name,
        "pixel_value": value,
        "saturation_threshold": float(threshold) if relative else int(threshold),
        "relative_saturation": relative,
    }


def _list_losses_in_ad(dataset: DatasetClass, counts: Mapping[str, int], merged: int) -> list[str]:
    lost = []
    defects: list[Defect] = [defect for sample in dataset.test for defect in sample.defects]
    if any(defect.threshold is not None for defect in defects):
        lost.append("saturation thresholds and pixel values of the defects")
    if logical := sum(sample.kind == "logical" for sample in dataset.test):
        lost.append(f"which anomalies are logical: {_are(logical)} in the folders of defect types")
    if merged:
        lost.append(
            f"separate masks of {plural(merged, 'image')} with several defects: merged into one"
        )
    if combined := counts.get(f"test/{COMBINED}", 0):
        lost.append(f"the defect types of images with several: {_are(combined)} in {COMBINED}")
    folders = (path.removeprefix("test/") for path in counts if path.startswith("test/"))
    if skipped := [name for name in folders if not re.fullmatch(r"[A-Za-z_]+", name)]:
        lost.append(
            "MVTec AD's own evaluator skips folders whose names have characters other than letters "
            f"and underscores: {', '.join(sorted(skipped))}"
        )
    return lost


def _are(images: int) -> str:
    return f"{plural(images, 'image')} {'is' if images == 1 else 'are'}"
