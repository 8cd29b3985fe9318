"""Synthetic anomalies of DRAEM: blobs of a foreign texture in good images.

Zavrtanik et al. 2021, "DRAEM", ICCV, section 3.3. All functions work on arrays and draw random
numbers from the given generator only.
"""

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from PIL import Image, ImageEnhance, ImageOps

from loco_tools.datasets.images import Pixels
from loco_tools.synthesis.perlin import Field, Mask, perlin_mask, turned
from loco_tools.synthesis.textures import TextureSource

_OPERATIONS = 3
"""Number of operations, out of ten, that are applied to each texture."""
_MOST_TRANSPARENT = 0.8


@dataclass(frozen=True)
class Example:
    """A good image, the image with its anomaly, and the mask of the anomaly, which may be empty.

    `good` and `image` are (H, W, 3) float32 in 0..1, `mask` is (H, W).
    """

    good: Field
    image: Field
    mask: Mask

    @property
    def pixels(self) -> Pixels:
        """The image as input of detectors: (H, W, 3) uint8."""
        return (self.image * 255).round().astype(np.uint8)


def with_anomaly(image: Pixels, textures: TextureSource, rng: np.random.Generator) -> Example:
    """Add blobs of an augmented, partly transparent texture to a good image (H, W, 3).

    There may be no blob, see `perlin_mask`. With transparency b, drawn from 0 to 0.8, the pixels of
    a blob are (1 - b) texture + b image.
    """
    size = (image.shape[0], image.shape[1])
    good, texture = _floats(image), _floats(augmented(textures(size, rng), rng))
    mask = perlin_mask(size, rng)
    transparency = np.float32(rng.uniform(0, _MOST_TRANSPARENT))
    blended = (1 - transparency) * texture + transparency * good
    mixed: Field = np.where(mask[..., None], blended, good).astype(np.float32, copy=False)
    return Example(good, mixed, mask)


def without_anomaly(image: Pixels) -> Example:
    """A good image (H, W, 3) without an anomaly."""
    good = _floats(image)
    return Example(good, good, np.zeros(image.shape[:2], np.bool_))


def augmented(texture: Pixels, rng: np.random.Generator) -> Pixels:
    """Apply three different operations of `OPERATIONS` to a texture (H, W, 3), in random order."""
    for number in rng.choice(len(OPERATIONS), _OPERATIONS, replace=False):
        texture = OPERATIONS[number](texture, rng)
    return texture


def rotated(image: Pixels, most_deg: float, rng: np.random.Generator) -> Pixels:
    """Rotate about the centre by up to `most_deg` in either direction, with black corners."""
    return turned(image, rng.uniform(-most_deg, most_deg))


def _floats(image: Pixels) -> Field:
    return image.astype(np.float32) / np.float32(255)


def _gamma(image: Pixels, rng: np.random.Generator) -> Pixels:
    share = np.linspace(0, 1, 256)[:, None]
    curves = (255 * share ** rng.uniform(0.5, 2.0, 3)).round().astype(np.uint8)
    return cv2.LUT(image, curves[:, None]).astype(np.uint8, copy=False)  # (256, 1, 3) curves


def _brightness(image: Pixels, rng: np.random.Generator) -> Pixels:
    factor, offset = rng.uniform(0.8, 1.2), rng.uniform(-30, 30)
    hsv = cv2.cvtColor(image, cv2.COLOR_RGB2HSV)
    hsv[..., 2] = np.clip(hsv[..., 2] * factor + offset, 0, 255).astype(np.uint8)
    return cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB).astype(np.uint8, copy=False)


def _hue_and_saturation(image: Pixels, rng: np.random.Generator) -> Pixels:
    hue, saturation = rng.uniform(-50, 50, 2)
    hsv = cv2.cvtColor(image, cv2.COLOR_RGB2HSV)
    hue_of_180 = hsv[..., 0] + hue * 180 / 255
    hsv[..., 0] = (hue_of_180 % 180).astype(np.uint8)
    hsv[..., 1] = np.clip(hsv[..., 1] + saturation, 0, 255).astype(np.uint8)
    return cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB).astype(np.uint8, copy=False)


def _solarise(image: Pixels, rng: np.random.Generator) -> Pixels:
    threshold, is_applied = int(rng.integers(32, 129)), rng.random() < 0.5
    return np.array(ImageOps.solarize(Image.fromarray(image), threshold)) if is_applied else image


OPERATIONS: tuple[Callable[[Pixels, np.random.Generator], Pixels], ...] = (
    _gamma,
    _brightness,
    # sharpness
    lambda image, rng: np.array(
        ImageEnhance.Sharpness(Image.fromarray(image)).enhance(rng.uniform(0.1, 1.9))
    ),
    _hue_and_saturation,
    _solarise,
    # posterise
    lambda image, rng: np.array(
        ImageOps.posterize(Image.fromarray(image), int(rng.integers(1, 9)))
    ),
    # invert
    lambda image, _rng: cv2.bitwise_not(image).astype(np.uint8, copy=False),
    # autocontrast, with a cut-off in percent
    lambda image, rng: np.array(
        ImageOps.autocontrast(Image.fromarray(image), float(rng.uniform(0, 20)))
    ),
    # equalise
    lambda image, _rng: np.array(ImageOps.equalize(Image.fromarray(image))),
    lambda image, rng: rotated(image, 45, rng),
)
"""The operations on a texture; ranges that the paper does not give are those of imgaug."""
