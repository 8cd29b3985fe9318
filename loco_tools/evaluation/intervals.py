"""95 % intervals of the figures, by drawing parts (or images) again.

Good and anomalous ones are drawn separately, so every draw is a class of the same make-up; all
images of a part are drawn together. The negatives of a drawn image are drawn with it: the FPR of
each draw is its own. For areas under overlap curves each image is represented by a sketch of its
scores (see `counts.Sketch`); what that shifts, the difference between the figure and the same
figure of the sketches, is added to the interval. On 60 maps of 1700 x 1000 the ends of intervals of
width 0.08 to 0.2 differed by 0.002 at most from those of sketches 32 times as large. Negatives that
were held fixed instead gave an interval of AU-PRO a fifth too wide where images differ in their
level.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from loco_tools.evaluation.counts import Counts, FolderCounts, Rising, Sketch
from loco_tools.evaluation.parts import Origin, Parts
from loco_tools.metrics import bootstrap

Figures = dict[str, Any]
Interval = list[float] | None
Array = npt.NDArray[np.float64]

LEVEL = 0.95
SEED = 0
SPRO_LIMIT = 0.05


class Draws(NamedTuple):
    """How often each image was drawn."""

    keys: list[str]
    times: npt.NDArray[np.int32]  # (draws, images)

    def of(self, keys: Sequence[str]) -> npt.NDArray[np.int32]:
        """(draws, keys): the same for some of the images."""
        place = {key: number for number, key in enumerate(self.keys)}
        return self.times[:, [place[key] for key in keys]]


def intervals_of(
    metrics: Figures, counts: Counts, parts: Parts | None, *, draws: int, pro_limit: float
) -> Figures | None:
    """The intervals under the keys of the figures that they are about; None without draws.

    Units are parts where every test image belongs to one, and images otherwise.
    """
    if not draws:
        return None
    unit, drawn = _draws(counts.origins, draws)
    return {
        "level": LEVEL,
        "method": f"percentile bootstrap over {unit}s, drawn within the sets that have the same "
        "kinds of images",
        "unit": unit,
        "draws": draws,
        "seed": SEED,
        "classification": _image_intervals(metrics["classification"], counts, drawn),
        "localization": _overlap_intervals(
            metrics["localization"], counts.folders, drawn, pro_limit
        ),
        "parts": _part_intervals(parts, draws),
    }


def _draws(origins: Mapping[str, Origin], draws: int) -> tuple[str, Draws]:
    """What is drawn, and how often each image was."""
    keys = sorted(origins)
    by_part = all(origins[key].part is not None for key in keys)
    units = [origins[key].part if by_part else key for key in keys]
    kinds: dict[str | None, set[str]] = {}
    for unit, key in zip(units, keys, strict=True):
        kinds.setdefault(unit, set()).add(origins[key].kind_folder)
    strata = [tuple(sorted(kinds[unit])) for unit in units]
    drawn = Draws(keys, bootstrap.draws(units, strata, draws, SEED))
    return "part" if by_part else "image", drawn


def _image_intervals(figures: Figures, counts: Counts, drawn: Draws) -> Figures:
    folders = counts.folders
    scores = {key: score for folder in folders.values() for key, score in folder.scores.items()}
    good = [key for folder in folders.values() if folder.kind == "good" for key in folder.scores]
    anomalous = {name: list(f.scores) for name, f in folders.items() if f.kind != "good"}

    def auroc(keys: list[str]) -> Array:
        both = good + keys
        truth = np.arange(len(both)) >= len(good)
        return bootstrap.weighted_auroc([scores[key] for key in both], truth, drawn.of(both))

    by_kind = {name: auroc(keys) for name, keys in anomalous.items()}
    pooled = auroc([key for keys in anomalous.values() for key in keys])
    mean = np.mean(list(by_kind.values()), axis=0)
    intervals = {name: _interval(figure) for name, figure in by_kind.items()}
    official = "all" not in figures["auc_roc"]
    has_mean = official and len(by_kind) > 1
    whole = _interval(pooled)
    of_mean = _interval(mean) if has_mean else None
    return {
        "auc_roc": {**intervals, "mean": of_mean} if official else {"all": whole},
        "image_auroc": {**intervals, "mean_ls": of_mean, "pooled": whole},
    }


def _part_intervals(parts: Parts | None, draws: int) -> Figures | None:
    if parts is None:
        return None
    complete = parts.complete
    names, kinds = [part.name for part in complete], [part.kind for part in complete]
    scores = np.array([part.score for part in complete])
    times = bootstrap.draws(names, kinds, draws, SEED)

    def auroc(*anomalous: str) -> Array:
        picks = [n for n, kind in enumerate(kinds) if kind == "good" or kind in anomalous]
        truth = [kinds[n] != "good" for n in picks]
        if len(set(truth)) < 2:
            return np.full(draws, np.nan)
        return bootstrap.weighted_auroc(scores[picks], truth, times[:, picks])

    by_kind = {kind: auroc(kind) for kind in ("logical", "structural")}
    return {
        "auroc": {
            **{kind: _interval(figure) for kind, figure in by_kind.items()},
            "mean_ls": _interval((by_kind["logical"] + by_kind["structural"]) / 2),
            "pooled": _interval(auroc("logical", "structural")),
        }
    }


def _overlap_intervals(
    figures: Figures, folders: Mapping[str, FolderCounts], drawn: Draws, pro_limit: float
) -> Figures:
    good = {k: s for f in folders.values() if f.kind == "good" for k, s in f.sketches.items()}
    intervals: Figures = {}
    if "auc_spro" in figures:
        limit = str(SPRO_LIMIT)
        areas = {
            name: _areas({**good, **folders[name].sketches}, "saturating", SPRO_LIMIT, drawn)
            for name in figures["auc_spro"]
            if name != "mean"
        }
        exact = {name: figures["auc_spro"][name][limit] for name in areas}
        shifted = {name: area[1:] + (exact[name] - area[0]) for name, area in areas.items()}
        intervals["auc_spro"] = {n: {limit: _interval(area)} for n, area in shifted.items()}
        mean = np.mean(list(shifted.values()), axis=0)
        has_mean = len(shifted) > 1
        intervals["auc_spro"]["mean"] = {limit: _interval(mean) if has_mean else None}
    everything = {k: s for f in folders.values() for k, s in f.sketches.items()}
    area = _areas(everything, "components", pro_limit, drawn)
    exact_pro = figures["au_pro"][str(pro_limit)]
    intervals["au_pro"] = {str(pro_limit): _interval(area[1:] + (exact_pro - area[0]))}
    return intervals


def _areas(sketches: Mapping[str, Sketch], which: str, limit: float, drawn: Draws) -> Array:
    """(1 + draws,): the area of the images as they are, and of every draw."""
    keys = sorted(sketches)
    negatives = [sketches[key].negatives for key in keys]
    filled = [scores for scores in negatives if scores.size]
    thresholds = bootstrap.threshold_grid(filled, limit)
    taken = np.stack([_taken(sketches[key], thresholds) for key in keys])
    rising: list[Rising] = [getattr(sketches[key], which) for key in keys]
    found = np.stack([bootstrap.weight_above(*each, thresholds) for each in rising])
    once = np.ones((1, len(keys)))
    times = np.concatenate([once, drawn.of(keys)]).astype(np.float64)
    x, y = times @ taken, times @ found
    x, y = x / x[:, -1:], y / (times @ [each.weights.sum() for each in rising])[:, None]
    return bootstrap.area_up_to(_from_origin(x), _from_origin(y), limit)


def _taken(sketch: Sketch, thresholds: npt.NDArray[np.float32]) -> Array:
    """Pixels without a defect above each threshold."""
    size = sketch.negatives.size
    each = np.full(size, sketch.negatives_px / size) if size else np.empty(0)
    return bootstrap.weight_above(sketch.negatives, each, thresholds)


def _from_origin(points: Array) -> Array:
    return np.concatenate([np.zeros((len(points), 1)), points], axis=1)


def _interval(figures: Array) -> Interval:
    found = bootstrap.percentile_interval(figures, LEVEL)
    return None if found is None else [min(max(end, 0.0), 1.0) for end in found]
