"""Finishes as Mitsuba materials, with dust, fingerprints and varying roughness.

Textures are mapped by the flat coordinates of the part, with a tile of `TILE_MM`; each part has
another offset. The textures of a finish are computed once per process. Roughness, dust and
fingerprints of one part are its `Wear`: it depends on the seed of the part alone, so that good
and defective parts have the same distribution of wear.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from loco_tools.twin import surface_textures

TILE_MM = 128.0
CLOTH_TILE_MM = 24.0

_SIZE = 1024
_CLOTH_SIZE = 768
_CLOTH_THREADS = 44
_CLOTH_REFLECTANCE = 0.030
_METALS = {
    "zinc": surface_textures.zinc,
    "brushed": surface_textures.brushed,
    "yellow_zinc": surface_textures.yellow_zinc,
    "bare_steel": surface_textures.bare_steel,
    "screw": surface_textures.screw_zinc,
    "zinc_spray": surface_textures.zinc_spray,
}
_PAINTS = ("black_paint",)
_FRESH = ("bare_steel", "zinc_spray", "screw")
"""Materials without fingerprints."""

_ALONG = {"brushed": (0.6, 1.25)}
_DUST = (0.25, 0.5, 1.0)
_PRINTS = 10.0
"""Fingerprints per tile, on average; a part shows about a quarter of the tile."""


class Print(NamedTuple):
    """A fingerprint: position as shares of the tile, turn, strength, and number of the finger."""

    x: float
    y: float
    turn_deg: float
    strength: float
    finger: int


@dataclass(frozen=True)
class Wear:
    """The harmless variation of a surface from part to part.

    Attributes:
        roughness: factor on the roughness of the finish.
        grain: ratio of the roughness across the rolling direction to that along it.
        dust: index into the degrees of dustiness.
        prints: the fingerprints.
    """

    roughness: float = 1.0
    grain: float = 1.0
    dust: int = 1
    prints: tuple[Print, ...] = ()


def draw_wear(rng: np.random.Generator) -> Wear:
    """Draw the wear of one part."""
    roughness, grain = float(rng.uniform(0.85, 1.2)), float(rng.uniform(1.0, 1.2))
    dust = int(rng.integers(len(_DUST)))
    prints = []
    for _ in range(int(rng.poisson(_PRINTS))):
        x, y, turn, strength = rng.uniform((0.0, 0.0, 0.0, 0.1), (1.0, 1.0, 360.0, 0.35))
        prints.append(Print(float(x), float(y), float(turn), float(strength), int(rng.integers(5))))
    return Wear(roughness, grain, dust, tuple(prints))


@lru_cache(maxsize=6)
def material(name: str, wear: Wear = Wear()) -> Any:
    """The worn Mitsuba material of a finish or of "bare_steel", "screw" or "zinc_spray"."""
    import mitsuba

    maps = _dusty_maps(name, wear.dust)
    rough, colour = maps.roughness * np.float32(wear.roughness), maps.colour
    if wear.prints and name not in _FRESH:
        grease = _grease(wear.prints)
        rough, colour = rough + 0.3 * grease, colour * (1.0 - grease)[..., None]
    if name in _PAINTS:
        inner = {
            "type": "principled",
            "base_color": _texture(colour),
            "roughness": _texture(np.clip(rough, 0.2, 0.7)),
            "specular": 0.5,
        }
    else:
        along, across = _ALONG.get(name, (1.0, wear.grain))
        rough = np.clip(rough, 0.06, 0.7)
        inner = {
            "type": "roughconductor",
            "material": "none",
            "distribution": "ggx",
            "specular_reflectance": _texture(colour),
            "alpha_u": _texture(rough * along),
            "alpha_v": _texture(rough * across),
        }
    return mitsuba.load_dict({"type": "normalmap", "normalmap": maps.relief, "bsdf": inner})


@lru_cache(maxsize=2)
def ground(name: str) -> Any:
    """The Mitsuba material of the "cloth" or of the "lint" on it."""
    import mitsuba

    if name == "lint":
        reflectance: dict[str, Any] = {"type": "rgb", "value": [0.25, 0.25, 0.25]}
    else:
        weave = surface_textures.weave(_CLOTH_SIZE, _CLOTH_THREADS, _stream("cloth"))
        tint = np.array([1.0, 0.99, 1.04], dtype=np.float32)
        reflectance = _texture(weave * tint * _CLOTH_REFLECTANCE)
    return mitsuba.load_dict({"type": "diffuse", "reflectance": reflectance})


@lru_cache(maxsize=2)
def _grease(prints: tuple[Print, ...]) -> surface_textures.Texture:
    return surface_textures.fingerprints(_SIZE, TILE_MM, prints)


class _FinishMaps(NamedTuple):
    """The shared textures of a finish: colour (S, S, 3), roughness (S, S), and normals."""

    colour: surface_textures.Texture
    roughness: surface_textures.Texture
    relief: Any


@lru_cache(maxsize=6)
def _dusty_maps(name: str, dust: int) -> _FinishMaps:
    cover = _dust() * np.float32(_DUST[dust] * (0.4 if name in _FRESH else 1.0))
    film = cover[..., None]
    if name in _PAINTS:
        colour = np.repeat(np.float32(0.017) + np.float32(0.08) * film, 3, axis=2)
        stream = _stream(f"{name}/roughness")
        rough = surface_textures.noise(_SIZE, stream, low=2.0, high=TILE_MM / 4)
        roughness = np.asarray(0.36 + 0.05 * rough, dtype=np.float32)
        return _FinishMaps(colour, roughness, _relief(name))
    maps = _maps(name)
    colour = maps.reflectance + (np.float32(0.4) - maps.reflectance) * film
    roughness = maps.roughness + (np.float32(0.6) - maps.roughness) * cover
    return _FinishMaps(colour, roughness, _relief(name))


@lru_cache(maxsize=8)
def _relief(name: str) -> Any:
    import mitsuba

    slopes = (
        surface_textures.orange_peel(_SIZE, TILE_MM, _stream(name))
        if name in _PAINTS
        else _maps(name).slopes
    )
    return mitsuba.load_dict(_texture(surface_textures.normals(slopes)))


@lru_cache(maxsize=8)
def _maps(name: str) -> surface_textures.MetalMaps:
    return _METALS[name](_SIZE, TILE_MM, _stream(name))


@lru_cache(maxsize=1)
def _dust() -> surface_textures.Texture:
    return surface_textures.dust(_SIZE, TILE_MM, _stream("dust"))


def _stream(name: str) -> np.random.Generator:
    """The random stream of a texture, which depends on its name alone."""
    return np.random.default_rng(list(name.encode()))


def _texture(values: Any) -> dict[str, Any]:
    import mitsuba

    pixels = np.asarray(values, dtype=np.float32)
    pixels = pixels[..., None] if pixels.ndim == 2 else pixels
    bitmap = mitsuba.Bitmap(np.ascontiguousarray(pixels))
    return {"type": "bitmap", "bitmap": bitmap, "raw": True, "wrap_mode": "repeat"}
