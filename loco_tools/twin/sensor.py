"""From radiance to the bytes of a camera: lens, exposure, sensor noise, white balance, sRGB."""

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from loco_tools.plan import CameraSettings
from loco_tools.twin.surface import Points

_NOMINAL_EXPOSURE_US = 12000.0
_FULL_WELL_E = 11000.0
_READ_NOISE_E = 9.0
_BLUR_PX = 0.55
_VIGNETTING = 0.16
"""Light lost in the far corner of the picture."""


def white_balance(rng: np.random.Generator) -> Points:
    """Gains (3,) of a camera balanced a little too warm or too cold, as at the start of a day."""
    warmth, green = rng.normal(0.0, 0.02), rng.normal(0.0, 0.006)
    return np.array([1.0 + warmth, 1.0 + green, 1.0 - warmth])


def develop(
    radiance: Points,
    camera: CameraSettings,
    rng: np.random.Generator,
    balance: Points | None = None,
) -> NDArray[np.uint8]:
    """The picture (H, W, 3) uint8 RGB that a camera makes of linear radiance (H, W, 3).

    Radiance 1 saturates the sensor at an exposure of 12 ms and no gain. Photon noise follows the
    square root of the light, as electrons do; gain amplifies it.

    Args:
        radiance: (H, W, 3).
        camera: exposure and gain.
        rng: of focus and noise; another one for every shot.
        balance: gains (3,) of red, green and blue; none: neutral.
    """
    gain = 10 ** (camera.gain_db / 20)
    exposure = camera.exposure_us / _NOMINAL_EXPOSURE_US
    sharpness = _BLUR_PX * rng.uniform(0.9, 1.25)
    light = _blurred(radiance, sharpness) * _vignette(*radiance.shape[:2])[..., None] * exposure
    electrons = np.clip(light, 0.0, 8.0) * _FULL_WELL_E
    noise = rng.standard_normal(light.shape) * noise_deviation(light) * _FULL_WELL_E
    level = np.clip((electrons + noise) / _FULL_WELL_E * gain, 0.0, None)
    return _to_bytes(_toned(level if balance is None else level * balance))


def noise_deviation(light: Points) -> Points:
    """Deviation of the sensor's noise at that much light, both in shares of saturation."""
    electrons = np.clip(light, 0.0, 8.0) * _FULL_WELL_E
    return np.asarray(np.sqrt(electrons + _READ_NOISE_E**2) / _FULL_WELL_E)


def _toned(level: Points) -> Points:
    """A soft shoulder instead of a hard clip above 0.8."""
    over = np.maximum(level - 0.8, 0.0)
    return np.asarray(np.where(level > 0.8, 0.8 + 0.2 * (1 - np.exp(-over / 0.2)), level))


def _to_bytes(linear: Points) -> NDArray[np.uint8]:
    clipped = np.clip(linear, 0.0, 1.0)
    # sRGB, IEC 61966-2-1
    curve = 1.055 * np.maximum(clipped, 1e-9) ** (1 / 2.4) - 0.055
    encoded = np.where(clipped <= 0.0031308, 12.92 * clipped, curve)
    return np.asarray(np.round(encoded * 255), dtype=np.uint8)


def _vignette(height: int, width: int) -> Points:
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    radius = np.hypot(x - (width - 1) / 2, y - (height - 1) / 2)
    return np.asarray(1.0 - _VIGNETTING * (radius / math.hypot(width / 2, height / 2)) ** 2)


def _blurred(image: Points, sigma: float) -> Points:
    size = 2 * math.ceil(3 * sigma) + 1
    blurred = cv2.GaussianBlur(image, (size, size), sigma, borderType=cv2.BORDER_REPLICATE)
    return np.asarray(blurred)
