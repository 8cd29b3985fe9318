import math

import cv2
import numpy as np
import pytest
from annotation_builders import HEIGHT, WIDTH, Mask, box
from hypothesis import given, settings
from hypothesis.extra import numpy as arrays

from loco_tools.annotations.formats import mask_to_shape
from loco_tools.annotations.formats.shapes import rasterise


def disc(x: float, y: float, a: float, b: float, angle: float) -> Mask:
    value = {
        "x": x * 100 / WIDTH,
        "y": y * 100 / HEIGHT,
        "radiusX": a * 100 / WIDTH,
        "radiusY": b * 100 / HEIGHT,
        "rotation": angle,
    }
    return rasterise("ellipse", value, height=HEIGHT, width=WIDTH)


def without_holes(mask: Mask) -> Mask:
    outlines, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    filled = np.zeros(mask.shape, dtype=np.uint8)
    cv2.drawContours(filled, outlines, -1, 1, cv2.FILLED)
    return filled > 0


@settings(deadline=None, max_examples=100)
@given(arrays.arrays(np.bool_, (12, 17)).filter(lambda mask: bool(mask.any())))
def test_an_uncut_outline_gives_its_blob_back_exactly(mask: Mask) -> None:
    for blob in mask_to_shape.blobs(without_holes(mask)):
        drawn = mask_to_shape.polygon(blob, tolerance_px=0)
        assert drawn is not None
        assert mask_to_shape.overlap("polygon", drawn, blob) == 1.0


def test_a_polygon_saves_points_where_little_is_lost() -> None:
    mask = disc(30, 24, 18, 12, 25)
    drawn = mask_to_shape.polygon(mask)
    assert drawn is not None
    assert len(drawn["points"]) < 40
    assert mask_to_shape.overlap("polygon", drawn, mask) > 0.95


@pytest.mark.parametrize("angle", [0, 30, 90, 160])
def test_an_ellipse_is_recovered_from_its_mask(angle: float) -> None:
    drawn = mask_to_shape.ellipse(disc(30, 24, 18, 10, angle))
    assert drawn["x"] * WIDTH / 100 == pytest.approx(30, abs=0.1)
    assert drawn["y"] * HEIGHT / 100 == pytest.approx(24, abs=0.1)
    assert drawn["radiusX"] * WIDTH / 100 == pytest.approx(18, abs=0.3)
    assert drawn["radiusY"] * HEIGHT / 100 == pytest.approx(10, abs=0.3)
    assert math.sin(math.radians(drawn["rotation"] - angle)) == pytest.approx(0, abs=0.03)


def test_a_brush_is_exact() -> None:
    mask = box(3, 4, 20, 9) | box(30, 30, 31, 60)
    assert mask_to_shape.overlap("brush", mask_to_shape.brush(mask), mask) == 1.0


def test_blobs_that_touch_at_a_corner_are_one() -> None:
    assert len(mask_to_shape.blobs(box(0, 0, 2, 2) | box(2, 2, 4, 4))) == 1
    assert len(mask_to_shape.blobs(box(0, 0, 2, 2) | box(3, 3, 4, 4))) == 2


def test_a_bounding_box_ends_where_the_mask_does() -> None:
    assert mask_to_shape.bounding_box(box(3, 4, 20, 9)) == (3, 4, 20, 9)
