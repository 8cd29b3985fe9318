"""Voices of a feature-level ensemble: heads on the fused features, backbones' maps, and members.

Each voice gives a score per patch. Here they are brought to one scale, in part relative to what
good patches of the same look get, and weighed by how well they tell held-out good images from
synthetic anomalies made of them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
import torch
from torch import Tensor

from loco_tools.synthesis.perlin import Field

_SHRINK = 4.0
"""Held-out patches that an anchor's own statistics have to outweigh."""
_AROUND = 8
"""Anchors whose statistics are pooled: an anchor and those nearest to it."""
_LEAST_STD = 1e-6
_SURROUNDINGS = 4.0
"""Deviation of the Gaussian that a place's surroundings are averaged with, in patches."""
_MOST_FALSE = 0.05
_THRESHOLDS = 20
_POWER = 3
_LEAST_MISSED = 1e-2
"""A voice that misses less counts as no better: so few patches do not tell."""


class _Settings(NamedTuple):
    """What `Voices.fit` was told, as it is kept."""

    local_images: float
    local_maps: float
    smoothing: float
    surroundings: float
    member_images: float


@dataclass(frozen=True)
class Spoken:
    """What voices say about images.

    Attributes:
        patches: (N, V, h, w), a score per voice and patch: heads, then backbones' maps, then
            members.
        nearest: (N, h, w), the anchor that each patch's fused features are nearest to.
        images: (N, M), the members' own image scores.
    """

    patches: Tensor
    nearest: Tensor
    images: Tensor

    @staticmethod
    def joined(parts: Sequence["Spoken"]) -> "Spoken":
        """Several batches as one."""
        return Spoken(
            torch.cat([p.patches for p in parts]),
            torch.cat([p.nearest for p in parts]),
            torch.cat([p.images for p in parts]),
        )


class Voices:
    """Puts the voices together: a map (N, h, w) and a score per image (N,).

    A patch's score of a voice becomes a mixture of two deviations from good: from what all
    held-out good patches get, and from what those get that look alike, which are nearest to the
    same anchor. Surfaces differ in how far good ones lie apart; without the second, a detector is
    as alarmed by an edge as by a scratch. Images and maps mix them each in their own way: an
    image's score asks whether its worst place is worse than those of good images, a map which of
    its places is worse than the others.
    """

    def __init__(self, state: Mapping[str, Tensor]) -> None:
        """`state` is what `tensors` gave; KeyError when settings are missing."""
        settings = state["settings"].tolist()
        if len(settings) != len(_Settings._fields):
            raise KeyError("settings")  # of a version that had fewer
        self._settings = _Settings(*settings)
        self._state = dict(state)

    @classmethod
    def fit(
        cls,
        good: Spoken,
        anchors: Tensor,
        *,
        local_images: float,
        local_maps: float,
        smoothing: float,
        surroundings: float = 0.0,
        member_images: float = 0.5,
        beside: int = 0,
        share: float = 0.0,
    ) -> "Voices":
        """From held-out good images, all voices weighing the same.

        Args:
            good: what the voices say about them.
            anchors: (M, D), the fused features that patches are told apart by.
            local_images: 0 to 1, the share of the second deviation in images' scores.
            local_maps: the same in maps.
            smoothing: deviation of the Gaussian over maps, in patches, before an image's score is
                read off as the largest value.
            surroundings: how much of what its surroundings get is taken off every patch first.
            member_images: 0 to 1, the share of the members' own image scores in an image's.
            beside: how many voices are backbones' maps.
            share: what these weigh together, whatever `weigh` finds.
        """
        settings = _Settings(local_images, local_maps, smoothing, surroundings, member_images)
        V, M = good.patches.shape[1], good.images.shape[1]
        rows = good.patches.permute(0, 2, 3, 1).reshape(-1, V)
        mean, std = rows.mean(dim=0), rows.std(dim=0, correction=0).clamp_min(_LEAST_STD)
        nearest, around = good.nearest.flatten(), _around(anchors)
        expected = _pooled(rows, nearest, around, mean)
        squares = (rows - expected[nearest]).square()
        spread = _pooled(squares, nearest, around, squares.mean(dim=0)).sqrt()
        given = torch.zeros_like(mean)
        given[V - M - beside : V - M] = share / max(1, beside)
        voices = cls(
            {
                "mean": mean,
                "std": std,
                "expected": expected,
                "spread": spread.clamp_min(_LEAST_STD),
                "settings": torch.tensor(settings, device=rows.device),
                "given": given,
            }
        )
        voices._take(torch.full_like(mean, 0.5), good)
        return voices

    def weigh(self, good: Spoken, anomalous: Spoken, inside: Sequence[Tensor]) -> None:
        """Weigh voices by how well each tells good patches from those in synthetic anomalies.

        A voice's worth is the cube of r / (1 - r), r being how much of an anomaly lies above a
        threshold, on average over thresholds that up to 5 % of good patches exceed, as AU-sPRO
        counts: an image's score is the largest of thousands of patches, so that what a voice says
        where many good ones are alarming is of no use. Patches are asked, not images: there are
        thousands of good ones where there are tens of images. Every anomaly counts the same,
        however large. Backbones' maps keep what they were given. A member's own image score weighs
        what its voice does among the members.

        Args:
            good: about held-out good images.
            anomalous: about such images with synthetic anomalies in them.
            inside: of each image (K, h, w) bool, the patches that lie in each of its anomalies.
        """
        near, far = (self._deviations(spoken).permute(0, 2, 3, 1) for spoken in (good, anomalous))
        thresholds = _thresholds(near.flatten(0, 2))
        found = [
            (patches[within][:, None] > thresholds).float().mean(dim=(0, 1))
            for patches, anomalies in zip(far, inside, strict=True)
            for within in anomalies
            if bool(within.any())
        ]
        if found:
            self._take(torch.stack(found).mean(dim=0), good)

    def judge(self, spoken: Spoken) -> tuple[Tensor, Tensor]:
        """Scores of images (N,) and their maps (N, h, w).

        A map is the weighted mean of the voices' deviations. What the voices say together of an
        image is the largest value of such a mean, smoothed and less a share of what its
        surroundings get: good surfaces that are blotched all over are alarming everywhere, a defect
        more than what is around it. An image's score is that and a share of the members' own image
        scores, all in deviations from what held-out good images get.
        """
        values, maps = self._values(spoken)
        s = self._state
        deviations = (values - s["image_mean"]) / s["image_std"]
        together, members = deviations[:, -1], deviations[:, :-1]
        if members.shape[1]:
            share = self._settings.member_images
            together = (1 - share) * together + share * (members * s["member_weights"]).sum(dim=1)
        return together, maps

    def tensors(self) -> dict[str, Tensor]:
        """Everything learned, for saving."""
        return self._state

    def _take(self, found: Tensor, good: Spoken) -> None:
        """Weights from what each voice finds, and what good images get with them."""
        s, M = self._state, good.images.shape[1]
        given = s["given"]
        s["weights"] = given + (1 - given.sum()) * _weights(found, given == 0)
        members = found[len(found) - M :]
        s["member_weights"] = _weights(members, torch.ones_like(members, dtype=torch.bool))
        values, _ = self._values(good)
        s["image_mean"] = values.mean(dim=0)
        s["image_std"] = values.std(dim=0, correction=0).clamp_min(_LEAST_STD)

    def _values(self, spoken: Spoken) -> tuple[Tensor, Tensor]:
        """(N, M + 1): the members' image scores, and that of the voices together; (N, h, w)."""
        weights = self._state["weights"][:, None, None]
        overall, alike = ((part * weights).sum(dim=1) for part in self._parts(spoken))
        shares = (self._settings.local_images, self._settings.local_maps)
        for_images, for_maps = ((1 - s) * overall + s * alike for s in shares)
        return torch.cat([spoken.images, self._largest(for_images)[:, None]], dim=1), for_maps

    def _deviations(self, spoken: Spoken) -> Tensor:
        """(N, V, h, w), as maps mix them."""
        overall, alike = self._parts(spoken)
        share = self._settings.local_maps
        return (1 - share) * overall + share * alike

    def _parts(self, spoken: Spoken) -> tuple[Tensor, Tensor]:
        """(N, V, h, w) each: deviations from all good patches, and from those that look alike."""
        s = self._state
        rows = spoken.patches.permute(0, 2, 3, 1)  # (N, h, w, V)
        overall = (rows - s["mean"]) / s["std"]
        alike = (rows - s["expected"][spoken.nearest]) / s["spread"][spoken.nearest]
        return overall.permute(0, 3, 1, 2), alike.permute(0, 3, 1, 2)

    def _largest(self, maps: Tensor) -> Tensor:
        """(N,): where a patch stands out most from its surroundings, of (N, h, w)."""
        smoothing, share = self._settings.smoothing, self._settings.surroundings
        found = [
            float((_blurred(one, smoothing) - share * _blurred(one, _SURROUNDINGS)).max())
            for one in maps.float().cpu().numpy()
        ]
        return torch.tensor(found, device=maps.device, dtype=maps.dtype)


