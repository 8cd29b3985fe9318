"""A backbone that needs no weights: wavelet scattering of brightness and colour.

Bruna and Mallat 2013, "Invariant Scattering Convolution Networks": local averages of the modulus
of wavelet coefficients (first order) and of the wavelet coefficients of that modulus (second
order). Computed on a pyramid: one small filter bank serves every scale.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional

from loco_tools.methods.backbones.base import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    NO_WEIGHTS,
    Backbone,
)

ORIENTATIONS = 8
LEVELS = 5
"""Pyramid levels with strides 1, 2, 4, 8, 16: wavelengths of about 3 to 46 input pixels."""
KERNEL_PX = 7
SIGMA_PX, FREQUENCY, SLANT = 1.3, 2.2, 0.6
"""Parameters of the Morlet wavelets, in pixels of a pyramid level and radians per such pixel."""
DARK = 0.05
"""RGB values well below this (of 0..1) count as black: their logarithm would be mostly noise."""
FLOOR = 0.01
"""Responses well below this (of the range 0..1) have no effect in log(1 + response / FLOOR)."""


class Scattering(Backbone):
    """Fixed features at strides 8 and 16; nothing is learned.

    Per pyramid level: first order of brightness and, from level 1 on, of two opponent colours
    (red - green, yellow - blue); centre-surround differences, separately for bright and dark
    centres, which have the same modulus of a wavelet; second order one and two levels further up.
    All features are log-compressed and averaged down to stride 8 (levels 0 to 2) or 16 (levels 3
    and 4), where the low-passed brightness and colours are appended. Cell i of stride s covers
    pixels s * i to s * (i + 1).
    """

    summary = "Wavelet scattering of brightness and colour; needs no weights."
    wavelets: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.name, self.weights, self.weight_free = "scattering", NO_WEIGHTS, True
        self.register_buffer("wavelets", morlet_bank(), persistent=False)
        self.channels = tuple(tap.shape[1] for tap in self.taps(torch.zeros(1, 3, 64, 64)))

    @torch.inference_mode()
    def taps(self, pixels: Tensor) -> tuple[Tensor, ...]:
        """See `Backbone.taps`; h and w are multiples of 16."""
        taps: dict[int, list[Tensor]] = {3: [], 4: []}
        image = opponents(pixels)  # (B, 3, h, w): brightness, two colours
        for level in range(LEVELS):
            image = self._add_level(image, level, taps)
            if level + 1 in taps:
                taps[level + 1].append(image)
        return tuple(torch.cat(maps, dim=1) for maps in taps.values())

    def _add_level(self, image: Tensor, level: int, taps: dict[int, list[Tensor]]) -> Tensor:
        """Append the features of the image at this level to `taps`; the image one level up."""
        brightness = image[:, :1]
        first = self._modulus(brightness if level == 0 else image)
        above = halve(image)
        surround = functional.interpolate(
            above[:, :1], size=image.shape[-2:], mode="bilinear", align_corners=False
        )
        centre = brightness - surround
        _collect(taps, torch.cat([first, centre.relu(), (-centre).relu()], dim=1), level)
        envelope = first[:, :ORIENTATIONS]
        for further in range(level + 1, min(level + 3, LEVELS)):
            envelope = halve(envelope)
            _collect(taps, self._modulus(envelope), further)
        return above

    def _modulus(self, maps: Tensor) -> Tensor:
        """Modulus of the wavelet coefficients: (B, C, h, w) -> (B, C * ORIENTATIONS, h, w)."""
        B, C, h, w = maps.shape
        pad = min(KERNEL_PX // 2, h - 1, w - 1)
        rest = KERNEL_PX // 2 - pad
        padded = functional.pad(maps.reshape(B * C, 1, h, w), [pad] * 4, mode="reflect")
        padded = functional.pad(padded, [rest] * 4, mode="replicate")
        real, imaginary = functional.conv2d(padded, self.wavelets).chunk(2, dim=1)
        modulus = (real.square() + imaginary.square()).sqrt()
        return modulus.view(B, C * ORIENTATIONS, h, w)


def morlet_bank() -> Tensor:
    """Real, then imaginary parts of the wavelets, which have mean zero: (2 * O, 1, k, k)."""
    reach = torch.arange(KERNEL_PX) - KERNEL_PX // 2.0
    y, x = torch.meshgrid(reach, reach, indexing="ij")
    real, imaginary = [], []
    for orientation in range(ORIENTATIONS):
        angle = math.pi * orientation / ORIENTATIONS
        along = x * math.cos(angle) + y * math.sin(angle)
        across = y * math.cos(angle) - x * math.sin(angle)
        envelope = torch.exp(-(along**2 + (SLANT * across) ** 2) / (2 * SIGMA_PX**2))
        envelope = envelope / envelope.sum()
        wave = torch.cos(FREQUENCY * along)
        real.append(envelope * (wave - (envelope * wave).sum()))
        imaginary.append(envelope * torch.sin(FREQUENCY * along))
    return torch.stack(real + imaginary)[:, None]


def opponents(pixels: Tensor) -> Tensor:
    """ImageNet-normalised RGB (B, 3, h, w) -> (B, 3, h, w): brightness, red - green, yellow - blue.

    They are computed from the logarithm of RGB, from 0 for black to 1 for white: uneven light
    multiplies what a part reflects, so in logarithms it is an additive term that differences
    between neighbours cancel (homomorphic filtering, Oppenheim et al. 1968).
    """
    mean = torch.tensor(IMAGENET_MEAN, device=pixels.device)[:, None, None]
    std = torch.tensor(IMAGENET_STD, device=pixels.device)[:, None, None]
    rgb = (pixels * std + mean).clamp(0, 1)
    logs = torch.log1p(rgb / DARK) / math.log1p(1 / DARK)
    red, green, blue = logs.unbind(dim=1)
    brightness = (red + green + blue) / 3
    return torch.stack([brightness, red - green, (red + green) / 2 - blue], dim=1)


def halve(maps: Tensor) -> Tensor:
    """Low-pass (1 3 3 1) and every second pixel; pixel i covers 2i and 2i + 1."""
    C = maps.shape[1]
    line = torch.tensor([1.0, 3.0, 3.0, 1.0], device=maps.device) / 8
    padded = functional.pad(maps, (1, 1, 1, 1), mode="replicate")
    rows = functional.conv2d(
        padded, line.view(1, 1, 4, 1).expand(C, 1, 4, 1), stride=(2, 1), groups=C
    )
    return functional.conv2d(
        rows, line.view(1, 1, 1, 4).expand(C, 1, 1, 4), stride=(1, 2), groups=C
    )


def _collect(taps: dict[int, list[Tensor]], responses: Tensor, level: int) -> None:
    """Average the responses of a pyramid level down to the stride of its tap and append them."""
    tap = 3 if level < 3 else 4
    averaged = functional.avg_pool2d(responses, 2 ** (tap - level)) if tap > level else responses
    taps[tap].append(torch.log1p(averaged / FLOOR))
