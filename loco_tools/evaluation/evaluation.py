"""The figures that follow from the counts of anomaly maps.

The localization figures are those of MVTec's own evaluators: AU-sPRO per kind of anomaly for MVTec
LOCO AD, AU-PRO for MVTec AD; so are the classification figures, one AUROC per kind against the
good images. Where ties or the FPR limit need a rule, it is the one of `loco_tools.metrics`.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from loco_tools.evaluation import thresholds
from loco_tools.evaluation.counts import Counts, FolderCounts
from loco_tools.evaluation.intervals import intervals_of
from loco_tools.evaluation.metric_table import METRICS
from loco_tools.evaluation.parts import part_figures, part_notes, parts_of
from loco_tools.evaluation.thresholds import Validation
from loco_tools.metrics import roc, spro
from loco_tools.metrics.roc import Curve
from loco_tools.metrics.score_histogram import ScoreHistogram, merge_histograms

Figures = dict[str, Any]
Type = tuple[str, str]  # kind folder and name of a defect type

PRO_LIMIT = 0.3
"""The FPR limit of AU-PRO, as in the evaluation of MVTec AD."""

TYPE_LIMIT = 0.05
"""The FPR limit of the AU-sPRO of a defect type: the headline of MVTec LOCO AD."""

COARSE_BOUND = 1e-3
"""A rounding bound above which a note is due: real errors are about a thousandth of it."""


@dataclass(frozen=True)
class Evaluation:
    """What the anomaly maps of a class earned.

    `metrics` is plain data for JSON, with the keys of the official evaluators and more beside
    them: `classification` and `localization`, each with `at_threshold` (one threshold from good
    validation images; the figures with "max" in their name take the best of all thresholds on the
    test images instead), `parts` (None where unknown), `defects` (a row per type), `notes` (lines
    of text) and `intervals` (None unless asked for), which repeats the keys of the figures that
    its pairs are about. `scores` holds the image score of each test image by `sample_key`. The
    curves are thinned to about 200 points: `image_roc` and `image_pr` (precision over recall) by
    kind folder and "pooled"; `overlap`, the mean sPRO by kind folder (where defects saturate) and
    the mean PRO as "pro", over the FPR; `pixel_roc` and `pixel_pr`.
    """

    metrics: Figures
    scores: dict[str, float]
    image_roc: dict[str, Curve]
    image_pr: dict[str, Curve]
    overlap: dict[str, Curve]
    pixel_roc: Curve
    pixel_pr: Curve


def evaluation_of(counts: Counts, validation: Validation, *, fpr: float, draws: int) -> Evaluation:
    """Turn counts into figures.

    Args:
        counts: of all test images.
        validation: good validation images; may be empty.
        fpr: share of them that the threshold may take.
        draws: of the bootstrap; 0 for no intervals.

    Raises:
        DatasetError: no good or no anomalous image was counted.
    """
    good, anomalous = counts.by_kind()
    pixels = _localization(counts, validation, fpr)
    by_kind = "auc_spro" in pixels.figures
    images = _classification(good, anomalous, validation, fpr, by_kind=by_kind)
    scores = {key: score for f in counts.folders.values() for key, score in f.scores.items()}
    parts = parts_of(counts.origins, scores)
    bound = pixels.figures["rounding_bound"]
    metrics: Figures = {
        "classification": images.figures,
        "localization": pixels.figures,
        "parts": part_figures(parts),
        "defects": _type_table(pixels.types, _image_scores(good), anomalous),
        "notes": [*counts.notes(), *part_notes(parts), *_notes(validation, fpr, bound)],
    }
    metrics["intervals"] = intervals_of(metrics, counts, parts, draws=draws, pro_limit=PRO_LIMIT)
    curves = (images.roc, images.pr, pixels.overlap, pixels.roc, pixels.pr)
    return Evaluation(metrics, scores, *curves)


class _Classification(NamedTuple):
    figures: Figures
    roc: dict[str, Curve]
    pr: dict[str, Curve]


class _Localization(NamedTuple):
    figures: Figures
    types: dict[Type, Figures]
    overlap: dict[str, Curve]
    roc: Curve
    pr: Curve


def _localization(counts: Counts, validation: Validation, fpr: float) -> _Localization:
    """What the pixels say; a histogram of all of them is built only once."""
    good, anomalous = counts.by_kind()
    spro_figures, types, overlap = _spro_by_folder(good, anomalous)
    everywhere = merge_histograms(folder.negatives for folder in counts.folders.values())
    pro_figures, overlap["pro"] = _pro(everywhere, anomalous)
    pixel_figures, pixel_roc, pixel_pr = _pixels(everywhere, counts.positives)
    bounds = (spro_figures.pop("rounding_bound", 0.0), pro_figures.pop("rounding_bound"))
    figures = {
        **spro_figures,
        **pro_figures,
        **pixel_figures,
        "at_threshold": thresholds.pixel_level(validation, everywhere, counts.positives, fpr),
        "rounding_bound": max(bounds),
    }
    of_types = types or _pro_by_folder(everywhere, anomalous)
    return _Localization(figures, of_types, overlap, pixel_roc, pixel_pr)


def _notes(validation: Validation, fpr: float, bound: float) -> list[str]:
    notes = []
    count = len(validation.scores)
    if count and fpr * count < 1:
        notes.append(
            f"with {count} good validation images, fewer than 1 / {fpr:g}, the image threshold is "
            "their highest score"
        )
    if bound > COARSE_BOUND:
        notes.append(
            f"so many scores lie so close together that rounding them to 15 of 23 bits may change "
            f"an area by up to {bound:.2g}; spread the scores out, for instance by their logarithm"
        )
    return notes


def _image_scores(folders: Iterable[FolderCounts]) -> list[float]:
    return [score for folder in folders for score in folder.scores.values()]


def _spro_by_folder(
    good: list[FolderCounts], anomalous: Mapping[str, FolderCounts]
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
        negatives = merge_histograms(part.negatives for part in (*good, folder))
        ranking = roc.rank_histograms(negatives, folder.saturating)
        areas[name] = {str(limit): spro.au_spro(ranking, limit) for limit in spro.LIMITS}
        bound = max(bound, *(spro.rounding_bound(ranking, limit) for limit in spro.LIMITS))
        curves[name] = spro.spro_curve(ranking).thinned()
        for defect, histogram in folder.saturating_types.items():
            ranking = roc.rank_histograms(negatives, histogram)
            types[name, defect] = {f"au_spro_{TYPE_LIMIT}": spro.au_spro(ranking, TYPE_LIMIT)}
    if not areas:
        return {}, {}, {}
    means = {
        limit: _with_mean({name: of_folder[limit] for name, of_folder in areas.items()})["mean"]
        for limit in map(str, spro.LIMITS)
    }
    return {"auc_spro": {**areas, "mean": means}, "rounding_bound": bound}, types, curves


def _pro(
    everywhere: ScoreHistogram, anomalous: Mapping[str, FolderCounts]
) -> tuple[Figures, Curve]:
    """The PRO figures over all anomalous images, and the curve."""
    ranking = roc.rank_histograms(
        everywhere, merge_histograms(f.components for f in anomalous.values())
    )
    figures = {
        "au_pro": {str(PRO_LIMIT): spro.au_spro(ranking, PRO_LIMIT)},
        "rounding_bound": spro.rounding_bound(ranking, PRO_LIMIT),
    }
    return figures, spro.spro_curve(ranking).thinned()


def _pixels(negatives: ScoreHistogram, positives: ScoreHistogram) -> tuple[Figures, Curve, Curve]:
    """The metrics over all pixels, and the ROC and precision-recall curves."""
    ranking = roc.rank_histograms(negatives, positives)
    figures = {
        metric.evaluation_key: metric.of_pixels(ranking)
        for metric in METRICS.values()
        if metric.of_pixels is not None
    }
    return figures, roc.roc_curve(ranking).thinned(), roc.pr_curve(ranking).thinned()


def _pro_by_folder(
    everywhere: ScoreHistogram, anomalous: Mapping[str, FolderCounts]
) -> dict[Type, Figures]:
    """The figure of each type of MVTec AD, where a kind folder is a type."""
    rankings = {
        name: roc.rank_histograms(everywhere, folder.components)
        for name, folder in anomalous.items()
    }
    return {
        (name, name): {f"au_pro_{PRO_LIMIT}": spro.au_spro(ranking, PRO_LIMIT)}
        for name, ranking in rankings.items()
    }


def _type_table(
    types: Mapping[Type, Figures], good: list[float], anomalous: Mapping[str, FolderCounts]
) -> dict[str, Figures]:
    """A row per defect type: its images and masks, their AUROC against the good, and its figure.

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
            "masks": folder.masks[defect] if defect in folder.types else folder.masks.total(),
            "image_auroc": roc.auroc(roc.rank(good, scores)),
            **figures,
        }
    return table


