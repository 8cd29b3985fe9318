"""Procedural textures of metal, paint, dust, fingerprints and cloth.

Every texture tiles: opposite edges match. Values are linear, not sRGB.
"""

from collections.abc import Sequence
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

    It has frequencies of `low` to `high` waves per tile with the 1/f fall-off of worn surfaces.
    """
    return stretched_noise(size, rng, low=low, high=high, stretch=1.0)


def stretched_noise(
    size: int, rng: np.random.Generator, *, low: float, high: float, stretch: float
) -> Texture:
    """Like `noise`, but stretched along x by the factor `stretch`."""
    fx = np.fft.rfftfreq(size, 1 / size)[None] * stretch
    fy = np.fft.fftfreq(size, 1 / size)[:, None]
    frequency = np.hypot(fx, fy)
    band = np.exp(-((frequency / high) ** 2)) * (1 - np.exp(-((frequency / low) ** 2)))
    amplitude = band / np.maximum(frequency, 1.0)
    phases = np.fft.rfft2(rng.standard_normal((size, size)))
    field = np.fft.irfft2(phases * amplitude, s=(size, size))
    return np.asarray((field - field.mean()) / field.std(), dtype=np.float32)


def zinc(size: int, tile_mm: float, rng: np.random.Generator) -> MetalMaps:
    """Hot-dip zinc: grains (spangle) of different reflectance, with fine grain and smudges."""
    grain, tilt = _spangle(size, tile_mm / 2.4, rng)
    fine = noise(size, rng, low=tile_mm * 0.8, high=tile_mm * 2)
    smudge = noise(size, rng, low=2.0, high=tile_mm / 6)
    wave = noise(size, rng, low=1.0, high=4.0)
    level = 0.55 + 0.035 * grain + 0.012 * fine + 0.03 * smudge
    tint = np.array([0.985, 1.0, 1.03], dtype=np.float32)
    roughness = 0.25 + 0.035 * grain + 0.045 * smudge + 0.01 * fine
    slopes = 0.02 * tilt + _slopes_of(wave, 0.035) + _slopes_of(smudge, 0.01)
    return _metal(level[..., None] * tint, roughness, slopes)


def brushed(size: int, tile_mm: float, rng: np.random.Generator) -> MetalMaps:
    """Stainless steel brushed along x: hairlines of a fraction of a mm.

    Wide bands and a warm tint would make it look like wood.
    """
    lines = stretched_noise(size, rng, low=tile_mm, high=tile_mm * 3.0, stretch=90.0)
    wide = stretched_noise(size, rng, low=2.0, high=tile_mm * 0.4, stretch=30.0)
    smudge = noise(size, rng, low=1.5, high=tile_mm / 6)
    wave = noise(size, rng, low=1.0, high=4.0)
    level = 0.55 + 0.055 * lines + 0.008 * wide + 0.015 * smudge
    tint = np.array([1.0, 0.995, 0.985], dtype=np.float32)
    roughness = 0.27 + 0.01 * wide + 0.03 * smudge
    slopes = np.stack([0.0 * lines, 0.05 * lines + 0.006 * wide], axis=-1)
    return _metal(level[..., None] * tint, roughness, slopes + _slopes_of(wave, 0.03))


def yellow_zinc(size: int, tile_mm: float, rng: np.random.Generator) -> MetalMaps:
    """Yellow-passivated zinc with gradually varying colour."""
    base = zinc(size, tile_mm, rng)
    drift = noise(size, rng, low=1.0, high=tile_mm / 8)[..., None]
    gold = np.array([1.12, 0.92, 0.45], dtype=np.float32)
    shift = np.array([0.03, -0.02, -0.06], dtype=np.float32) * drift
    return _metal(base.reflectance * (gold + shift), base.roughness, base.slopes)


def bare_steel(size: int, tile_mm: float, rng: np.random.Generator) -> MetalMaps:
    """Freshly cut steel: bright, with tool marks."""
    marks = stretched_noise(size, rng, low=tile_mm / 2, high=tile_mm * 3, stretch=3.0)
    level = 0.70 + 0.05 * marks
    roughness = 0.14 + 0.02 * marks
    tint = np.array([1.0, 0.99, 0.975], dtype=np.float32)
    slopes = np.stack([0.01 * marks, 0.02 * marks], axis=-1)
    return _metal(level[..., None] * tint, roughness, slopes)


def screw_zinc(size: int, tile_mm: float, rng: np.random.Generator) -> MetalMaps:
    """Electroplated screws: smooth and bluish."""
    smudge = noise(size, rng, low=tile_mm / 16, high=tile_mm / 4)
    fine = noise(size, rng, low=tile_mm, high=tile_mm * 3)
    level = 0.42 + 0.03 * smudge + 0.015 * fine
    tint = np.array([0.96, 1.0, 1.06], dtype=np.float32)
    return _metal(level[..., None] * tint, 0.17 + 0.02 * smudge, _slopes_of(smudge, 0.012))


def zinc_spray(size: int, tile_mm: float, rng: np.random.Generator) -> MetalMaps:
    """Zinc spray: as bright as the plating, but duller and without grains."""
    cloud = noise(size, rng, low=tile_mm / 16, high=tile_mm / 3)
    grit = noise(size, rng, low=tile_mm / 2, high=tile_mm * 3)
    level = 0.53 + 0.02 * cloud + 0.015 * grit
    tint = np.array([0.99, 1.0, 1.01], dtype=np.float32)
    return _metal(level[..., None] * tint, 0.34 + 0.02 * cloud, _slopes_of(grit, 0.05))


def orange_peel(size: int, tile_mm: float, rng: np.random.Generator) -> Texture:
    """Slopes (S, S, 2) of sprayed paint."""
    waves = noise(size, rng, low=tile_mm / 3, high=tile_mm * 1.5)
    return np.asarray(_slopes_of(waves, 0.025))


def dust(size: int, tile_mm: float, rng: np.random.Generator) -> Texture:
    """Dust cover (S, S) in 0-1: specks with a faint film between them."""
    specks = np.zeros((size, size), dtype=np.float32)
    count = int(tile_mm**2 * 0.06)
    rows, columns = rng.integers(0, size, (2, count))
    specks[rows, columns] = rng.uniform(0.3, 1.0, count).astype(np.float32)
    spread = _blurred(specks, 0.75)
    film = np.clip(noise(size, rng, low=2.0, high=tile_mm / 2), 0.0, None) * 0.025
    return np.asarray(np.clip(spread / spread.max() * 0.8 + film, 0.0, 1.0))


def fingerprints(
    size: int, tile_mm: float, prints: Sequence[tuple[float, float, float, float, int]]
) -> Texture:
    """Grease (S, S) of fingerprints, at most 0.5.

    Args:
        size: S, in pixels.
        tile_mm: length of a side of the texture.
        prints: x and y as shares of the tile, turn in degrees, strength and finger of each print.
    """
    grease = np.zeros((size, size), dtype=np.float32)
    for x, y, turn_deg, strength, finger in prints:
        mark = fingerprint(size / tile_mm, turn_deg, np.random.default_rng([finger, 31]))
        rows = (int(y * size) + np.arange(len(mark)))[:, None] % size
        columns = (int(x * size) + np.arange(len(mark)))[None] % size
        grease[rows, columns] += np.float32(strength) * mark
    return np.minimum(grease, np.float32(0.5))


def fingerprint(px_per_mm: float, turn_deg: float, rng: np.random.Generator) -> Texture:
    """A patchy loop of ridges (N, N) in 0-1 of about 13 x 17 mm, as from a light touch."""
    reach = 9.5
    count = int(2 * reach * px_per_mm)
    y, x = np.mgrid[0:count, 0:count] / px_per_mm - reach
    cos, sin = np.cos(np.radians(turn_deg)), np.sin(np.radians(turn_deg))
    x, y = x * cos + y * sin, y * cos - x * sin
    warp = noise(count, rng, low=0.5, high=3.0)
    core_x, core_y = rng.uniform(-1.5, 1.5, 2)
    loops = np.hypot((x - core_x) * 1.25, np.where(y > core_y, 0.75, 0.45) * (y - core_y))
    ridges = 0.5 + 0.5 * np.cos(2 * np.pi * (loops + 0.35 * warp) / 0.5)
    inside = 1 / (1 + np.exp((np.hypot(x / 6.3, y / 8.2) - 0.9) * 14))
    patchy = np.clip(0.75 + 0.4 * noise(count, rng, low=1.0, high=6.0), 0.1, 1.2)
    return np.asarray(inside * patchy * (0.35 + 0.65 * ridges), dtype=np.float32)


def weave(size: int, threads: int, rng: np.random.Generator) -> Texture:
    """Relative reflectance (S, S, 1) of a twill with `threads` threads per tile.

    The shading of the threads is part of the texture: at the scale of the camera it looks the
    same, and the cloth, which fills most of the picture, renders twice as fast.
    """
    y, x = np.mgrid[0:size, 0:size].astype(np.float32) * (threads / size)
    over = (np.floor(x) + np.floor(y)) % 4 < 2
    across, along = np.where(over, x % 1.0, y % 1.0), np.where(over, y % 1.0, x % 1.0)
    round_thread = np.sin(np.pi * across) * (0.7 + 0.3 * np.sin(np.pi * along))
    lit = 1.0 + np.where(over, 0.25, -0.25) + 0.3 * np.cos(np.pi * across)
    fibres = noise(size, rng, low=threads * 0.7, high=threads * 3)
    blotch = noise(size, rng, low=1.0, high=threads / 3)
    worn = 1 + 0.22 * fibres + 0.10 * blotch
    weave_ = np.clip((0.25 + 0.85 * round_thread) * lit * worn, 0.05, 3.0)
    return _blurred(np.asarray(weave_, dtype=np.float32), 0.7)[..., None]


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
    """One level (S, S) and one tilt (S, S, 2) per grain, with about `cells` grains per side."""
    from scipy.spatial import cKDTree

    seeds = rng.uniform(0, 1, (int(cells**2), 2))
    y, x = np.mgrid[0:size, 0:size] / size
    nearest = cKDTree(seeds, boxsize=1.0).query(np.stack([x, y], axis=-1).reshape(-1, 2))[1]
    level = rng.standard_normal(len(seeds)).clip(-2, 2)[nearest].reshape(size, size)
    tilt = rng.standard_normal((len(seeds), 2)).clip(-2, 2)[nearest].reshape(size, size, 2)
    return _blurred(level.astype(np.float32), 0.8), tilt.astype(np.float32)


def _slopes_of(height: Texture, deviation: float) -> Texture:
    """Slopes (S, S, 2) of a relief, scaled to a root mean square of `deviation`."""
    dx = np.roll(height, -1, axis=1) - np.roll(height, 1, axis=1)
    dy = np.roll(height, -1, axis=0) - np.roll(height, 1, axis=0)
    slopes = np.asarray(np.stack([dx, dy], axis=-1) * 0.5, dtype=np.float32)
    return np.asarray(slopes * (deviation / slopes.std()), dtype=np.float32)


def _blurred(image: Texture, sigma: float) -> Texture:
    """Gaussian blur of a tile with periodic boundaries."""
    size = len(image)
    fx, fy = np.fft.rfftfreq(size)[None], np.fft.fftfreq(size)[:, None]
    window = np.exp(-2 * (np.pi * sigma) ** 2 * (fx**2 + fy**2))
    return np.asarray(np.fft.irfft2(np.fft.rfft2(image) * window, s=image.shape), dtype=np.float32)
