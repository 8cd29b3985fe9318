"""A backbone that needs no weights: wavelet scattering of brightness and colour.

Bruna and Mallat 2013, "Invariant Scattering Convolution Networks": averages of the modulus of
wavelet coefficients (first order) and of the wavelet coefficients of that modulus (second order).
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from loco_tools.methods.backbones import NO_WEIGHTS, Backbone
from loco_tools.methods.batch import IMAGENET_MEAN, IMAGENET_STD

ORIENTATIONS = 8
SCALES = 4
KERNEL_PX = 7


class Scattering(Backbone):
    """v0"""

    wavelets: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.name, self.weights, self.weight_free = "scattering", NO_WEIGHTS, True
        self.register_buffer("wavelets", morlet_bank())
        self.register_buffer("blur", binomial())
        self.eps = 0.01
        probe = self.taps(torch.zeros(1, 3, 64, 64))
        self.channels = tuple(t.shape[1] for t in probe)

    def _wave(self, x):
        B, C, h, w = x.shape
        pad = KERNEL_PX // 2
        p = functional.pad(x.reshape(B * C, 1, h, w), (pad,) * 4, mode="reflect")
        y = functional.conv2d(p, self.wavelets)  # (BC, 2*O, h, w)
        y = y.view(B, C, 2, ORIENTATIONS, h, w)
        return (y[:, :, 0].square() + y[:, :, 1].square() + 1e-12).sqrt().flatten(1, 2)

    def _down(self, x):
        k = self.blur
        C = x.shape[1]
        x = functional.pad(x, (1, 2, 1, 2), mode="replicate")
        return functional.conv2d(functional.conv2d(x, k.view(1,1,1,4).expand(C,1,1,4), groups=C, stride=(1,2)), k.view(1,1,4,1).expand(C,1,4,1), groups=C, stride=(2,1))

    def _to(self, x, level, target):
        while level < target:
            x = self._down(x); level += 1
        return x

    @torch.inference_mode()
    def taps(self, pixels: Tensor) -> tuple[Tensor, ...]:
        std = torch.tensor(IMAGENET_STD, device=pixels.device).view(3, 1, 1)
        mean = torch.tensor(IMAGENET_MEAN, device=pixels.device).view(3, 1, 1)
        rgb = pixels * std + mean
        lum = rgb.mean(1, keepdim=True)
        rg = rgb[:, :1] - rgb[:, 1:2]
        yb = (rgb[:, :1] + rgb[:, 1:2]) / 2 - rgb[:, 2:]
        colour = torch.cat([rg, yb], 1)
        log = lambda u: torch.log1p(u / self.eps)
        out = {3: [], 4: []}
        level = lum
        col = colour
        for j in range(SCALES + 1):
            u1 = self._wave(level)
            t = 3 if j < 3 else 4
            out[t].append(log(self._to(u1, j, t)))
            if j >= 1:
                cu = self._wave(col)
                out[t].append(log(self._to(cu, j, t)))
            # second order
            v = u1
            for j2 in range(j + 1, SCALES + 1):
                v = self._down(v)
                if j2 > 4: break
                u2 = self._wave(v)
                t2 = 3 if j2 < 3 else 4
                if j2<=j+2: out[t2].append(log(self._to(u2, j2, t2)))
            # on/off
            nxt = self._down(level)
            up = functional.interpolate(nxt, size=level.shape[-2:], mode="bilinear", align_corners=False)
            dog = level - up
            out[t].append(log(self._to(torch.cat([dog.relu(), (-dog).relu()], 1), j, t)))
            level = nxt
            col = self._down(col)
            if j + 1 in (3, 4):
                out[j + 1] += [level, col]
        return tuple(torch.cat(out[t], 1) for t in (3, 4))


def binomial():
    return torch.tensor([1., 3, 3, 1]) / 8


def morlet_bank() -> Tensor:
    """(2 * O, 1, k, k)"""
    r = KERNEL_PX // 2
    y, x = torch.meshgrid(torch.arange(-r, r + 1.0), torch.arange(-r, r + 1.0), indexing="ij")
    sigma, xi, slant = 1.3, 2.2, 0.6
    re, im = [], []
    for o in range(ORIENTATIONS):
        th = math.pi * o / ORIENTATIONS
        u = x * math.cos(th) + y * math.sin(th)
        v = -x * math.sin(th) + y * math.cos(th)
        env = torch.exp(-(u**2 + (slant * v) ** 2) / (2 * sigma**2))
        c, s = torch.cos(xi * u), torch.sin(xi * u)
        c = c - (env * c).sum() / env.sum()
        n = env.sum()
        re.append(env * c / n)
        im.append(env * s / n)
    return torch.stack(re + im)[:, None]
