"""Counting anomaly maps one by one, and the figures that follow from the counts.

The localization figures are those of MVTec's own evaluators: AU-sPRO per kind of anomaly for MVTec
LOCO AD, AU-PRO for MVTec AD; so are the classification figures, one AUROC per kind against the
good images. Where ties or the FPR limit need a rule, it is the one of `loco_tools.metrics`.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
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
Type = tuple[str, str]  # kind folder and name of a defect type

PRO_LIMIT = 0.3
"""The FPR limit of AU-PRO, as in the evaluation of MVTec AD."""

TYPE_LIMIT = 0.05
"""The FPR limit of the AU-sPRO of a defect type: the headline of MVTec LOCO AD."""


def _type_tally() -> Tally:
    """A tally for one defect type: smaller than others, because a class may have many types."""
    return Tally(exact_scores=1 << 18, coarse_bits=12)


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
        self.saturating = Tally()  # pixels where the sPRO of a defect rises, weighing 1 / s
        self.saturating_types: dict[str, Tally] = {}  # the same by name of the defect

    def merge(self, other: "_Folder") -> None:
        self.scores.update(other.scores)
        self.negatives.merge(other.negatives)
        self.components.merge(other.components)
        for name, keys in other.types.items():
            self.types.setdefault(name, set()).update(keys)
        self.saturating.merge(other.saturating)
        for name, tally in other.saturating_types.items():
            self.saturating_types.setdefault(name, _type_tally()).merge(tally)


class Evaluator:
    """Takes anomaly maps in any order and keeps only counts of their scores.

    Evaluators of parts of the images merge into the evaluator of all of them, whatever the split.
    """

    def __init__(self) -> None:
        self._folders: dict[str, _Folder] = {}
        self._positives = Tally()  # defect pixels of all folders

    def add(self, sample: Sample, anomaly_map: AnomalyMap, score: float | None = None) -> None:
        """Count one test image; its masks are unpacked, or decoded if need be, one image at a time.

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
        good_scores = _image_scores(good)
        images = {
            name: roc.rank(good_scores, _image_scores([folder]))
            for name, folder in anomalous.items()
        }
        pooled = roc.rank(good_scores, _image_scores(anomalous.values()))
        spro_figures, types, overlap = _spro_by_folder(good, anomalous)
        everywhere = combined(folder.negatives for folder in self._folders.values())
        types = types or _pro_by_folder(everywhere, anomalous)
        pro_figures, overlap["pro"] = _pro(everywhere, anomalous)
        pixel_figures, pixel_roc = _pixels(everywhere, self._positives)
        bounds = (spro_figures.pop("rounding_bound", 0.0), pro_figures.pop("rounding_bound"))
        return Evaluation(
            metrics={
                "classification": _classification(images, pooled, by_kind=bool(spro_figures)),
                "localization": {
                    **spro_figures,
                    **pro_figures,
                    **pixel_figures,
                    "rounding_bound": max(bounds),
                },
                "defects": _type_table(types, good_scores, anomalous),
            },
            scores={key: score for f in self._folders.values() for key, score in f.scores.items()},
            image_roc={
                name: roc.roc_curve(ranking).thinned()
                for name, ranking in {**images, "pooled": pooled}.items()
            },
            overlap=overlap,
            pixel_roc=pixel_roc,
        )

    def _add_anomalous(
        self, folder: _Folder, sample: Sample, scores: npt.NDArray[np.float32]
    ) -> None:
        masks = [(defect, _mask(defect, sample, scores.shape)) for defect in sample.defects]
        if not masks:
            raise DatasetError(f"{sample.image_path}: expected at least one mask, got none")
        union = masks[0][1].copy()
        for _, mask in masks[1:]:
            union |= mask
        inside = scores[union]
        folder.negatives.add(scores[~union])
        folder.components.add(inside, pixel_weights(union))
        self._positives.add(inside)
        for defect, mask in masks:
            folder.types.setdefault(defect.name, set()).add(sample_key(sample))
            if defect.threshold is not None:
                pixels = scores[mask]
                saturation_px = defect.threshold.area_px(pixels.size)
                rising = spro.saturating_scores(pixels, saturation_px)
                of_type = folder.saturating_types.setdefault(defect.name, _type_tally())
                for tally in (folder.saturating, of_type):
                    tally.add(rising, 1.0 / saturation_px)

    def _by_kind(self) -> tuple[list[_Folder], dict[str, _Folder]]:
        """The folders of good images, and those of anomalous ones by name."""
        good = [folder for folder in self._folders.values() if folder.kind == "good"]
        anomalous = {n: f for n, f in sorted(self._folders.items()) if f.kind != "good"}
        for what, found in (("good", good), ("anomalous", anomalous)):
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


