"""One photograph of the simulated part, with the exact masks of its defects."""

import math
import os
import zlib
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loco_tools.errors import MissingExtraError
from loco_tools.plan import Plan
from loco_tools.twin import assembly as assemblies
from loco_tools.twin import defects, scene, sensor
from loco_tools.twin.assembly import Assembly
from loco_tools.twin.materials import TILE_MM, draw_wear, material
from loco_tools.twin.plates import Patch
from loco_tools.twin.surface import Points, Surface, placement
from loco_tools.twin.variants import variant
from loco_tools.twin.viewpoint import Viewpoint, look

_MASK_SAMPLES = 16
_LEAST_SHARE, _LEAST_MM2 = 0.16, 2.5
"""A defect counts as hidden when less than this share of its size and less than this area show."""

_YAW_DEG = 4.0
_OFFSET = 0.022
"""The largest offset of a part from the middle of the picture, in picture widths."""


_CORE_S_PER_SAMPLE = 1.1e-6
"""Seconds of one core per pixel and sample, as measured by benchmark/speed/twin.py."""


@dataclass(frozen=True)
class RenderedDefect:
    """A defect as one view shows it: its name and the pixels (H, W) bool where it is visible."""

    name: str
    mask: NDArray[np.bool_]


@dataclass(frozen=True)
class Rendering:
    """A photograph.

    Attributes:
        image: (H, W, 3) uint8 RGB.
        defects: one entry per visible defect; empty when the defect is hidden.
        px_per_mm: scale in the plane of the table, at the part.
    """

    image: NDArray[np.uint8]
    defects: tuple[RenderedDefect, ...]
    px_per_mm: float


def render(plan: Plan, seed: int, defect: str | None, view: str) -> Rendering:
    """Photograph one part.

    The seed identifies the part: with the same plan, seed and defect, two views show the same part
    in the same place, each under its own light and noise. The same arguments give the same bytes.

    Raises:
        DefinitionError: the plan has no such view, the twin has no such defect, or the defect does
            not fit the part.
        MissingExtraError: the extra "twin" is not installed.
    """
    load_renderer()
    viewpoint = look(plan.camera, plan.view(view), _centre(plan))
    part, pose, patches = _part(plan, seed, defect)
    objects, marked = _meshes(patches, pose, seed)
    field_mm, (low, high) = plan.camera.field_mm, assemblies.extent(plan.part)
    cloth_stream = _stream(seed, "cloth")
    surroundings = {
        "cloth": scene.cloth(field_mm, low, high, cloth_stream),
        "lint": scene.lint(field_mm, (low + high) / 2, cloth_stream),
        **scene.lights(plan.view(view).azimuth_deg, _stream(seed, "lights", view)),
    }
    radiance = scene.picture(
        viewpoint,
        {**objects, **marked, **surroundings},
        _part_window(plan, viewpoint, [patch.surface for patch in patches], pose),
        samples=plan.twin.samples_per_pixel,
        seed=int(_stream(seed, "paths", view).integers(2**31)),
    )
    balance = sensor.white_balance(_stream(seed, "balance"))
    image = sensor.develop(radiance, plan.camera, _stream(seed, "sensor", view), balance)
    defective = [patch.surface for patch in patches if patch.marked] + part.regions()
    mask = _mask(viewpoint, [surface.moved(pose) for surface in defective], objects)
    evidence = [surface.moved(pose) for surface in part.visible_evidence]
    if evidence and not _mask(viewpoint, evidence, objects, least_mm2=math.inf).any():
        mask[:] = False
    visible = (RenderedDefect(defect, mask),) if defect is not None and mask.any() else ()
    return Rendering(image, visible, viewpoint.px_per_mm)


def estimated_s(plan: Plan) -> float:
    """The estimated rendering time of one picture in seconds, right within a factor of 2.

    The estimate is for all cores of this machine with the scalar variant; nothing is rendered.
    """
    camera = plan.camera
    samples = camera.width_px * camera.height_px * plan.twin.samples_per_pixel
    has_affinity = hasattr(os, "sched_getaffinity")
    cores = len(os.sched_getaffinity(0)) if has_affinity else os.cpu_count() or 1
    return samples * _CORE_S_PER_SAMPLE / cores


def load_renderer() -> None:
    """Load Mitsuba and select its variant; call this before building a scene.

    Raises:
        MissingExtraError: the extra "twin" is not installed.
        DefinitionError: the variant asked for by the environment is unknown.
    """
    try:
        import manifold3d
        import mitsuba
        import shapely
    except ImportError as error:
        raise MissingExtraError("The digital twin", "twin") from error
    del manifold3d, shapely
    if mitsuba.variant() != variant():
        mitsuba.set_variant(variant())
        mitsuba.set_log_level(mitsuba.LogLevel.Error)  # fewer messages


def _stream(seed: int, *names: str) -> np.random.Generator:
    """A random stream for one purpose, so that it does not depend on the draws for others."""
    return np.random.default_rng([seed, zlib.crc32("/".join(names).encode())])


