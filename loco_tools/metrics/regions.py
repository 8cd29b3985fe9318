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
    _, labels = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)
    inside = labels[mask]
    weights: npt.NDArray[np.float64] = 1.0 / np.bincount(inside)[inside]
    return weights