def _blurred(values: Field, sigma: float) -> Field:
    """(h, w), by a Gaussian of that deviation; the edge is reflected."""
    if not sigma:
        return values
    steady = np.ascontiguousarray(values)
    blurred = cv2.GaussianBlur(steady, (0, 0), sigma, borderType=cv2.BORDER_REFLECT)
    return blurred.astype(np.float32, copy=False)


def _around(anchors: Tensor) -> Tensor:
    """(M, 8): each anchor and those nearest to it."""
    near = [
        torch.cdist(part, anchors).topk(min(_AROUND, len(anchors)), largest=False).indices
        for part in torch.split(anchors, 1024)
    ]
    return torch.cat(near)


def _pooled(values: Tensor, nearest: Tensor, around: Tensor, overall: Tensor) -> Tensor:
    """(M, V): means of (N, V) values by anchor and its neighbours, drawn to all's where few."""
    M, V = len(around), values.shape[1]
    count = torch.zeros(M, device=values.device)
    count.index_add_(0, nearest, torch.ones_like(values[:, 0]))
    total = torch.zeros(M, V, device=values.device).index_add_(0, nearest, values)
    counts, totals = count[around].sum(dim=1), total[around].sum(dim=1)
    return (totals + _SHRINK * overall) / (counts[:, None] + _SHRINK)


def _thresholds(good: Tensor) -> Tensor:
    """(T, V): values that up to `_MOST_FALSE` of good patches (N, V) exceed, evenly spaced."""
    ordered = good.sort(dim=0, descending=True).values
    rates = torch.arange(1, _THRESHOLDS + 1, device=good.device) / _THRESHOLDS * _MOST_FALSE
    return ordered[(rates * (len(good) - 1)).long()]


def _weights(found: Tensor, among: Tensor) -> Tensor:
    """Weights of those in the mask `among` that sum to 1; equal where none finds anything.

    What is found over what is missed: where synthetic anomalies are easy and every voice finds
    nearly all, the one that misses half as much as another is still worth eight times as much.
    """
    worth = among * (found / (1 - found).clamp_min(_LEAST_MISSED)) ** _POWER
    if not float(worth.sum()):
        worth = among.to(found)
    return worth / worth.sum().clamp_min(1e-9)
