import numpy as np
import pytest

from loco_tools.plan import CameraSettings, View
from loco_tools.twin.viewpoint import look


def make_camera() -> CameraSettings:
    return CameraSettings(width_px=400, height_px=240, field_mm=100.0, exposure_us=1000.0)


def test_from_above_x_runs_right_and_y_up_at_the_stated_scale() -> None:
    viewpoint = look(make_camera(), View(name="top"), np.zeros(3))
    pixels = viewpoint.project(np.array([[0.0, 0.0, 0.0], [25.0, 0.0, 0.0], [0.0, 25.0, 0.0]]))
    np.testing.assert_allclose(pixels, [[200, 120], [300, 120], [200, 20]], atol=1e-6)


def test_the_scale_holds_on_the_table_under_a_tall_part() -> None:
    viewpoint = look(make_camera(), View(name="top"), np.array([0.0, 0.0, 30.0]))
    left, right = viewpoint.project(np.array([[-10.0, 0.0, 0.0], [10.0, 0.0, 0.0]]))
    assert right[0] - left[0] == pytest.approx(20 * viewpoint.px_per_mm)


def test_a_positive_azimuth_moves_the_camera_towards_positive_x() -> None:
    view = View(name="right", azimuth_deg=90.0, elevation_deg=30.0)
    viewpoint = look(make_camera(), view, np.zeros(3))
    assert viewpoint.origin[0] > 100
    assert viewpoint.origin[1] == pytest.approx(0.0, abs=1e-6)
    near, far = viewpoint.project(np.array([[20.0, 0.0, 0.0], [-20.0, 0.0, 0.0]]))
    assert near[1] > 120 > far[1]
    lower, upper = viewpoint.project(np.array([[0.0, 0.0, 0.0], [0.0, 0.0, 20.0]]))
    assert upper[1] < lower[1]
