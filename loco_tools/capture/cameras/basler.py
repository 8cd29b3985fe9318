"""Basler cameras through pylon: `basler`, or `basler:SERIAL` when several are connected.

Needs the extra "basler". Reference: pylon C++ and .NET API documentation, "Instant Camera".
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

_EMULATED = "This is pylon's camera emulator: what it gives are no photographs"


class BaslerCamera(MachineVisionCamera):
    """A Basler camera (GigE, USB or emulated).

    Args:
        address: serial number; "" for the only camera connected.
        plan: whose settings the camera takes; None leaves them as they are.
    """

    kind = "basler"
    _device: Any = None

    @staticmethod
    def discover() -> list[str]:
        """What `--camera` takes for each camera connected, sorted by serial number.

        Raises:
            MissingExtraError: pypylon is not installed.
            CaptureError: pylon cannot look for cameras.
        """
        return [f"basler:{serial}" for serial in sorted(_devices())]

    @property
    def device(self) -> Any:
        """The `pylon.InstantCamera` while connected, None otherwise: for what no plan can set."""
        return self._device

    def _open(self, address: str) -> tuple[str, Features]:
        serial, info = _chosen(address)
        identity = f"basler:{serial}"
        self.caution = _EMULATED if info.GetDeviceClass() == "BaslerCamEmu" else None
        from pypylon import genicam, pylon

        try:
            self._device = pylon.InstantCamera(pylon.TlFactory.GetInstance().CreateDevice(info))
            self._device.Open()
        except genicam.GenericException as error:
            raise CaptureError(
                f"camera {identity} cannot be opened: {_first_line(error)}; next step: close the "
                "program that holds it, such as the pylon Viewer, or check its network address"
            ) from error
        return identity, PylonFeatures(self._device)

    def _grab(self) -> Pixels:
        from pypylon import genicam

        try:
            # Exposed after the call: GrabOne starts the acquisition, takes a frame and stops it.
            with self._device.GrabOne(round(self.timeout_s * 1000)) as result:
                return _rgb(result)
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
                "cable, then start again: the session goes on where it stopped"
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
            # Also right for a device that has been unplugged.
            device.DestroyDevice()


class PylonFeatures:
    """See `Features`: the node map of a pylon camera."""

    def __init__(self, device: Any) -> None:
        self._nodes = device.GetNodeMap()

    def value(self, name: str) -> Value | None:
        """See `Features.value`."""
        from pypylon import genicam

        with _explained(name):
            node = self._nodes.GetNode(name)
            read: Value | None = node.GetValue() if genicam.IsReadable(node) else None
            return read

    def writable(self, name: str) -> bool:
        """See `Features.writable`."""
        from pypylon import genicam

        with _explained(name):
            return bool(genicam.IsWritable(self._nodes.GetNode(name)))

    def write(self, name: str, value: Value) -> None:
        """See `Features.write`."""
        from pypylon import genicam

        with _explained(name):
            node = self._nodes.GetNode(name)
            node.SetValue(int(value) if isinstance(node, genicam.IInteger) else value)

    def limits(self, name: str) -> Limits:
        """See `Features.limits`."""
        from pypylon import genicam

        with _explained(name):
            node = self._nodes.GetNode(name)
            stepped = isinstance(node, genicam.IInteger) or node.HasInc()
            return Limits(node.GetMin(), node.GetMax(), node.GetInc() if stepped else None)

    def choices(self, name: str) -> tuple[str, ...]:
        """See `Features.choices`."""
        from pypylon import genicam

        with _explained(name):
            node = self._nodes.GetNode(name)
            return tuple(node.GetSettableValues()) if genicam.IsWritable(node) else ()


@contextmanager
def _explained(name: str) -> Iterator[None]:
    from pypylon import genicam

    try:
        yield
    except genicam.GenericException as error:
        raise CaptureError(f"{name}: {_first_line(error)}") from error


def _devices() -> dict[str, Any]:
    """What is connected, by serial number."""
    extras.require("a Basler camera", "basler")
    from pypylon import genicam, pylon

    try:
        found = pylon.TlFactory.GetInstance().EnumerateDevices()
    except genicam.GenericException as error:
        raise CaptureError(f"pylon cannot look for cameras: {_first_line(error)}") from error
    return {device.GetSerialNumber(): device for device in found}


def _chosen(serial: str) -> tuple[str, Any]:
    found = _devices()
    if not found:
        wanted = f"camera basler:{serial}" if serial else "a Basler camera"
        raise CaptureError(
            f"expected {wanted}, got none connected; next step: check its cable and power, then "
            "loco-tools cameras"
        )
    if not serial and len(found) > 1:
        listed = ", ".join(f"basler:{name}" for name in sorted(found))
        raise CaptureError(
            f'camera "basler": expected one Basler camera, got {len(found)}; next step: name one '
            f"of {listed}"
        )
    if serial and serial not in found:
        raise CaptureError(
            f"camera basler:{serial} is not connected; {did_you_mean(serial, found)}; next step: "
            "check its cable and power"
        )
    chosen = serial or next(iter(found))
    return chosen, found[chosen]


def _rgb(result: Any) -> Pixels:
    """(H, W, 3) uint8 RGB of a grab result, whatever pixel format it has."""
    from pypylon import pylon

    if not result.GrabSucceeded():
        raise IncompleteFrameError(
            f"{result.GetErrorDescription()} (code {result.GetErrorCode():#x})"
        )
    converter = pylon.ImageFormatConverter()
    converter.OutputPixelFormat = pylon.PixelType_RGB8packed
    return np.array(converter.Convert(result).GetArray(), dtype=np.uint8)


def _first_line(error: Exception) -> str:
    """An SDK's message without its place in the SDK's source."""
    return str(error).split(" : ")[0].split("\n")[0].strip().rstrip(".")
