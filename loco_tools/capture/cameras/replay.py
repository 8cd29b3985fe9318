"""Common parts of cameras that replay files: the order of the pictures, and the identity.

The identity of a replay is its path with a digest of its content (`folder:/data/parts#5f0c9a...`),
so that a session does not continue with other pictures. The n-th picture is that of the n-th shot
of the plan; numbers of pictures and shots that differ are refused, since then nobody knows which
picture is missing or surplus, and every later shot would get a wrong one.
"""

import re
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path

from loco_tools.errors import CaptureError
from loco_tools.plan import Plan, PlannedShot
from loco_tools.wording import listed, printable

DIGITS = 12
"""Number of hexadecimal digits of the digest in an identity."""

_ROLL_OVER = 5
"""A gap of more than so many times the number of images looks like a counter that began anew."""

_NUMBER = re.compile("([0-9]+)")


def natural_order(name: str) -> tuple[tuple[str | int, ...], str]:
    """Sorting key of file names with numbers: IMG_2.png comes before IMG_10.png.

    Digits are compared as numbers and letters without their case; the suffix counts last.

    >>> sorted(["IMG_10.png", "img_9.png", "IMG_9 (2).png"], key=natural_order)
    ['img_9.png', 'IMG_9 (2).png', 'IMG_10.png']
    """
    pieces = _NUMBER.split(Path(name).stem.casefold())
    return tuple(int(p) if i % 2 else p for i, p in enumerate(pieces)), name


def order_hazards(names: Sequence[str]) -> list[str]:
    """Reasons why the natural order of names may not be the order in which pictures were taken.

    Names of several kinds are sorted by their text before their numbers, a missing number may be a
    missing picture, and where a camera counts from 9999 on to 0001, its first pictures come last.

    Args:
        names: the names of files in natural order.

    >>> order_hazards(["IMG_4.png", "IMG_6.png"])
    ['number 5 is missing between IMG_4 and IMG_6']
    """
    kinds: dict[tuple[str, ...], list[tuple[tuple[int, ...], str]]] = {}
    for name in names:
        pieces = _NUMBER.split(Path(name).stem.casefold())
        numbers = tuple(int(digits) for digits in pieces[1::2])
        kinds.setdefault(tuple(pieces[::2]), []).append((numbers, printable(Path(name).stem)))
    hazards = []
    if len(kinds) > 1:
        examples = listed([group[0][1] for group in kinds.values()])
        hazards.append(f"names of several kinds are sorted by their text first ({examples})")
    for group in kinds.values():
        gaps = []
        for (numbers, before), (others, after) in pairwise(group):
            steps = [(a, b) for a, b in zip(numbers, others, strict=True) if a != b]
            if len(steps) == 1 and steps[0][1] - steps[0][0] > 1:
                gaps.append(_gap(before, after, *steps[0], count=len(names)))
        if len(gaps) <= len(group) // 2:  # otherwise the numbers are times, or count something else
            hazards += [listed(gaps, 3)] * bool(gaps)
    return hazards


def _gap(before: str, after: str, first: int, last: int, *, count: int) -> str:
    """What the step from a number to one that does not follow it may mean."""
    if last - first > _ROLL_OVER * count:
        return (
            f"the numbers jump from {before} to {after}: if the camera's counter began "
            f"anew, {after} was taken first, and the images have to be renamed"
        )
    missing = (
        f"number {first + 1} is" if last == first + 2 else f"numbers {first + 1} to {last - 1} are"
    )
    return f"{missing} missing between {before} and {after}"


class ShotOrder:
    """Numbers shots, so that a replay shows the same picture whenever a shot is taken.

    With a plan the number is the position of the shot in the plan, so an interruption or an undo
    does not change which picture a shot gets. Shots outside the plan (for calibration, or for
    `loco-tools cameras`) are numbered in the order in which they are first taken.
    """

    def __init__(self, plan: Plan | None) -> None:
        shots = plan.planned_shots() if plan else ()
        self._planned = {shot.shot: number for number, shot in enumerate(shots)}
        self._asked: dict[str, int] = {}

    @property
    def planned(self) -> frozenset[str]:
        """The names of the plan's shots."""
        return frozenset(self._planned)

    def number(self, shot: PlannedShot) -> int:
        """The shot's number, from 0."""
        if shot.shot in self._planned:
            return self._planned[shot.shot]
        return self._asked.setdefault(shot.shot, len(self._asked))


def find_source(address: str, is_there: Callable[[Path], bool]) -> tuple[Path, str | None]:
    """Split an address into a resolved path and the digest at its end, if it has one.

    Raises:
        CaptureError: there is no such file or folder.
    """
    whole = Path(address).expanduser()
    if address and is_there(whole):
        return whole.resolve(), None
    path, _, digest = address.rpartition("#")
    without_digest = Path(path).expanduser()
    if path and is_there(without_digest):
        return without_digest.resolve(), digest
    raise CaptureError(
        f'camera: no such file or folder "{path or address}"; next step: check the path'
    )


def refuse_swapped(source: Path, digest: str, expected: str | None) -> None:
    """Check that a file or folder has the content of the expected digest, if one is given.

    Raises:
        CaptureError: the content is different.
    """
    if expected is not None and digest != expected:
        raise CaptureError(
            f"{source}: expected the content with digest {expected}, got {digest}; next step: "
            "restore that content, or begin a new session with --new"
        )
