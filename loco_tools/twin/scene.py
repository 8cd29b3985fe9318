"""The scene round the part: cloth, lint, lights, and the meshes that Mitsuba renders."""

import math
from typing import Any

import numpy as np

from loco_tools.twin import materials
from loco_tools.twin.surface import Points, Surface
from loco_tools.twin.viewpoint import Viewpoint

_CLOTH_CELLS = 120
_PATH_DEPTH = 5
_BLOCK_PX = 32  # fixed, since the samples of a pixel depend on it


def mesh(surface: Surface, bsdf: Any, tile_mm: float, *, emitter: Any = None) -> Any:
    """A Mitsuba mesh whose texture coordinates are its flat coordinates over `tile_mm`."""
    flat = surface.flat.reshape(-1, 3)
    # heights are let in, so that edges and hole walls are not smeared
    uv = (flat[:, :2] + flat[:, 2:] * np.array([0.8, 0.6])) / tile_mm
    return _mesh(surface.corners, surface.normals, uv, bsdf, emitter)


def cloth(field_mm: float, clear_mm: float, rng: np.random.Generator) -> Any:
    """Black cloth with soft folds, flat for `clear_mm` about the origin where the part lies."""
    reach = 2.2 * field_mm
    # finer in the middle: the picture sees only that
    line = np.linspace(-1.0, 1.0, _CLOTH_CELLS + 1)
    line = reach * (0.45 * line + 0.55 * line**3)
    x, y = np.meshgrid(line, line)
    height = _folds(x, y, field_mm, rng)
    outside = np.clip((np.hypot(x, y) - 0.55 * clear_mm) / (0.9 * clear_mm), 0.0, 1.0)
    height = height * outside**2 * (3 - 2 * outside) - 0.06
    points = np.stack([x, y, height], axis=-1)
    normals = _grid_normals(points)
    a, b, c, d = _quads(points), _quads(normals), _quads(points[..., :2]), None
    del d
    shift = rng.uniform(0, 1, 2)
    turn = math.radians(rng.uniform(0, 360))
    rotation = np.array([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]])
    uv = c.reshape(-1, 2) @ rotation / materials.CLOTH_TILE_MM + shift
    return _mesh(a, b, uv, materials.material("cloth"), None)


def lint(field_mm: float, rng: np.random.Generator) -> Any:
    """Fibres and specks that lie on the cloth, as narrow ribbons a little above it."""
    ribbons = []
    for _ in range(int(rng.integers(25, 60))):
        length = rng.uniform(0.8, 4.5) if rng.random() < 0.5 else rng.uniform(0.15, 0.4)
        width = rng.uniform(0.05, 0.10) if length > 0.5 else length * rng.uniform(0.5, 1.0)
        s = np.linspace(-0.5, 0.5, 7)
        heading = rng.uniform(0, 2 * math.pi) + np.cumsum(rng.normal(0, 0.35, 7))
        step = np.stack([np.cos(heading), np.sin(heading)], axis=1) * length / 7
        middle = np.cumsum(step, axis=0) + rng.uniform(-0.75, 0.75, 2) * field_mm
        side = np.stack([-np.sin(heading), np.cos(heading)], axis=1) * width / 2
        taper = np.sqrt(np.clip(1 - (2 * np.abs(s)) ** 4, 0.05, 1))[:, None]
        edges = np.stack([middle - side * taper, middle + side * taper], axis=1)
        points = np.concatenate([edges, np.full((7, 2, 1), 0.01)], axis=-1)
        ribbons.append(_quads(points))
    corners = np.concatenate(ribbons)
    normals = np.broadcast_to([0.0, 0.0, 1.0], corners.shape)
    uv = np.zeros((corners.shape[0] * 3, 2))
    return _mesh(corners, normals, uv, materials.material("lint"), None)


def lights(field_mm: float, rng: np.random.Generator) -> dict[str, Any]:
    """Soft boxes as on a rig, each a little off its usual place and strength."""
    strength = rng.uniform(0.92, 1.08)
    turn = rng.normal(0.0, 4.0)
    boxes = {
        # name: azimuth, elevation, distance, width, height, radiance
        "key": (150.0, 62.0, 3.4, 2.6, 1.7, 5.2),
        "fill": (-35.0, 48.0, 4.0, 2.8, 2.0, 1.5),
        "strip": (-120.0, 35.0, 3.6, 3.0, 0.7, 2.6),
    }
    found: dict[str, Any] = {
        "room": {"type": "constant", "radiance": {"type": "rgb", "value": [0.10, 0.105, 0.115]}}
    }
    for name, (azimuth, elevation, distance, width, height, radiance) in boxes.items():
        found[name] = _soft_box(
            azimuth + turn + rng.normal(0.0, 2.5),
            elevation + rng.normal(0.0, 1.5),
            distance * field_mm,
            (width * field_mm, height * field_mm),
            radiance * strength * rng.uniform(0.94, 1.06),
        )
    return found


def picture(
    viewpoint: Viewpoint, objects: dict[str, Any], *, samples: int, seed: int
) -> Points:
    """Linear radiance (H, W, 3) of a scene."""
    return _render(viewpoint, objects, samples, seed, depth=_PATH_DEPTH, window=None)


def coverage(
    viewpoint: Viewpoint,
    objects: dict[str, Any],
    window: tuple[int, int, int, int],
    *,
    samples: int,
) -> Points:
    """Share (h, w) of each pixel in which something that shines is seen directly.

    Args:
        window: x, y, width and height in pixels of the picture.
    """
    seen = _render(viewpoint, objects, samples, 0, depth=1, window=window)
    return np.asarray(seen[..., 0])


