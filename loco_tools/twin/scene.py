"""The scene around the part: cloth, lint, lights, and meshes for Mitsuba."""

import math
from typing import Any, NamedTuple

import numpy as np

from loco_tools.twin import materials
from loco_tools.twin.surface import Points, Surface
from loco_tools.twin.viewpoint import Viewpoint

_CLOTH_CELLS = 120
_PATH_DEPTH = 5
_BLOCK_PX = 32  # fixed, since the samples of a pixel depend on it
_SKY_ROWS = 64


Window = tuple[int, int, int, int]
"""A window of a picture: x, y of its upper left corner, width, height, in pixels."""


class SoftBox(NamedTuple):
    """A lamp: its direction from the part, half its size over its distance, and its radiance."""

    azimuth_deg: float
    elevation_deg: float
    half_width: float
    half_height: float
    radiance: float


_SOFT_BOXES = (
    SoftBox(-120.0, 60.0, 0.50, 0.34, 4.2),  # behind, to the left
    SoftBox(55.0, 50.0, 0.40, 0.30, 1.5),  # in front, to the right
    SoftBox(-40.0, 38.0, 0.40, 0.14, 2.2),  # in front, to the left
    SoftBox(10.0, 14.0, 1.10, 0.20, 2.8),  # low in front: lights upright surfaces
)


def mesh(surface: Surface, bsdf: Any, tile_mm: float, *, emitter: Any = None) -> Any:
    """A Mitsuba mesh whose texture coordinates are its flat coordinates over `tile_mm`."""
    flat = surface.flat.reshape(-1, 3)
    # with the height included, edges and hole walls are not smeared
    uv = (flat[:, :2] + flat[:, 2:] * np.array([0.8, 0.6])) / tile_mm
    return _build_mesh(surface.corners, surface.normals, uv, bsdf, emitter)


def cloth(field_mm: float, low: Points, high: Points, rng: np.random.Generator) -> Any:
    """Black cloth with soft folds that is flat under the part, from corner `low` to `high`."""
    reach = 2.2 * field_mm
    # finer in the middle, which the picture shows
    line = np.linspace(-1.0, 1.0, _CLOTH_CELLS + 1)
    line = reach * (0.45 * line + 0.55 * line**3)
    x, y = np.meshgrid(line, line)
    height = _folds(x, y, field_mm, rng)
    x, y = x + (low[0] + high[0]) / 2, y + (low[1] + high[1]) / 2
    outside = np.maximum(np.maximum(low[0] - x, x - high[0]), np.maximum(low[1] - y, y - high[1]))
    rise = np.clip((outside - 0.02 * field_mm) / (0.15 * field_mm), 0.0, 1.0)
    height = height * rise**2 * (3 - 2 * rise) - 0.06
    points = np.stack([x, y, height], axis=-1)
    by_row, by_column = np.gradient(points, axis=0), np.gradient(points, axis=1)
    normals = np.cross(by_column, by_row)
    normals /= np.linalg.norm(normals, axis=-1, keepdims=True)
    shift = rng.uniform(0, 1, 2)
    turn = math.radians(rng.uniform(0, 360))
    rotation = np.array([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]])
    uv = _quads(points[..., :2]).reshape(-1, 2) @ rotation / materials.CLOTH_TILE_MM + shift
    return _build_mesh(_quads(points), _quads(normals), uv, materials.ground("cloth"), None)


