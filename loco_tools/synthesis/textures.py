"""Foreign textures for synthetic anomalies.

They come from a folder of photographs (in the paper the Describable Textures Dataset), or they are
generated here, so that nothing needs to be downloaded.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from loco_tools.datasets.images import Pixels, Size, image_size, read_image
from loco_tools.datasets.tree import IMAGE_SUFFIXES
from loco_tools.errors import MethodError, did_you_mean
from loco_tools.synthesis.perlin import Field, perlin_noise

TextureSource = Callable[[Size, np.random.Generator], Pixels]
"""Returns a texture (H, W, 3) uint8 of a size; it depends on size and generator only."""


def texture_source(folder: str | None) -> TextureSource:
    """A source of photographs from a folder, or of procedural textures when it is None.

    Raises:
        MethodError: the folder has no images.
        DatasetError: a file is not an image, or its header declares too many pixels.
    """
    return ProceduralTextures() if folder is None else TextureFolder(Path(folder))


class TextureFolder:
    """The images of a folder and its subfolders, drawn with equal probability."""

    def __init__(self, folder: Path) -> None:
        """See `texture_source`; headers are checked here, pixels when an image is drawn."""
        paths = [p for p in folder.rglob("*") if p.suffix.lower() in IMAGE_SUFFIXES]
        self.paths = sorted(path for path in paths if path.is_file())
        if not self.paths:
            raise MethodError(
                f"{folder}: expected a folder of texture images, got none; next step: unpack the "
                "Describable Textures Dataset there, or omit textures to generate them"
            )
        for path in self.paths:
            image_size(path)

    def __call__(self, size: Size, rng: np.random.Generator) -> Pixels:
        """A random image, resized; raises DatasetError when it is damaged."""
        image = read_image(self.paths[int(rng.integers(len(self.paths)))])
        return cv2.resize(image, size[::-1], interpolation=cv2.INTER_AREA).astype(np.uint8)


@dataclass(frozen=True)
class ProceduralTextures:
    """Generated textures of several families, drawn with equal probability.

    Raises:
        MethodError: a family is unknown.
    """

    families: Sequence[str] = ("clouds", "cells", "tiling", "phase", "gabor", "labyrinth")

    def __post_init__(self) -> None:
        for family in self.families:
            if family not in FAMILIES:
                raise MethodError(
                    f'unknown texture family "{family}"; {did_you_mean(family, FAMILIES)}'
                )

    def __call__(self, size: Size, rng: np.random.Generator) -> Pixels:
        """A texture of a random family; a third of the textures are grey.

        With coloured textures only, anomalies of a grey class would be recognised by colour alone.
        """
        draw = FAMILIES[self.families[int(rng.integers(len(self.families)))]]
        coloured = draw(size, rng)
        colour = max(0.0, rng.uniform(-0.5, 1.0))
        grey = cv2.cvtColor(cv2.cvtColor(coloured, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
        mixed = cv2.addWeighted(coloured, colour, grey, 1 - colour, 0)
        return mixed.astype(np.uint8, copy=False)


def clouds(size: Size, rng: np.random.Generator) -> Pixels:
    """Perlin noise of several octaves with a colour ramp; ridged with probability 1/2."""
    start = int(rng.integers(1, 9))
    persistence = rng.uniform(0.4, 0.8)
    ridged = rng.random() < 0.5
    total = np.zeros(size, np.float32)
    for octave in range(int(rng.integers(2, 6))):
        cells = min(start * 2**octave, 64)
        noise = perlin_noise(size, (cells, cells), rng)
        total += np.float32(persistence**octave) * (np.abs(noise) if ridged else noise)
    return _apply_colour_ramp(total, rng)


def cells(size: Size, rng: np.random.Generator) -> Pixels:
    """Voronoi cells of random colours, with probability 1/2 darker towards their borders."""
    count = int(2 ** rng.uniform(3, 9))
    sites = np.ones(size, np.uint8)
    sites[rng.integers(0, size[0], count), rng.integers(0, size[1], count)] = 0
    distance, cell = cv2.distanceTransformWithLabels(
        sites, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    palette = rng.uniform(0, 255, (count + 1, 3)).astype(np.float32)
    colours = palette[cell]  # (H, W, 3)
    if rng.random() < 0.5:
        colours *= np.exp(-2 * distance / distance.max())[..., None]
    return np.asarray(colours, np.uint8)


def tiling(size: Size, rng: np.random.Generator) -> Pixels:
    """Stripes, a checkerboard or bricks, rotated and warped, in two colours with grain."""
    y, x = _warped_coordinates(size, rng)
    period = rng.uniform(6, 48)
    kind = rng.integers(3)
    joint = rng.uniform(0.05, 0.5)
    u, v = x / period, y / (period * rng.uniform(0.4, 1.0))
    if kind == 0:
        inside = u % 1 < joint
    elif kind == 1:
        inside = (np.floor(u) + np.floor(v)) % 2 == 0
    else:
        inside = ((u + 0.5 * (np.floor(v) % 2)) % 1 < joint / 3) | (v % 1 < joint / 3)
    first, second = rng.uniform(0, 255, (2, 3))
    grain = rng.normal(0, rng.uniform(0, 15), (*size, 1))
    painted = np.where(inside[..., None], first, second) + grain
    return np.clip(painted, 0, 255).astype(np.uint8)


def phase(size: Size, rng: np.random.Generator) -> Pixels:
    """Random phases with amplitudes of 1/f^a, in correlated colours."""
    frequency = _frequencies(size)
    steepness = np.float32(rng.uniform(0.5, 2.0))
    fall_off = np.maximum(frequency, np.float32(1 / max(size))) ** -steepness
    layers = np.stack([_filter_noise(fall_off, size, rng) for _ in range(3)], axis=-1)
    mixed = layers @ rng.normal(0, 1, (3, 3)).astype(np.float32)
    return _scale_to_bytes(mixed)


def gabor(size: Size, rng: np.random.Generator) -> Pixels:
    """A mixture of Gabor noises of a few directions and wavelengths, with a colour ramp."""
    fy, fx = _frequency_grid(size)
    amplitude: Field = np.zeros((fy.size, fx.size), np.float32)
    for _ in range(int(rng.integers(1, 5))):
        wave = 2 ** rng.uniform(-5.5, -2)  # cycles per pixel
        angle = rng.uniform(-np.pi / 2, np.pi / 2)
        spread = wave * rng.uniform(0.05, 0.3)
        distance = (fy - wave * np.sin(angle)) ** 2 + (fx - wave * np.cos(angle)) ** 2
        amplitude += np.exp(-distance / (2 * spread**2)).astype(np.float32)
    return _apply_colour_ramp(_filter_noise(amplitude, size, rng), rng)


def labyrinth(size: Size, rng: np.random.Generator) -> Pixels:
    """Spots and labyrinths as from reaction-diffusion: one wavelength, two phases."""
    wave = 2 ** rng.uniform(-5, -2.5)  # cycles per pixel
    ring = np.exp(-(((_frequencies(size) - wave) / (0.15 * wave)) ** 2)).astype(np.float32)
    field = _filter_noise(ring, size, rng) + np.float32(rng.uniform(-1, 1))
    share = 1 / (1 + np.exp(-rng.uniform(2, 10) * field[..., None]))
    first, second = rng.uniform(0, 255, (2, 3))
    painted: npt.NDArray[np.float64] = first * share + second * (1 - share)
    return painted.astype(np.uint8)


FAMILIES: Mapping[str, Callable[[Size, np.random.Generator], Pixels]] = {
    "clouds": clouds,
    "cells": cells,
    "tiling": tiling,
    "phase": phase,
    "gabor": gabor,
    "labyrinth": labyrinth,
}


def _warped_coordinates(size: Size, rng: np.random.Generator) -> tuple[Field, Field]:
    """Pixel coordinates (y, x), rotated and bent."""
    y, x = np.mgrid[: size[0], : size[1]].astype(np.float32)
    angle, bend = rng.uniform(0, 2 * np.pi), rng.uniform(0, 20)
    cells_of_bend = (int(rng.integers(1, 6)), int(rng.integers(1, 6)))
    along = x * np.cos(angle) + y * np.sin(angle) + bend * perlin_noise(size, cells_of_bend, rng)
    across = y * np.cos(angle) - x * np.sin(angle) + bend * perlin_noise(size, cells_of_bend, rng)
    return across.astype(np.float32), along.astype(np.float32)


def _frequency_grid(size: Size) -> tuple[Field, Field]:
    """Frequencies in cycles per pixel of a real FFT: (H, 1) and (1, W // 2 + 1)."""
    fy = np.fft.fftfreq(size[0]).astype(np.float32)[:, None]
    fx = np.fft.rfftfreq(size[1]).astype(np.float32)[None]
    return fy, fx


def _frequencies(size: Size) -> Field:
    fy, fx = _frequency_grid(size)
    return np.hypot(fy, fx)


def _filter_noise(amplitude: Field, size: Size, rng: np.random.Generator) -> Field:
    """White noise (H, W) filtered to these amplitudes, with mean 0 and standard deviation 1."""
    spectrum = np.fft.rfft2(rng.standard_normal(size)) * amplitude
    field = np.fft.irfft2(spectrum, s=size)
    scaled: Field = ((field - field.mean()) / max(float(field.std()), 1e-12)).astype(np.float32)
    return scaled


def _apply_colour_ramp(field: Field, rng: np.random.Generator) -> Pixels:
    """Map (H, W) to (H, W, 3) by a ramp of random colours."""
    knots = rng.uniform(0, 255, (int(rng.integers(2, 7)), 3))
    levels = np.linspace(0, 255, len(knots))
    ramp = np.stack([np.interp(np.arange(256), levels, c) for c in knots.T], axis=-1)
    colours: Pixels = ramp.astype(np.uint8)[_scale_to_bytes(field)]
    return colours


def _scale_to_bytes(field: Field) -> Pixels:
    """Scale the range from the 1st to the 99th percentile to 0..255."""
    low, high = np.percentile(field[::4, ::4], (1, 99))
    scaled = (field - low) * (255 / max(high - low, 1e-12))
    return np.asarray(np.clip(scaled, 0, 255), np.uint8)
