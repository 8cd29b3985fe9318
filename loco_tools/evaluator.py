"""Counting anomaly maps one by one, and the figures that follow from the counts.

The localization figures are those of MVTec's own evaluators: AU-sPRO per kind of anomaly for MVTec
LOCO AD, AU-PRO for MVTec AD; so are the classification figures, one AUROC per kind against the
good images. Where ties or the FPR limit need a rule, it is the one of `loco_tools.metrics`.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from loco_tools.datasets.sample import Defect, Sample
from loco_tools.errors import DatasetError
from loco_tools.metrics import roc, spro
from loco_tools.metrics.regions import pixel_weights
from loco_tools.metrics.roc import Curve, Ranking
from loco_tools.metrics.tally import Tally, combined

AnomalyMap = npt.NDArray[np.floating[Any]]
Figures = dict[str, Any]

PRO_LIMIT = 0.3
"""The FPR limit of AU-PRO, as in the evaluation of MVTec AD."""

TYPE_LIMIT = 0.05
"""The FPR limit of the AU-sPRO of a defect type: the headline of MVTec LOCO AD."""


@dataclass(frozen=True)
class Evaluation:
    """What the anomaly maps of a class earned.

    `metrics` is plain data for JSON, with the keys of the official evaluators and more beside
    them. `scores` holds the image score of each test image by `sample_key`. The curves are thinned
    to about 200 points: `image_roc` by kind folder and "pooled"; `overlap`, the mean sPRO by kind
    folder (where defects saturate) and the mean PRO as "pro", over the FPR; `pixel_roc`.
    """

    metrics: Figures
    scores: dict[str, float]
    image_roc: dict[str, Curve]
    overlap: dict[str, Curve]
    pixel_roc: Curve


def sample_key(sample: Sample) -> str:
    """What a test image is called among scores: "<kind folder>/<id>"."""
    return f"{sample.kind_folder}/{sample.id}"


class _Folder:
    """The counts of one kind folder."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.scores: dict[str, float] = {}  # image score by key
        self.negatives = Tally()  # pixels without a defect
        self.components = Tally()  # defect pixels, weighing 1 / area of their component
        self.types: dict[str, set[str]] = {}  # keys of the images with a defect of that name
        self.saturating: dict[str, Tally] = {}  # by name: rising pixels, weighing 1 / s

    def merge(self, other: "_Folder") -> None:
        self.scores.update(other.scores)
        self.negatives.merge(other.negatives)
        self.components.merge(other.components)
        for name, keys in other.types.items():
            self.types.setdefault(name, set()).update(keys)
        for name, tally in other.saturating.items():
            self.saturating.setdefault(name, Tally()).merge(tally)


