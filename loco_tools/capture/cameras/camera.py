"""The interface of every camera that a capture session can use."""

import abc
from collections.abc import Sequence
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
    """A defect that is visible in a simulated frame: its name and its (H, W) bool mask."""

    name: str
    mask: npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Frame:
    """One photograph: (H, W, 3) uint8 RGB, and the ground truth if it is simulated."""

    image: Pixels
    truth: tuple[TrueDefect, ...] = ()


class Camera(abc.ABC):
    """A camera, used as a context manager: entering connects, leaving releases the device.

    The constructor takes an address (the part of `--camera` behind the kind) and a plan, and does
    not touch the device. `connect` claims the device, applies the settings of the plan, reads them
    back and raises an error on a mismatch. If it fails, it releases the device first, so that
    another try can succeed. Without a plan the device keeps its settings; `loco-tools cameras`
    looks at cameras in this way.

    Attributes:
        identity: the string that `--camera` takes for exactly this device. It is complete after
            `connect`, does not change when the device is replugged or restarted, and never holds
            a password. A session continues only with the camera that it began with.
        caution: a sentence that people have to know, if there is one: what the identity cannot
            distinguish, or which files a replay does not use. It may be set by `connect`.
        simulated: whether the frames are rendered; every record then says so.
    """

    identity: str
    caution: str | None = None
    simulated: bool = False

    @abc.abstractmethod
    def connect(self) -> None:
        """Claim the device and bring it to the plan's settings; blocks a few seconds at most.

        Raises:
            CaptureError: there is no such camera, it is in use, its identity is ambiguous, or it
                does not take a setting. The device is released then.
        """

    def check_shots(self, shots: Sequence[PlannedShot]) -> None:
        """Check, before a session begins or continues, that every shot gets its own photograph.

        Only replays can fail: they hold a given number of pictures.

        Args:
            shots: all shots of the plan, in order.

        Raises:
            CaptureError: pictures are missing, surplus or damaged, so that shots would get none or
                that of another shot.
        """
        del shots

    @abc.abstractmethod
    def frame(self, shot: PlannedShot) -> Frame:
        """Take one photograph; blocks until it is exposed and read out.

        The exposure begins after the call: frames in the buffers of a driver are discarded. A lost
        device is reconnected a limited number of times and must come back with the same identity
        and settings.

        Args:
            shot: what the operator has put in front of the camera; only simulated cameras and
                replays use it.

        Raises:
            CaptureError: no frame came within the time limit, or the device is lost for good.
        """

    def preview(self, shot: PlannedShot) -> Pixels:
        """A picture (H, W, 3) uint8 RGB to aim by; may be up to a second old."""
        return self.frame(shot).image

    @abc.abstractmethod
    def settings(self) -> Settings:
        """The settings in effect, read back from the device, with `width_px` and `height_px`.

        A setting that the device does not offer is absent: a stream has no exposure.
        """

    def px_per_mm(self, view: str) -> float | None:
        """Pixels per mm in the part's plane for a view; None unless the camera is simulated."""
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
    """The settings that differ by more than the device's rounding explains.

    Exposure and colour temperature may differ by 2 %, gain by 0.1 dB, white balance ratios by
    0.02; every other setting has to be equal. A setting that `actual` lacks is not compared.

    >>> differences({"exposure_us": 12000.0}, {"exposure_us": 8000.0})
    ['exposure_us: expected 12000.0, got 8000.0']
    """
    different = []
    for name, expected in requested.items():
        got = actual.get(name, expected)
        if isinstance(expected, str) or isinstance(got, str):
            is_same = expected == got
        else:
            tolerance = _ABSOLUTE.get(name, _RELATIVE.get(name, 0.0) * abs(expected))
            is_same = abs(got - expected) <= tolerance
        if not is_same:
            different.append(f"{name}: expected {expected}, got {got}")
    return different


def refuse_mismatch(
    identity: str, requested: Settings, actual: Settings, *, replayed: bool = False
) -> None:
    """Check that a device took its settings, or that a replayed file has them.

    Raises:
        CaptureError: a setting differs.
    """
    mismatches = "; ".join(differences(requested, actual))
    if mismatches and replayed:
        raise CaptureError(
            f"{identity} does not have the settings of the plan: {mismatches}; next step: replay "
            "images that were taken with this plan, with --demo or --full if they were taken so"
        )
    if mismatches:
        raise CaptureError(
            f"camera {identity} did not take its settings: {mismatches}; next step: use values in "
            "the plan that the camera offers, or switch off its automatic modes"
        )


def require_connected(device: Device | None, identity: str) -> Device:
    """The device that a camera holds while it is connected.

    Raises:
        CaptureError: it holds none, because it is not connected.
    """
    if device is None:
        raise CaptureError(
            f"camera {identity} is not connected; next step: check its cable and power, then "
            "connect it"
        )
    return device
