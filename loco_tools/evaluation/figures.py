"""The figures that follow from the counts of anomaly maps.

The localization figures are those of MVTec's own evaluators: AU-sPRO per kind of anomaly for MVTec
LOCO AD, AU-PRO for MVTec AD; so are the classification figures, one AUROC per kind against the
good images. Where ties or the FPR limit need a rule, it is the one of `loco_tools.metrics`.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from loco_tools.errors import DatasetError
from loco_tools.evaluation import thresholds
from loco_tools.evaluation.counts import FolderCounts
from loco_tools.evaluation.intervals import intervals_of
from loco_tools.evaluation.parts import Origin, part_figures, part_notes, parts_of
from loco_tools.evaluation.thresholds import Validation
from loco_tools.metrics import roc, spro
from loco_tools.metrics.roc import Curve, Ranking
from loco_tools.metrics.tally import Tally, combined

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
    them. `scores` holds the image score of each test image by `sample_key`. The curves are thinned
    to about 200 points: `image_roc` by kind folder and "pooled"; `overlap`, the mean sPRO by kind
    folder (where defects saturate) and the mean PRO as "pro", over the FPR; `pixel_roc`.
    """

    metrics: Figures
    scores: dict[str, float]
    image_roc: dict[str, Curve]
    overlap: dict[str, Curve]
    pixel_roc: Curve


class Counts:
    """Everything counted of test images."""

    def __init__(self) -> None:
        self.folders: dict[str, FolderCounts] = {}
        self.positives = Tally()  # defect pixels of all folders
        self.origins: dict[str, Origin] = {}  # by key of the image
        self._remarks: dict[str, set[str]] = {}  # places by what was found there

    def note(self, what: str, place: str) -> None:
        """Remember something that the reader of the figures should know."""
        self._remarks.setdefault(what, set()).add(place)

    def merge(self, other: "Counts") -> None:
        """Add the counts of other images."""
        for name, folder in other.folders.items():
            self.folders.setdefault(name, FolderCounts(folder.kind)).merge(folder)
        self.positives.merge(other.positives)
        self.origins.update(other.origins)
        for what, places in other._remarks.items():
            self._remarks.setdefault(what, set()).update(places)

    def notes(self) -> list[str]:
        """A line for each kind of remark."""
        lines = []
        for what, places in sorted(self._remarks.items()):
            listed = ", ".join(sorted(places)[:5]) + (", ..." if len(places) > 5 else "")
            lines.append(f"{what} ({len(places)}): {listed}")
        return lines

    def by_kind(self) -> tuple[list[FolderCounts], dict[str, FolderCounts]]:
        """The folders of good images, and those of anomalous ones by name.

        Raises:
            DatasetError: there are none of one or the other.
        """
        good = [folder for folder in self.folders.values() if folder.kind == "good"]
        anomalous = {n: f for n, f in sorted(self.folders.items()) if f.kind != "good"}
        require_both(bool(good), bool(anomalous))
        return good, anomalous


def require_both(good: bool, anomalous: bool) -> None:
    """Refuse to compare without something to compare with."""
    for what, found in (("good", good), ("anomalous", anomalous)):
        if not found:
            raise DatasetError(
                f"expected at least one {what} test image, got none; every figure compares "
                "good with anomalous images"
            )


def evaluation_of(counts: Counts, validation: Validation, *, fpr: float, draws: int) -> Evaluation:
    """Turn counts into figures.

    Args:
        counts: of all test images.
        validation: good validation images; may be empty.
        fpr: share of them that the threshold may take.
        draws: of the bootstrap; 0 for no intervals.
    """
    good, anomalous = counts.by_kind()
    good_scores, anomalous_scores = _image_scores(good), _image_scores(anomalous.values())
    images = {
        name: roc.rank(good_scores, _image_scores([folder])) for name, folder in anomalous.items()
    }
    pooled = roc.rank(good_scores, anomalous_scores)
    spro_figures, types, overlap = _spro_by_folder(good, anomalous)
    everywhere = combined(folder.negatives for folder in counts.folders.values())
    types = types or _pro_by_folder(everywhere, anomalous)
    pro_figures, overlap["pro"] = _pro(everywhere, anomalous)
    pixel_figures, pixel_roc = _pixels(everywhere, counts.positives)
    bound = max(spro_figures.pop("rounding_bound", 0.0), pro_figures.pop("rounding_bound"))
    scores = {key: score for f in counts.folders.values() for key, score in f.scores.items()}
    parts = parts_of(counts.origins, scores)
    metrics: Figures = {
        "classification": {
            **_classification(images, pooled, by_kind=bool(spro_figures)),
            "at_threshold": thresholds.image_level(validation, good_scores, anomalous_scores, fpr),
        },
        "localization": {
            **spro_figures,
            **pro_figures,
            **pixel_figures,
            "at_threshold": thresholds.pixel_level(validation, everywhere, counts.positives, fpr),
            "rounding_bound": bound,
        },
        "parts": part_figures(parts),
        "defects": _type_table(types, good_scores, anomalous),
        "notes": [*counts.notes(), *part_notes(parts), *_notes(validation, fpr, bound)],
    }
    metrics["intervals"] = intervals_of(
        metrics, counts.folders, counts.origins, parts, draws=draws, pro_limit=PRO_LIMIT
    )
    return Evaluation(
        metrics=metrics,
        scores=scores,
        image_roc={
            name: roc.roc_curve(ranking).thinned()
            for name, ranking in {**images, "pooled": pooled}.items()
        },
        overlap=overlap,
        pixel_roc=pixel_roc,
    )


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


def _pro(everywhere: Tally, anomalous: Mapping[str, FolderCounts]) -> tuple[Figures, Curve]:
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
        "pixel_iou_max": roc.iou_max(ranking),
    }
    return figures, roc.roc_curve(ranking).thinned()


def _pro_by_folder(everywhere: Tally, anomalous: Mapping[str, FolderCounts]) -> dict[Type, Figures]:
    """The figure of each type of MVTec AD, where a kind folder is a type."""
    rankings = {
        name: roc.rank_tallies(everywhere, folder.components) for name, folder in anomalous.items()
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


def _classification(images: dict[str, Ranking], pooled: Ranking, *, by_kind: bool) -> Figures:
    figures: Figures = {name: roc.auroc(ranking) for name, ranking in images.items()}
    everything, with_mean = roc.auroc(pooled), _with_mean(figures)
    return {
        "auc_roc": with_mean if by_kind else {"all": everything},
        "image_auroc": {
            **figures,
            "mean_ls": with_mean["mean"] if by_kind else None,
            "pooled": everything,
        },
        "auc_roc_pooled": everything,
        "average_precision": roc.average_precision(pooled),
        "f1_max": roc.f1_max(pooled),
    }


def _with_mean(figures: dict[str, float]) -> dict[str, float | None]:
    """Add the plain mean over the kinds; None unless there are two or more to compare."""
    values = list(figures.values())
    return {**figures, "mean": sum(values) / len(values) if len(values) > 1 else None}
