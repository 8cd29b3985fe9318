"""Where photographs of the board come from: an operator at a camera, a folder, or the twin.

Of each view one photograph shows the board lying where the part lies; further ones show it tilted
to all sides, in any place.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from loco_tools.capture.calibration.board import Board, BoardError, draw
from loco_tools.capture.cameras import Camera
from loco_tools.capture.cameras.folder import SUFFIXES
from loco_tools.datasets.images import Pixels, read_image
from loco_tools.errors import CaptureError, DatasetError
from loco_tools.plan import Plan, PlannedShot

Ask = Callable[[str], bool]
"""Tells the operator what to do and waits until it is done; False when the operator gives up."""

_TILTS_DEG = (30.0, 42.0)
_SHIFT = 0.1
_GOLDEN_DEG = 137.5
"""Directions of tilt that are this far apart never gather on one side."""


@dataclass(frozen=True)
class Photograph:
    """A photograph (H, W, 3) uint8 RGB of the board; `view` when it lies in the part's plane."""

    name: str
    view: str | None
    image: Pixels


Accept = Callable[[Photograph], None]
"""Takes a photograph in, or raises CaptureError when it is of no use."""


def take(camera: Camera, plan: Plan, tilted: int, accept: Accept, ask: Ask) -> None:
    """Have an operator show the board to a connected camera until every photograph is accepted.

    Raises:
        CaptureError: the operator gave up, or the camera fails.
    """
    for name, view, words in _wanted(plan, tilted):
        shot = PlannedShot(f"board-{name}", "board", view or name, "train", "good", None)
        saying, taken = words, False
        while not taken:
            if not ask(saying):
                raise CaptureError("the calibration was given up; nothing is written")
            try:
                accept(Photograph(name, view, camera.frame(shot).image))
                taken = True
            except BoardError as error:
                saying = f"Not taken: {error}. {words}"


def in_folder(folder: Path, plan: Plan) -> Iterator[Photograph]:
    """Every image of a folder: `<view>.png` shows the board flat in that view, others tilted.

    Raises:
        CaptureError: a view has no image, or an image is damaged.
    """
    if not folder.is_dir():
        raise CaptureError(f"{folder}: no such folder; next step: --images FOLDER")
    images = sorted(
        path
        for path in folder.iterdir()
        if path.suffix.lower() in SUFFIXES and not path.name.startswith(".")
    )
    views = {view.name for view in plan.views}
    missing = sorted(views - {path.stem for path in images})
    if missing:
        raise CaptureError(
            f"{folder}: expected for each view an image of its name that shows the board flat "
            f"where the part lies, found none for {', '.join(missing)}; next step: photograph it "
            f"and add {missing[0]}.png"
        )
    for path in images:
        try:
            image = read_image(path)
        except DatasetError as error:
            raise CaptureError(str(error)) from error
        yield Photograph(path.name, path.stem if path.stem in views else None, image)


def rendered(plan: Plan, board: Board, tilted: int, seed: int) -> Iterator[Photograph]:
    """The board as the digital twin sees it.

    Raises:
        MissingExtraError: the extra "twin" is not installed.
    """
    from loco_tools.twin.board_pictures import SheetPose, photograph

    poses = [(view.name, view.name, SheetPose()) for view in plan.views]
    for number in range(tilted):
        turn = _GOLDEN_DEG * number
        shift = (_SHIFT * (number % 3 - 1), _SHIFT * (number // 3 % 3 - 1))
        pose = SheetPose(turn / 2, _TILTS_DEG[number % len(_TILTS_DEG)], turn, shift)
        poses.append((f"{number + 1:02d}", plan.views[0].name, pose))
    pattern = draw(board)
    for number, (name, view, pose) in enumerate(poses):
        picture = photograph(
            plan, view, pattern, board.size_mm, pose=pose, seed=seed * len(poses) + number
        )
        yield Photograph(name, view if name == view else None, picture.image)


def _wanted(plan: Plan, tilted: int) -> Iterator[tuple[str, str | None, str]]:
    """Name, view and words of every photograph to take."""
    for number, view in enumerate(plan.views, start=1):
        yield (
            view.name,
            view.name,
            f"View {number} of {len(plan.views)}, {view.name}: lay the board flat where the part "
            "lies, its middle where the part's middle lies.",
        )
    for number in range(1, tilted + 1):
        yield (
            f"{number:02d}",
            None,
            f"Tilted board {number} of {tilted}: tilt it by 20 to 40 degrees, to another side than "
            "before, and fill the picture with it.",
        )
