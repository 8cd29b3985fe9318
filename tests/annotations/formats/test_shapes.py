import base64
import math
import struct
import zlib
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loco_tools.annotations.formats import brush_rle
from loco_tools.annotations.formats.shapes import fill, rasterise
from loco_tools.datasets.images import encode_png
from loco_tools.errors import AnnotationError

HEIGHT, WIDTH = 60, 100
CENTRES = np.stack(np.meshgrid(np.arange(WIDTH) + 0.5, np.arange(HEIGHT) + 0.5), axis=-1)
LENGTHS = st.floats(5, 30)
ANGLES = st.floats(0, 360)


def draw(shape: str, **value: Any) -> npt.NDArray[np.bool_]:
    return rasterise(shape, value, height=HEIGHT, width=WIDTH)


def data_url(png: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(png).decode()


def rgba_png(alpha: npt.NDArray[np.uint8]) -> bytes:
    """Black on transparent, as Label Studio paints bitmasks; written by hand."""
    height, width = alpha.shape
    rows = np.zeros((height, width, 4), dtype=np.uint8)
    rows[:, :, 3] = alpha
    raw = b"".join(b"\0" + row.tobytes() for row in rows)
    header = struct.pack(">IIBBBBB", width, height, 8, 6, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in ((b"IHDR", header), (b"IDAT", zlib.compress(raw)), (b"IEND", b""))
    )


def test_a_rectangle_on_pixel_edges_covers_exactly_its_pixels() -> None:
    mask = draw("rectangle", x=10, y=10, width=20, height=50, rotation=0)
    expected = np.zeros((HEIGHT, WIDTH), dtype=bool)
    expected[6:36, 10:30] = True
    assert np.array_equal(mask, expected)


def test_a_pixel_belongs_when_its_centre_is_inside() -> None:
    assert draw("rectangle", x=10.4, y=0, width=1, height=100).sum(axis=0).nonzero()[0] == [10]
    assert draw("rectangle", x=10.6, y=0, width=1, height=100).sum(axis=0).nonzero()[0] == [11]


def test_a_rectangle_turns_about_its_corner_clockwise_without_shear() -> None:
    mask = draw("rectangle", x=50, y=50, width=20, height=50 / 3, rotation=90)
    rows, columns = np.nonzero(mask)
    assert (rows.min(), rows.max() + 1) == (30, 50)
    assert (columns.min(), columns.max() + 1) == (40, 50)
    assert mask.sum() == 200


@settings(deadline=None, max_examples=60)
@given(LENGTHS, LENGTHS, ANGLES)
def test_rotated_rectangles_meet_their_areas_within_a_pixel_of_perimeter(
    width_px: float, height_px: float, angle: float
) -> None:
    turn = math.radians(angle)
    corner = np.array((50, 30)) - 0.5 * (
        np.array((math.cos(turn), math.sin(turn))) * width_px
        + np.array((-math.sin(turn), math.cos(turn))) * height_px
    )
    mask = rasterise(
        "rectangle",
        {
            "x": corner[0] * 100 / 200,
            "y": corner[1] * 100 / 150,
            "width": width_px * 100 / 200,
            "height": height_px * 100 / 150,
            "rotation": angle,
        },
        height=150,
        width=200,
    )
    assert abs(mask.sum() - width_px * height_px) <= 2 * (width_px + height_px)


@settings(deadline=None, max_examples=60)
@given(st.floats(5, 25), st.floats(5, 25), ANGLES)
def test_ellipses_hold_exactly_the_centres_inside(a: float, b: float, angle: float) -> None:
    mask = draw("ellipse", x=50, y=50, radiusX=a, radiusY=b * 100 / HEIGHT, rotation=angle)
    turn = math.radians(angle)
    x, y = CENTRES[..., 0] - WIDTH / 2, CENTRES[..., 1] - HEIGHT / 2
    along, across = x * math.cos(turn) + y * math.sin(turn), y * math.cos(turn) - x * math.sin(turn)
    distance = (along / a) ** 2 + (across / b) ** 2
    unclear = np.abs(distance - 1) < 1e-9
    assert np.array_equal(mask | unclear, (distance < 1) | unclear)
    assert abs(mask.sum() - math.pi * a * b) <= 2 * math.pi * max(a, b)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.floats(-20, 120), st.floats(-20, 80)), min_size=3, max_size=7))
