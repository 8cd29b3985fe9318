"""Procedural textures: all that makes metal and cloth look used and real.

Every texture tiles: its left edge continues its right one. Values are linear, not sRGB.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Texture = NDArray[np.float32]


@dataclass(frozen=True)
class MetalMaps:
    """Reflectance (S, S, 3), roughness (S, S) and surface slopes (S, S, 2) of a finish."""

    reflectance: Texture
    roughness: Texture
    slopes: Texture


def noise(size: int, rng: np.random.Generator, *, low: float, high: float) -> Texture:
    """Smooth random field (S, S) with mean 0 and deviation 1.

    Its waves fit `low` to `high` times into the tile, with the 1/f fall-off of worn surfaces.
    """
    return stretched_noise(size, rng, low=low, high=high, stretch=1.0)


def stretched_noise(
    size: int, rng: np.random.Generator, *, low: float, high: float, stretch: float
) -> Texture:
    """As `noise`, drawn out along x by the factor `stretch`."""
    fx = np.fft.rfftfreq(size, 1 / size)[None] * stretch
    fy = np.fft.fftfreq(size, 1 / size)[:, None]
    frequency = np.hypot(fx, fy)
    band = np.exp(-((frequency / high) ** 2)) * (1 - np.exp(-((frequency / low) ** 2)))
    amplitude = band / np.maximum(frequency, 1.0)
    phases = np.fft.rfft2(rng.standard_normal((size, size)))
    field = np.fft.irfft2(phases * amplitude, s=(size, size))
    return np.asarray((field - field.mean()) / field.std(), dtype=np.float32)


def zinc(size: int, tile_mm: float, rng: np.random.Generator) -> MetalMaps:
    """Hot-dip zinc: small grains (spangle) that reflect unlike, under fine grain and smudges."""
    grain, tilt = _spangle(size, tile_mm / 1.6, rng)
    fine = noise(size, rng, low=tile_mm * 1.5, high=tile_mm * 5)
    smudge = noise(size, rng, low=2.0, high=tile_mm / 4)
    level = 0.60 + 0.035 * grain + 0.025 * fine + 0.02 * smudge
    tint = np.array([0.985, 1.0, 1.03], dtype=np.float32)
    roughness = 0.27 + 0.03 * grain + 0.03 * smudge + 0.02 * fine
    slopes = 0.022 * tilt + 0.02 * _gradients(fine, 1.0)
    return _metal(level[..., None] * tint, roughness, slopes)


def brushed(size: int, tile_mm: float, rng: np.random.Generator) -> MetalMaps:
    """Stainless sheet brushed along x."""
    lines = stretched_noise(size, rng, low=tile_mm, high=size / 3, stretch=60.0)
    wide = stretched_noise(size, rng, low=2.0, high=tile_mm, stretch=25.0)
    smudge = noise(size, rng, low=1.5, high=tile_mm / 5)
    level = 0.58 + 0.05 * lines + 0.03 * wide + 0.02 * smudge
    tint = np.array([1.0, 0.985, 0.96], dtype=np.float32)
    roughness = 0.30 + 0.03 * wide + 0.03 * smudge
    slopes = np.stack([0.01 * smudge, 0.07 * lines + 0.03 * wide], axis=-1)
    return _metal(level[..., None] * tint, roughness, slopes)


def yellow_zinc(size: int, tile_mm: float, rng: np.random.Generator) -> MetalMaps:
    """Yellow-passivated zinc with its drifting colours."""
    base = zinc(size, tile_mm, rng)
    drift = noise(size, rng, low=1.0, high=tile_mm / 8)[..., None]
    gold = np.array([1.12, 0.92, 0.45], dtype=np.float32)
    shift = np.array([0.03, -0.02, -0.06], dtype=np.float32) * drift
    return _metal(base.reflectance * (gold + shift), base.roughness, base.slopes)


def bare_steel(size: int, tile_mm: float, rng: np.random.Generator) -> MetalMaps:
    """Freshly cut steel: bright, with the marks of the tool."""
    marks = stretched_noise(size, rng, low=tile_mm, high=tile_mm * 6, stretch=4.0)
    level = 0.68 + 0.08 * marks
    roughness = 0.22 + 0.04 * marks
    tint = np.array([1.0, 0.985, 0.96], dtype=np.float32)
    slopes = np.stack([0.03 * marks, 0.06 * marks], axis=-1)
    return _metal(level[..., None] * tint, roughness, slopes)


def screw_zinc(size: int, tile_mm: float, rng: np.random.Generator) -> MetalMaps:
    """Electroplated fasteners: smooth and bluish."""
    smudge = noise(size, rng, low=tile_mm / 4, high=tile_mm)
    fine = noise(size, rng, low=tile_mm, high=tile_mm * 4)
    level = 0.62 + 0.04 * smudge + 0.02 * fine
    tint = np.array([0.97, 1.0, 1.05], dtype=np.float32)
    return _metal(level[..., None] * tint, 0.19 + 0.03 * smudge, 0.03 * _gradients(smudge, 1.0))


def orange_peel(size: int, tile_mm: float, rng: np.random.Generator) -> Texture:
    """Slopes (S, S, 2) of sprayed paint."""
    waves = noise(size, rng, low=tile_mm / 3, high=tile_mm * 1.5)
    return np.asarray(0.05 * _gradients(waves, 1.0))


def dust(size: int, tile_mm: float, rng: np.random.Generator) -> Texture:
    """Cover (S, S) in 0-1: specks, and the faint film that lies between them."""
    specks = np.zeros((size, size), dtype=np.float32)
    count = int(tile_mm**2 * 0.06)
    rows, columns = rng.integers(0, size, (2, count))
    specks[rows, columns] = rng.uniform(0.3, 1.0, count).astype(np.float32)
    spread = _blurred(specks, 0.75)
    film = np.clip(noise(size, rng, low=2.0, high=tile_mm / 2), 0.0, None) * 0.025
    return np.asarray(np.clip(spread / spread.max() * 0.8 + film, 0.0, 1.0))


def weave(size: int, threads: int, rng: np.random.Generator) -> tuple[Texture, Texture]:
    """Reflectance (S, S) and slopes (S, S, 2) of a twill with `threads` threads per tile."""
    y, x = np.mgrid[0:size, 0:size].astype(np.float32) * (threads / size)
    step = (np.floor(x) + np.floor(y)) % 4 < 2
    across_x, across_y = np.sin(np.pi * (x % 1.0)), np.sin(np.pi * (y % 1.0))
    bow = 0.75 + 0.25 * np.where(step, np.sin(np.pi * (y % 1.0)), np.sin(np.pi * (x % 1.0)))
    height = np.where(step, across_x, across_y) * bow
    height = height + 0.12 * noise(size, rng, low=threads * 0.5, high=threads * 2)
    height = _blurred(np.asarray(height, dtype=np.float32), size / threads * 0.06)
    blotch = noise(size, rng, low=1.0, high=threads / 4)
    reflectance = (0.55 + 0.45 * np.clip(height, 0, 1)) * (1 + 0.10 * blotch)
    slopes = _gradients(height, size / threads) * 0.35
    return np.asarray(reflectance, dtype=np.float32), np.asarray(slopes, dtype=np.float32)


def normals(slopes: Texture) -> Texture:
    """Slopes (S, S, 2) as the colours (S, S, 3) of a normal map."""
    up = np.concatenate([-slopes, np.ones_like(slopes[..., :1])], axis=-1)
    up /= np.linalg.norm(up, axis=-1, keepdims=True)
    return np.asarray(up * 0.5 + 0.5, dtype=np.float32)


def _metal(reflectance: Texture, roughness: Texture, slopes: Texture) -> MetalMaps:
    return MetalMaps(
        np.asarray(np.clip(reflectance, 0.02, 0.95), dtype=np.float32),
        np.asarray(np.clip(roughness, 0.08, 0.6), dtype=np.float32),
        np.asarray(slopes, dtype=np.float32),
    )


def _spangle(size: int, cells: float, rng: np.random.Generator) -> tuple[Texture, Texture]:
    """Per grain one level (S, S) and one tilt (S, S, 2), about `cells` grains along the tile."""
    from scipy.spatial import cKDTree

    seeds = rng.uniform(0, 1, (int(cells**2), 2))
    y, x = np.mgrid[0:size, 0:size] / size
    nearest = cKDTree(seeds, boxsize=1.0).query(np.stack([x, y], axis=-1).reshape(-1, 2))[1]
    level = rng.standard_normal(len(seeds)).clip(-2, 2)[nearest].reshape(size, size)
    tilt = rng.standard_normal((len(seeds), 2)).clip(-2, 2)[nearest].reshape(size, size, 2)
    return _blurred(level.astype(np.float32), 0.8), tilt.astype(np.float32)


def _gradients(height: Texture, scale: float) -> Texture:
    dx = np.roll(height, -1, axis=1) - np.roll(height, 1, axis=1)
    dy = np.roll(height, -1, axis=0) - np.roll(height, 1, axis=0)
    return np.asarray(np.stack([dx, dy], axis=-1) * (scale / 2), dtype=np.float32)


def _blurred(image: Texture, sigma: float) -> Texture:
    """Gaussian blur of a tile, continued round its edges."""
    size = len(image)
    fx, fy = np.fft.rfftfreq(size)[None], np.fft.fftfreq(size)[:, None]
    window = np.exp(-2 * (np.pi * sigma) ** 2 * (fx**2 + fy**2))
    return np.asarray(np.fft.irfft2(np.fft.rfft2(image) * window, s=image.shape), dtype=np.float32)
