"""Triangle meshes of the solids, as they are rendered.

Each triangle keeps its coordinates in the flat blank (for textures), its normals, and the solid
that it came from (a drilled wall shows bare steel). Bending maps a flat plate around the cylinder
of its fold.
"""

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loco_tools.plan import Fold, Plate

Points = NDArray[np.float64]

K_FACTOR = 0.4
"""Position of the neutral layer of a bent plate: share of its thickness from the inner face."""

_BEND_STEP_DEG = 6.0


@dataclass(frozen=True)
class Surface:
    """Triangles with positions, normals and texture coordinates at their corners.

    Attributes:
        corners: (N, 3, 3) positions in mm, by triangle, corner, axis.
        normals: (N, 3, 3) unit normals at the corners.
        flat: (N, 3, 3) positions in mm before bending and placement.
        source: (N,) id of the solid that each triangle came from.
    """

    corners: Points
    normals: Points
    flat: Points
    source: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.source)

    def select(self, chosen: NDArray[np.bool_]) -> "Surface":
        """The triangles for which `chosen` (N,) holds."""
        return Surface(
            self.corners[chosen], self.normals[chosen], self.flat[chosen], self.source[chosen]
        )

    def areas(self) -> Points:
        """Area (N,) of each triangle in mm2."""
        return _doubled_areas(self.corners) / 2

    def moved(self, matrix: Points) -> "Surface":
        """The surface under a rigid motion given as a (4, 4) matrix."""
        turn, shift = matrix[:3, :3], matrix[:3, 3]
        return replace(self, corners=self.corners @ turn.T + shift, normals=self.normals @ turn.T)

    def shifted_flat(self, offset: Points) -> "Surface":
        """The same surface at another offset (3,) in mm of its texture."""
        return replace(self, flat=self.flat + offset)


def from_solid(solid: Any, crease_deg: float = 12.0) -> Surface:
    """The boundary of a manifold solid; normals are smooth up to edges of `crease_deg`."""
    mesh = solid.to_mesh()
    vertices = np.asarray(mesh.vert_properties, dtype=np.float64)[:, :3]
    faces = np.asarray(mesh.tri_verts, dtype=np.int64)
    starts = np.asarray(mesh.run_index, dtype=np.int64) // 3
    source = np.repeat(np.asarray(mesh.run_original_id, dtype=np.int64), starts[1:] - starts[:-1])
    corners = vertices[faces]
    is_valid = _doubled_areas(corners) > 1e-9
    corners, faces, source = corners[is_valid], faces[is_valid], source[is_valid]
    return Surface(corners, _crease_normals(corners, faces, crease_deg), corners.copy(), source)


def join(surfaces: list[Surface]) -> Surface:
    """All triangles of several surfaces (at least one)."""
    return Surface(
        np.concatenate([s.corners for s in surfaces]),
        np.concatenate([s.normals for s in surfaces]),
        np.concatenate([s.flat for s in surfaces]),
        np.concatenate([s.source for s in surfaces]),
    )


def placement(x_mm: float, y_mm: float, z_mm: float, yaw_deg: float) -> Points:
    """A (4, 4) matrix: turn about z, then shift."""
    matrix = np.eye(4)
    cos, sin = math.cos(math.radians(yaw_deg)), math.sin(math.radians(yaw_deg))
    matrix[:2, :2] = [[cos, -sin], [sin, cos]]
    matrix[:3, 3] = [x_mm, y_mm, z_mm]
    return matrix


def bend_zone(plate: Plate, fold: Fold) -> tuple[float, float]:
    """Where the bend starts and ends along the flat blank, in mm from its centre."""
    neutral = fold.inner_radius_mm + K_FACTOR * plate.thickness_mm
    half = math.radians(fold.angle_deg) * neutral / 2
    return fold.at_mm - half, fold.at_mm + half


