"""An evaluator that counts anomaly maps one by one, in any order and in several processes."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from loco_tools.datasets.sample import Defect, Sample
from loco_tools.errors import DatasetError
from loco_tools.evaluation.counts import (
    NO_SCORES,
    Counts,
    FolderCounts,
    Narrowing,
    WeightedScores,
    sample_scores,
    type_histogram,
)
from loco_tools.evaluation.evaluation import Evaluation, evaluation_of
from loco_tools.evaluation.parts import ImageOrigin
from loco_tools.evaluation.thresholds import DEFAULT_FPR, ValidationCounts
from loco_tools.metrics import spro
from loco_tools.metrics.score_histogram import Scores

AnomalyMap = npt.NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Settings:
    """Options of an evaluation.

    `bootstrap` is the number of draws for the intervals, 0 for no intervals. `fpr` is the
    false-positive rate on good validation images, and on their pixels, that sets the threshold.
    """

    bootstrap: int = 0
    fpr: float = DEFAULT_FPR

    def __post_init__(self) -> None:
        if self.bootstrap < 0:
            raise DatasetError(f"bootstrap: expected 0 draws or more, got {self.bootstrap}")
        if not 0 <= self.fpr < 1:
            raise DatasetError(f"fpr: expected a false positive rate in [0, 1), got {self.fpr}")


DEFAULTS = Settings()


def sample_key(sample: Sample) -> str:
    """The key of a test image in `Evaluation.scores`: "<kind folder>/<id>"."""
    return f"{sample.kind_folder}/{sample.id}"


class Evaluator:
    """Accepts anomaly maps in any order and keeps only counts of their scores.

    Evaluators of subsets of the images merge into the evaluator of all of them, whatever the
    subsets, and can be sent from one process to another.
    """

    def __init__(self, settings: Settings = DEFAULTS) -> None:
        self._settings = settings
        self._counts = Counts()
        self._validation = ValidationCounts()

    def add(self, sample: Sample, anomaly_map: AnomalyMap, score: float | None = None) -> None:
        """Add one test image; its masks are decoded here, one image at a time.

        Args:
            sample: the image with its ground truth.
            anomaly_map: (H, W), higher is more anomalous, of the size of the image.
            score: image score; by default the maximum of the map.

        Raises:
            DatasetError: the map or a mask has the wrong shape, the map or the score is not
                finite, a mask is missing or empty, or the image was added before.
        """
        key = sample_key(sample)
        if anomaly_map.shape != sample.size:
            raise DatasetError(
                f"anomaly map of {key}: expected shape {sample.size} (height, width) like "
                f"{sample.image_path}, got {anomaly_map.shape}"
            )
        scores = _finite(anomaly_map, key)
        image_score = _image_score(scores, score, key)
        folder = self._counts.folders.get(sample.kind_folder, FolderCounts(sample.kind))
        if key in folder.scores:
            raise _duplicate_error(key)
        if sample.kind == "good":
            folder.negatives.add(scores)
            if self._settings.bootstrap:
                folder.score_samples[key] = sample_scores(scores.ravel(), NO_SCORES, NO_SCORES)
        else:
            self._add_anomalous(folder, sample, scores)
        if scores.min() == scores.max():
            self._counts.add_remark("constant maps, of which all pixels tie", key)
        self._counts.narrowing = self._counts.narrowing.plus(Narrowing.of_map(scores))
        folder.scores[key] = image_score
        self._counts.folders[sample.kind_folder] = folder
        self._counts.origins[key] = ImageOrigin(
            sample.part, sample.view, sample.kind, sample.kind_folder, sample.part_kind
        )

    def add_validation(
        self, name: str, anomaly_map: AnomalyMap, score: float | None = None
    ) -> None:
        """Add one good validation image; the thresholds are computed from these images.

        Args:
            name: name of the image; each may be added once.
            anomaly_map: (H, W) of any size.
            score: image score; by default the maximum of the map.

        Raises:
            DatasetError: the map or the score is not finite, or the image was added before.
        """
        scores = _finite(anomaly_map, f"validation/{name}")
        if name in self._validation.scores:
            raise _duplicate_error(f"validation/{name}")
        self._validation.scores[name] = _image_score(scores, score, f"validation/{name}")
        self._validation.pixels.add(scores)

    def merge(self, other: "Evaluator") -> None:
        """Add the counts of another evaluator.

        Raises:
            DatasetError: both contain the same image.
        """
        if twice := self._counts.origins.keys() & other._counts.origins.keys():
            raise _duplicate_error(min(twice))
        if twice := self._validation.scores.keys() & other._validation.scores.keys():
            raise _duplicate_error(f"validation/{min(twice)}")
        self._counts.merge(other._counts)
        self._validation.merge(other._validation)

    def result(self) -> Evaluation:
        """The evaluation of all images added so far.

        Raises:
            DatasetError: no good or no anomalous image was added.
        """
        return evaluation_of(
            self._counts, self._validation, fpr=self._settings.fpr, draws=self._settings.bootstrap
        )

    def _add_anomalous(self, folder: FolderCounts, sample: Sample, scores: Scores) -> None:
        key = sample_key(sample)
        masks = [_checked_mask(defect, sample) for defect in sample.defects]
        if not masks:
            raise DatasetError(f"{sample.image_path}: expected at least one mask, got none")
        union = np.logical_or.reduce(masks)
        inside, outside = scores[union], scores[~union]
        components = WeightedScores(inside, spro.pixel_weights(union))
        folder.negatives.add(outside)
        folder.components.add(*components)
        self._counts.positives.add(inside)
        saturating = [
            self._add_defect(folder, defect, scores[mask], key)
            for defect, mask in zip(sample.defects, masks, strict=True)
        ]
        if self._settings.bootstrap:
            both = WeightedScores(
                np.concatenate([of_defect.scores for of_defect in saturating]),
                np.concatenate([of_defect.weights for of_defect in saturating]),
            )
            folder.score_samples[key] = sample_scores(outside, both, components)

    def _add_defect(
        self, folder: FolderCounts, defect: Defect, pixels: Scores, key: str
    ) -> WeightedScores:
        """Count one mask, and return its scores at which the sPRO rises."""
        folder.types.setdefault(defect.name, set()).add(key)
        folder.masks[defect.name] += 1
        if defect.threshold is None:
            return NO_SCORES
        if note := defect.saturation_note:
            self._counts.add_remark(note, f"{key}/{defect.mask_path.name}")
        saturation_px = defect.threshold.area_px(pixels.size)
        saturating = spro.saturating_scores(pixels, saturation_px)
        of_type = folder.saturating_types.setdefault(defect.name, type_histogram())
        for histogram in (folder.saturating, of_type):
            histogram.add(saturating, 1.0 / saturation_px)
        return WeightedScores(saturating, np.full(saturating.size, 1.0 / saturation_px))


def _finite(anomaly_map: AnomalyMap, key: str) -> Scores:
    """The map as float32, or as float64 if float32 changes a score."""
    given = np.ascontiguousarray(anomaly_map)
    with np.errstate(over="ignore"):
        scores = given.astype(np.float32, copy=False)
    if scores.ndim != 2 or not scores.size:
        raise DatasetError(
            f"anomaly map of {key}: expected shape (height, width), got {scores.shape}"
        )
    if not np.isfinite(scores).all():
        raise DatasetError(
            f"anomaly map of {key}: expected finite scores, got "
            f"{np.count_nonzero(~np.isfinite(scores))} that are NaN or infinite as float32"
        )
    is_exact = given.dtype == np.float32 or np.array_equal(scores, given)
    return scores if is_exact else given.astype(np.float64)


def _image_score(scores: Scores, score: float | None, key: str) -> float:
    image_score = float(scores.max()) if score is None else float(score)
    if not np.isfinite(image_score):
        raise DatasetError(f"{key}: expected a finite image score, got {image_score}")
    return image_score


def _checked_mask(defect: Defect, sample: Sample) -> npt.NDArray[np.bool_]:
    mask = defect.mask
    if mask.shape != sample.size:
        raise DatasetError(
            f"{defect.mask_path}: expected a mask of {sample.size} (height, width) like "
            f"{sample.image_path}, got {mask.shape}"
        )
    if not mask.any():
        raise DatasetError(f"{defect.mask_path}: expected at least one positive pixel, got none")
    return mask


def _duplicate_error(key: str) -> DatasetError:
    return DatasetError(f"{key}: expected one anomaly map per image, got a second one")
