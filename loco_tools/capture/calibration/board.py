"""The calibration board: a chessboard with a marker in every white square (ChArUco).

Each marker identifies its square, so a picture may show any part of the board. The id of a board,
"11x17-15-11-4X4_100", is printed on the sheet and given to `--board`: squares across and down,
length of a square and of a marker in mm, dictionary of the markers.
"""

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, PositiveFloat, model_validator

from loco_tools.datasets.images import Pixels
from loco_tools.errors import CaptureError, DefinitionError, did_you_mean
from loco_tools.schema import Schema, parse

if TYPE_CHECKING:
    from cv2.aruco import CharucoBoard, Dictionary

_BITS = (4, 5, 6, 7)
DICTIONARIES = tuple(f"{bits}X{bits}_{count}" for bits in _BITS for count in (50, 100, 250, 1000))
"""Dictionaries of markers by their names in OpenCV: bits along a side, number of markers.

A dictionary begins with the markers of the smaller ones with the same bits.
"""

_ID = re.compile(r"(\d+)x(\d+)-([\d.]+)-([\d.]+)-(\w+)")
_DRAWN_PX_PER_MM = 20
_LEAST_CORNERS = 12
_LEAST_SPREAD = 3
"""Corners have to lie on this many rows and columns of the board."""

_SURE_MARKERS = 6
"""This many markers are not found by chance in a picture of something else."""


class BoardError(CaptureError):
    """A photograph of the board cannot be used; another one may be usable."""


class Board(Schema):
    """A ChArUco board; the default one fits a sheet of A4."""

    squares_across: Annotated[int, Field(ge=4, le=60)] = 11
    squares_down: Annotated[int, Field(ge=4, le=60)] = 17
    square_mm: PositiveFloat = 15.0
    marker_mm: PositiveFloat = 11.0
    dictionary: str = "4X4_100"

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.dictionary not in DICTIONARIES:
            hint = did_you_mean(self.dictionary, DICTIONARIES)
            raise ValueError(f'unknown dictionary "{self.dictionary}"; {hint}')
        if not 0.4 <= self.marker_mm / self.square_mm <= 0.9:
            raise ValueError(
                f"expected markers of 0.4 to 0.9 of a square, got {self.marker_mm:g} mm in squares "
                f"of {self.square_mm:g} mm"
            )
        if self.squares_across * self.squares_down // 2 > int(self.dictionary.split("_")[1]):
            raise ValueError(
                f"dictionary {self.dictionary} has too few markers for {self.squares_across} x "
                f"{self.squares_down} squares, which need one for every second square"
            )
        return self

    @property
    def id(self) -> str:
        """The id of the board, in the form that `--board` takes."""
        return (
            f"{self.squares_across}x{self.squares_down}-{self.square_mm:g}-{self.marker_mm:g}-"
            f"{self.dictionary}"
        )

    @property
    def size_mm(self) -> tuple[float, float]:
        """Width and height of the printed pattern."""
        return self.squares_across * self.square_mm, self.squares_down * self.square_mm

    def describe(self) -> str:
        """A description of the board, as printed on the sheet."""
        return (
            f"{self.squares_across} x {self.squares_down} squares of {self.square_mm:g} mm, "
            f"markers of {self.marker_mm:g} mm, dictionary {self.dictionary}"
        )


def parse_board_id(identifier: str) -> Board:
    """Make the board of an id.

    Raises:
        CaptureError: the id is not valid.

    >>> parse_board_id("11x17-15-11-4X4_100").size_mm
    (165.0, 255.0)
    """
    found = _ID.fullmatch(identifier)
    names = ("squares_across", "squares_down", "square_mm", "marker_mm", "dictionary")
    if found is None:
        raise CaptureError(
            f"board {identifier!r}: expected squares, their length, that of the markers and their "
            f"dictionary; next step: use the id that is printed on the sheet, such as {Board().id}"
        )
    try:
        values = dict(zip(names, found.groups(), strict=True))
        return parse(Board, values, origin=f"board {identifier!r}")
    except DefinitionError as error:
        raise CaptureError(
            f"{error}; next step: use the id that is printed on the sheet, such as {Board().id}"
        ) from error


@dataclass(frozen=True)
class Corners:
    """Inner corners of the board in a picture.

    Attributes:
        ids: (N,) number of each corner on the board, row by row.
        pixels: (N, 2) float64, x right and y down; (0, 0) is the centre of the first pixel.
        size: height and width of the picture.
    """

    ids: NDArray[np.int64]
    pixels: NDArray[np.float64]
    size: tuple[int, int]

    def __len__(self) -> int:
        return len(self.ids)


def draw_board(board: Board) -> Pixels:
    """The pattern (H, W) uint8 at 20 pixels per mm, black 0 and white 255."""
    across, down = (round(side * _DRAWN_PX_PER_MM) for side in board.size_mm)
    return np.asarray(_opencv(board).generateImage((across, down)), dtype=np.uint8)


