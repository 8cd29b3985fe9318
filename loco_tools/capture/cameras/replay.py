"""What cameras that replay files share: which picture a shot gets, and whether it is the same file.

The identity of a replay is its path with a digest of its content (`folder:/data/parts#5f0c9a...`),
so that a session does not go on with pictures that were swapped.
"""

from collections.abc import Callable
from pathlib import Path

from loco_tools.errors import CaptureError
from loco_tools.plan import Plan, PlannedShot

DIGITS = 12
"""How much of a digest an identity shows."""


class ShotOrder:
    """Numbers shots, so that a replay shows the same picture whenever a shot is asked for.

    With a plan the number is the shot's place in it: a session that is interrupted and resumed, or
    whose shots are taken back, replays as one that is not. Shots of no plan (calibration, a look
    at the camera) are numbered in the order in which they are first asked for.
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
    """The resolved path at an address, and the digest that the address ends with, if it does.

    Raises:
        CaptureError: there is no such file or folder.
    """
    whole = Path(address).expanduser()
    if address and is_there(whole):
        return whole.resolve(), None
    place, _, digest = address.rpartition("#")
    named = Path(place).expanduser()
    if place and is_there(named):
        return named.resolve(), digest
    raise CaptureError(
        f'camera: no such file or folder "{place or address}"; next step: check the path'
    )


def refuse_swapped(source: Path, digest: str, expected: str | None) -> None:
    """Check that a file or folder has the content that was asked for.

    Raises:
        CaptureError: it has another one.
    """
    if expected is not None and digest != expected:
        raise CaptureError(
            f"{source}: expected the content with digest {expected}, got {digest}; next step: "
            "bring that content back, or begin a new session with --new"
        )
