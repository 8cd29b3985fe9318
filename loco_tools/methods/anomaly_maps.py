"""From a grid of patch scores to anomaly maps at the images' own sizes."""

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

AnomalyMap = npt.NDArray[np.float32]

SIGMA_PX = 4.0
"""Standard deviation of the smoothing, in pixels of the detector's input, as published."""


def anomaly_maps(
    scores: Tensor,
    input_size: tuple[int, int],
    image_sizes: Sequence[tuple[int, int]],
    *,
    sigma_px: float = SIGMA_PX,
) -> list[AnomalyMap]:
    """Upsample patch scores to the input size, smooth, and bring each to its image's size.

    Args:
        scores: (B, h, w), one score per patch, higher is more anomalous.
        input_size: (H, W) of the detector's input.
        image_sizes: (H, W) of each of the B original images.
        sigma_px: standard deviation of the smoothing, in pixels of the input; 0: none.

    Returns:
        B maps, (H, W) float32 each. All resizing is bilinear with pixel areas aligned
        (align_corners False); the Gaussian is SciPy's (truncated at 4 sigma, reflected).
    """
    maps = input_maps(scores, input_size, sigma_px=sigma_px)
    return [resize_map(one, size) for one, size in zip(maps, image_sizes, strict=True)]


def input_maps(
    scores: Tensor, input_size: tuple[int, int], *, sigma_px: float = SIGMA_PX
) -> list[AnomalyMap]:
    """As `anomaly_maps`, at the input size: B maps (H, W) float32."""
    upsampled = functional.interpolate(
        scores[:, None].float(), size=input_size, mode="bilinear", align_corners=False
    )  # (B, 1, H, W)
    return [smooth(one.cpu().numpy(), sigma_px) for one in upsampled[:, 0]]


def smooth(anomaly_map: AnomalyMap, sigma_px: float = SIGMA_PX) -> AnomalyMap:
    """Gaussian smoothing of (H, W), equal to SciPy's `gaussian_filter(sigma, truncate=4)`."""
    if sigma_px == 0:
        return anomaly_map
    taps = 2 * int(4 * sigma_px + 0.5) + 1
    blurred = cv2.GaussianBlur(anomaly_map, (taps, taps), sigma_px, borderType=cv2.BORDER_REFLECT)
    return blurred.astype(np.float32, copy=False)


def resize_map(anomaly_map: AnomalyMap, size: tuple[int, int]) -> AnomalyMap:
    """Resize (h, w) bilinearly to `size`, with pixel areas aligned."""
    if anomaly_map.shape == size:
        return anomaly_map
    resized = functional.interpolate(
        torch.from_numpy(anomaly_map)[None, None], size=size, mode="bilinear", align_corners=False
    )
    result: AnomalyMap = resized[0, 0].numpy()
    return result
