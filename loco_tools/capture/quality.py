"""Measurements of a frame, recorded with every shot."""

import cv2
import numpy as np

from loco_tools.datasets.images import Pixels


def measure(image: Pixels) -> dict[str, float]:
    """Figures that tell a usable frame from a bad one.

    Args:
        image: (H, W, 3) uint8 RGB.

    Returns:
        sharpness: variance of the Laplacian of the grey image, higher is sharper;
        mean_level: mean grey level in 0-255;
        saturated_share, black_share: share of pixels at 255 or at 0 in any channel, 0-1.
    """
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    laplacian = cv2.Laplacian(grey, cv2.CV_64F)
    return {
        "sharpness": round(float(laplacian.var()), 2),
        "mean_level": round(float(grey.mean()), 2),
        "saturated_share": round(float(np.mean((image == 255).any(axis=2))), 5),
        "black_share": round(float(np.mean((image == 0).any(axis=2))), 5),
    }
