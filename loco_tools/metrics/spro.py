"""The saturated per-region overlap (sPRO) and the area under its curve.

Bergmann et al., "Beyond Dents and Scratches: Logical Constraints in Unsupervised Anomaly Detection
and Localization", IJCV 2022. A defect with saturation area s is found to the share
min(pixels found / s, 1), so its sPRO rises by 1/s at each of its s highest scores and is flat
after. The curve over the false positive rate (FPR) is therefore a ROC curve in which each of these
pixels is a positive of weight 1/s, and one pass over the scores is enough. PRO (Bergmann et al.,
CVPR 2020) is the same with s = the area and connected components as defects.
"""

import numpy as np
import numpy.typing as npt

from loco_tools.metrics.roc import Array, Curve, Ranking

LIMITS = (0.01, 0.05, 0.1, 0.3, 1.0)
"""The FPR limits of the official MVTec LOCO AD evaluation; 0.05 is the headline."""


def saturating_scores(
    scores: npt.NDArray[np.float32], saturation_px: int
) -> npt.NDArray[np.float32]:
    """Pick the scores of a defect at which its sPRO rises: its `saturation_px` highest.

    Args:
        scores: (N,) scores of the defect's pixels.
        saturation_px: saturation area s, 1 <= s <= N.

    >>> sorted(saturating_scores(np.float32([3, 1, 4, 1, 5]), 2).tolist())
    [4.0, 5.0]
    """
    if not 1 <= saturation_px <= scores.size:
        raise ValueError(
            f"expected a saturation area from 1 to the defect's {scores.size} pixels, "
            f"got {saturation_px}"
        )
    if saturation_px == scores.size:
        return scores
    return np.partition(scores, scores.size - saturation_px)[scores.size - saturation_px :]


def au_spro(ranking: Ranking, limit: float) -> float:
    """The area under the sPRO curve from FPR 0 to `limit`, divided by the limit; in [0, 1].

    Args:
        ranking: as positives, the weights 1/s of the saturating scores of all defects; their sum
            is the number of defects. As negatives, pixels without a defect.
        limit: FPR limit in (0, 1]; the curve is linear between its points, also at the limit.

    Two defects, s = 1 at score 4 and s = 2 at scores 3 and 1; negatives at 4, 2, 0, 0. The curve
    goes through (0, 0), (1/4, 1/2), (1/4, 3/4), (1/2, 3/4), (1/2, 1), (1, 1): up to 1/2 its area
    is 1/16 + 3/16, divided by 1/2.

    >>> au_spro(Ranking(np.array([1., 0, 1, 0, 2]), np.array([1., .5, 0, .5, 0])), 0.5)
    0.5
    """
    if not 0.0 < limit <= 1.0:
        raise ValueError(f"expected an FPR limit in (0, 1], got {limit}")
    weights, before, after = _rises(ranking)
    # A weight that rises evenly while the FPR goes from `before` to `after` covers, up to the
    # limit, the trapezoid right of it: the whole mean when it ends before the limit, else a part.
    whole = limit - (before + after) / 2
    width = np.where(after > before, after - before, 1.0)
    part = np.maximum(limit - before, 0.0) ** 2 / (2 * width)
    covered = np.where(after <= limit, whole, part)
    area = (weights * covered).sum() / (limit * weights.sum())
    return min(float(area), 1.0)  # sums of weights such as 1/3 may end a rounding error above 1


def rounding_bound(ranking: Ranking, limit: float) -> float:
    """By how much `au_spro` can differ from its value before scores were rounded, at most.

    0 where none were. Otherwise each of the ties of the ranking may be broken in any way; real
    errors are about a thousandth of this bound, because they have no common sign.
    """
    if ranking.is_exact:
        return 0.0
    weights, before, after = _rises(ranking)
    slack = np.where(before < limit, after - before, 0.0) / 2
    return float((weights * slack).sum() / (limit * weights.sum()))


def spro_curve(ranking: Ranking) -> Curve:
    """The mean sPRO (or PRO) over the FPR, from (0, 0) to (1, 1)."""
    taken, found = np.cumsum(ranking.negatives), np.cumsum(ranking.positives)
    taken /= taken[-1]
    found /= found[-1]
    return Curve(np.concatenate([[0.0], taken]), np.concatenate([[0.0], found]))


def _rises(ranking: Ranking) -> tuple[Array, Array, Array]:
    """The distinct scores at which the curve rises: by how much, and the FPR above and at each."""
    places = np.flatnonzero(ranking.positives)
    taken = np.cumsum(ranking.negatives)
    at = taken[places]
    before = (at - ranking.negatives[places]) / taken[-1]
    return ranking.positives[places], before, at / taken[-1]