@lru_cache(maxsize=2)
def _part(plan: Plan, seed: int, defect: str | None) -> tuple[Assembly, Points, list[Patch]]:
    """The part, its pose (a (4, 4) motion about its middle), and its visible surfaces.

    The result is cached, since the next view usually shows the same part.
    """
    twin = plan.twin
    part = assemblies.assemble(plan.part, _stream(seed, "part"), twin.tolerance_mm, twin.severity)
    if defect is not None:
        part = defects.apply_defect(part, defect, _stream(seed, "defect", defect))
    rng = _stream(seed, "pose")
    dx, dy = rng.uniform(-1.0, 1.0, 2) * _OFFSET * plan.camera.field_mm
    x, y, _ = _centre(plan)
    turned = placement(x + dx, y + dy, 0.0, rng.uniform(-_YAW_DEG, _YAW_DEG))
    return part, turned @ placement(-x, -y, 0.0, 0.0), part.patches()


def _centre(plan: Plan) -> Points:
    low, high = assemblies.extent(plan.part)
    return np.asarray((low + high) / 2)


def _meshes(patches: list[Patch], pose: Points, seed: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """The meshes of the part without the defect, and those of the defect."""
    offset = np.append(_stream(seed, "texture").uniform(0, TILE_MM, 2), 0.0)
    wear = draw_wear(_stream(seed, "wear"))
    plain: dict[str, Any] = {}
    marked: dict[str, Any] = {}
    for number, patch in enumerate(patches):
        surface = patch.surface.moved(pose).shifted_flat(offset)
        made = scene.mesh(surface, material(patch.material, wear), TILE_MM)
        (marked if patch.marked else plain)[f"patch_{number}"] = made
    return plain, marked


def _mask(
    viewpoint: Viewpoint,
    defect: list[Surface],
    occluders: dict[str, Any],
    *,
    least_mm2: float = _LEAST_MM2,
) -> NDArray[np.bool_]:
    """The pixels (H, W) that show mostly the defect: its surfaces and its regions in space.

    They emit light in a scene where everything else is dark, so that other objects hide them as in
    the photograph. The mask is empty when too little of the defect is visible, for instance
    because it is seen edge on or lies behind something.
    """
    import mitsuba

    mask = np.zeros((viewpoint.height_px, viewpoint.width_px), dtype=bool)
    window = _window(viewpoint, _points(defect)) if defect else None
    if window is None:
        return mask
    objects = dict(occluders)
    dark = mitsuba.load_dict({"type": "diffuse"})
    for number, surface in enumerate(defect):
        lamp = mitsuba.load_dict({"type": "area", "radiance": 1.0})
        objects[f"defect_{number}"] = scene.mesh(surface, dark, TILE_MM, emitter=lamp)
    x, y, width, height = window
    shares = scene.coverage(viewpoint, objects, window, samples=_MASK_SAMPLES)
    mask[y : y + height, x : x + width] = shares >= 0.5
    # seen face on, a closed surface covers about half of its area
    size_mm2 = sum(float(surface.areas().sum()) for surface in defect) / 2
    size_px, least_px = (area * viewpoint.px_per_mm**2 for area in (size_mm2, least_mm2))
    if mask.sum() < min(_LEAST_SHARE * size_px, least_px):
        mask[:] = False
    return mask


def _part_window(
    plan: Plan, viewpoint: Viewpoint, surfaces: list[Surface], pose: Points
) -> scene.Window | None:
    """The window of the part in the picture, the same without a defect unless it sticks out.

    The noise of a picture depends on this window and must not reveal which parts are defective.
    """
    nominal = assemblies.nominal_points(plan.part) @ pose[:3, :3].T + pose[:3, 3]
    usual = _window(viewpoint, nominal, margin_px=3)
    actual = _window(viewpoint, _points([surface.moved(pose) for surface in surfaces]))
    if usual is None or actual is None:
        return actual
    low = np.minimum(usual[:2], actual[:2])
    high = np.maximum(np.add(usual[:2], usual[2:]), np.add(actual[:2], actual[2:]))
    return int(low[0]), int(low[1]), int(high[0] - low[0]), int(high[1] - low[1])


def _points(surfaces: list[Surface]) -> Points:
    return np.concatenate([surface.corners.reshape(-1, 3) for surface in surfaces])


def _window(viewpoint: Viewpoint, points: Points, *, margin_px: int = 2) -> scene.Window | None:
    """The part of the picture in which the points (N, 3) lie; None when they are all outside."""
    pixels = viewpoint.project(points)
    limit = np.array([viewpoint.width_px, viewpoint.height_px])
    low = np.clip(np.floor(pixels.min(axis=0)).astype(int) - margin_px, 0, limit)
    high = np.clip(np.ceil(pixels.max(axis=0)).astype(int) + margin_px, 0, limit)
    if (high <= low).any():
        return None
    return int(low[0]), int(low[1]), int(high[0] - low[0]), int(high[1] - low[1])
