"""A backbone learned in seconds from the class's own good training images.

Coates and Ng 2012, "Learning Feature Representations with K-means", and Coates, Lee and Ng 2011,
"An Analysis of Single-Layer Networks in Unsupervised Feature Learning": small patches,
contrast-normalised and whitened, a spherical k-means dictionary, two-sided soft-threshold encoding
and pooling. Here at several scales of an image pyramid, and log-compressed.
"""

import copy
import hashlib
import math
from collections.abc import Iterator
from typing import NamedTuple, Self

import torch
from torch import Tensor
from torch.nn import functional

from loco_tools.errors import MethodError
from loco_tools.methods.backbones.base import NO_WEIGHTS, Backbone
from loco_tools.methods.backbones.scattering import halve, opponents


class Level(NamedTuple):
    """A pyramid level, the stride of its encoding in pixels, and log2 of the stride of its tap."""

    level: int
    step: int
    tap: int


LEVELS = (Level(0, 2, 3), Level(1, 1, 3), Level(2, 1, 4), Level(3, 1, 4))
ATOMS = 62
PATCH_PX = 5
"""In the pixels of a pyramid level: 5 to 40 input pixels."""
COLOURS = 3
LOW_REPEATS = 2
"""How often the low-passed brightness and colours are repeated among the features. This makes 256
channels per tap, a number that the detectors' pooling handles in groups instead of densely."""
SAMPLES = 12_000
"""Patches per level that whitening and dictionary are learned from."""
ROUNDS = 8
"""Iterations of k-means."""
LEAST_CONTRAST = 0.04
"""Patches of less contrast (of the range 0..1) are not amplified to that of the others: noise stays
small, and the contrast of weak texture is preserved. Like FLOOR chosen on synthetic anomalies of
held-out good training images (PatchCore, magnetic tiles and angle; mean image AUROC): .805 for
.04, .796 for .1, .767 for .25."""
WHITENING_FLOOR = 0.1
"""Added to every variance before whitening, in mean variances."""
THRESHOLD = 0.5
"""Threshold of the encoding, in standard deviations of the responses."""
FLOOR = 0.05
"""Pooled responses well below this have no effect in log(1 + response / FLOOR). Chosen as above:
.795 for .01, .805 for .05; .766 for .5 (this one at a least contrast of .1)."""


class Dictionary(Backbone):
    """Features at strides 8 and 16, learned by `fit`; until then `taps` is an error.

    Per pyramid level and atom there are the positive and the negative part of the response, per
    level the logarithm of the local contrast, and per tap the low-passed brightness and colours.
    Cell i of stride s covers pixels s * i to s * (i + 1).
    """

    summary = "A dictionary learned in seconds from the class's own good images; needs no weights."

    def __init__(self) -> None:
        super().__init__()
        self.name, self.weights, self.weight_free = "dictionary", NO_WEIGHTS, True
        taps = [level.tap for level in LEVELS]
        self.channels = tuple(
            taps.count(tap) * (2 * ATOMS + 1) + LOW_REPEATS * COLOURS for tap in sorted(set(taps))
        )
        for level in LEVELS:
            kernel = torch.zeros(ATOMS, COLOURS, PATCH_PX, PATCH_PX)
            self.register_buffer(f"kernel{level.level}", kernel)
            self.register_buffer(f"offset{level.level}", torch.zeros(ATOMS))

    def own(self) -> Self:
        """See `Backbone.own`: a copy, so that fitting changes no other detector's backbone."""
        return copy.deepcopy(self)

    @torch.inference_mode()
    def fit(self, pixels: Iterator[Tensor], *, count: int, seed: int) -> None:
        """See `Backbone.fit`."""
        generator = torch.Generator().manual_seed(seed)
        per_image = math.ceil(SAMPLES / count)
        drawn: list[list[Tensor]] = [[] for _ in LEVELS]
        for images in pixels:
            pyramid = self._pyramid(images)
            for rows, level in zip(drawn, LEVELS, strict=True):
                rows.append(_draw_patches(pyramid[level.level], per_image, generator))
        for rows, level in zip(drawn, LEVELS, strict=True):
            kernel, offset = _learn_dictionary(torch.cat(rows), generator)
            self.get_buffer(f"kernel{level.level}").copy_(kernel)
            self.get_buffer(f"offset{level.level}").copy_(offset)
        self.weights = self._fingerprint()

    def learned(self) -> dict[str, Tensor]:
        """See `Backbone.learned`."""
        return self.state_dict()

    def restore(self, learned: dict[str, Tensor]) -> None:
        """See `Backbone.restore`."""
        self.load_state_dict(learned)
        self.weights = self._fingerprint()

    @torch.inference_mode()
    def taps(self, pixels: Tensor) -> tuple[Tensor, ...]:
        """See `Backbone.taps`; h and w are multiples of 16.

        Raises:
            MethodError: neither fitted nor restored.
        """
        if self.weights == NO_WEIGHTS:
            raise MethodError(
                "backbone dictionary has not been fitted; next step: fit the detector that uses it"
            )
        pyramid = self._pyramid(pixels)
        taps: dict[int, list[Tensor]] = {level.tap: [] for level in LEVELS}
        for level in LEVELS:
            taps[level.tap] += self._encode(pyramid[level.level], level)
        return tuple(
            torch.cat([*taps[tap], *[pyramid[tap]] * LOW_REPEATS], dim=1) for tap in sorted(taps)
        )

    def _encode(self, image: Tensor, level: Level) -> list[Tensor]:
        """Codes (B, 2 * ATOMS, h, w) and log contrast (B, 1, h, w) at the stride of the tap."""
        before = (PATCH_PX - level.step) // 2  # patches are centred on the pixels of their cell
        after = PATCH_PX - level.step - before
        padded = _pad(image, before, after)
        contrast = _contrast(padded, level.step)  # (B, 1, h', w')
        responses = functional.conv2d(
            padded, self.get_buffer(f"kernel{level.level}"), stride=level.step
        )
        responses = responses / contrast
        responses -= self.get_buffer(f"offset{level.level}")[:, None, None]
        codes = torch.cat([responses - THRESHOLD, -responses - THRESHOLD], dim=1).relu_()
        cells = 2**level.tap // (2**level.level * level.step)
        pooled = torch.log1p(functional.avg_pool2d(codes, cells) / FLOOR)
        return [pooled, torch.log(functional.avg_pool2d(contrast, cells) / LEAST_CONTRAST)]

    def _pyramid(self, pixels: Tensor) -> list[Tensor]:
        """Brightness and two opponent colours at strides 1, 2, 4, ... up to the deepest tap's."""
        levels = [opponents(pixels)]
        for _ in range(max(level.tap for level in LEVELS)):
            levels.append(halve(levels[-1]))
        return levels

    def _fingerprint(self) -> str:
        """The first 12 digits of the parameters' SHA-256."""
        digest = hashlib.sha256()
        for _, value in sorted(self.state_dict().items()):
            digest.update(value.cpu().numpy().tobytes())
        return digest.hexdigest()[:12]


