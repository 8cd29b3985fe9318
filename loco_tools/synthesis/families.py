"""Synthetic anomalies in held-out good images, for the weights and calibration of ensemble members.

Members that were trained on synthetic anomalies are overconfident on anomalies of the same kind.
The families here are therefore different ones: structural anomalies after CutPaste and as stains,
logical ones by copying and removing components. Only the family "texture" is DRAEM's; it is left
out where a member was trained on it.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from loco_tools.datasets.images import Pixels, Size, resize_image
from loco_tools.errors import MethodError, did_you_mean
from loco_tools.synthesis import logical, structural
from loco_tools.synthesis.perlin import Mask
from loco_tools.synthesis.scene import Scene

_TRIES = 20
_LEAST_PX = 6
"""Anomalies with fewer changed pixels are discarded, since no detector could find them."""
_LEAST_CHANGE = 6.0
"""Grey levels by which a pixel has to differ to count as changed."""

FAMILIES: dict[str, Callable[[Scene, np.random.Generator], Pixels | None]] = {
    "stain": structural.stain,
    "cut_paste": structural.cut_paste,
    "copy_move": logical.copy_move,
    "scar": structural.scar,
    "removal": logical.removal,
    "smear": structural.smear,
    "texture": structural.texture,
}
"""Name -> function that draws one anomaly, or returns None when the image has no place for it."""

LEARNED_FROM = ("texture",)
"""Families that DRAEM is trained on; a member that was trained on them is overconfident there."""

LOGICAL = ("copy_move", "removal")
"""Families whose components are all intact and whose arrangement is wrong."""


@dataclass(frozen=True)
class Synthetic:
    """A good image with synthetic anomalies.

    Attributes:
        image: (H, W, 3) uint8.
        masks: the changed pixels of each anomaly, (H, W) bool.
        families: the family of each anomaly.
        source: index of the good image.
    """

    image: Pixels
    masks: tuple[Mask, ...]
    families: tuple[str, ...]
    source: int

    @property
    def mask(self) -> Mask:
        """(H, W) bool: all changed pixels."""
        covered: Mask = np.logical_or.reduce(self.masks)
        return covered


def synthetic_anomalies(
    images: Sequence[Pixels],
    count: int,
    *,
    seed: int,
    families: Sequence[str] | None = None,
    each: int = 1,
    size: Size | None = None,
) -> Iterator[Synthetic]:
    """Make anomalies in good images, with families and source images in turn.

    Args:
        images: good images that no member was trained on, (H, W, 3) uint8 each.
        count: number of images to make.
        seed: the same seed and images give the same anomalies.
        families: names in `FAMILIES`; None: all of them.
        each: number of anomalies per image; a later one may cover an earlier one.
        size: (h, w) of the detectors' input. Larger images are resized to it first, since an
            anomaly in 5 million pixels takes more than half a second to make.

    Raises:
        MethodError: there are no images, or a family is unknown.
    """
    names = list(FAMILIES if families is None else families)
    for name in names:
        if name not in FAMILIES:
            raise MethodError(
                f'unknown family of anomalies "{name}"; {did_you_mean(name, FAMILIES)}'
            )
    if not images or not names:
        raise MethodError("expected good images and families to make anomalies from, got none")
    order = np.random.default_rng(seed).permutation(len(images))
    for number in range(count):
        source = int(order[number % len(images)])
        rng = np.random.default_rng([seed, number])
        chosen = tuple(names[(number * each + k) % len(names)] for k in range(each))
        image, masks = images[source], []
        if size is not None and image.shape[0] * image.shape[1] > size[0] * size[1]:
            image = resize_image(image, size)
        for family in chosen:
            image, mask = _make_anomaly(image, family, rng)
            masks.append(mask)
        yield Synthetic(image, tuple(masks), chosen, source)


def _make_anomaly(image: Pixels, family: str, rng: np.random.Generator) -> tuple[Pixels, Mask]:
    """The image with one anomaly, and its changed pixels.

    When no anomaly of the family can be placed, a stain is made instead; in an image without any
    contrast, a small rectangle is inverted.
    """
    scene = Scene(image)
    for name in (family, "stain"):
        for _ in range(_TRIES):
            changed = FAMILIES[name](scene, rng)
            if changed is None:
                continue
            red, green, blue = cv2.split(cv2.absdiff(changed, image))
            mask = cv2.max(cv2.max(red, green), blue) >= _LEAST_CHANGE
            if mask.sum() >= _LEAST_PX:
                # small gaps of pixels that a change happened to leave as they were are closed
                kernel = np.ones((3, 3), np.uint8)
                closed = cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_CLOSE, kernel)
                return changed, closed.astype(np.bool_)
    height, width = scene.size
    y, x = int(rng.integers(height)), int(rng.integers(width))
    rectangle = np.zeros((height, width), np.bool_)
    rectangle[max(0, y - height // 20) : y + height // 20 + 1, max(0, x - 4) : x + 5] = True
    return np.where(rectangle[..., None], 255 - image, image).astype(np.uint8), rectangle
