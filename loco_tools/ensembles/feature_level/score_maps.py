"""Combination of score maps: those of heads, of backbone memory banks and of members.

All maps are brought to one scale, in part relative to good patches that look alike, and averaged
with weights that say how well each map separates held-out good images from synthetic anomalies.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
import torch
from torch import Tensor

from loco_tools.synthesis.perlin import Field

_SHRINKAGE = 4.0
"""Number of patches with which the statistics of all patches count in local statistics."""
_NEIGHBOURS = 8
"""Memory bank rows whose statistics are pooled: a row and those nearest to it."""
_LEAST_STD = 1e-6
_SURROUNDINGS = 4.0
"""Standard deviation, in patches, of the Gaussian that averages the surroundings of a patch."""
_MOST_FALSE = 0.05
"""Largest false-positive rate at which maps are compared."""
_THRESHOLDS = 20
_POWER = 3
_LEAST_MISSED = 1e-2
"""Smaller rates of missed patches count as this one: they rest on too few patches."""


class CombinationSettings(NamedTuple):
    """How score maps become image scores and maps; see the fields of `FusionConfig`."""

    local_images: float
    local_maps: float
    smoothing: float = 0.0
    surroundings: float = 0.0
    member_images: float = 0.5


@dataclass(frozen=True)
class ScoreMaps:
    """Scores of some images before they are combined.

    Attributes:
        patches: (N, K, h, w), K score maps: of heads, then backbone banks, then members.
        nearest: (N, h, w), for each patch the row of the fused memory bank that is nearest to its
            fused features.
        images: (N, M), the members' own image scores.
    """

    patches: Tensor
    nearest: Tensor
    images: Tensor

    @staticmethod
    def joined(parts: Sequence["ScoreMaps"]) -> "ScoreMaps":
        """Several batches as one."""
        return ScoreMaps(
            torch.cat([p.patches for p in parts]),
            torch.cat([p.nearest for p in parts]),
            torch.cat([p.images for p in parts]),
        )


class ScoreMapCombiner:
    """Combines score maps to one map (N, h, w) and one score per image (N,).

    Every score of a patch becomes a mixture of two deviations from good: its deviation from all
    held-out good patches, and its deviation from good patches that look alike, which have the same
    nearest row in the fused memory bank. Good patches vary more on some surfaces than on others;
    without the second deviation an edge gets as high a score as a scratch. Image scores and maps
    mix the two in different shares: an image score compares the worst patch with those of good
    images, a map compares the patches of one image.
    """

    def __init__(self, state: Mapping[str, Tensor]) -> None:
        """`state` is what `tensors` gave; KeyError when settings are missing."""
        settings = state["settings"].tolist()
        if len(settings) != len(CombinationSettings._fields):
            raise KeyError("settings")  # written by a version with fewer settings
        self._settings = CombinationSettings(*settings)
        self._state = dict(state)

    @classmethod
    def fit(
        cls,
        good: ScoreMaps,
        bank: Tensor,
        settings: CombinationSettings,
        *,
        backbone_maps: int = 0,
        backbone_share: float = 0.0,
    ) -> "ScoreMapCombiner":
        """Fit the scales to held-out good images; all maps but the backbones' weigh the same.

        Args:
            good: score maps of held-out good images.
            bank: (R, D), the fused memory bank, by whose rows patches are grouped.
            settings: how the maps are combined.
            backbone_maps: the number of backbone maps.
            backbone_share: their total weight, which `fit_weights` leaves as it is.
        """
        K, M = good.patches.shape[1], good.images.shape[1]
        rows = good.patches.permute(0, 2, 3, 1).reshape(-1, K)
        mean, std = rows.mean(dim=0), rows.std(dim=0, correction=0).clamp_min(_LEAST_STD)
        nearest = good.nearest.flatten()
        neighbours = torch.cat(
            [
                torch.cdist(part, bank).topk(min(_NEIGHBOURS, len(bank)), largest=False).indices
                for part in torch.split(bank, 1024)
            ]
        )  # (R, 8): each row and those nearest to it
        expected = _pool_by_row(rows, nearest, neighbours, mean)
        squares = (rows - expected[nearest]).square()
        spread = _pool_by_row(squares, nearest, neighbours, squares.mean(dim=0)).sqrt()
        given = torch.zeros_like(mean)
        given[K - M - backbone_maps : K - M] = backbone_share / max(1, backbone_maps)
        combiner = cls(
            {
                "mean": mean,
                "std": std,
                "expected": expected,
                "spread": spread.clamp_min(_LEAST_STD),
                "settings": torch.tensor(settings, device=rows.device),
                "given": given,
            }
        )
        combiner._set_weights(torch.full_like(mean, 0.5), good)
        return combiner

    def fit_weights(self, good: ScoreMaps, anomalous: ScoreMaps, inside: Sequence[Tensor]) -> None:
        """Weight each map by how well it separates good patches from synthetic anomalies.

        The recall of a map is the share of an anomaly above a threshold, averaged over anomalies
        and over thresholds that up to 5 % of good patches exceed, as AU-sPRO does: an image score
        is the maximum of thousands of patches, so that high scores are useless where many good
        patches have them too. The weight is the cube of recall / (1 - recall). Patches are used
        rather than images because there are thousands of good patches but tens of images. Every
        anomaly counts the same, however large. Backbone maps keep their given weight. A member's
        image score has the weight of its map among those of the members.

        Args:
            good: score maps of held-out good images.
            anomalous: score maps of such images with synthetic anomalies.
            inside: for each of these images (A, h, w) bool, the patches in each of its A anomalies.
        """
        share = self._settings.local_maps
        near, far = (
            ((1 - share) * overall + share * local).permute(0, 2, 3, 1)
            for overall, local in (self._deviations(maps) for maps in (good, anomalous))
        )  # (N, h, w, K)
        ordered = near.flatten(0, 2).sort(dim=0, descending=True).values
        rates = torch.arange(1, _THRESHOLDS + 1, device=near.device) / _THRESHOLDS * _MOST_FALSE
        thresholds = ordered[(rates * (len(ordered) - 1)).long()]  # (T, K)
        recalls = [
            (patches[within][:, None] > thresholds).float().mean(dim=(0, 1))
            for patches, anomalies in zip(far, inside, strict=True)
            for within in anomalies
            if bool(within.any())
        ]
        if recalls:
            self._set_weights(torch.stack(recalls).mean(dim=0), good)

    def combine(self, maps: ScoreMaps) -> tuple[Tensor, Tensor]:
        """Scores of images (N,) and their maps (N, h, w).

        A map is the weighted mean of the deviations. For the image score, another such mean is
        smoothed, a share of each patch's surroundings is subtracted, and the maximum is taken: good
        but blotched surfaces have high scores everywhere, a defect is higher than its surroundings.
        The image score is this maximum plus a share of the members' own image scores, all in
        standard deviations from held-out good images.
        """
        values, combined = self._image_values(maps)
        s = self._state
        deviations = (values - s["image_mean"]) / s["image_std"]
        scores, members = deviations[:, -1], deviations[:, :-1]
        if members.shape[1]:
            share = self._settings.member_images
            scores = (1 - share) * scores + share * (members * s["member_weights"]).sum(dim=1)
        return scores, combined

    def tensors(self) -> dict[str, Tensor]:
        """The learned arrays, for saving."""
        return self._state

    def _set_weights(self, recall: Tensor, good: ScoreMaps) -> None:
        """Set weights from recalls (K,), then the statistics of good images with these weights."""
        s, M = self._state, good.images.shape[1]
        given = s["given"]
        s["weights"] = given + (1 - given.sum()) * _weights(recall, given == 0)
        members = recall[len(recall) - M :]
        s["member_weights"] = _weights(members, torch.ones_like(members, dtype=torch.bool))
        values, _ = self._image_values(good)
        s["image_mean"] = values.mean(dim=0)
        s["image_std"] = values.std(dim=0, correction=0).clamp_min(_LEAST_STD)

    def _image_values(self, maps: ScoreMaps) -> tuple[Tensor, Tensor]:
        """(N, M + 1): the members' image scores and the maximum; (N, h, w): the combined maps."""
        settings, weights = self._settings, self._state["weights"][:, None, None]
        overall, local = ((part * weights).sum(dim=1) for part in self._deviations(maps))
        for_images, for_maps = (
            (1 - share) * overall + share * local
            for share in (settings.local_images, settings.local_maps)
        )
        largest = []
        for values in for_images.float().cpu().numpy():
            surroundings = settings.surroundings * _blur(values, _SURROUNDINGS)
            largest.append(float((_blur(values, settings.smoothing) - surroundings).max()))
        maxima = torch.tensor(largest, device=for_maps.device, dtype=for_maps.dtype)
        return torch.cat([maps.images, maxima[:, None]], dim=1), for_maps

    def _deviations(self, maps: ScoreMaps) -> tuple[Tensor, Tensor]:
        """(N, K, h, w) each: deviations from all good patches, and from those that look alike."""
        s = self._state
        rows = maps.patches.permute(0, 2, 3, 1)  # (N, h, w, K)
        overall = (rows - s["mean"]) / s["std"]
        local = (rows - s["expected"][maps.nearest]) / s["spread"][maps.nearest]
        return overall.permute(0, 3, 1, 2), local.permute(0, 3, 1, 2)


