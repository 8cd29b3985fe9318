"""Rasterise what an annotator drew: a Label Studio geometry as a mask of the original image.

Lengths in a geometry are percentages of the image's width or height; angles are degrees clockwise.
Geometries are converted to pixels first (x to the right, y down, the image spans [0, W] x [0, H])
and rotated there, so that shapes on oblong images do not shear. A pixel belongs to a shape when
its centre lies inside. Shapes are cropped to the image. Outlines that cross themselves are filled
as Label Studio shows them (its canvas fills by the non-zero rule): a part of the image that an
outline goes round twice in one direction belongs to it, and is no hole.
"""

import base64
import binascii
import io
import math
import struct
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from loco_tools.annotations.formats import brush_rle
from loco_tools.annotations.formats.json_checks import is_number
from loco_tools.datasets.image_file import describe
from loco_tools.datasets.images import MAX_PIXELS
from loco_tools.errors import AnnotationError

Geometry = Mapping[str, Any]
Mask = npt.NDArray[np.bool_]
Points = npt.NDArray[np.float64]

SHAPES_WITH_AREA = ("rectangle", "ellipse", "polygon", "brush", "bitmask", "vector")

MAX_CROSSINGS = 5_000_000
"""Outlines whose edges together cross more pixel rows than this are refused."""

_CURVE_STEPS = 32
_FAR_PERCENT = 1e6
_THINNEST_PX = 1e-3
_PNG_SIZE = slice(16, 24)


def rasterise(
    shape: str, value: Geometry, *, height: int, width: int, alpha_threshold: int = 128
) -> Mask:
    """Rasterise one geometry.

    Args:
        shape: one of `SHAPES_WITH_AREA`.
        value: the geometry as the export holds it; the code of a brush may also be bytes, and the
            points of a polygon an (N, 2) array.
        height: of the original image in pixels.
        width: of the original image in pixels.
        alpha_threshold: brush and bitmask pixels of at least this opacity (1-255) belong to
            the mask.

    Returns:
        (H, W) bool.

    Raises:
        AnnotationError: the shape is unknown or has no area, or the geometry is malformed.
    """
    if not (height > 0 and width > 0 and height * width <= MAX_PIXELS):
        raise AnnotationError(
            f"expected an image of 1 to {MAX_PIXELS} pixels, got {width} x {height}"
        )
    if not 1 <= alpha_threshold <= 255:
        raise AnnotationError(f"alpha threshold: expected 1 to 255, got {alpha_threshold}")
    if shape == "brush":
        code = value.get("rle")
        if value.get("format", "rle") != "rle" or not isinstance(code, bytes | list):
            raise AnnotationError(
                f"expected a brush with format rle and a list of bytes, got format "
                f"{_brief(value.get('format'))} and rle {_brief(code)}"
            )
        return brush_rle.decode(code, height, width) >= alpha_threshold
    if shape == "bitmask":
        return _bitmask_alpha(value, height, width) >= alpha_threshold
    if shape == "ellipse":
        return _fill_ellipse(value, height, width)
    outline = _OUTLINES.get(shape)
    if outline is None:
        raise AnnotationError(f"a {shape} has no area that could become a mask")
    return fill(outline(value, height, width), height=height, width=width)


def extent_percent(shape: str, value: Geometry) -> tuple[float, float] | None:
    """The smallest and the largest coordinate of a geometry in percent of its image.

    None for a geometry that is not given in percent (a brush, a bitmask), or is malformed.
    """
    try:
        if shape == "ellipse":
            x, y = _point(value, 100, 100)
            a, b = _number(value, "radiusX"), _number(value, "radiusY")
            return min(x - a, y - b), max(x + a, y + b)
        outline = _OUTLINES[shape](value, 100, 100)
    except (AnnotationError, KeyError):
        return None
    return float(outline.min()), float(outline.max())


