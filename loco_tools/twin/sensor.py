"""The simulated camera: lens blur, vignetting, exposure, noise, white balance and sRGB."""

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
"""Share of light that is lost in the corners of the picture."""


def white_balance(rng: np.random.Generator) -> Points:
    """Gains (3,) of a white balance that is slightly too warm or too cold."""
    warmth, green = rng.normal(0.0, 0.02), rng.normal(0.0, 0.006)
    return np.array([1.0 + warmth, 1.0 + green, 1.0 - warmth])


def develop(
    radiance: Points,
    camera: CameraSettings,
    rng: np.random.Generator,
    balance: Points | None = None,
) -> NDArray[np.uint8]:
    """Convert linear radiance (H, W, 3) to the picture (H, W, 3) uint8 RGB of a camera.

    Radiance 1 saturates the sensor at an exposure of 12 ms and no gain. Photon noise follows the
    square root of the light, as electrons do; gain amplifies it.

    Args:
        radiance: (H, W, 3).
        camera: exposure and gain.
        rng: of focus and noise; use another one for every shot.
        balance: gains (3,) of red, green and blue; None: neutral.
    """
    gain = 10 ** (camera.gain_db / 20)
    exposure = camera.exposure_us / _NOMINAL_EXPOSURE_US
    sigma = _BLUR_PX * rng.uniform(0.9, 1.25)
    size = 2 * math.ceil(3 * sigma) + 1
    blurred = cv2.GaussianBlur(radiance, (size, size), sigma, borderType=cv2.BORDER_REPLICATE)
    height, width = radiance.shape[:2]
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    radius = np.hypot(x - (width - 1) / 2, y - (height - 1) / 2)
    vignette = 1.0 - _VIGNETTING * (radius / math.hypot(width / 2, height / 2)) ** 2
    light = np.asarray(blurred) * vignette[..., None] * exposure
    electrons = np.clip(light, 0.0, 8.0) * _FULL_WELL_E
    noise = rng.standard_normal(light.shape) * noise_deviation(light) * _FULL_WELL_E
    level = np.clip((electrons + noise) / _FULL_WELL_E * gain, 0.0, None)
    level = level if balance is None else level * balance
    # above 0.8 a soft shoulder replaces hard clipping
    shoulder = 0.8 + 0.2 * (1 - np.exp(-np.maximum(level - 0.8, 0.0) / 0.2))
    linear = np.clip(np.where(level > 0.8, shoulder, level), 0.0, 1.0)
    # sRGB, IEC 61966-2-1
    curve = 1.055 * np.maximum(linear, 1e-9) ** (1 / 2.4) - 0.055
    encoded = np.where(linear <= 0.0031308, 12.92 * linear, curve)
    return np.asarray(np.round(encoded * 255), dtype=np.uint8)


def noise_deviation(light: Points) -> Points:
    """Standard deviation of the sensor noise at a light level, both as shares of saturation."""
    electrons = np.clip(light, 0.0, 8.0) * _FULL_WELL_E
    return np.asarray(np.sqrt(electrons + _READ_NOISE_E**2) / _FULL_WELL_E)
