"""Finishes as Mitsuba materials, made once per process.

Textures are laid over the part by its flat coordinates, `TILE_MM` to the tile; each part sees
another stretch of them.
"""

from functools import lru_cache
from typing import Any

import numpy as np

from loco_tools.twin import textures

TILE_MM = 64.0
CLOTH_TILE_MM = 24.0

_SIZE = 768
_CLOTH_SIZE = 768
_CLOTH_THREADS = 44
_CLOTH_REFLECTANCE = 0.030
_METALS = {
    "zinc": textures.zinc,
    "brushed": textures.brushed,
    "yellow_zinc": textures.yellow_zinc,
    "bare_steel": textures.bare_steel,
    "screw": textures.screw_zinc,
}


@lru_cache(maxsize=16)
def material(name: str) -> Any:
    """The Mitsuba material of a finish, of "bare_steel", "screw", "cloth" or "lint"."""
    import mitsuba

    makers = {"cloth": _cloth, "lint": _lint, "black_paint": _paint}
    return mitsuba.load_dict(makers[name]() if name in makers else _metal(name))


def _metal(name: str) -> dict[str, Any]:
    maps = _METALS[name](_SIZE, TILE_MM, _stream(name))
    cover = _dust_cover() * (0.2 if name == "bare_steel" else 0.5)
    roughness = maps.roughness + (0.6 - maps.roughness) * cover
    reflectance = maps.reflectance + (0.4 - maps.reflectance) * cover[..., None]
    along = {"brushed": (0.6, 1.25)}.get(name, (1.0, 1.0))
    return _embossed(
        maps.slopes,
        {
            "type": "roughconductor",
            "material": "none",
            "distribution": "ggx",
            "specular_reflectance": _texture(reflectance),
            "alpha_u": _texture(roughness * along[0]),
            "alpha_v": _texture(roughness * along[1]),
        },
    )


def _paint() -> dict[str, Any]:
    rng = _stream("black_paint")
    rough = 0.36 + 0.05 * textures.noise(_SIZE, rng, low=2.0, high=TILE_MM / 4)
    return _embossed(
        textures.orange_peel(_SIZE, TILE_MM, rng),
        {
            "type": "principled",
            "base_color": _texture(0.017 + 0.08 * np.repeat(_dust_cover()[..., None], 3, axis=2)),
            "roughness": _texture(np.clip(rough, 0.2, 0.6)),
            "specular": 0.5,
        },
    )


def _cloth() -> dict[str, Any]:
    reflectance = textures.weave(_CLOTH_SIZE, _CLOTH_THREADS, _stream("cloth"))
    tint = np.array([1.0, 0.99, 1.04], dtype=np.float32)
    return {"type": "diffuse", "reflectance": _texture(reflectance * tint * _CLOTH_REFLECTANCE)}


@lru_cache(maxsize=1)
def _dust_cover() -> textures.Texture:
    return textures.dust(_SIZE, TILE_MM, _stream("dust"))


def _stream(name: str) -> np.random.Generator:
    """Textures are the same in every process: their stream depends on their name alone."""
    return np.random.default_rng(list(name.encode()))


def _lint() -> dict[str, Any]:
    return {"type": "diffuse", "reflectance": {"type": "rgb", "value": [0.25, 0.25, 0.25]}}


def _embossed(slopes: textures.Texture, inner: dict[str, Any]) -> dict[str, Any]:
    return {"type": "normalmap", "normalmap": _texture(textures.normals(slopes)), "bsdf": inner}


def _texture(values: Any) -> dict[str, Any]:
    import mitsuba

    pixels = np.asarray(values, dtype=np.float32)
    pixels = pixels[..., None] if pixels.ndim == 2 else pixels
    bitmap = mitsuba.Bitmap(np.ascontiguousarray(pixels))
    return {"type": "bitmap", "bitmap": bitmap, "raw": True, "wrap_mode": "repeat"}