def fill(outline: Points, *, height: int, width: int) -> Mask:
    """Fill a closed outline: the pixels whose centres lie inside.

    Args:
        outline: (N, 2) corners as x, y in pixels; the last corner is joined to the first.
        height: of the image.
        width: of the image.

    Returns:
        (H, W) bool.

    Raises:
        AnnotationError: the outline is so long that filling it would take unbounded time.
    """
    start, end = outline, np.roll(outline, -1, axis=0)
    upper = np.where((start[:, 1] <= end[:, 1])[:, None], start, end)
    lower = np.where((start[:, 1] <= end[:, 1])[:, None], end, start)
    first, last = (_first_centre(edge[:, 1], height) for edge in (upper, lower))
    rows_crossed = last - first
    total = int(rows_crossed.sum())
    if total > MAX_CROSSINGS:
        raise AnnotationError(
            f"refused, an outline of {len(outline)} points that crosses {total} pixel rows; "
            f"expected at most {MAX_CROSSINGS}"
        )
    edge = np.repeat(np.arange(len(outline)), rows_crossed)
    before = np.cumsum(rows_crossed) - rows_crossed
    rows = np.arange(total) - np.repeat(before - first, rows_crossed)
    run = lower - upper
    share = (rows + 0.5 - upper[edge, 1]) / run[edge, 1]
    turns = np.where(start[:, 1] <= end[:, 1], 1, -1)[edge]
    return _inside_crossings(rows, upper[edge, 0] + share * run[edge, 0], turns, height, width)


def _inside_crossings(
    rows: npt.NDArray[np.int64],
    x: npt.NDArray[np.float64],
    turns: npt.NDArray[np.int64],
    height: int,
    width: int,
) -> Mask:
    """Non-zero filling: a pixel is inside when the turns of the crossings left of it do not cancel.

    Args:
        rows: the pixel row of each crossing of the outline with the centres of a row.
        x: where each of them lies.
        turns: 1 where the outline leads down, -1 where it leads up.
        height: of the image.
        width: of the image.
    """
    mask = np.zeros((height, width), dtype=bool)
    if rows.size == 0:
        return mask
    columns = _first_centre(x, width)
    top, bottom, left, right = rows.min(), rows.max() + 1, columns.min(), columns.max()
    winding = np.zeros((bottom - top, right - left + 1), dtype=np.int32)
    np.add.at(winding, (rows - top, columns - left), turns)
    np.cumsum(winding, axis=1, out=winding)
    mask[top:bottom, left:right] = winding[:, :-1] != 0
    return mask


def _first_centre(position: npt.NDArray[np.float64], limit: int) -> npt.NDArray[np.int64]:
    """Index of the first pixel whose centre is not before `position`, within 0..limit."""
    index: npt.NDArray[np.int64] = np.clip(np.ceil(position - 0.5), 0, limit).astype(np.int64)
    return index


def _fill_ellipse(value: Geometry, height: int, width: int) -> Mask:
    """Row by row, the two roots of the rotated ellipse's equation."""
    centre_x, centre_y = _point(value, height, width)
    a, b = _number(value, "radiusX") * width / 100, _number(value, "radiusY") * height / 100
    if min(a, b) < _THINNEST_PX:
        raise AnnotationError(f"an ellipse with radii of {a:g} and {b:g} pixels has no area")
    angle = math.radians(_number(value, "rotation", 0.0))
    cos, sin = math.cos(angle), math.sin(angle)
    # p x^2 + 2 q x y + r y^2 = 1 with x, y from the centre
    p = (cos / a) ** 2 + (sin / b) ** 2
    q = cos * sin * (a**-2 - b**-2)
    half_height = math.hypot(a * sin, b * cos)
    first, last = _first_centre(
        np.array([centre_y - half_height, centre_y + half_height]), height
    ).tolist()
    rows = np.arange(first, last)
    y = rows + 0.5 - centre_y
    # p r - q^2 = 1 / (a b)^2
    root = np.sqrt(np.maximum(p - (y / (a * b)) ** 2, 0)) / p
    middle = centre_x - q * y / p
    return _inside_crossings(
        np.tile(rows, 2),
        np.concatenate((middle - root, middle + root)),
        np.repeat((1, -1), len(rows)),
        height,
        width,
    )


def _rectangle(value: Geometry, height: int, width: int) -> Points:
    x, y = _point(value, height, width)
    across, down = _number(value, "width") * width / 100, _number(value, "height") * height / 100
    angle = math.radians(_number(value, "rotation", 0.0))
    right = np.array((math.cos(angle), math.sin(angle))) * across
    below = np.array((-math.sin(angle), math.cos(angle))) * down
    corner = np.array((x, y))
    return np.stack((corner, corner + right, corner + right + below, corner + below))


def _polygon(value: Geometry, height: int, width: int) -> Points:
    points = value.get("points")
    if isinstance(points, np.ndarray):
        points = points.tolist()
    if not isinstance(points, list) or len(points) < 3:
        raise AnnotationError(f"expected a polygon of at least 3 points, got {_brief(points)}")
    if value.get("closed", True) is False:
        raise AnnotationError("the polygon is not closed, so it has no area")
    scaled = []
    for point in points:
        if not isinstance(point, list) or len(point) != 2:
            raise AnnotationError(f"expected polygon points as [x, y], got {_brief(point)}")
        x, y = (_coordinate(number) for number in point)
        scaled.append((x * width / 100, y * height / 100))
    return np.array(scaled)


