"""What every camera does for a capture session."""

import abc
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import numpy as np
import numpy.typing as npt

from loco_tools.datasets.images import Pixels
from loco_tools.plan import PlannedShot


@dataclass(frozen=True)
class TrueDefect:
    """A defect that a simulated camera knows to be in its frame: name and (H, W) bool mask."""

    name: str
    mask: npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Frame:
    """One photograph: (H, W, 3) uint8 RGB, and the truth when it is simulated."""

    image: Pixels
    truth: tuple[TrueDefect, ...] = ()


class Camera(abc.ABC):
    """A camera, used as a context manager: entering connects, leaving releases the device.

    `identity` is stable over replugging and restarts and is the string that `--camera` takes; a
    session goes on only with the camera that it began with. `simulated` frames are marked as such
    in every record.
    """

    identity: str
    simulated: bool

    @abc.abstractmethod
    def frame(self, shot: PlannedShot) -> Frame:
        """Take one photograph; blocks until it is exposed and read out.

        The shot says what the operator has put in front of the camera; only a simulated camera
        makes use of it.
        """

    @abc.abstractmethod
    def settings(self) -> dict[str, float]:
        """The settings in effect, as read back from the device; units are in the names."""

    @abc.abstractmethod
    def px_per_mm(self, view: str) -> float | None:
        """Measured scale in the part's plane for a view; None when it was never measured."""

    @abc.abstractmethod
    def close(self) -> None:
        """Release the device; calling it again does nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """See `close`."""
        self.close()
