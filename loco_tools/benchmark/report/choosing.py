"""Which images the report shows: by rule, never by hand."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from loco_tools.benchmark.cell.record import Score

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
class Picked:
    """An image to show: its place in the test set, and why it is there."""

    index: int
    reason: str


def pick(
    scores: Sequence[Score],
    shares: Mapping[str, Sequence[float]],
    segmented: Mapping[int, float] | None = None,
    *,
    limit: int = IMAGES_PER_CLASS,
) -> list[Picked]:
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
    picked: dict[int, Picked] = {}
    for index, reason in (*_by_kind(scores, segmented or {}), *_by_type(scores, together)):
        if index in picked:
            if "segmentation" not in picked[index].reason:
                continue
            reasons = f"{picked[index].reason}, {reason}"
            picked[index] = Picked(index, reasons)
        elif len(picked) < limit - reserved:
            picked[index] = Picked(index, reason)
    order = sorted(picked, key=lambda i: (scores[i].kind, scores[i].defects, together[i]))
    chosen = [picked[index] for index in order]
    return chosen + [Picked(int(i), "good, yet suspicious") for i in good[:reserved]]


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