def _render(
    viewpoint: Viewpoint,
    objects: dict[str, Any],
    samples: int,
    seed: int,
    *,
    depth: int,
    window: tuple[int, int, int, int] | None,
) -> Points:
    import mitsuba

    scene = mitsuba.load_dict(
        {
            "type": "scene",
            "integrator": {"type": "path", "max_depth": depth, "block_size": _BLOCK_PX},
            "sensor": _sensor(viewpoint, samples, window),
            **objects,
        }
    )
    return np.asarray(mitsuba.render(scene, seed=seed), dtype=np.float64)


def _sensor(
    viewpoint: Viewpoint, samples: int, window: tuple[int, int, int, int] | None
) -> dict[str, Any]:
    import mitsuba

    film: dict[str, Any] = {
        "type": "hdrfilm",
        "width": viewpoint.width_px,
        "height": viewpoint.height_px,
        "pixel_format": "rgb",
        "component_format": "float32",
        "rfilter": {"type": "box"},  # no pixel reaches over a block, so threads cannot matter
    }
    if window is not None:
        names = ("crop_offset_x", "crop_offset_y", "crop_width", "crop_height")
        film |= dict(zip(names, window, strict=True))
    pose = mitsuba.ScalarTransform4f().look_at(
        viewpoint.origin.tolist(), viewpoint.target.tolist(), viewpoint.up.tolist()
    )
    return {
        "type": "perspective",
        "fov": viewpoint.fov_deg,
        "fov_axis": "x",
        "near_clip": 1.0,
        "far_clip": 1e5,
        "to_world": pose,
        "film": film,
        "sampler": {"type": "independent", "sample_count": samples},
    }


def _soft_box(
    azimuth_deg: float,
    elevation_deg: float,
    distance_mm: float,
    size_mm: tuple[float, float],
    radiance: float,
) -> dict[str, Any]:
    """A rectangle that faces the origin, brighter in its middle."""
    import mitsuba

    azimuth, elevation = math.radians(azimuth_deg), math.radians(elevation_deg)
    place = distance_mm * np.array(
        [
            math.cos(elevation) * math.cos(azimuth),
            math.cos(elevation) * math.sin(azimuth),
            math.sin(elevation),
        ]
    )
    pose = mitsuba.ScalarTransform4f().look_at(place.tolist(), [0.0, 0.0, 0.0], [0.0, 0.0, 1.0])
    scale = mitsuba.ScalarTransform4f().scale([size_mm[0] / 2, size_mm[1] / 2, 1.0])
    y, x = np.mgrid[-1:1:32j, -1:1:32j]
    glow = radiance * (0.35 + 0.65 * np.exp(-1.4 * (x**2 + y**2)))
    colour = glow[..., None] * np.array([1.0, 0.985, 0.95])
    bitmap = mitsuba.Bitmap(np.ascontiguousarray(colour, dtype=np.float32))
    return {
        "type": "rectangle",
        "to_world": pose @ scale,
        "emitter": {"type": "area", "radiance": {"type": "bitmap", "bitmap": bitmap, "raw": True}},
    }


def _mesh(corners: Points, normals: Points, uv: Points, bsdf: Any, emitter: Any) -> Any:
    import mitsuba

    props = mitsuba.Properties()
    props["mesh_bsdf"] = bsdf
    if emitter is not None:
        props["mesh_emitter"] = emitter
    count = len(corners) * 3
    made = mitsuba.Mesh(
        "surface",
        vertex_count=count,
        face_count=len(corners),
        props=props,
        has_vertex_normals=True,
        has_vertex_texcoords=True,
    )
    params = mitsuba.traverse(made)
    params["vertex_positions"] = np.asarray(corners, dtype=np.float32).ravel()
    params["vertex_normals"] = np.asarray(normals, dtype=np.float32).ravel()
    params["vertex_texcoords"] = np.asarray(uv, dtype=np.float32).ravel()
    params["faces"] = np.arange(count, dtype=np.uint32)
    params.update()
    return made


def _folds(x: Points, y: Points, field_mm: float, rng: np.random.Generator) -> Points:
    """A few long soft ridges, at most about 3 mm high."""
    height = np.zeros_like(x)
    for _ in range(7):
        turn = rng.uniform(0, math.pi)
        along = (x * math.cos(turn) + y * math.sin(turn)) / field_mm
        across = (-x * math.sin(turn) + y * math.cos(turn)) / field_mm
        ridge = across - rng.uniform(-0.9, 0.9) + 0.12 * np.sin(3 * along + rng.uniform(0, 6))
        width = rng.uniform(0.05, 0.16)
        height += rng.uniform(0.4, 1.6) * np.exp(-((ridge / width) ** 2)) * field_mm / 130
    return height


def _grid_normals(points: Points) -> Points:
    by_row, by_column = np.gradient(points, axis=0), np.gradient(points, axis=1)
    normals = np.cross(by_column, by_row)
    return np.asarray(normals / np.linalg.norm(normals, axis=-1, keepdims=True))


def _quads(grid: Points) -> Points:
    """A grid (R, C, K) of corners as triangles (N, 3, K)."""
    a, b, c, d = grid[:-1, :-1], grid[:-1, 1:], grid[1:, 1:], grid[1:, :-1]
    triangles = np.stack([a, b, c, a, c, d], axis=2)
    return triangles.reshape(-1, 3, grid.shape[-1])
