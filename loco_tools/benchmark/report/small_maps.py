"""The small maps of a class's methods, with the threshold that validation images give each."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from loco_tools.benchmark.analysis import segmentation
from loco_tools.benchmark.analysis.run_data import ClassResults, ReportData
from loco_tools.benchmark.cell import thumbnails
from loco_tools.benchmark.cell.record import CellRecord
from loco_tools.benchmark.report.images import Truth
from loco_tools.datasets.images import Pixels
from loco_tools.errors import BenchmarkError, LocoToolsError


@dataclass(frozen=True)
class MethodMaps:
    """The small maps of one method on one class.

    `scale` are the anomaly scores that level 0 and 255 stand for, `level` is that of the threshold
    above which 5 % of the pixels of good validation images lie; None where cells did not keep them.
    """

    method: str
    path: Path
    scale: tuple[float, float] | None
    level: int | None

    def read(self, indices: Sequence[int]) -> dict[int, Pixels]:
        """Some of them, by their index in the test set."""
        return thumbnails.read_maps(self.path, indices)


def small_maps(data: ReportData, results: ClassResults) -> list[MethodMaps]:
    """Of every method that has finished a class, its first seed.

    Raises:
        BenchmarkError: a cell is damaged.
    """
    found = []
    for record in results.shown:
        path = record.cell.folder(data.out) / "thumbnails.npz"
        scale, threshold = thumbnails.read_scale(path), pixel_threshold(record, data.out)
        known = scale is not None and threshold is not None and scale[1] > scale[0]
        level = segmentation.level_of(threshold, scale) if known else None  # type: ignore[arg-type]
        found.append(MethodMaps(record.stamp.method, path, scale, level))
    return found


def pixel_threshold(record: CellRecord, out: Path) -> float | None:
    """The threshold on the map that good validation images give; None where it is not known.

    Raises:
        BenchmarkError: the record's metrics are damaged.
    """
    try:
        found = record.metrics.get("localization", {}).get("at_threshold", {}).get("threshold")
        return None if found is None else float(found)
    except (AttributeError, TypeError, ValueError) as error:
        raise BenchmarkError(
            f"{record.cell.folder(out) / 'result.json'}: expected a threshold in its metrics, got "
            f"{error!r}; next step: remove the cell's folder and run the benchmark again"
        ) from error


def found_at_threshold(
    maps: Sequence[MethodMaps], keys: Sequence[str], truth: Truth, results: ClassResults
) -> Mapping[int, float]:
    """Per defective test image the sPRO of its segmentation at the threshold, mean over methods.

    Args:
        maps: of the methods.
        keys: "<kind folder>/<id>" of every test image, in the order of the maps.
        truth: the masks.
        results: the class.

    Returns:
        Image index -> sPRO, for images whose masks can be read; empty where no threshold is known.
    """
    samples = truth.samples(results)
    known = [one for one in maps if one.level is not None]
    indices = [i for i, key in enumerate(keys) if key in samples and samples[key].defects]
    if not known or not indices:
        return {}
    levels = {one.method: one.read(indices) for one in known}
    shares = {}
    for index in indices:
        size = levels[known[0].method][index].shape
        try:
            defects = segmentation.small_defects(samples[keys[index]], (size[0], size[1]))
        except LocoToolsError:
            continue  # the gallery says so where it would show the image
        found = [segmentation.spro(levels[one.method][index], defects, one.level or 1)
                 for one in known]  # fmt: skip
        shares[index] = float(np.mean([share for share in found if share is not None]))
    return shares