def _blur(values: Field, sigma: float) -> Field:
    """Gaussian blur of a map (h, w); the edge is reflected."""
    if not sigma:
        return values
    blurred = cv2.GaussianBlur(
        np.ascontiguousarray(values), (0, 0), sigma, borderType=cv2.BORDER_REFLECT
    )
    return blurred.astype(np.float32, copy=False)


def _pool_by_row(values: Tensor, nearest: Tensor, neighbours: Tensor, overall: Tensor) -> Tensor:
    """(R, K): means of values (N, K) by nearest bank row and its neighbours (R, 8).

    Means of few values are shrunk towards the overall mean (K,).
    """
    R, K = len(neighbours), values.shape[1]
    count = torch.zeros(R, device=values.device)
    count.index_add_(0, nearest, torch.ones_like(values[:, 0]))
    total = torch.zeros(R, K, device=values.device).index_add_(0, nearest, values)
    counts, totals = count[neighbours].sum(dim=1), total[neighbours].sum(dim=1)
    return (totals + _SHRINKAGE * overall) / (counts[:, None] + _SHRINKAGE)


def _weights(recall: Tensor, among: Tensor) -> Tensor:
    """Weights of the maps in the mask `among` that sum to 1; equal where all recalls are 0.

    They are powers of found over missed: where synthetic anomalies are easy and every map finds
    nearly all, a map that misses half as much as another one weighs eight times as much.
    """
    weights = among * (recall / (1 - recall).clamp_min(_LEAST_MISSED)) ** _POWER
    if not float(weights.sum()):
        weights = among.to(recall)
    return weights / weights.sum().clamp_min(1e-9)