def lint(field_mm: float, centre: Points, rng: np.random.Generator) -> Any:
    """Fibres and specks on the cloth, as narrow ribbons slightly above it."""
    ribbons = []
    for _ in range(int(rng.integers(25, 60))):
        length = rng.uniform(0.8, 4.5) if rng.random() < 0.5 else rng.uniform(0.15, 0.4)
        width = rng.uniform(0.05, 0.10) if length > 0.5 else length * rng.uniform(0.5, 1.0)
        s = np.linspace(-0.5, 0.5, 7)
        heading = rng.uniform(0, 2 * math.pi) + np.cumsum(rng.normal(0, 0.35, 7))
        step = np.stack([np.cos(heading), np.sin(heading)], axis=1) * length / 7
        middle = np.cumsum(step, axis=0) + rng.uniform(-0.75, 0.75, 2) * field_mm
        middle += centre[:2]
        side = np.stack([-np.sin(heading), np.cos(heading)], axis=1) * width / 2
        taper = np.sqrt(np.clip(1 - (2 * np.abs(s)) ** 4, 0.05, 1))[:, None]
        edges = np.stack([middle - side * taper, middle + side * taper], axis=1)
        points = np.concatenate([edges, np.full((7, 2, 1), 0.01)], axis=-1)
        ribbons.append(_quads(points))
    corners = np.concatenate(ribbons)
    normals = np.broadcast_to([0.0, 0.0, 1.0], corners.shape)
    uv = np.zeros((corners.shape[0] * 3, 2))
    return _build_mesh(corners, normals, uv, materials.ground("lint"), None)


def lights(azimuth_deg: float, rng: np.random.Generator) -> dict[str, Any]:
    """Soft boxes and the dim room around them as one environment map, with slight variation.

    A single environment light gives the least noise, and no lamp blocks a low camera. Camera and
    lamps are fixed to each other: the azimuth of a view is the turn of the table with cloth and
    part on it, its elevation the tilt of the camera's arm.
    """
    import mitsuba

    theta = (np.arange(_SKY_ROWS) + 0.5) / _SKY_ROWS * math.pi
    phi = (np.arange(2 * _SKY_ROWS) + 0.5) / _SKY_ROWS * math.pi  # from +y towards +x
    level = np.sin(theta)[:, None]
    directions = np.stack(
        [level * np.sin(phi), level * np.cos(phi), np.cos(theta)[:, None] + 0 * phi], axis=-1
    )
    height = np.clip(directions[..., 2], -0.2, 1.0)[..., None]
    sky = (0.05 + 0.10 * height) * np.array([0.95, 1.0, 1.08])  # radiance (H, W, 3), pole first
    strength, turn = rng.uniform(0.92, 1.08), azimuth_deg + rng.normal(0.0, 3.0)
    for box in _SOFT_BOXES:
        azimuth = turn + box.azimuth_deg + rng.normal(0.0, 2.0)
        elevation = box.elevation_deg + rng.normal(0.0, 1.2)
        share = _softbox_share(directions, azimuth, elevation, box)
        level_now = box.radiance * strength * rng.uniform(0.94, 1.06)
        sky = sky + level_now * share[..., None] * np.array([1.0, 0.985, 0.95])
    bitmap = mitsuba.Bitmap(np.ascontiguousarray(sky, dtype=np.float32))
    y_up_to_z_up = mitsuba.ScalarTransform4f().rotate([1.0, 0.0, 0.0], 90.0)
    return {"sky": {"type": "envmap", "bitmap": bitmap, "to_world": y_up_to_z_up}}


def _softbox_share(directions: Points, azimuth: float, elevation: float, box: SoftBox) -> Points:
    """The visible share (0-1) of a soft box in each direction (.., 3); azimuth as for views."""
    a, e = math.radians(azimuth), math.radians(elevation)
    towards = np.array([math.sin(a) * math.cos(e), -math.cos(a) * math.cos(e), math.sin(e)])
    side = np.array([math.cos(a), math.sin(a), 0.0])
    up = np.cross(towards, side)
    ahead = directions @ towards
    x = np.abs(directions @ side) / np.maximum(ahead, 1e-3)
    y = np.abs(directions @ up) / np.maximum(ahead, 1e-3)
    inside = _falling((x - box.half_width) / 0.12) * _falling((y - box.half_height) / 0.12)
    glow = 0.55 + 0.45 * np.exp(-1.5 * ((x / box.half_width) ** 2 + (y / box.half_height) ** 2))
    return np.asarray(np.where(ahead > 0, inside * glow, 0.0))


