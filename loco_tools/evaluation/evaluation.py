"""The metrics that follow from the counts of anomaly maps.

The localization metrics are those of MVTec's own evaluators: AU-sPRO per kind of anomaly for MVTec
LOCO AD, AU-PRO for MVTec AD. So are the classification metrics: one AUROC per kind against the
good images. `loco_tools.metrics` documents the rules for ties and for FPR limits.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from loco_tools.evaluation import thresholds
from loco_tools.evaluation.counts import Counts, FolderCounts
from loco_tools.evaluation.intervals import intervals_of
from loco_tools.evaluation.metric_table import METRICS
from loco_tools.evaluation.parts import group_into_parts, part_metrics, part_notes
from loco_tools.evaluation.thresholds import ValidationCounts
from loco_tools.metrics import roc, spro
from loco_tools.metrics.roc import Curve
from loco_tools.metrics.score_histogram import merge_histograms
from loco_tools.wording import plural

Metrics = dict[str, Any]
DefectType = tuple[str, str]  # kind folder and name of the defect

PRO_LIMIT = 0.3
"""The FPR limit of AU-PRO, as in the evaluation of MVTec AD."""

TYPE_LIMIT = 0.05
"""The FPR limit of the AU-sPRO of a defect type: the headline limit of MVTec LOCO AD."""

COARSE_BOUND = 1e-3
"""The rounding bound above which a note is added; actual errors are about a thousandth of it."""


@dataclass(frozen=True)
class Evaluation:
    """The metrics, image scores and curves of the anomaly maps of one class.

    Attributes:
        metrics: plain data for JSON, with the keys of the official evaluators and additional ones.
            `localization` says how much the narrowing and rounding of scores can have changed an
            area (`rounding_bound`), and how many distinct scores float32 merged (`merged_scores`).
            `classification` and `localization` hold metrics of images and pixels, each with
            `at_threshold`: the metrics at one threshold from good validation images (metrics with
            "max" in their name use the best threshold on the test images instead). `parts` is None
            where parts are unknown, `defects` has a row per defect type, `notes` are lines of text.
            `intervals` is None unless asked for; it repeats the keys of the metrics that its pairs
            belong to.
        scores: image score of each test image by `sample_key`.
        image_roc: ROC curve by kind folder and "pooled". All curves are thinned to about 200
            points.
        image_pr: precision over recall, with the same keys.
        overlap: mean sPRO over the FPR by kind folder, where defects saturate, and mean PRO as
            "pro".
        pixel_roc: ROC curve of all pixels.
        pixel_pr: precision over recall of all pixels.
    """

    metrics: Metrics
    scores: dict[str, float]
    image_roc: dict[str, Curve]
    image_pr: dict[str, Curve]
    overlap: dict[str, Curve]
    pixel_roc: Curve
    pixel_pr: Curve


class _ImageResult(NamedTuple):
    metrics: Metrics
    roc: dict[str, Curve]
    pr: dict[str, Curve]


class _PixelResult(NamedTuple):
    metrics: Metrics
    types: dict[DefectType, Metrics]
    overlap: dict[str, Curve]
    roc: Curve
    pr: Curve


class _SproResult(NamedTuple):
    metrics: Metrics
    types: dict[DefectType, Metrics]
    curves: dict[str, Curve]
    rounding_bound: float


def evaluation_of(
    counts: Counts, validation: ValidationCounts, *, fpr: float, draws: int
) -> Evaluation:
    """Compute metrics from counts.

    Args:
        counts: of all test images.
        validation: counts of good validation images; may be empty.
        fpr: share of the validation images above the threshold.
        draws: number of bootstrap draws; 0 for no intervals.

    Raises:
        DatasetError: no good or no anomalous image was counted.
    """
    good, anomalous = counts.by_kind()
    pixels = _evaluate_pixels(counts, validation, fpr)
    has_kinds = "auc_spro" in pixels.metrics
    images = _evaluate_images(good, anomalous, validation, fpr, has_kinds=has_kinds)
    scores = {key: score for f in counts.folders.values() for key, score in f.scores.items()}
    parts = group_into_parts(counts.origins, scores)
    notes = [*counts.notes(), *part_notes(parts)]
    validation_images = len(validation.scores)
    if validation_images and fpr * validation_images < 1:
        notes.append(
            f"with {validation_images} good validation images, fewer than 1 / {fpr:g}, the image "
            "threshold is their highest score"
        )
    bound = pixels.metrics["rounding_bound"]
    if counts.narrowing.maps and bound > 0:
        maps, distinct, merged = counts.narrowing
        notes.append(
            f"{plural(maps, 'map')} of float64 or integers were narrowed to float32 for the "
            f"metrics of pixels: of {distinct} distinct scores, counted map by map, {merged} were "
            f"merged with others, which may change an area by up to {bound:.2g}; image scores "
            "are exact up to 15 digits; subtract a constant from all maps to keep more digits"
        )
    elif bound > COARSE_BOUND:
        notes.append(
            "so many scores lie so close together that rounding them to 15 of 23 bits may change "
            f"an area by up to {bound:.2g}; spread the scores out, for instance by their logarithm"
        )
    metrics: Metrics = {
        "classification": images.metrics,
        "localization": pixels.metrics,
        "parts": part_metrics(parts),
        "defects": _defect_table(pixels.types, _image_scores(good), anomalous),
        "notes": notes,
    }
    metrics["intervals"] = intervals_of(metrics, counts, parts, draws=draws, pro_limit=PRO_LIMIT)
    curves = (images.roc, images.pr, pixels.overlap, pixels.roc, pixels.pr)
    return Evaluation(metrics, scores, *curves)


def _evaluate_images(
    good: list[FolderCounts],
    anomalous: Mapping[str, FolderCounts],
    validation: ValidationCounts,
    fpr: float,
    *,
    has_kinds: bool,
) -> _ImageResult:
    """The metrics of the image scores, and their curves by kind folder and pooled."""
    low, high = _image_scores(good), _image_scores(anomalous.values())
    by_kind = {name: roc.rank(low, _image_scores([folder])) for name, folder in anomalous.items()}
    pooled = roc.rank(low, high)
    aurocs = {name: roc.auroc(ranking) for name, ranking in by_kind.items()}
    mean, pooled_auroc = _mean_over_kinds(aurocs), roc.auroc(pooled)
    metrics = {
        "auc_roc": {**aurocs, "mean": mean} if has_kinds else {"all": pooled_auroc},
        "image_auroc": {**aurocs, "mean_ls": mean if has_kinds else None, "pooled": pooled_auroc},
        "auc_roc_pooled": pooled_auroc,
        **{
            metric.evaluation_key: metric.of_images(pooled)
            for metric in METRICS.values()
            if metric.of_images is not None
        },
        "average_precision_by_kind": {
            name: roc.average_precision(ranking) for name, ranking in by_kind.items()
        },
        "at_threshold": thresholds.image_level(validation, low, high, fpr),
    }
    rankings = {**by_kind, "pooled": pooled}
    return _ImageResult(
        metrics,
        {name: roc.roc_curve(ranking).thinned() for name, ranking in rankings.items()},
        {name: roc.pr_curve(ranking).thinned() for name, ranking in rankings.items()},
    )


def _evaluate_pixels(counts: Counts, validation: ValidationCounts, fpr: float) -> _PixelResult:
    """The metrics of all pixels; the histogram of all negatives is built only once."""
    good, anomalous = counts.by_kind()
    by_folder = _evaluate_spro(good, anomalous)
    negatives = merge_histograms(folder.negatives for folder in counts.folders.values())
    components = merge_histograms(folder.components for folder in anomalous.values())
    pro = roc.rank_histograms(negatives, components)
    metrics = {
        **by_folder.metrics,
        "au_pro": {str(PRO_LIMIT): spro.au_spro(pro, PRO_LIMIT)},
    }
    bound = max(by_folder.rounding_bound, spro.rounding_bound(pro, PRO_LIMIT))
    overlap = {**by_folder.curves, "pro": spro.spro_curve(pro).thinned()}
    del pro  # at full size each ranking takes some 50 MB
    ranking = roc.rank_histograms(negatives, counts.positives)
    metrics |= {
        metric.evaluation_key: metric.of_pixels(ranking)
        for metric in METRICS.values()
        if metric.of_pixels is not None
    }
    metrics["at_threshold"] = thresholds.pixel_level(validation, negatives, counts.positives, fpr)
    metrics["rounding_bound"] = bound
    metrics["merged_scores"] = counts.narrowing.merged
    types = by_folder.types
    if not types:  # in the layout of MVTec AD each kind folder is a defect type
        for name, folder in anomalous.items():
            area = spro.au_spro(roc.rank_histograms(negatives, folder.components), PRO_LIMIT)
            types[name, name] = {f"au_pro_{PRO_LIMIT}": area}
    curves = (roc.roc_curve(ranking).thinned(), roc.pr_curve(ranking).thinned())
    return _PixelResult(metrics, types, overlap, *curves)


def _evaluate_spro(good: list[FolderCounts], anomalous: Mapping[str, FolderCounts]) -> _SproResult:
    """AU-sPRO of each kind folder whose defects saturate and of each defect type; the curves.

    The negatives are those of the folder and of the good images, as in the official evaluation.
    """
    areas: dict[str, dict[str, float]] = {}
    types: dict[DefectType, Metrics] = {}
    curves: dict[str, Curve] = {}
    bound = 0.0
    for name, folder in anomalous.items():
        if not folder.saturating_types:
            continue
        negatives = merge_histograms(part.negatives for part in (*good, folder))
        ranking = roc.rank_histograms(negatives, folder.saturating)
        areas[name] = {str(limit): spro.au_spro(ranking, limit) for limit in spro.LIMITS}
        bound = max(bound, *(spro.rounding_bound(ranking, limit) for limit in spro.LIMITS))
        curves[name] = spro.spro_curve(ranking).thinned()
        for defect, histogram in folder.saturating_types.items():
            ranking = roc.rank_histograms(negatives, histogram)
            types[name, defect] = {f"au_spro_{TYPE_LIMIT}": spro.au_spro(ranking, TYPE_LIMIT)}
    if not areas:
        return _SproResult({}, types, curves, bound)
    means = {
        limit: _mean_over_kinds({name: by_limit[limit] for name, by_limit in areas.items()})
        for limit in map(str, spro.LIMITS)
    }
    return _SproResult({"auc_spro": {**areas, "mean": means}}, types, curves, bound)


def _defect_table(
    types: Mapping[DefectType, Metrics], good: list[float], anomalous: Mapping[str, FolderCounts]
) -> dict[str, Metrics]:
    """A row per defect type: images, masks, image AUROC against the good images, pixel metric.

    The key is the name of the defect, with its kind folder where two folders have such a defect.
    """
    folders_with = Counter(defect for _, defect in types)
    table = {}
    for (name, defect), metrics in sorted(types.items(), key=lambda item: item[0][::-1]):
        folder = anomalous[name]
        scores = [folder.scores[key] for key in folder.types.get(defect, folder.scores)]
        table[defect if folders_with[defect] == 1 else f"{name}/{defect}"] = {
            "kind_folder": name,
            "count": len(scores),
            "masks": folder.masks[defect] if defect in folder.types else folder.masks.total(),
            "image_auroc": roc.auroc(roc.rank(good, scores)),
            **metrics,
        }
    return table


def _image_scores(folders: Iterable[FolderCounts]) -> list[float]:
    return [score for folder in folders for score in folder.scores.values()]


def _mean_over_kinds(values: Mapping[str, float]) -> float | None:
    """The plain mean over the kinds of anomalies; None when there is only one kind."""
    return sum(values.values()) / len(values) if len(values) > 1 else None