def test_polygons_hold_the_centres_that_their_outline_goes_round(
    corners: list[tuple[float, float]],
) -> None:
    outline = np.array(corners)
    mask = fill(outline, height=HEIGHT, width=WIDTH)
    winding = np.zeros((HEIGHT, WIDTH), dtype=int)
    x, y = CENTRES[..., 0], CENTRES[..., 1]
    for start, end in zip(corners, [*corners[1:], corners[0]], strict=True):
        (x0, y0), (x1, y1) = sorted((start, end), key=lambda corner: corner[1])
        crosses = (y0 <= y) != (y1 <= y)
        with np.errstate(all="ignore"):
            left = crosses & (x0 + (y - y0) / (y1 - y0) * (x1 - x0) <= x)
        winding += left * (1 if start[1] <= end[1] else -1)
    assert np.count_nonzero(mask != (winding != 0)) <= 1  # a centre that lies on an edge


def test_what_leaves_the_image_is_cut_off() -> None:
    assert draw("rectangle", x=-50, y=-50, width=300, height=300).all()
    assert not draw("rectangle", x=120, y=20, width=30, height=30).any()
    quarter = draw("ellipse", x=0, y=0, radiusX=30, radiusY=50)
    assert abs(quarter.sum() - math.pi * 30 * 30 / 4) < 60
    assert np.array_equal(quarter, draw("ellipse", x=100, y=0, radiusX=30, radiusY=50)[:, ::-1])


def test_a_brush_is_cut_at_the_alpha_threshold() -> None:
    alpha = np.arange(HEIGHT * WIDTH, dtype=np.uint32).reshape(HEIGHT, WIDTH).astype(np.uint8)
    value = {"format": "rle", "rle": brush_rle.encode(alpha)}
    assert np.array_equal(draw("brush", **value), alpha >= 128)
    low = rasterise("brush", value, height=HEIGHT, width=WIDTH, alpha_threshold=1)
    assert np.array_equal(low, alpha > 0)


def test_a_bitmask_is_its_opaque_pixels() -> None:
    alpha = np.zeros((HEIGHT, WIDTH), dtype=np.uint8)
    alpha[3:9, 5:60] = 255
    alpha[20, 20] = 100
    assert np.array_equal(draw("bitmask", imageDataURL=data_url(rgba_png(alpha))), alpha >= 128)


def test_a_vector_path_of_lines_is_a_polygon() -> None:
    corners = [(10, 10), (60, 20), (30, 80)]
    path = draw("vector", closed=True, vertices=[{"x": x, "y": y} for x, y in corners])
    assert np.array_equal(path, draw("polygon", points=[list(c) for c in corners]))


def test_a_vector_path_of_curves_follows_its_control_points() -> None:
    k, rx, ry = 0.5522847, 20, 30  # four cubic curves that make an ellipse
    vertices = [
        {
            "x": 50 + rx * dx,
            "y": 50 + ry * dy,
            "controlPoint1": {"x": 50 + rx * (dx + k * dy), "y": 50 + ry * (dy - k * dx)},
            "controlPoint2": {"x": 50 + rx * (dx - k * dy), "y": 50 + ry * (dy + k * dx)},
        }
        for dx, dy in ((0, -1), (1, 0), (0, 1), (-1, 0))
    ]
    path = draw("vector", closed=True, vertices=vertices)
    round_one = draw("ellipse", x=50, y=50, radiusX=rx, radiusY=ry)
    assert np.count_nonzero(path != round_one) <= 12


