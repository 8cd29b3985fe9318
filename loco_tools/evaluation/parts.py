"""Metrics of parts instead of images: the score of a part is the maximum over its views."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from loco_tools.datasets.sample import Kind
from loco_tools.metrics import roc

Metrics = dict[str, Any]

_SEVERITY: Mapping[str, int] = {"good": 0, "structural": 1, "logical": 2}


class ImageOrigin(NamedTuple):
    """The part and the view of a test image, its kind, and the kind in the record of its part."""

    part: str | None
    view: str | None
    kind: Kind
    kind_folder: str
    part_kind: Kind | None = None


class PartScore(NamedTuple):
    """The score of a part of which every view was evaluated."""

    name: str
    kind: Kind
    score: float  # the maximum over its views


class PartScores(NamedTuple):
    """The scores of complete parts, and which parts and images are left out."""

    complete: tuple[PartScore, ...]
    views: tuple[str, ...]
    incomplete: Mapping[str, tuple[str, ...]]  # missing views by name of the part
    without_part: tuple[str, ...]  # keys of images


def group_into_parts(
    origins: Mapping[str, ImageOrigin], scores: Mapping[str, float]
) -> PartScores | None:
    """Group test images into parts; None where no part is known.

    A part is anomalous when its record or one of its images is.

    Args:
        origins: part, view and kind of each test image, by key.
        scores: image score by the same keys.
    """
    by_part: dict[str, list[str]] = {}
    for key in sorted(origins):
        if (part := origins[key].part) is not None:
            by_part.setdefault(part, []).append(key)
    if not by_part:
        return None
    views = {origins[key].view or "" for keys in by_part.values() for key in keys}
    complete, incomplete = [], {}
    for name, keys in by_part.items():
        if missing := views - {origins[key].view or "" for key in keys}:
            incomplete[name] = tuple(sorted(missing))
            continue
        kinds = [origins[key].part_kind or "good" for key in keys]
        kind = max(*kinds, *(origins[key].kind for key in keys), key=lambda kind: _SEVERITY[kind])
        complete.append(PartScore(name, kind, max(scores[key] for key in keys)))
    without_part = tuple(sorted(key for key, origin in origins.items() if origin.part is None))
    return PartScores(tuple(complete), tuple(sorted(views)), incomplete, without_part)


def part_metrics(parts: PartScores | None) -> Metrics | None:
    """The AUROC of parts, good against each kind and against all; None where parts are unknown."""
    if parts is None:
        return None
    by_kind: dict[str, list[float]] = {kind: [] for kind in _SEVERITY}
    for part in parts.complete:
        by_kind[part.kind].append(part.score)
    good = by_kind["good"]
    pooled = by_kind["structural"] + by_kind["logical"]
    aurocs = {kind: _auroc(good, by_kind[kind]) for kind in ("logical", "structural")}
    known = [value for value in aurocs.values() if value is not None]
    return {
        "rule": "maximum over the views of a part; parts with a missing view are left out",
        "views": list(parts.views),
        "count": {kind: len(scores) for kind, scores in by_kind.items()},
        "auroc": {
            **aurocs,
            "mean_ls": sum(known) / 2 if len(known) == 2 else None,
            "pooled": _auroc(good, pooled),
        },
        "left_out": sorted(parts.incomplete),
    }


def part_notes(parts: PartScores | None) -> list[str]:
    """Lines of text about parts and images that the part metrics leave out."""
    if parts is None:
        return []
    notes = [
        f"part {name} was left out of the part metrics: no image of view {', '.join(missing)}"
        for name, missing in sorted(parts.incomplete.items())
    ]
    if parts.without_part:
        count = len(parts.without_part)
        listed = ", ".join(parts.without_part[:5]) + (", ..." if count > 5 else "")
        notes.append(f"images that belong to no known part ({count}): {listed}")
    return notes


def _auroc(good: Sequence[float], anomalous: Sequence[float]) -> float | None:
    return roc.auroc(roc.rank(good, anomalous)) if good and anomalous else None
