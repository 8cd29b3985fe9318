"""Connected regions of a ground truth mask."""

import cv2
import numpy as np
import numpy.typing as npt


def pixel_weights(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
    """Weigh each defect pixel by one over the area of its 8-connected component.

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