@pytest.mark.parametrize(
    ("shape", "value", "message"),
    [
        ("keypoint", {"x": 1, "y": 1, "width": 1}, "a keypoint has no area"),
        ("video", {}, "a video has no area"),
        ("rectangle", {"x": 1, "y": 1, "width": 1}, "height: expected a number .* got None"),
        ("rectangle", {"x": "1", "y": 1, "width": 1, "height": 1}, "x: expected a number"),
        ("rectangle", {"x": math.nan, "y": 1, "width": 1, "height": 1}, "x: .* got nan"),
        ("rectangle", {"x": 1, "y": 10**400, "width": 1, "height": 1}, "y: expected a number"),
        ("rectangle", {"x": True, "y": 1, "width": 1, "height": 1}, "x: .* got True"),
        ("ellipse", {"x": 1, "y": 1, "radiusX": 0, "radiusY": 5}, "radii of 0 and 3 pixels"),
        ("ellipse", {"x": 1, "y": 1, "radiusX": 1e-300, "radiusY": 5}, "has no area"),
        ("polygon", {"points": [[1, 1], [2, 2]]}, "at least 3 points, got a list of 2"),
        ("polygon", {"points": [[1, 1], [2, 2], 3]}, r"points as \[x, y\], got 3"),
        ("polygon", {"points": [[1, 1], [2, 2], [3, None]]}, "expected a number"),
        ("polygon", {"points": [[1, 1], [2, 2], [3, 1]], "closed": False}, "not closed"),
        ("vector", {"vertices": [{"x": 1, "y": 1}] * 3}, "the path is not closed"),
        ("vector", {"vertices": [1, 2, 3], "closed": True}, "expected a point .* got 1"),
        ("brush", {"format": "rle", "rle": {"0": 1}}, "rle an object"),
        ("brush", {"format": "png", "rle": []}, "format 'png'"),
        ("bitmask", {"imageDataURL": "http://x/y.png"}, "expected a bitmask as data:"),
        ("bitmask", {"imageDataURL": "data:image/png;base64,AAAA"}, "expected a bitmask as PNG"),
        ("bitmask", {"imageDataURL": "data:image/png;base64,*"}, "expected a bitmask in base64"),
    ],
)
def test_malformed_geometry_is_explained(shape: str, value: dict[str, Any], message: str) -> None:
    with pytest.raises(AnnotationError, match=message):
        draw(shape, **value)


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.fixed_dictionaries({"x": inner, "y": inner}),
    max_leaves=8,
)
KEYS = (
    *("x", "y", "width", "height", "rotation", "radiusX", "radiusY", "points", "closed"),
    *("vertices", "format", "rle", "imageDataURL"),
)


@settings(deadline=None, max_examples=300)
@given(
    st.sampled_from(("rectangle", "ellipse", "polygon", "vector", "brush", "bitmask", "other")),
    st.dictionaries(st.sampled_from(KEYS), JUNK | st.floats(-100, 200)),
)
def test_junk_is_a_mask_or_an_explained_error(shape: str, value: dict[str, Any]) -> None:
    try:
        size, message = draw(shape, **value).shape, ""
    except AnnotationError as error:
        size, message = (HEIGHT, WIDTH), str(error)
    assert size == (HEIGHT, WIDTH)
    assert len(message) < 300


def test_a_bitmask_of_another_size_is_refused_before_it_is_decoded() -> None:
    bomb = bytearray(rgba_png(np.zeros((1, 1), dtype=np.uint8)))
    bomb[16:24] = struct.pack(">II", 10_000, 10_000)
    bomb[29:33] = struct.pack(">I", zlib.crc32(bytes(bomb[12:29])))
    with pytest.raises(
        AnnotationError, match=r"expected a bitmask of 100 x 60 .* got 10000 x 10000"
    ):
        draw("bitmask", imageDataURL=data_url(bytes(bomb)))


def test_a_damaged_bitmask_is_refused() -> None:
    whole = rgba_png(np.full((HEIGHT, WIDTH), 255, dtype=np.uint8))
    with pytest.raises(AnnotationError, match="PNG is damaged"):
        draw("bitmask", imageDataURL=data_url(whole[:-20]))


def test_a_bitmask_without_transparency_is_refused() -> None:
    with pytest.raises(AnnotationError, match="unpainted pixels are transparent"):
        draw("bitmask", imageDataURL=data_url(encode_png(np.zeros((HEIGHT, WIDTH), np.uint8))))


def test_an_outline_without_end_is_refused() -> None:
    points = [[i % 100, 100 * (i % 2)] for i in range(100_000)]
    with pytest.raises(AnnotationError, match="outline of 100000 points that crosses 6000000"):
        draw("polygon", points=points)


def test_an_image_without_pixels_or_with_too_many_is_refused() -> None:
    for height, width in ((0, 5), (40_000, 40_000)):
        with pytest.raises(AnnotationError, match="expected an image of 1 to"):
            rasterise("rectangle", {}, height=height, width=width)


def test_an_alpha_threshold_of_zero_is_refused() -> None:
    with pytest.raises(AnnotationError, match="alpha threshold: expected 1 to 255, got 0"):
        rasterise("rectangle", {}, height=5, width=5, alpha_threshold=0)
