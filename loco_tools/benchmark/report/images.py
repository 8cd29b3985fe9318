"""Test images and small maps of a run, as far as they can be read, and which ones to show."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from loco_tools.benchmark.analysis import segmentation
from loco_tools.benchmark.analysis.run_data import ClassResults, ReportData
from loco_tools.benchmark.cell import thumbnails
from loco_tools.benchmark.cell.record import CellRecord, Score
from loco_tools.datasets import load
from loco_tools.datasets.images import Pixels
from loco_tools.datasets.sample import Sample
from loco_tools.errors import BenchmarkError, LocoToolsError


class GroundTruth:
    """Reads every class of a run at most once."""

    def __init__(self, data: ReportData) -> None:
        self._classes = {one.name: _ClassTruth(one) for one in data.classes}

    def samples(self, one: ClassResults) -> Mapping[str, Sample]:
        """The test images by "<kind folder>/<id>"; none where they cannot be read."""
        return self._classes[one.name].read[0]

    def fault(self, one: ClassResults) -> str:
        """Why they cannot be read; empty where they can."""
        return self._classes[one.name].read[1]

    def shares(self, one: ClassResults) -> dict[str, float]:
        """Share of defective pixels of every defective image."""
        return self._classes[one.name].shares


class _ClassTruth:
    def __init__(self, results: ClassResults) -> None:
        self._results = results

    @cached_property
    def read(self) -> tuple[dict[str, Sample], str]:
        try:
            found = load(self._results.path, warn=False).test
        except (LocoToolsError, OSError) as error:
            return {}, str(error)
        return {f"{sample.kind_folder}/{sample.id}": sample for sample in found}, ""

    @cached_property
    def shares(self) -> dict[str, float]:
        found = {}
        for key, sample in self.read[0].items():
            try:
                if sample.defects:
                    found[key] = float(np.mean(sample.ground_truth()))
            except (LocoToolsError, OSError):
                continue  # the gallery says what is wrong with it
        return found


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


def read_small_maps(data: ReportData, results: ClassResults) -> list[MethodMaps]:
    """The first seed of every method that has finished a class.

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


def spro_at_threshold(
    maps: Sequence[MethodMaps], keys: Sequence[str], truth: GroundTruth, results: ClassResults
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


IMAGES_PER_CLASS = 24
GOOD_PER_CLASS = 3

RULE = (
    "Chosen by rule, not by hand: of each kind (logical, structural) the worst, the median and the "
    "best segmentation, which is the sPRO at the threshold that validation images give, mean over "
    "methods; then of each defect type the images that are hardest, easiest and in the middle to "
    "tell from good ones, by the mean over methods of the share of good test images that an image "
    "outscores; then the good images that look most suspicious."
)


@dataclass(frozen=True)
class SelectedImage:
    """An image to show: its index in the test set, and why it was chosen."""

    index: int
    reason: str


def select_images(
    scores: Sequence[Score],
    shares: Mapping[str, Sequence[float]],
    segmented: Mapping[int, float] | None = None,
    *,
    limit: int = IMAGES_PER_CLASS,
) -> list[SelectedImage]:
    """Choose images by `RULE`, at most `limit`; good ones come last.

    Args:
        scores: the test images.
        shares: per method, the share of good images that each image outscores.
        segmented: image -> sPRO at the threshold, where it is known.
        limit: images at most.
    """
    together = np.mean([list(share) for share in shares.values()], axis=0)
    good = [i for i in np.argsort(-together, kind="stable") if scores[i].kind == "good"]
    reserved = min(GOOD_PER_CLASS, len(good), max(1, limit // 4))
    selected: dict[int, SelectedImage] = {}
    for index, reason in (*_by_kind(scores, segmented or {}), *_by_type(scores, together)):
        if index in selected:
            if "segmentation" not in selected[index].reason:
                continue
            reasons = f"{selected[index].reason}, {reason}"
            selected[index] = SelectedImage(index, reasons)
        elif len(selected) < limit - reserved:
            selected[index] = SelectedImage(index, reason)
    order = sorted(selected, key=lambda i: (scores[i].kind, scores[i].defects, together[i]))
    chosen = [selected[index] for index in order]
    return chosen + [SelectedImage(int(i), "good, but suspicious") for i in good[:reserved]]


def _by_kind(scores: Sequence[Score], segmented: Mapping[int, float]) -> Iterator[tuple[int, str]]:
    """Worst, median and best segmentation of every kind."""
    for place, reason in ((0.0, "worst"), (0.5, "median"), (1.0, "best")):
        for kind in ("logical", "structural"):
            ranked = sorted(
                (i for i in segmented if scores[i].kind == kind), key=lambda i: segmented[i]
            )
            if ranked:
                image = ranked[round(place * (len(ranked) - 1))]
                yield image, f"{reason} segmentation of {kind}"


def _by_type(
    scores: Sequence[Score], together: npt.NDArray[np.float64]
) -> Iterator[tuple[int, str]]:
    """Hardest of every type, then easiest of every type, then the middle ones."""
    types = sorted({(s.kind, name) for s in scores for name in s.defects})
    ranked = {
        name: sorted(
            (i for i, s in enumerate(scores) if name in s.defects), key=lambda i: together[i]
        )
        for _kind, name in types
    }
    for place, reason in ((0.0, "hardest"), (1.0, "easiest"), (0.5, "in the middle")):
        for name, images in ranked.items():
            yield images[round(place * (len(images) - 1))], f"{reason} of {name}"