class Evaluator:
    """Takes anomaly maps in any order and keeps only counts of their scores.

    Evaluators of parts of the images merge into the evaluator of all of them, whatever the split.
    """

    def __init__(self) -> None:
        self._folders: dict[str, _Folder] = {}
        self._positives = Tally()  # defect pixels of all folders

    def add(self, sample: Sample, anomaly_map: AnomalyMap, score: float | None = None) -> None:
        """Count one test image; its masks are decoded here.

        Args:
            sample: the image with its truth.
            anomaly_map: (H, W), higher is more anomalous, of the size of the image.
            score: image score; by default the maximum of the map.

        Raises:
            DatasetError: the map or a mask has the wrong shape, the map or the score is not
                finite, a mask is missing or empty, or the image was counted before.
        """
        key = sample_key(sample)
        scores = _checked(anomaly_map, sample, key)
        image_score = float(scores.max()) if score is None else float(score)
        if not np.isfinite(image_score):
            raise DatasetError(f"{key}: expected a finite image score, got {image_score}")
        folder = self._folders.get(sample.kind_folder, _Folder(sample.kind))
        if key in folder.scores:
            raise _counted_twice(key)
        if sample.kind == "good":
            folder.negatives.add(scores)
        else:
            self._add_anomalous(folder, sample, scores)
        folder.scores[key] = image_score
        self._folders[sample.kind_folder] = folder

    def merge(self, other: "Evaluator") -> None:
        """Add everything that another evaluator has counted.

        Raises:
            DatasetError: both have counted the same image.
        """
        for name, folder in other._folders.items():
            own = self._folders.get(name, _Folder(folder.kind))
            if twice := own.scores.keys() & folder.scores.keys():
                raise _counted_twice(min(twice))
            own.merge(folder)
            self._folders[name] = own
        self._positives.merge(other._positives)

    def result(self) -> Evaluation:
        """The figures of everything counted so far.

        Raises:
            DatasetError: no good or no anomalous image was counted.
        """
        good, anomalous = self._by_kind()
        good_scores = _image_scores([good])
        images = {
            name: roc.rank(good_scores, _image_scores([folder]))
            for name, folder in anomalous.items()
        }
        pooled = roc.rank(good_scores, _image_scores(anomalous.values()))
        everywhere = combined(folder.negatives for folder in self._folders.values())
        pixels = roc.rank_tallies(everywhere, self._positives)
        pro = roc.rank_tallies(everywhere, combined(f.components for f in anomalous.values()))
        overlap, types = _overlap(good, anomalous)
        types = types or _pro_by_type(everywhere, anomalous)
        return Evaluation(
            metrics={
                "classification": _classification(images, pooled, by_kind=bool(overlap)),
                "localization": _localization(overlap, pro, pixels),
                "defects": _with_images(types, good_scores, anomalous),
            },
            scores={key: score for f in self._folders.values() for key, score in f.scores.items()},
            image_roc=_thinned({**images, "pooled": pooled}, roc.roc_curve),
            overlap=_thinned({**overlap, "pro": pro}, spro.spro_curve),
            pixel_roc=roc.roc_curve(pixels).thinned(),
        )

    def _add_anomalous(
        self, folder: _Folder, sample: Sample, scores: npt.NDArray[np.float32]
    ) -> None:
        masks = [(defect, _mask(defect, sample, scores.shape)) for defect in sample.defects]
        if not masks:
            raise DatasetError(f"{sample.image_path}: expected at least one mask, got none")
        union = np.logical_or.reduce([mask for _, mask in masks])
        inside = scores[union]
        folder.negatives.add(scores[~union])
        folder.components.add(inside, pixel_weights(union))
        self._positives.add(inside)
        for defect, mask in masks:
            folder.types.setdefault(defect.name, set()).add(sample_key(sample))
            if defect.threshold is not None:
                pixels = scores[mask]
                saturation_px = defect.threshold.area_px(pixels.size)
                tally = folder.saturating.setdefault(defect.name, Tally())
                tally.add(spro.saturating_scores(pixels, saturation_px), 1.0 / saturation_px)

    def _by_kind(self) -> tuple[_Folder, dict[str, _Folder]]:
        """The good images, and the anomalous ones by kind folder."""
        good = _Folder("good")
        for folder in self._folders.values():
            if folder.kind == "good":
                good.merge(folder)
        anomalous = {n: f for n, f in sorted(self._folders.items()) if f.kind != "good"}
        for what, found in (("good", good.scores), ("anomalous", anomalous)):
            if not found:
                raise DatasetError(
                    f"expected at least one {what} test image, got none; every figure compares "
                    "good with anomalous images"
                )
        return good, anomalous


def _checked(anomaly_map: AnomalyMap, sample: Sample, key: str) -> npt.NDArray[np.float32]:
    if anomaly_map.shape != sample.size:
        raise DatasetError(
            f"anomaly map of {key}: expected shape {sample.size} (height, width) like "
            f"{sample.image_path}, got {anomaly_map.shape}"
        )
    with np.errstate(over="ignore"):
        scores = np.ascontiguousarray(anomaly_map, dtype=np.float32)
    if not np.isfinite(scores).all():
        raise DatasetError(
            f"anomaly map of {key}: expected finite scores, got "
            f"{np.count_nonzero(~np.isfinite(scores))} that are NaN or infinite as float32"
        )
    return scores


def _mask(defect: Defect, sample: Sample, shape: tuple[int, ...]) -> npt.NDArray[np.bool_]:
    mask = defect.mask
    if mask.shape != shape:
        raise DatasetError(
            f"{defect.mask_path}: expected a mask of {shape} (height, width) like "
            f"{sample.image_path}, got {mask.shape}"
        )
    if not mask.any():
        raise DatasetError(f"{defect.mask_path}: expected at least one positive pixel, got none")
    return mask


