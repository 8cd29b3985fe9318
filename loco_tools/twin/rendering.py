"""One photograph of the simulated part, with the exact masks of its defects."""

import math
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
_GLIMPSE, _GLIMPSE_MM2 = 0.16, 2.5
"""A defect that shows less than this share of its size and less than this area is hidden."""

_YAW_DEG = 4.0
_OFFSET = 0.022
"""How far a part lies off the middle, in picture widths."""


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
        defects: one entry per instance that the view shows; none when the defect is hidden.
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
    radiance = scene.picture(
        viewpoint,
        {**objects, **marked, **_stage(plan, seed, view)},
        _part_window(plan, viewpoint, [patch.surface for patch in patches], pose),
        samples=plan.twin.samples_per_pixel,
        seed=int(_stream(seed, "paths", view).integers(2**31)),
    )
    balance = sensor.white_balance(_stream(seed, "balance"))
    image = sensor.develop(radiance, plan.camera, _stream(seed, "sensor", view), balance)
    shining = [patch.surface for patch in patches if patch.marked] + part.regions()
    mask = _mask(viewpoint, [surface.moved(pose) for surface in shining], objects)
    tells = [surface.moved(pose) for surface in part.tells]
    if tells and not _mask(viewpoint, tells, objects, glimpse_mm2=math.inf).any():
        mask[:] = False
    found = (RenderedDefect(defect, mask),) if defect is not None and mask.any() else ()
    return Rendering(image, found, viewpoint.px_per_mm)


def load_renderer() -> None:
    """Bring Mitsuba up; whoever builds a scene calls this first.

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
        mitsuba.set_log_level(mitsuba.LogLevel.Error)  # it comments on every odd sample count


def _stream(seed: int, *names: str) -> np.random.Generator:
    """Random numbers for one purpose, so that none shifts when another draws more."""
    return np.random.default_rng([seed, zlib.crc32("/".join(names).encode())])


@lru_cache(maxsize=2)
def _part(plan: Plan, seed: int, defect: str | None) -> tuple[Assembly, Points, list[Patch]]:
    """The part, where it lies (a (4, 4) motion about its middle), and what is visible of it.

    Kept, since the next view mostly shows the same part.
    """
    twin = plan.twin
    part = assemblies.assemble(plan.part, _stream(seed, "part"), twin.tolerance_mm, twin.severity)
    if defect is not None:
        part = defects.damaged(part, defect, _stream(seed, "defect", defect))
    rng = _stream(seed, "pose")
    dx, dy = rng.uniform(-1.0, 1.0, 2) * _OFFSET * plan.camera.field_mm
    x, y, _ = _centre(plan)
    turned = placement(x + dx, y + dy, 0.0, rng.uniform(-_YAW_DEG, _YAW_DEG))
    return part, turned @ placement(-x, -y, 0.0, 0.0), part.patches()


def _centre(plan: Plan) -> Points:
    low, high = assemblies.extent(plan.part)
    return np.asarray((low + high) / 2)


def _meshes(patches: list[Patch], pose: Points, seed: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """The part's meshes: those that are no defect, and those that are."""
    offset = np.append(_stream(seed, "texture").uniform(0, TILE_MM, 2), 0.0)
    wear = draw_wear(_stream(seed, "wear"))
    plain: dict[str, Any] = {}
    marked: dict[str, Any] = {}
    for number, patch in enumerate(patches):
        surface = patch.surface.moved(pose).shifted_flat(offset)
        made = scene.mesh(surface, material(patch.material, wear), TILE_MM)
        (marked if patch.marked else plain)[f"piece_{number}"] = made
    return plain, marked


def _stage(plan: Plan, seed: int, view: str) -> dict[str, Any]:
    """Cloth, lint and lights."""
    field = plan.camera.field_mm
    low, high = assemblies.extent(plan.part)
    rng = _stream(seed, "cloth")
    found = {
        "cloth": scene.cloth(field, low, high, rng),
        "lint": scene.lint(field, (low + high) / 2, rng),
    }
    return found | scene.lights(plan.view(view).azimuth_deg, _stream(seed, "lights", view))


def _mask(
    viewpoint: Viewpoint,
    defect: list[Surface],
    occluders: dict[str, Any],
    *,
    glimpse_mm2: float = _GLIMPSE_MM2,
) -> NDArray[np.bool_]:
    """Where most of a pixel shows the defect: its own surfaces, and its regions in space.

    They shine in a scene where all else is dark, so what hides them hides them here too. Nothing,
    when only a glimpse of it is left: edge on, or behind something.
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
    glimpse_px = glimpse_mm2 * viewpoint.px_per_mm**2
    if mask.sum() < min(_GLIMPSE * _face_on_px(viewpoint, defect), glimpse_px):
        mask[:] = False
    return mask


def _face_on_px(viewpoint: Viewpoint, surfaces: list[Surface]) -> float:
    """About how many pixels the surfaces would cover face on: half of all their area."""
    area = sum(float(surface.areas().sum()) for surface in surfaces) / 2
    return area * viewpoint.px_per_mm**2


def _part_window(
    plan: Plan, viewpoint: Viewpoint, surfaces: list[Surface], pose: Points
) -> scene.Window | None:
    """Where the part is in the picture: the same with and without a defect unless it sticks out.

    The noise of a picture depends on its window, and must not tell good parts from faulty ones.
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