def _classification(
    good: list[FolderCounts],
    anomalous: Mapping[str, FolderCounts],
    validation: Validation,
    fpr: float,
    *,
    by_kind: bool,
) -> _Classification:
    """What the image scores say, and their curves by kind folder and pooled."""
    low, high = _image_scores(good), _image_scores(anomalous.values())
    rankings = {name: roc.rank(low, _image_scores([folder])) for name, folder in anomalous.items()}
    aurocs = {name: roc.auroc(ranking) for name, ranking in rankings.items()}
    rankings["pooled"] = pooled = roc.rank(low, high)
    with_mean, whole = _with_mean(aurocs), roc.auroc(pooled)
    figures = {
        "auc_roc": with_mean if by_kind else {"all": whole},
        "image_auroc": {
            **aurocs,
            "mean_ls": with_mean["mean"] if by_kind else None,
            "pooled": whole,
        },
        "auc_roc_pooled": whole,
        **{
            metric.evaluation_key: metric.of_images(pooled)
            for metric in METRICS.values()
            if metric.of_images is not None
        },
        "average_precision_by_kind": {
            name: roc.average_precision(ranking)
            for name, ranking in rankings.items()
            if name != "pooled"
        },
        "at_threshold": thresholds.image_level(validation, low, high, fpr),
    }
    return _Classification(
        figures,
        {name: roc.roc_curve(each).thinned() for name, each in rankings.items()},
        {name: roc.pr_curve(each).thinned() for name, each in rankings.items()},
    )


def _with_mean(figures: dict[str, float]) -> dict[str, float | None]:
    """Add the plain mean over the kinds; None unless there are two or more to compare."""
    values = list(figures.values())
    return {**figures, "mean": sum(values) / len(values) if len(values) > 1 else None}