def _falling(x: Points) -> Points:
    """A soft step from 1 at negative to 0 at positive values."""
    return np.asarray(0.5 - 0.5 * np.tanh(2 * x))


def picture(
    viewpoint: Viewpoint, objects: dict[str, Any], window: Window | None, *, samples: int, seed: int
) -> Points:
    """Linear radiance (H, W, 3) of a scene with `samples` per pixel in the window of the part.

    The cloth around it gets a quarter of the samples: it is dark and matt, so its noise is not
    visible.
    """
    import mitsuba

    few = max(1, samples // 4)
    scene = _loaded(_sensor(viewpoint, few, None), objects, depth=_PATH_DEPTH)
    whole = _rendered(scene, scene.sensors()[0], seed)
    if window is not None and samples > few:
        x, y, width, height = window
        closer = mitsuba.load_dict(_sensor(viewpoint, samples - few, window))
        more = _rendered(scene, closer, seed + 1)
        here = whole[y : y + height, x : x + width]
        here += (more - here) * (1 - few / samples)
    return whole


def coverage(
    viewpoint: Viewpoint,
    objects: dict[str, Any],
    window: Window,
    *,
    samples: int,
) -> Points:
    """The share (h, w) of each pixel of the window that directly shows an emitter."""
    scene = _loaded(_sensor(viewpoint, samples, window), objects, depth=1)
    return np.asarray(_rendered(scene, scene.sensors()[0], 0)[..., 0])


def _loaded(sensor: dict[str, Any], objects: dict[str, Any], *, depth: int) -> Any:
    import mitsuba

    return mitsuba.load_dict(
        {
            "type": "scene",
            "integrator": {"type": "path", "max_depth": depth, "block_size": _BLOCK_PX},
            "sensor": sensor,
            **objects,
        }
    )


def _rendered(scene: Any, sensor: Any, seed: int) -> Points:
    import mitsuba

    radiance = mitsuba.render(scene, sensor=sensor, seed=mitsuba.UInt32(seed))
    return np.array(radiance, dtype=np.float64)


def _sensor(viewpoint: Viewpoint, samples: int, window: Window | None) -> dict[str, Any]:
    import mitsuba

    film: dict[str, Any] = {
        "type": "hdrfilm",
        "width": viewpoint.width_px,
        "height": viewpoint.height_px,
        "pixel_format": "rgb",
        "component_format": "float32",
        "rfilter": {"type": "box"},  # separate blocks: threads cannot matter
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
        "sampler": {"type": "multijitter", "sample_count": samples},
    }


def _build_mesh(corners: Points, normals: Points, uv: Points, bsdf: Any, emitter: Any) -> Any:
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
    """Heights of a few long soft ridges of some mm, and of creases from folding."""
    height = np.zeros_like(x)
    for number in range(11):
        turn = rng.uniform(0, math.pi)
        along = (x * math.cos(turn) + y * math.sin(turn)) / field_mm
        across = (-x * math.sin(turn) + y * math.cos(turn)) / field_mm
        ridge = across - rng.uniform(-0.9, 0.9) + 0.12 * np.sin(3 * along + rng.uniform(0, 6))
        crease = number >= 8
        width = rng.uniform(0.012, 0.022) if crease else rng.uniform(0.03, 0.08)
        tall = rng.uniform(1.0, 2.0) if crease else rng.uniform(2.5, 6.5)
        height += tall * np.exp(-((ridge / width) ** 2)) * field_mm / 130
    return height


def _quads(grid: Points) -> Points:
    """A grid (R, C, K) of corners as triangles (N, 3, K)."""
    a, b, c, d = grid[:-1, :-1], grid[:-1, 1:], grid[1:, 1:], grid[1:, :-1]
    triangles = np.stack([a, b, c, a, c, d], axis=2)
    return triangles.reshape(-1, 3, grid.shape[-1])
