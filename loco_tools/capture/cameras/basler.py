"""Basler cameras through pylon: `basler`, or `basler:SERIAL` if several are connected.

This needs the extra "basler". Reference: pylon C++ and .NET API documentation, "Instant Camera".
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from loco_tools import extras
from loco_tools.capture.cameras.genicam_features import Features, Limits, Value
from loco_tools.capture.cameras.machine_vision import (
    DeviceLostError,
    IncompleteFrameError,
    MachineVisionCamera,
)
from loco_tools.datasets.images import Pixels
from loco_tools.errors import CaptureError, did_you_mean

_EMULATED = "This is pylon's camera emulator: its frames are not photographs"


class BaslerCamera(MachineVisionCamera):
    """A Basler camera (GigE, USB or emulated).

    Args:
        address: serial number; "" for the only connected camera.
        plan: has the settings that the camera takes; None leaves them as they are.
    """

    kind = "basler"
    _device: Any = None

    @property
    def device(self) -> Any:
        """The connected `pylon.InstantCamera` or None, for settings that a plan does not have."""
        return self._device

    def _open(self) -> Features:
        self._address, info = _choose_device(self._address)
        self.identity = f"basler:{self._address}"
        self.caution = _EMULATED if info.GetDeviceClass() == "BaslerCamEmu" else None
        from pypylon import genicam, pylon

        try:
            self._device = pylon.InstantCamera(pylon.TlFactory.GetInstance().CreateDevice(info))
            self._device.Open()
        except genicam.GenericException as error:
            raise CaptureError(
                f"camera {self.identity} cannot be opened: {_first_line(error)}; next step: close "
                "the program that uses it, such as the pylon Viewer, or check its network address"
            ) from error
        return PylonFeatures(self._device)

    def _grab(self) -> Pixels:
        from pypylon import genicam, pylon

        try:
            # Exposed after the call: GrabOne starts the acquisition, takes a frame and stops it.
            with self._device.GrabOne(round(self.timeout_s * 1000)) as result:
                if not result.GrabSucceeded():
                    raise IncompleteFrameError(
                        f"{result.GetErrorDescription()} (code {result.GetErrorCode():#x})"
                    )
                converter = pylon.ImageFormatConverter()
                converter.OutputPixelFormat = pylon.PixelType_RGB8packed
                return np.array(converter.Convert(result).GetArray(), dtype=np.uint8)
        except genicam.TimeoutException as error:
            self._raise_if_lost(error)
            raise CaptureError(
                f"camera {self.identity}: expected a frame within {self.timeout_s:g} s, got "
                "none; next step: check its cable and whether another program changes it"
            ) from error
        except genicam.GenericException as error:
            self._raise_if_lost(error)
            raise CaptureError(
                f"camera {self.identity} gave no frame: {_first_line(error)}; next step: check its "
                "cable, then start again: the session continues where it stopped"
            ) from error

    def _raise_if_lost(self, error: Exception) -> None:
        if self._device.IsCameraDeviceRemoved():
            raise DeviceLostError(
                f"camera {self.identity} was lost: {_first_line(error)}; next step: check its "
                "cable and power"
            ) from error

    def _release(self) -> None:
        device, self._device = self._device, None
        if device is not None:
            # This also works for a device that has been unplugged.
            device.DestroyDevice()


class PylonFeatures:
    """See `Features`: the node map of a pylon camera."""

    def __init__(self, device: Any) -> None:
        self._nodes = device.GetNodeMap()

    def value(self, name: str) -> Value | None:
        """See `Features.value`."""
        from pypylon import genicam

        with _explain_sdk_errors(name):
            node = self._nodes.GetNode(name)
            read: Value | None = node.GetValue() if genicam.IsReadable(node) else None
            return read

    def writable(self, name: str) -> bool:
        """See `Features.writable`."""
        from pypylon import genicam

        with _explain_sdk_errors(name):
            return bool(genicam.IsWritable(self._nodes.GetNode(name)))

    def write(self, name: str, value: Value) -> None:
        """See `Features.write`."""
        from pypylon import genicam

        with _explain_sdk_errors(name):
            node = self._nodes.GetNode(name)
            node.SetValue(int(value) if isinstance(node, genicam.IInteger) else value)

    def limits(self, name: str) -> Limits:
        """See `Features.limits`."""
        from pypylon import genicam

        with _explain_sdk_errors(name):
            node = self._nodes.GetNode(name)
            stepped = isinstance(node, genicam.IInteger) or node.HasInc()
            return Limits(node.GetMin(), node.GetMax(), node.GetInc() if stepped else None)

    def choices(self, name: str) -> tuple[str, ...]:
        """See `Features.choices`."""
        from pypylon import genicam

        with _explain_sdk_errors(name):
            node = self._nodes.GetNode(name)
            return tuple(node.GetSettableValues()) if genicam.IsWritable(node) else ()


@contextmanager
def _explain_sdk_errors(name: str) -> Iterator[None]:
    """Raise an error of the SDK as a CaptureError that names the feature."""
    from pypylon import genicam

    try:
        yield
    except genicam.GenericException as error:
        raise CaptureError(f"{name}: {_first_line(error)}") from error


def discover() -> list[str]:
    """The connected cameras as `--camera` takes them, sorted by serial number.

    Raises:
        MissingExtraError: pypylon is not installed.
        CaptureError: pylon cannot search for cameras.
    """
    return [f"basler:{serial}" for serial in sorted(_connected_devices())]


def _connected_devices() -> dict[str, Any]:
    """The device information of every connected camera by its serial number."""
    extras.require("a Basler camera", "basler")
    from pypylon import genicam, pylon

    try:
        devices = pylon.TlFactory.GetInstance().EnumerateDevices()
    except genicam.GenericException as error:
        raise CaptureError(f"pylon cannot search for cameras: {_first_line(error)}") from error
    return {device.GetSerialNumber(): device for device in devices}


def _choose_device(serial: str) -> tuple[str, Any]:
    """Serial number and device information of the camera with that number, or of the only one."""
    devices = _connected_devices()
    if not devices:
        expected = f"camera basler:{serial}" if serial else "a Basler camera"
        raise CaptureError(
            f"expected {expected}, got none connected; next step: check its cable and power, then "
            "loco-tools cameras"
        )
    if not serial and len(devices) > 1:
        listed = ", ".join(f"basler:{name}" for name in sorted(devices))
        raise CaptureError(
            f'camera "basler": expected one Basler camera, got {len(devices)}; next step: give one '
            f"of {listed}"
        )
    if serial and serial not in devices:
        raise CaptureError(
            f"camera basler:{serial} is not connected; {did_you_mean(serial, devices)}; next step: "
            "check its cable and power"
        )
    chosen = serial or next(iter(devices))
    return chosen, devices[chosen]


def _first_line(error: Exception) -> str:
    """The message of an SDK without the position in the SDK's source code."""
    return str(error).split(" : ")[0].split("\n")[0].strip().rstrip(".")
