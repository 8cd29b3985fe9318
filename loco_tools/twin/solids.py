"""Solids for plates, screws and their defects: lathes, prisms and sweeps.

All lengths are in mm. All functions return `manifold3d.Manifold` solids that are their own
originals, so that the faces made by a cut can be identified after it.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]
Profile = Sequence[tuple[float, float]]


def lathe(profile: Profile, segments: int = 48) -> Any:
    """Turn a closed profile of (radius, z) points about the z axis."""
    from manifold3d import CrossSection, FillRule

    section = CrossSection([np.asarray(profile, dtype=np.float64)], FillRule.NonZero)
    return section.revolve(segments).as_original()


def prism(outline: Any, bottom_mm: float, top_mm: float) -> Any:
    """A shapely polygon (or several) extruded from one height to another."""
    from manifold3d import CrossSection, FillRule

    rings = []
    for polygon in getattr(outline, "geoms", [outline]):
        for ring in (polygon.exterior, *polygon.interiors):
            rings.append(np.asarray(ring.coords, dtype=np.float64)[:-1, :2])
    section = CrossSection(rings, FillRule.EvenOdd)
    solid = section.extrude(top_mm - bottom_mm).translate([0.0, 0.0, bottom_mm])
    return solid.as_original()


def drafted_prism(lower: Points, upper: Points, bottom_mm: float, top_mm: float) -> Any:
    """The solid between two (K, 2) outlines with matching corners, the first at the bottom."""
    return _close_rings(
        np.stack([_at_height(lower, bottom_mm), _at_height(upper, top_mm)]),
    )


def hole_cutter(diameter_mm: float, thickness_mm: float, chamfer_mm: float) -> Any:
    """The solid that drilling and countersinking remove from a plate from 0 to `thickness_mm`."""
    radius, out = diameter_mm / 2, 1.0
    wide = radius + chamfer_mm + out
    return lathe(
        [
            (0.0, -out),
            (wide, -out),
            (radius, chamfer_mm),
            (radius, thickness_mm - chamfer_mm),
            (wide, thickness_mm + out),
            (0.0, thickness_mm + out),
        ]
    )


def cylinder(radius_mm: float, bottom_mm: float, top_mm: float, segments: int = 64) -> Any:
    """A polygonal bar along z with the cross-sectional area of the true circle."""
    from manifold3d import Manifold

    polygon = segments / 2 * math.sin(2 * math.pi / segments)
    radius = radius_mm * math.sqrt(math.pi / polygon)
    bar = Manifold.cylinder(top_mm - bottom_mm, radius, radius, segments)
    return bar.translate([0.0, 0.0, bottom_mm]).as_original()


def sweep(path: Points, section: Profile, scale: Points) -> Any:
    """Move a section along a path in the plane.

    Args:
        path: (K, 2) points.
        section: (across, z) points, counter-clockwise when looking along the path with z up and
            across to the left negative.
        scale: (K,) size of the section at each point, above 0.
    """
    tangent = np.gradient(path, axis=0)
    tangent /= np.linalg.norm(tangent, axis=1, keepdims=True)
    across = np.stack([tangent[:, 1], -tangent[:, 0]], axis=1)  # to the right
    shape = np.asarray(section, dtype=np.float64)
    sized = shape[None] * scale[:, None, None]
    xy = path[:, None] + across[:, None] * sized[..., :1]
    return _close_rings(np.concatenate([xy, sized[..., 1:]], axis=-1))


def _close_rings(rings: Points) -> Any:
    """Connect (K, M, 3) rings of points to a closed solid with outward faces."""
    from manifold3d import Manifold, Mesh

    stations, around = rings.shape[:2]
    index = np.arange(stations * around).reshape(stations, around)
    a, b = index[:-1], np.roll(index[:-1], -1, axis=1)
    c, d = np.roll(index[1:], -1, axis=1), index[1:]
    walls = np.stack([a, b, c, a, c, d], axis=-1).reshape(-1, 3)
    fan = np.stack([np.zeros(around - 2, int), np.arange(1, around - 1), np.arange(2, around)], 1)
    faces = np.concatenate([walls, index[0][fan[:, ::-1]], index[-1][fan]])
    points = rings.reshape(-1, 3)
    first, second, third = np.moveaxis(points[faces], 1, 0)
    volume = float(np.einsum("ij,ij->i", first, np.cross(second, third)).sum() / 6)
    if volume < 0:  # the faces point inwards
        faces = faces[:, ::-1]
    mesh = Mesh(
        np.ascontiguousarray(points, dtype=np.float32), np.ascontiguousarray(faces, dtype=np.uint32)
    )
    return Manifold(mesh).as_original()


def _at_height(outline: Points, height_mm: float) -> Points:
    return np.column_stack([outline, np.full(len(outline), height_mm)])