def _counted_twice(key: str) -> DatasetError:
    return DatasetError(f"{key}: expected one anomaly map per image, got a second one")


def _image_scores(folders: Iterable[_Folder]) -> list[float]:
    return [score for folder in folders for score in folder.scores.values()]


def _overlap(
    good: _Folder, anomalous: Mapping[str, _Folder]
) -> tuple[dict[str, Ranking], dict[str, Figures]]:
    """The sPRO ranking of each kind folder whose defects saturate, and the table of their types.

    The negatives are those of the folder and of the good images, as in the official evaluation.
    """
    overlap: dict[str, Ranking] = {}
    types: dict[str, Figures] = {}
    for name, folder in anomalous.items():
        if not folder.saturating:
            continue
        negatives = combined([good.negatives, folder.negatives])
        overlap[name] = roc.rank_tallies(negatives, combined(folder.saturating.values()))
        for defect, tally in folder.saturating.items():
            figure = spro.au_spro(roc.rank_tallies(negatives, tally), TYPE_LIMIT)
            types[defect] = {"kind_folder": name, f"au_spro_{TYPE_LIMIT}": figure}
    return overlap, types


def _pro_by_type(everywhere: Tally, anomalous: Mapping[str, _Folder]) -> dict[str, Figures]:
    """The table of MVTec AD, where a kind folder is a type."""
    return {
        name: {
            "kind_folder": name,
            f"au_pro_{PRO_LIMIT}": spro.au_spro(
                roc.rank_tallies(everywhere, folder.components), PRO_LIMIT
            ),
        }
        for name, folder in anomalous.items()
    }


def _with_images(
    types: Mapping[str, Figures], good: list[float], anomalous: Mapping[str, _Folder]
) -> dict[str, Figures]:
    """Add to each type its images: how many, and their AUROC against the good ones."""
    table = {}
    for name, figures in sorted(types.items()):
        folder = anomalous[figures["kind_folder"]]
        scores = [folder.scores[key] for key in folder.types.get(name, folder.scores)]
        image_auroc = roc.auroc(roc.rank(good, scores))
        table[name] = {"count": len(scores), "image_auroc": image_auroc, **figures}
    return table


def _classification(images: dict[str, Ranking], pooled: Ranking, *, by_kind: bool) -> Figures:
    figures: Figures = {name: roc.auroc(ranking) for name, ranking in images.items()}
    return {
        "auc_roc": _with_mean(figures) if by_kind else {"all": roc.auroc(pooled)},
        "auc_roc_pooled": roc.auroc(pooled),
        "average_precision": roc.average_precision(pooled),
        "f1_max": roc.f1_max(pooled),
    }


def _localization(overlap: dict[str, Ranking], pro: Ranking, pixels: Ranking) -> Figures:
    figures: Figures = {}
    if overlap:
        by_folder = {
            name: {str(limit): spro.au_spro(ranking, limit) for limit in spro.LIMITS}
            for name, ranking in overlap.items()
        }
        limits = {
            limit: _with_mean({name: areas[limit] for name, areas in by_folder.items()})["mean"]
            for limit in map(str, spro.LIMITS)
        }
        figures["auc_spro"] = {**by_folder, "mean": limits}
    return {
        **figures,
        "au_pro": {str(PRO_LIMIT): spro.au_spro(pro, PRO_LIMIT)},
        "pixel_auroc": roc.auroc(pixels),
        "pixel_average_precision": roc.average_precision(pixels),
        "pixel_f1_max": roc.f1_max(pixels),
    }


def _with_mean(figures: dict[str, float]) -> dict[str, float | None]:
    """Add the plain mean over the kinds; None unless there are two or more to compare."""
    values = list(figures.values())
    return {**figures, "mean": sum(values) / len(values) if len(values) > 1 else None}


def _thinned(
    rankings: Mapping[str, Ranking], curve_of: Callable[[Ranking], Curve]
) -> dict[str, Curve]:
    return {name: curve_of(ranking).thinned() for name, ranking in rankings.items()}
