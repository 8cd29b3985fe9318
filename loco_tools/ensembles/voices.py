"""Voices of a feature-level ensemble: the heads on the fused features, and the members themselves.

Each voice gives a score per patch. Here they are brought to one scale, in part relative to what
good patches of the same look get, and weighed by how well they tell held-out good images from
synthetic anomalies made of them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor

_SHRINK = 4.0
"""Held-out patches that an anchor's own statistics have to outweigh."""
_AROUND = 8
"""Anchors whose statistics are pooled: an anchor and those nearest to it."""
_LEAST_STD = 1e-6
_EQUAL_SHARE = 0.5
"""Of the weights that no measurement on few images is allowed to take away."""
_POWER = 4
"""CAWPE's (Large et al. 2019)."""


@dataclass(frozen=True)
class Spoken:
    """What voices say about images.

    Attributes:
        patches: (N, V, h, w), a score per voice and patch.
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
    held-out good patches get, and (the share `local`) from what those get that look alike, which
    are nearest to the same anchor. Surfaces differ in how far good ones lie apart; without the
    second, a detector is as alarmed by an edge as by a scratch.
    """

    def __init__(self, state: Mapping[str, Tensor]) -> None:
        """`state` is what `tensors` gave."""
        self._state = dict(state)

    @classmethod
    def fit(cls, good: Spoken, anchors: Tensor, *, local: float, smoothing: float) -> "Voices":
        """From held-out good images, all voices weighing the same.

        Args:
            good: what the voices say about them.
            anchors: (M, D), the fused features that patches are told apart by.
            local: 0 to 1, see the class.
            smoothing: deviation of the Gaussian over maps, in patches, before an image's score is
                read off as the largest value.
        """
        V, M = good.patches.shape[1], good.images.shape[1]
        rows = good.patches.permute(0, 2, 3, 1).reshape(-1, V)
        mean, std = rows.mean(dim=0), rows.std(dim=0, correction=0).clamp_min(_LEAST_STD)
        expected = _expected(rows, good.nearest.flatten(), anchors, mean)
        apart = rows - expected[good.nearest.flatten()]
        device = rows.device
        state = {
            "mean": mean,
            "std": std,
            "expected": expected,
            "local_std": apart.std(dim=0, correction=0).clamp_min(_LEAST_STD),
            "settings": torch.tensor([local, smoothing], device=device),
            "weights": torch.full((V,), 1 / V, device=device),
            "member_weights": torch.full((M,), 1 / max(1, M), device=device),
            "image_mean": torch.zeros(V + M + 1, device=device),
            "image_std": torch.ones(V + M + 1, device=device),
        }
        voices = cls(state)
        voices._measure_images(good)
        return voices

    def weigh(self, good: Spoken, anomalous: Spoken) -> Tensor:
        """Weigh voices by their image AUROC on held-out good images against synthetic anomalies.

        A voice's worth is (2 AUROC - 1) to the power of CAWPE, nothing where it is no better than
        chance; half of every weight stays equal among those that are worth something.

        Returns:
            the AUROC of each voice and of each member's own image scores: (V + M,).
        """
        found, others = self._each_image(good), self._each_image(anomalous)
        auroc = torch.stack([_auroc(f, o) for f, o in zip(found.T, others.T, strict=True)])
        V = good.patches.shape[1]
        self._state["weights"] = _weights(auroc[:V])
        self._state["member_weights"] = _weights(auroc[V:])
        self._measure_images(good)
        return auroc

    def maps(self, spoken: Spoken) -> Tensor:
        """(N, h, w): the weighted mean of the voices' deviations."""
        deviations = self._deviations(spoken)
        mixed: Tensor = (deviations * self._state["weights"][:, None, None]).sum(dim=1)
        return mixed

    def image_scores(self, spoken: Spoken, maps: Tensor) -> Tensor:
        """(N,): the largest value of the smoothed map, and the members' own scores beside it.

        Both are deviations from what held-out good images get; each counts half.
        """
        s = self._state
        own = (self._largest(maps) - s["image_mean"][-1]) / s["image_std"][-1]
        if not spoken.images.shape[1]:
            return own
        V = spoken.patches.shape[1]
        members = (spoken.images - s["image_mean"][V:-1]) / s["image_std"][V:-1]
        return (own + (members * s["member_weights"]).sum(dim=1)) / 2

    def tensors(self) -> dict[str, Tensor]:
        """Everything learned, for saving."""
        return self._state

    def _measure_images(self, good: Spoken) -> None:
        each = torch.cat([self._each_image(good), self._largest(self.maps(good))[:, None]], dim=1)
        self._state["image_mean"] = each.mean(dim=0)
        self._state["image_std"] = each.std(dim=0, correction=0).clamp_min(_LEAST_STD)

    def _each_image(self, spoken: Spoken) -> Tensor:
        """(N, V + M): what each voice alone, and each member's own score, says of the images."""
        deviations = self._deviations(spoken)
        alone = [self._largest(deviations[:, k]) for k in range(deviations.shape[1])]
        return torch.cat([torch.stack(alone, dim=1), spoken.images], dim=1)

    def _deviations(self, spoken: Spoken) -> Tensor:
        s, local = self._state, float(self._state["settings"][0])
        rows = spoken.patches.permute(0, 2, 3, 1)  # (N, h, w, V)
        overall = (rows - s["mean"]) / s["std"]
        if not local:
            return overall.permute(0, 3, 1, 2)
        alike = (rows - s["expected"][spoken.nearest]) / s["local_std"]
        return ((1 - local) * overall + local * alike).permute(0, 3, 1, 2)

    def _largest(self, maps: Tensor) -> Tensor:
        sigma = float(self._state["settings"][1])
        if not sigma:
            return maps.flatten(1).amax(dim=1)
        blurred = [
            float(
                cv2.GaussianBlur(
                    np.ascontiguousarray(one), (0, 0), sigma, borderType=cv2.BORDER_REFLECT
                ).max()
            )
            for one in maps.float().cpu().numpy()
        ]
        return torch.tensor(blurred, device=maps.device, dtype=maps.dtype)