def _draw_patches(image: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """`count` patches of each image, mean of each colour removed, contrast normalised: (N, d)."""
    padded = _pad(image, PATCH_PX // 2, PATCH_PX // 2)
    windows = padded.unfold(2, PATCH_PX, 1).unfold(3, PATCH_PX, 1)  # (B, C, h', w', k, k)
    B, C, h, w = windows.shape[:4]
    cell = torch.randint(h * w, (B, count), generator=generator).to(image.device)
    which = torch.arange(B, device=image.device)[:, None]
    patches = windows[which, :, cell // w, cell % w].reshape(B * count, C, PATCH_PX**2)
    centred = patches - patches.mean(dim=2, keepdim=True)
    power = centred.square().mean(dim=2).sum(dim=1) + LEAST_CONTRAST**2
    return centred.flatten(1) / power.sqrt()[:, None]


def _contrast(padded: Tensor, step: int) -> Tensor:
    """Root of the variance of each patch, summed over colours, at least LEAST_CONTRAST."""
    mean = functional.avg_pool2d(padded, PATCH_PX, step)
    power = functional.avg_pool2d(padded.square(), PATCH_PX, step)
    variance = (power - mean.square()).clamp_min(0).sum(dim=1, keepdim=True)
    return (variance + LEAST_CONTRAST**2).sqrt()


def _learn_dictionary(rows: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Normalised patches (N, d) -> kernels (ATOMS, C, k, k) and their offsets (ATOMS,).

    A response is atom . W (x - mean), with W the whitening: one convolution with atom . W, which
    also takes out the patch's mean, and one constant.
    """
    mean = rows.mean(dim=0)
    centred = rows - mean
    values, vectors = torch.linalg.eigh(centred.T @ centred / len(rows))
    values = values.clamp_min(0)
    gains = (values + WHITENING_FLOOR * values.mean() + 1e-12).rsqrt()
    whitening = vectors * gains @ vectors.T
    white = centred @ whitening
    atoms = _spherical_kmeans(white, generator)
    scale = (white @ atoms.T).std().clamp_min(1e-6)
    filters = (atoms @ whitening) / scale
    kernels = filters.view(ATOMS, COLOURS, PATCH_PX**2)
    kernels = kernels - kernels.mean(dim=2, keepdim=True)
    return kernels.view(ATOMS, COLOURS, PATCH_PX, PATCH_PX), filters @ mean


def _spherical_kmeans(rows: Tensor, generator: torch.Generator) -> Tensor:
    """Cluster rows into (ATOMS, d) directions of length 1; a row's sign is ignored."""
    directions = functional.normalize(rows, dim=1)
    atoms = directions[_draw(len(rows), generator)].clone()
    for _ in range(ROUNDS):
        closeness = directions @ atoms.T  # (N, ATOMS)
        nearest = closeness.abs().argmax(dim=1)
        sign = closeness.gather(1, nearest[:, None]).sign()
        sums = functional.one_hot(nearest, ATOMS).to(rows).T @ (sign * rows)
        empty = sums.norm(dim=1) < 1e-6
        sums[empty] = directions[_draw(len(rows), generator)][empty]
        atoms = functional.normalize(sums, dim=1)
    return atoms


def _draw(count: int, generator: torch.Generator) -> Tensor:
    return torch.randint(count, (ATOMS,), generator=generator)


def _pad(image: Tensor, before: int, after: int) -> Tensor:
    """Pad by reflection, and by replication where an image is smaller than a patch."""
    room = min(image.shape[-2:]) - 1
    mirrored = (min(before, room), min(after, room))
    rest = (before - mirrored[0], after - mirrored[1])
    padded = functional.pad(image, mirrored * 2, mode="reflect")
    return functional.pad(padded, rest * 2, mode="replicate")
