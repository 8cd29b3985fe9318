"""Logical anomalies: components of the part that are copied or removed, each intact by itself.

Each function draws one anomaly and returns the changed image (H, W, 3), or None when the image
has no place for it this time.
"""

import cv2
import numpy as np
import numpy.typing as npt

from loco_tools.datasets.images import Pixels
from loco_tools.synthesis.scene import Scene, to_bytes


def copy_move(scene: Scene, rng: np.random.Generator) -> Pixels | None:
    """A copy of a component (a hole, a screw, a mark) at a wrong position, with feathered edges."""
    box = scene.random_component(rng)
    if box is None:
        return None
    is_scaled = rng.random() >= 0.7
    centre_y, centre_x = scene.random_pixel(rng)
    image, (y, x, h, w) = scene.image, box
    copy: npt.NDArray[np.float32] = image[y : y + h, x : x + w].astype(np.float32)
    if is_scaled:
        scale = float(rng.uniform(0.7, 1.4))
        resized = cv2.resize(copy, None, fx=scale, fy=scale, interpolation=cv2.INTER_LINEAR)
        copy = resized.astype(np.float32)
        h, w = copy.shape[:2]
    top, left = centre_y - h // 2, centre_x - w // 2
    if top < 0 or left < 0 or top + h > image.shape[0] or left + w > image.shape[1]:
        return None
    if abs(top - y) < h and abs(left - x) < w:
        return None
    down, across = np.mgrid[:h, :w].astype(np.float32)
    radius = np.hypot((down - (h - 1) / 2) / (h / 2), (across - (w - 1) / 2) / (w / 2))
    share = np.clip((1.05 - radius) / 0.25, 0, 1)[..., None]
    changed = image.copy()
    target = image[top : top + h, left : left + w]
    changed[top : top + h, left : left + w] = to_bytes(target * (1 - share) + copy * share)
    return changed


def removal(scene: Scene, rng: np.random.Generator) -> Pixels | None:
    """A component is missing: its area is inpainted from its surroundings, with their grain."""
    box = scene.random_component(rng)
    if box is None:
        return None
    image, (y, x, h, w) = scene.image, box
    hole = np.zeros(scene.size, np.uint8)
    hole[y : y + h, x : x + w] = 255
    margin = max(8, h // 2, w // 2)
    top, left = max(0, y - margin), max(0, x - margin)
    window = np.s_[top : y + h + margin, left : x + w + margin]
    changed = image.copy()
    changed[window] = cv2.inpaint(image[window].copy(), hole[window].copy(), 3, cv2.INPAINT_TELEA)
    ring = np.zeros_like(hole)
    ring[window] = 255
    ring[y : y + h, x : x + w] = 0
    surroundings = image[ring > 0].astype(np.float32)
    grain = rng.normal(0, 0.25 * float(surroundings.std(axis=0).mean()), (h, w, 1))
    changed[y : y + h, x : x + w] = to_bytes(changed[y : y + h, x : x + w] + grain)
    return changed
