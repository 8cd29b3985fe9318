"""The saturated per-region overlap (sPRO) and the area under its curve.

Bergmann et al., "Beyond Dents and Scratches: Logical Constraints in Unsupervised Anomaly Detection
and Localization", IJCV 2022. The sPRO of a defect with saturation area s is
min(detected pixels / s, 1), so it rises by 1/s at each of its s highest scores and is constant
afterwards. The mean sPRO over the false positive rate (FPR) is therefore a ROC curve in which each
of these pixels is a positive of weight 1/s, and one pass over the scores is enough. PRO (Bergmann
et al., CVPR 2020) is the same with the area as s and connected components as defects.
"""

import cv2
import numpy as np
import numpy.typing as npt

from loco_tools.metrics.roc import Array, Curve, Ranking
from loco_tools.metrics.score_histogram import Scores

LIMITS = (0.01, 0.05, 0.1, 0.3, 1.0)
"""The FPR limits of the official MVTec LOCO AD evaluation; 0.05 is the headline limit."""


def saturating_scores(scores: Scores, saturation_px: int) -> Scores:
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


def pixel_weights(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
    """Weight of each defect pixel for AU-PRO: one over the area of its 8-connected component.

    Args:
        mask: (H, W) bool.

    Returns:
        One weight per true pixel in row-major order; those of a component sum to 1.

    >>> pixel_weights(np.array([[1, 0, 0, 0], [0, 1, 0, 1]], dtype=bool)).tolist()
    [0.5, 0.5, 1.0]
    """
    x, y, width, height = cv2.boundingRect(mask.view(np.uint8))
    if not width:  # OpenCV crashes on an empty image
        return np.empty(0)
    window = mask[y : y + height, x : x + width]
    _, labels = cv2.connectedComponents(window.astype(np.uint8), connectivity=8)
    inside = labels[window]
    weights: npt.NDArray[np.float64] = 1.0 / np.bincount(inside)[inside]
    return weights


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
    """An upper bound on the change of `au_spro` by the rounding of scores.

    It is 0 when no score was rounded. Otherwise it considers every way to break the ties of the
    ranking; actual errors are about a thousandth of it, because their signs differ.
    """
    if ranking.is_exact:
        return 0.0
    weights, before, after = _rises(ranking)
    slack = np.where(before < limit, after - before, 0.0) / 2
    return float((weights * slack).sum() / (limit * weights.sum()))


def spro_curve(ranking: Ranking) -> Curve:
    """The mean sPRO (or PRO) over the FPR, from (0, 0) to (1, 1)."""
    fpr, spro = np.cumsum(ranking.negatives), np.cumsum(ranking.positives)
    fpr /= fpr[-1]
    spro /= spro[-1]
    return Curve(np.concatenate([[0.0], fpr]), np.concatenate([[0.0], spro]))


def _rises(ranking: Ranking) -> tuple[Array, Array, Array]:
    """The distinct scores at which the curve rises: by how much, and the FPR before and at each."""
    indices = np.flatnonzero(ranking.positives)
    false = np.cumsum(ranking.negatives)
    before = (false[indices] - ranking.negatives[indices]) / false[-1]
    return ranking.positives[indices], before, false[indices] / false[-1]
