"""What every camera does for a capture session."""

import abc
from dataclasses import dataclass
from typing import Self, TypeVar

import numpy as np
import numpy.typing as npt

from loco_tools.datasets.images import Pixels
from loco_tools.errors import CaptureError
from loco_tools.plan import PlannedShot

Settings = dict[str, float | str]
"""Settings by name, with the unit in the name: see `loco_tools.plan.CameraSettings.requested`."""

Device = TypeVar("Device")

_RELATIVE = {"exposure_us": 0.02, "white_balance_k": 0.02}
_ABSOLUTE = {
    "gain_db": 0.1,
    "white_balance_red": 0.02,
    "white_balance_green": 0.02,
    "white_balance_blue": 0.02,
}


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

    A backend is built from its address, what follows the kind in the string that `--camera` takes,
    and a plan; the constructor touches no device. `connect` claims it, applies the settings of the
    plan, reads them back and refuses on a mismatch; on any failure it releases the device before
    it raises, so that another try can work. Without a plan the device's settings are left as they
    are: this is how `loco-tools cameras` looks at a camera.

    `identity` is known after `connect`, is stable over replugging and restarts, and is the string
    that `--camera` takes; a session goes on only with the camera that it began with. It never
    holds a password. `caution` says in words what this identity cannot tell apart, if anything.
    `simulated` frames are marked as such in every record.
    """

    identity: str
    caution: str | None = None
    simulated: bool = False

    @abc.abstractmethod
    def connect(self) -> None:
        """Claim the device and bring it to the plan's settings; blocks a few seconds at most.

        Raises:
            CaptureError: no such camera, it is in use, its identity is ambiguous, or it does not
                take a setting. The device is released.
        """

    @abc.abstractmethod
    def frame(self, shot: PlannedShot) -> Frame:
        """Take one photograph; blocks until it is exposed and read out.

        The frame is exposed after the call began: frames that a driver holds in its buffers are
        thrown away. A lost device is reconnected a bounded number of times; it has to have the
        same identity and settings as before. The shot says what the operator has put in front of
        the camera; only a simulated camera and a replay make use of it.

        Raises:
            CaptureError: no frame came within the time limit, or the device is lost for good.
        """

    def preview(self, shot: PlannedShot) -> Pixels:
        """A picture (H, W, 3) uint8 RGB to aim by; may be up to a second old."""
        return self.frame(shot).image

    @abc.abstractmethod
    def settings(self) -> Settings:
        """The settings in effect, read back from the device.

        A setting that the device does not let anyone control is absent: a stream has no exposure.
        """

    def px_per_mm(self, view: str) -> float | None:
        """Scale in the part's plane for a view, known by construction; None for real cameras."""
        del view
        return None

    @abc.abstractmethod
    def close(self) -> None:
        """Release the device; calling it again does nothing."""

    def __enter__(self) -> Self:
        self.connect()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def differences(requested: Settings, actual: Settings) -> list[str]:
    """What differs between two sets of settings beyond what rounding by the device explains.

    Exposure and colour temperature may differ by 2 %, gain by 0.1 dB, white balance ratios by
    0.02; all else has to be equal. A setting that `actual` lacks is no difference.

    >>> differences({"exposure_us": 12000.0}, {"exposure_us": 8000.0})
    ['exposure_us: expected 12000.0, got 8000.0']
    """
    return [
        f"{name}: expected {wanted}, got {actual[name]}"
        for name, wanted in requested.items()
        if name in actual and not _same(name, wanted, actual[name])
    ]


def _same(name: str, wanted: float | str, got: float | str) -> bool:
    if isinstance(wanted, str) or isinstance(got, str):
        return wanted == got
    return abs(got - wanted) <= _ABSOLUTE.get(name, _RELATIVE.get(name, 0.0) * abs(wanted))


def refuse_mismatch(
    identity: str, requested: Settings, actual: Settings, *, replayed: bool = False
) -> None:
    """Check that a device took its settings, or that a file that is replayed has them.

    Raises:
        CaptureError: it did not.
    """
    found = differences(requested, actual)
    if found and replayed:
        raise CaptureError(
            f"{identity} is not as the plan wants it: {'; '.join(found)}; next step: replay what "
            "was taken with this plan, with --demo or --full if it was taken so"
        )
    if found:
        raise CaptureError(
            f"camera {identity} did not take its settings: {'; '.join(found)}; next step: give the "
            "plan values that the camera has, or switch off its automatic modes"
        )


def connected(device: Device | None, identity: str) -> Device:
    """What a backend holds while it is connected.

    Raises:
        CaptureError: it holds nothing, because it is not connected.
    """
    if device is None:
        raise CaptureError(
            f"camera {identity} is not connected; next step: check its cable and power, then "
            "connect it"
        )
    return device