def bent(surface: Surface, plate: Plate) -> Surface:
    """The surface of the flat blank bent at the plate's fold (unchanged without one).

    The axis of the bend lies above the plate.
    """
    if plate.fold is None:
        return surface
    start, end = bend_zone(plate, plate.fold)
    steps = max(2, math.ceil(plate.fold.angle_deg / _BEND_STEP_DEG))
    for x in np.linspace(start, end, steps + 1):
        surface = _split_at(surface, float(x))
    flat = surface.flat
    share = np.clip((flat[..., 0] - start) / (end - start), 0.0, 1.0)
    turn = share * math.radians(plate.fold.angle_deg)
    cos, sin = np.cos(turn), np.sin(turn)
    axis_z = plate.thickness_mm + plate.fold.inner_radius_mm
    radius = axis_z - flat[..., 2]
    before, beyond = np.minimum(flat[..., 0], start), np.maximum(flat[..., 0] - end, 0.0)
    x_bent = before + radius * sin + beyond * cos
    z_bent = axis_z - radius * cos + beyond * sin
    nx, ny, nz = np.moveaxis(surface.normals, -1, 0)
    normals = np.stack([nx * cos - nz * sin, ny, nx * sin + nz * cos], axis=-1)
    normals /= np.linalg.norm(normals, axis=-1, keepdims=True)
    corners = np.stack([x_bent, flat[..., 1], z_bent], axis=-1)
    return replace(surface, corners=corners, normals=normals)


def _split_at(surface: Surface, x: float) -> Surface:
    """Split the triangles that cross the plane flat x = `x`, so that they can be bent there."""
    side = surface.flat[..., 0] - x
    side[np.abs(side) < 1e-6] = 0.0
    crossing = (side.min(axis=1) < 0) & (side.max(axis=1) > 0)
    if not crossing.any():
        return surface
    above = side[crossing] > 0
    lone = np.where(above.sum(axis=1) == 1, above.argmax(axis=1), (~above).argmax(axis=1))
    order = (lone[:, None] + np.arange(3)) % 3
    rows = np.arange(len(lone))[:, None]
    side = side[crossing][rows, order]
    along = side[:, :1] / (side[:, :1] - side[:, 1:])
    cut_values = []
    for values in (surface.corners, surface.normals, surface.flat):
        a, b, c = np.moveaxis(values[crossing][rows, order], 1, 0)
        p, q = a + (b - a) * along[:, :1], a + (c - a) * along[:, 1:]
        triangles = np.stack([a, p, q, p, b, c, p, c, q], axis=1)
        cut_values.append(triangles.reshape(-1, 3, 3))
    cut = Surface(
        cut_values[0], cut_values[1], cut_values[2], np.repeat(surface.source[crossing], 3)
    )
    is_valid = _doubled_areas(cut.flat) > 1e-9
    return join([surface.select(~crossing), cut.select(is_valid)])


def _doubled_areas(corners: Points) -> Points:
    first, second = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    return np.asarray(np.linalg.norm(np.cross(first, second), axis=1))


def _crease_normals(corners: Points, faces: NDArray[np.int64], crease_deg: float) -> Points:
    """Normals averaged over the neighbours within the crease angle.

    Neighbours are weighted by corner angle and area, so that a wide face stays flat next to a
    small slope.
    """
    from scipy.sparse import csr_matrix

    count = faces.size
    face_normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    areas = np.linalg.norm(face_normals, axis=1)
    face_normals /= areas[:, None]
    touching = csr_matrix((np.ones(count), (np.arange(count), faces.ravel())))
    pairs = (touching @ touching.T).tocoo()
    own, other = pairs.row, pairs.col
    cosines = np.einsum("ij,ij->i", face_normals[own // 3], face_normals[other // 3])
    near = cosines > math.cos(math.radians(crease_deg))
    own, other = own[near], other[near]
    forward = np.roll(corners, -1, axis=1) - corners
    backward = np.roll(corners, 1, axis=1) - corners
    dot = np.einsum("ijk,ijk->ij", forward, backward)
    angles = np.arctan2(np.linalg.norm(np.cross(forward, backward), axis=-1), dot)
    weights = (angles * areas[:, None]).ravel()[other]
    summed = np.stack(
        [np.bincount(own, weights * face_normals[other // 3, k], count) for k in range(3)], axis=-1
    )
    length = np.linalg.norm(summed, axis=1, keepdims=True)
    return np.asarray(summed / np.maximum(length, 1e-12)).reshape(-1, 3, 3)