def _vector(value: Geometry, height: int, width: int) -> Points:
    """The outline of a closed path of lines and cubic Bezier curves.

    The first control point of a vertex shapes the curve that arrives there, the second one the
    curve that leaves; a missing control point lies on its vertex.
    """
    vertices = value.get("vertices")
    if not isinstance(vertices, list) or len(vertices) < 2:
        raise AnnotationError(f"expected a path of at least 2 vertices, got {_brief(vertices)}")
    if value.get("closed") is not True:
        raise AnnotationError("the path is not closed, so it has no area")
    t = np.arange(_CURVE_STEPS)[:, None] / _CURVE_STEPS
    weights = np.hstack(((1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t**2 * (1 - t), t**3))
    pieces = []  # each from one vertex up to, but without, the next, (N, 2)
    for start, end in zip(vertices, [*vertices[1:], vertices[0]], strict=True):
        first, last = _point(start, height, width), _point(end, height, width)
        leaving, arriving = start.get("controlPoint2"), end.get("controlPoint1")
        if leaving is None and arriving is None:
            pieces.append(np.array((first,)))
        else:
            second = first if leaving is None else _point(leaving, height, width)
            third = last if arriving is None else _point(arriving, height, width)
            pieces.append(weights @ np.array((first, second, third, last)))
    return np.concatenate(pieces)


_OUTLINES: Mapping[str, Callable[[Geometry, int, int], Points]] = {
    "rectangle": _rectangle,
    "polygon": _polygon,
    "vector": _vector,
}


def _bitmask_alpha(value: Geometry, height: int, width: int) -> brush_rle.Alpha:
    """The alpha channel of a PNG in a data URL; its size is checked before it is decoded."""
    url = value.get("imageDataURL")
    prefix = "data:image/png;base64,"
    if not isinstance(url, str) or not url.startswith(prefix):
        raise AnnotationError(f"expected a bitmask as {prefix}..., got {_brief(url)}")
    try:
        data = base64.b64decode(url[len(prefix) :], validate=True)
    except binascii.Error as error:
        raise AnnotationError(f"expected a bitmask in base64, got {error}") from error
    if not data.startswith(b"\x89PNG\r\n\x1a\n") or len(data) < _PNG_SIZE.stop:
        raise AnnotationError(f"expected a bitmask as PNG, got {len(data)} bytes of something else")
    size = struct.unpack(">II", data[_PNG_SIZE])
    if size != (width, height):
        raise AnnotationError(
            f"expected a bitmask of {width} x {height} pixels like its image, got {size[0]} x "
            f"{size[1]}"
        )
    try:
        with Image.open(io.BytesIO(data), formats=("PNG",)) as image:
            image.verify()
        with Image.open(io.BytesIO(data), formats=("PNG",)) as image:
            transparent = "A" in image.mode or "transparency" in image.info
            alpha = np.asarray(image.convert("RGBA").getchannel("A"))
    # A hostile file can make Pillow raise any exception; each means that it is damaged.
    except Exception as error:
        raise AnnotationError(f"the bitmask's PNG is damaged ({describe(error)})") from error
    if not transparent:
        raise AnnotationError("expected a bitmask whose unpainted pixels are transparent")
    return alpha


def _point(value: Any, height: int, width: int) -> tuple[float, float]:
    """The x and y of a geometry, a vertex or a control point, in pixels."""
    if not isinstance(value, Mapping):
        raise AnnotationError(f"expected a point with x and y, got {_brief(value)}")
    return _number(value, "x") * width / 100, _number(value, "y") * height / 100


def _number(value: Geometry, key: str, default: float | None = None) -> float:
    try:
        return _coordinate(value.get(key, default))
    except AnnotationError as error:
        raise AnnotationError(f"{key}: {error}") from error


def _coordinate(value: Any) -> float:
    if not is_number(value) or not abs(value) <= _FAR_PERCENT:
        raise AnnotationError(f"expected a number within +-{_FAR_PERCENT:g}, got {_brief(value)}")
    return float(value)


def _brief(value: Any) -> str:
    if isinstance(value, list):
        return f"a list of {len(value)}"
    if isinstance(value, dict):
        return "an object"
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