def _expected(rows: Tensor, nearest: Tensor, anchors: Tensor, overall: Tensor) -> Tensor:
    """(M, V): what good patches nearest to each anchor get, where few are seen drawn to all's."""
    M, V = len(anchors), rows.shape[1]
    count = torch.zeros(M, device=rows.device).index_add_(0, nearest, torch.ones_like(rows[:, 0]))
    total = torch.zeros(M, V, device=rows.device).index_add_(0, nearest, rows)
    near = [
        torch.cdist(part, anchors).topk(min(_AROUND, M), largest=False).indices
        for part in torch.split(anchors, 1024)
    ]
    around = torch.cat(near)  # (M, 8), an anchor itself first
    counts, totals = count[around].sum(dim=1), total[around].sum(dim=1)
    return (totals + _SHRINK * overall) / (counts[:, None] + _SHRINK)


def _weights(auroc: Tensor) -> Tensor:
    """Weights that sum to 1; equal ones where no voice is better than chance."""
    if not len(auroc):
        return auroc
    worth = (2 * auroc - 1).clamp_min(0)
    useful = (worth > 0).to(worth)
    if not float(useful.sum()):
        return torch.full_like(worth, 1 / len(worth))
    measured = worth**_POWER / (worth**_POWER).sum().clamp_min(1e-12)
    return _EQUAL_SHARE * useful / useful.sum() + (1 - _EQUAL_SHARE) * measured


def _auroc(good: Tensor, anomalous: Tensor) -> Tensor:
    """The share of pairs in which the anomalous one scores higher, ties half."""
    apart = anomalous[:, None] - good[None]
    return ((apart > 0).float() + 0.5 * (apart == 0).float()).mean()
