import numpy as np
import pytest

from loco_tools.plan import Screw

pytest.importorskip("manifold3d")
pytest.importorskip("shapely")

from loco_tools.twin import screws
from loco_tools.twin.screws import ScrewState, side_between, standing_place


def make_screw(**changes: object) -> Screw:
    values: dict[str, object] = {
        "shape": "screw",
        "name": "s",
        "x_mm": 10.0,
        "y_mm": -5.0,
        "z_mm": 3.5,
        "head": "hex",
        "head_diameter_mm": 10.0,
        "head_height_mm": 4.0,
        "thread_mm": 6.0,
        "length_mm": 12.0,
        "stands_mm": 8.5,
    }
    return Screw.model_validate(values | changes)


def corners(state: ScrewState) -> np.ndarray:
    (patch,) = state.patches()
    return patch.surface.corners.reshape(-1, 3)


def centre_of_slice(z: float) -> complex:
    """Where the thread's round cross-section lies, as x + iy from the axis."""
    (ring,) = screws._shank(make_screw()).slice(z).to_polygons()
    return complex(*ring.mean(axis=0))


def test_the_thread_is_a_right_handed_helix_of_metric_pitch() -> None:
    pitch = 0.16 * 6.0
    start, quarter, whole = (centre_of_slice(-6.0 + rise) for rise in (0.0, pitch / 4, pitch))
    assert abs(start) == pytest.approx(0.61 * pitch / 2, rel=0.05)
    assert np.degrees(np.angle(quarter / start)) == pytest.approx(90.0, abs=8.0)
    assert abs(np.degrees(np.angle(whole / start))) < 8.0


def test_a_standing_screw_ends_where_its_length_says_and_its_head_is_on_top() -> None:
    points = corners(ScrewState(make_screw(), turn_deg=77.0))
    assert points[:, 2].min() == pytest.approx(3.5 + 8.5 - 12.0, abs=1e-6)
    assert points[:, 2].max() == pytest.approx(3.5 + 8.5 + 4.0, abs=1e-6)
    assert points[:, :2].mean(axis=0) == pytest.approx([10.0, -5.0], abs=0.3)


def test_a_bent_shank_stays_in_its_hole_and_tilts_its_head_by_the_bend() -> None:
    straight = ScrewState(make_screw())
    bent = ScrewState(make_screw(), bend_deg=30.0, lean_azimuth_deg=90.0)
    (patch,) = bent.patches()
    surface = patch.surface
    inside = surface.corners[..., 2].max(axis=1) < 3.5
    assert np.hypot(*(surface.corners[inside].reshape(-1, 3)[:, :2] - [10, -5]).T).max() < 3.1
    flat_top = straight.patches()[0].surface.normals[..., 2].min(axis=1) > 0.999
    flat_top &= straight.patches()[0].surface.corners[..., 2].max(axis=1) > 15.9
    # the same triangles, before the turn about the axis
    tilted = surface.normals[flat_top].reshape(-1, 3).mean(axis=0)
    expected = [0.0, np.sin(np.radians(30.0)), np.cos(np.radians(30.0))]
    np.testing.assert_allclose(tilted, expected, atol=1e-3)
    np.testing.assert_allclose(np.linalg.norm(surface.normals, axis=-1), 1.0, atol=1e-6)


def test_bending_shifts_no_metal_along_the_shank() -> None:
    straight = ScrewState(make_screw()).patches()[0].surface
    bent = ScrewState(make_screw(), bend_deg=25.0).patches()[0].surface
    assert bent.areas().sum() == pytest.approx(straight.areas().sum(), rel=0.02)


def test_the_nominal_solid_of_a_screw_contains_it_with_the_tolerance() -> None:
    screw = make_screw()
    place = np.asarray(standing_place(screw, 0.5).bounding_box()).reshape(2, 3)
    points = corners(ScrewState(screw))
    assert place[1, 2] == pytest.approx(points[:, 2].max())
    assert place[1, 0] - points[:, 0].max() == pytest.approx(0.5, abs=0.05)
    assert place[0, 2] == pytest.approx(3.5)


def test_the_side_between_two_heights_has_neither_top_nor_bottom() -> None:
    surface = side_between(make_screw(), 8.5, 12.5)
    assert surface.areas().sum() == pytest.approx(np.pi * 6.1 * 4.0, rel=0.01)
    assert np.abs(surface.normals[..., 2]).max() < 0.5


def test_a_screw_that_stands_out_completely_is_refused() -> None:
    with pytest.raises(ValueError, match=r"stands_mm 12.0 leaves nothing of screw 's' of 12.0 mm"):
        make_screw(stands_mm=12.0)
