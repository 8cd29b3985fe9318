import math

import numpy as np
import pytest

pytest.importorskip("manifold3d")
pytest.importorskip("shapely")

from loco_tools.twin import solids


def test_a_cylinder_has_the_volume_of_the_true_circle() -> None:
    assert solids.cylinder(3.0, 1.0, 3.0).volume() == pytest.approx(math.pi * 9 * 2, rel=1e-4)


def test_a_prism_keeps_the_holes_of_its_outline() -> None:
    from shapely.geometry import box

    outline = box(0, 0, 10, 10).difference(box(2, 2, 4, 4))
    assert solids.prism(outline, 1.0, 3.0).volume() == pytest.approx(96 * 2)


def test_a_sweep_along_a_line_is_a_bar() -> None:
    path = np.column_stack([np.linspace(0, 10, 5), np.zeros(5)])
    for section in ([(-1, 0), (1, 0), (1, 2), (-1, 2)], [(-1, 2), (1, 2), (1, 0), (-1, 0)]):
        assert solids.sweep(path, section, np.ones(5)).volume() == pytest.approx(40.0)


def test_a_drafted_prism_between_two_squares_is_a_frustum() -> None:
    small = np.array([[-1.0, -1], [1, -1], [1, 1], [-1, 1]])
    solid = solids.drafted_prism(small, 2 * small, 0.0, 3.0)
    assert solid.volume() == pytest.approx(3 / 3 * (4 + 16 + 8))


def test_a_hole_cutter_leaves_the_nominal_diameter_and_a_chamfer() -> None:
    cutter = solids.hole_cutter(5.0, 2.0, 0.2)
    middle = cutter.slice(1.0).area()
    surface = cutter.slice(2.0).area()
    assert middle == pytest.approx(math.pi * 2.5**2, rel=0.01)
    assert surface == pytest.approx(math.pi * 2.7**2, rel=0.01)