def _spro_by_folder(
    good: list[_Folder], anomalous: Mapping[str, _Folder]
) -> tuple[Figures, dict[Type, Figures], dict[str, Curve]]:
    """The sPRO figures of each kind folder whose defects saturate, of each type, and the curves.

    The negatives are those of the folder and of the good images, as in the official evaluation.
    No ranking is kept: at full size each takes some 50 MB.
    """
    areas: dict[str, dict[str, float]] = {}
    types: dict[Type, Figures] = {}
    curves: dict[str, Curve] = {}
    bound = 0.0
    for name, folder in anomalous.items():
        if not folder.saturating_types:
            continue
        negatives = combined(part.negatives for part in (*good, folder))
        ranking = roc.rank_tallies(negatives, folder.saturating)
        areas[name] = {str(limit): spro.au_spro(ranking, limit) for limit in spro.LIMITS}
        bound = max(bound, *(spro.rounding_bound(ranking, limit) for limit in spro.LIMITS))
        curves[name] = spro.spro_curve(ranking).thinned()
        for defect, tally in folder.saturating_types.items():
            ranking = roc.rank_tallies(negatives, tally)
            types[name, defect] = {f"au_spro_{TYPE_LIMIT}": spro.au_spro(ranking, TYPE_LIMIT)}
    if not areas:
        return {}, {}, {}
    means = {
        limit: _with_mean({name: of_folder[limit] for name, of_folder in areas.items()})["mean"]
        for limit in map(str, spro.LIMITS)
    }
    return {"auc_spro": {**areas, "mean": means}, "rounding_bound": bound}, types, curves


def _pro(everywhere: Tally, anomalous: Mapping[str, _Folder]) -> tuple[Figures, Curve]:
    """The PRO figures over all anomalous images, and the curve."""
    ranking = roc.rank_tallies(everywhere, combined(f.components for f in anomalous.values()))
    figures = {
        "au_pro": {str(PRO_LIMIT): spro.au_spro(ranking, PRO_LIMIT)},
        "rounding_bound": spro.rounding_bound(ranking, PRO_LIMIT),
    }
    return figures, spro.spro_curve(ranking).thinned()


def _pixels(negatives: Tally, positives: Tally) -> tuple[Figures, Curve]:
    """How well scores tell defect pixels from others, and the ROC curve."""
    ranking = roc.rank_tallies(negatives, positives)
    figures = {
        "pixel_auroc": roc.auroc(ranking),
        "pixel_average_precision": roc.average_precision(ranking),
        "pixel_f1_max": roc.f1_max(ranking),
    }
    return figures, roc.roc_curve(ranking).thinned()


def _pro_by_folder(everywhere: Tally, anomalous: Mapping[str, _Folder]) -> dict[Type, Figures]:
    """The figure of each type of MVTec AD, where a kind folder is a type."""
    rankings = {
        name: roc.rank_tallies(everywhere, folder.components) for name, folder in anomalous.items()
    }
    return {
        (name, name): {f"au_pro_{PRO_LIMIT}": spro.au_spro(ranking, PRO_LIMIT)}
        for name, ranking in rankings.items()
    }


def _type_table(
    types: Mapping[Type, Figures], good: list[float], anomalous: Mapping[str, _Folder]
) -> dict[str, Figures]:
    """A row per defect type: its images, their AUROC against the good ones, and its figure.

    A row is called like the type, and also after its kind folder where two have such a type.
    """
    times = Counter(defect for _, defect in types)
    table = {}
    for (name, defect), figures in sorted(types.items(), key=lambda item: item[0][::-1]):
        folder = anomalous[name]
        scores = [folder.scores[key] for key in folder.types.get(defect, folder.scores)]
        table[defect if times[defect] == 1 else f"{name}/{defect}"] = {
            "kind_folder": name,
            "count": len(scores),
            "image_auroc": roc.auroc(roc.rank(good, scores)),
            **figures,
        }
    return table


def _classification(images: dict[str, Ranking], pooled: Ranking, *, by_kind: bool) -> Figures:
    figures: Figures = {name: roc.auroc(ranking) for name, ranking in images.items()}
    return {
        "auc_roc": _with_mean(figures) if by_kind else {"all": roc.auroc(pooled)},
        "auc_roc_pooled": roc.auroc(pooled),
        "average_precision": roc.average_precision(pooled),
        "f1_max": roc.f1_max(pooled),
    }


def _with_mean(figures: dict[str, float]) -> dict[str, float | None]:
    """Add the plain mean over the kinds; None unless there are two or more to compare."""
    values = list(figures.values())
    return {**figures, "mean": sum(values) / len(values) if len(values) > 1 else None}