def corners_mm(board: Board, ids: NDArray[np.int64]) -> NDArray[np.float64]:
    """Where corners lie on the board: (N, 3) in mm, x right, y down, z = 0."""
    return np.asarray(_opencv(board).getChessboardCorners(), dtype=np.float64)[ids]


def find_corners(board: Board, image: Pixels) -> Corners:
    """Find the corners of the board in a picture (H, W, 3) uint8 RGB; there may be none.

    Corners that are too close to the edge of the picture to be measured well are left out.
    """
    import cv2

    grey = _grey(image)
    settings = cv2.aruco.CharucoParameters()
    settings.minMarkers = 1  # At the edge of a picture, one of two markers is often cut off.
    detector = cv2.aruco.CharucoDetector(_opencv(board), settings)
    rough, ids, _, _ = detector.detectBoard(grey)
    if ids is None or len(ids) < 4:
        return _no_corners(*grey.shape)
    numbers = np.asarray(ids, dtype=np.int64).ravel()
    return _refine_corners(board, grey, numbers, np.asarray(rough, dtype=np.float32).reshape(-1, 2))


def check_enough(board: Board, image: Pixels, corners: Corners) -> None:
    """Check that a picture shows enough of the board to determine its pose.

    Raises:
        BoardError: it does not; the message says what was found instead.
    """
    if len(corners) == 0 and (other := _identify_other_board(board, image)):
        raise BoardError(
            f"this is not the board {board.id}: {other}; next step: give --board as it is printed "
            "on the sheet"
        )
    across = board.squares_across - 1
    rows, columns = (len(set(part.tolist())) for part in np.divmod(corners.ids, across))
    if len(corners) < _LEAST_CORNERS or min(rows, columns) < _LEAST_SPREAD:
        raise BoardError(
            f"expected at least {_LEAST_CORNERS} corners of the board on {_LEAST_SPREAD} rows and "
            f"columns, found {len(corners)}; next step: bring more of the board into the picture, "
            "in focus and without glare"
        )


def _refine_corners(
    board: Board, grey: Pixels, ids: NDArray[np.int64], rough: NDArray[np.float32]
) -> Corners:
    """Refine corners to about a hundredth of a pixel.

    OpenCV's own refinement leaves errors of half a pixel (seen in version 4.12). The window must
    not reach into the markers, so its half width is a fraction of the gap around them.
    """
    import cv2

    height, width = grey.shape
    places = corners_mm(board, ids)[:, :2]
    deviations, shown = places - places.mean(axis=0), rough - rough.mean(axis=0)
    affine = np.linalg.lstsq(deviations, shown, rcond=None)[0]
    least_px_per_mm = float(np.linalg.svd(affine, compute_uv=False)[-1])
    gap = (board.square_mm - board.marker_mm) / 2 * least_px_per_mm
    half = int(np.clip(round(0.9 * gap), 2, 9))
    limit = np.array([width, height]) - half - 2
    inside = ((rough > half) & (rough < limit)).all(axis=1)
    if not inside.any():
        return _no_corners(height, width)
    stop = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 60, 1e-4)
    fine = cv2.cornerSubPix(grey, rough[inside][:, None].copy(), (half, half), (-1, -1), stop)
    return Corners(ids[inside], np.asarray(fine, dtype=np.float64)[:, 0], (height, width))


def _grey(image: Pixels) -> Pixels:
    import cv2

    return np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), dtype=np.uint8)


def _no_corners(height: int, width: int) -> Corners:
    return Corners(np.empty(0, np.int64), np.empty((0, 2)), (height, width))


def _identify_other_board(board: Board, image: Pixels) -> str | None:
    """Describe the markers of another board in a picture; None if there are too few."""
    import cv2

    grey = _grey(image)
    counts: dict[str, int] = {}
    for bits in _BITS:
        detector = cv2.aruco.ArucoDetector(_dictionary(f"{bits}X{bits}_1000"))
        _, ids, _ = detector.detectMarkers(grey)
        counts[f"{bits}X{bits}"] = 0 if ids is None else len(ids)
    most = max(counts, key=lambda bits: counts[bits])
    if counts[most] < _SURE_MARKERS:
        return None
    own = board.dictionary.split("_")[0]
    if counts[own] == counts[most]:
        return f"its markers are of a dictionary {own}, but arranged differently"
    return f"its markers are of a dictionary {most}"


def _opencv(board: Board) -> "CharucoBoard":
    import cv2

    shape = (board.squares_across, board.squares_down)
    dictionary = _dictionary(board.dictionary)
    return cv2.aruco.CharucoBoard(shape, board.square_mm, board.marker_mm, dictionary)


def _dictionary(name: str) -> "Dictionary":
    import cv2

    return cv2.aruco.getPredefinedDictionary(getattr(cv2.aruco, f"DICT_{name}"))
