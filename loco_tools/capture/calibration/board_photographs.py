"""Sources of photographs of the board: an operator with a camera, a folder, or the twin.

One photograph of each view shows the board lying flat where the part lies. Further photographs show
it tilted to all sides, at any position.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from loco_tools.capture.calibration.board import Board, BoardError, draw_board
from loco_tools.capture.cameras import Camera
from loco_tools.capture.cameras.folder import list_images
from loco_tools.datasets.images import Pixels, read_upright
from loco_tools.errors import CaptureError, DatasetError
from loco_tools.plan import Plan, PlannedShot

AskOperator = Callable[[str], bool]
"""Tells the operator what to do and waits until it is done; False if the operator gives up."""

_TILTS_DEG = (30.0, 42.0)
_SHIFT = 0.1
_GOLDEN_DEG = 137.5
"""Steps of this angle spread the directions of tilt evenly."""


@dataclass(frozen=True)
class BoardPhotograph:
    """A photograph (H, W, 3) uint8 RGB; `view` is set if the board lies in the part's plane."""

    name: str
    view: str | None
    image: Pixels


Accept = Callable[[BoardPhotograph], None]
"""Accepts a photograph, or raises CaptureError if it cannot be used."""


def photograph_board(
    camera: Camera, plan: Plan, tilted: int, accept: Accept, ask: AskOperator
) -> None:
    """Ask an operator to show the board to a connected camera until all photographs are accepted.

    Raises:
        CaptureError: the operator gave up, or the camera fails.
    """
    flat = [
        (
            view.name,
            view.name,
            f"View {number} of {len(plan.views)}, {view.name}: lay the board flat where the part "
            "lies, its middle where the part's middle lies.",
        )
        for number, view in enumerate(plan.views, start=1)
    ]
    others = [
        (
            f"{number:02d}",
            None,
            f"Tilted board {number} of {tilted}: tilt it by 20 to 40 degrees, to another side than "
            "before, and fill the picture with it.",
        )
        for number in range(1, tilted + 1)
    ]
    for name, view, instruction in [*flat, *others]:
        shot = PlannedShot(f"board-{name}", "board", view or name, "train", "good", None)
        message, accepted = instruction, False
        while not accepted:
            if not ask(message):
                raise CaptureError("the calibration was cancelled; nothing is written")
            try:
                accept(BoardPhotograph(name, view, camera.frame(shot).image))
                accepted = True
            except BoardError as error:
                message = f"Not taken: {error}. {instruction}"


def read_photographs(folder: Path, plan: Plan) -> Iterator[BoardPhotograph]:
    """Read every image of a folder, upright: `<view>.png` shows the board flat, the others tilted.

    Raises:
        CaptureError: a view has no image, or an image is damaged.
    """
    if not folder.is_dir():
        raise CaptureError(f"{folder}: no such folder; next step: --images FOLDER")
    images, _ = list_images(folder)
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
            image = read_upright(path)
        except DatasetError as error:
            raise CaptureError(str(error)) from error
        yield BoardPhotograph(path.name, path.stem if path.stem in views else None, image)


def render_photographs(
    plan: Plan, board: Board, tilted: int, seed: int
) -> Iterator[BoardPhotograph]:
    """Render photographs of the board with the digital twin.

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
    pattern = draw_board(board)
    for number, (name, view, pose) in enumerate(poses):
        picture = photograph(
            plan, view, pattern, board.size_mm, pose=pose, seed=seed * len(poses) + number
        )
        yield BoardPhotograph(name, view if name == view else None, picture.image)
