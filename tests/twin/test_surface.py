import math

import numpy as np
import pytest

from loco_tools.plan import Fold, Plate

pytest.importorskip("manifold3d")
pytest.importorskip("shapely")

from loco_tools.twin.plates import blank
from loco_tools.twin.surface import bend_zone, bent, from_solid, placement


def make_plate(angle_deg: float = 90.0) -> Plate:
    return Plate(
        shape="plate",
        name="bracket",
        length_mm=95.7,
        width_mm=35.0,
        thickness_mm=2.5,
        corner_radius_mm=3.0,
        fold=Fold(at_mm=0.0, angle_deg=angle_deg, inner_radius_mm=2.0),
    )


def test_the_folded_blank_has_two_legs_of_fifty_millimetres_outside() -> None:
    surface = bent(from_solid(blank(make_plate())), make_plate())
    low, high = (
        surface.corners.reshape(-1, 3).min(axis=0),
        surface.corners.reshape(-1, 3).max(axis=0),
    )
    assert high[0] - low[0] == pytest.approx(50.0, abs=0.1)
    assert high[2] - low[2] == pytest.approx(50.0, abs=0.1)
    assert high[1] - low[1] == pytest.approx(35.0, abs=0.01)


@pytest.mark.parametrize("angle_deg", [30.0, 90.0, 130.0])
def test_bending_keeps_the_area_of_the_straight_legs(angle_deg: float) -> None:
    plate = make_plate(angle_deg)
    flat = from_solid(blank(plate))
    curved = bent(flat, plate)
    assert plate.fold is not None
    start, end = bend_zone(plate, plate.fold)
    middle = curved.flat[..., 0].mean(axis=1)
    straight = (middle < start) | (middle > end)
    flat_area = _areas(curved.flat[straight]).sum()
    assert _areas(curved.corners[straight]).sum() == pytest.approx(flat_area, rel=1e-6)


def test_normals_are_unit_and_point_outwards() -> None:
    curved = bent(from_solid(blank(make_plate())), make_plate())
    np.testing.assert_allclose(np.linalg.norm(curved.normals, axis=-1), 1.0, atol=1e-6)
    a, b, c = np.moveaxis(curved.corners, 1, 0)
    facing = np.cross(b - a, c - a)
    facing /= np.linalg.norm(facing, axis=1, keepdims=True)
    assert np.einsum("ij,ij->i", facing, curved.normals.mean(axis=1)).min() > 0.7


def test_a_plate_without_a_fold_stays_flat() -> None:
    plate = make_plate().model_copy(update={"fold": None})
    surface = from_solid(blank(plate))
    assert bent(surface, plate) is surface
    assert surface.areas().sum() > 2 * 95 * 34


def test_moving_turns_normals_without_shifting_them() -> None:
    surface = from_solid(blank(make_plate().model_copy(update={"fold": None})))
    moved = surface.moved(placement(5.0, 0.0, 1.0, 90.0))
    np.testing.assert_allclose(moved.corners[..., 1], surface.corners[..., 0], atol=1e-9)
    np.testing.assert_allclose(moved.normals[..., 2], surface.normals[..., 2], atol=1e-9)


def _areas(corners: np.ndarray) -> np.ndarray:
    a, b, c = np.moveaxis(corners, 1, 0)
    area: np.ndarray = np.linalg.norm(np.cross(b - a, c - a), axis=1) / 2
    return area


def test_a_turn_of_thirty_degrees_is_a_turn_of_thirty_degrees() -> None:
    matrix = placement(0.0, 0.0, 0.0, 30.0)
    assert matrix[1, 0] == pytest.approx(math.sin(math.radians(30)))
