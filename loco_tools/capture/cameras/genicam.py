"""Any GenICam camera, through the GenTL producer of its vendor and the package harvesters.

    genicam                    the only camera of the producers on GENICAM_GENTL64_PATH
    genicam:NAME               one of them: its serial number, or VENDOR-MODEL-SERIAL
    genicam:FILE.cti           the only camera of that producer
    genicam:FILE.cti#NAME      one of them

The identity is `genicam:VENDOR-MODEL-SERIAL`; it does not depend on the path of the producer.
Pixel formats with 8 bits per channel are supported (Mono8, RGB8, BGR8, RGBa8, BGRa8, BayerXX8);
packed formats and those with more bits are refused.

This needs the extra "genicam". References: EMVA, GenICam GenTL 1.6; Pixel Format Naming Convention.
"""

import os
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import cv2
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

PATH_VARIABLE = "GENICAM_GENTL64_PATH"
"""Environment variable of the GenTL standard: folders with producers (*.cti)."""

# OpenCV's COLOR_BayerBG... count from the second row; its names with four letters follow PFNC.
_TO_RGB = {
    "Mono8": (1, cv2.COLOR_GRAY2RGB),
    "RGB8": (3, None),
    "BGR8": (3, cv2.COLOR_BGR2RGB),
    "RGBa8": (4, cv2.COLOR_RGBA2RGB),
    "BGRa8": (4, cv2.COLOR_BGRA2RGB),
    "BayerRG8": (1, cv2.COLOR_BayerRGGB2RGB),
    "BayerGR8": (1, cv2.COLOR_BayerGRBG2RGB),
    "BayerGB8": (1, cv2.COLOR_BayerGBRG2RGB),
    "BayerBG8": (1, cv2.COLOR_BayerBGGR2RGB),
}
"""Pixel format -> channels, conversion."""


class GenicamCamera(MachineVisionCamera):
    """A camera of any vendor whose GenTL producer is installed.

    Args:
        address: the part behind `genicam:`, see this module; "" for the only camera.
        plan: has the settings that the camera takes; None leaves them as they are.
    """

    kind = "genicam"
    _harvester: Any = None
    _acquirer: Any = None

    def _open(self) -> Features:
        extras.require("a GenICam camera", "genicam")
        files, requested = _split_address(self._address)
        self._harvester, producer_names = _load_producers(files)
        name, info = _choose_device(_list_devices(self._harvester), requested, producer_names)
        self.identity = f"genicam:{name}"
        # A producer that was given by its file need not be on the path.
        file = self._address.partition("#")[0]
        self._address = f"{file}#{name}" if _is_producer(file) else name
        try:
            with _keep_interrupt_handler():
                self._acquirer = self._harvester.create(info)
            return GenApiFeatures(self._acquirer.remote_device.node_map)
        except _sdk_errors() as error:
            raise CaptureError(
                f"camera {self.identity} cannot be opened: {_first_line(error)}; next step: close "
                "the program that uses it"
            ) from error

    def _grab(self) -> Pixels:
        try:
            # Exposed after the call: no buffer is queued before the acquisition starts.
            self._acquirer.start()
            try:
                began = time.monotonic()
                buffer = self._acquirer.try_fetch(timeout=self.timeout_s)
                waited_s = time.monotonic() - began
                if buffer is not None:
                    with buffer:
                        return rgb(buffer.payload)
            finally:
                self._acquirer.stop()
        except _sdk_errors() as error:
            raise DeviceLostError(
                f"camera {self.identity} was lost: {_first_line(error)}; next step: check its "
                "cable and power"
            ) from error

        if waited_s < self.timeout_s:
            raise IncompleteFrameError("the producer marked it incomplete")
        # GenTL has no reliable sign of an unplugged cable, so a timeout counts as one.
        raise DeviceLostError(
            f"camera {self.identity}: expected a frame within {self.timeout_s:g} s, got "
            "none; next step: check its cable and power"
        )

    def _release(self) -> None:
        acquirer, self._acquirer = self._acquirer, None
        harvester, self._harvester = self._harvester, None
        if harvester is None:
            return
        # A lost device cannot be stopped; the producer is released anyway.
        with suppress(*_sdk_errors()):
            if acquirer is not None:
                acquirer.destroy()
        harvester.image_acquirers.clear()
        with suppress(*_sdk_errors()):
            harvester.reset()


class GenApiFeatures:
    """See `Features`: the node map of a GenApi device."""

    def __init__(self, nodes: Any) -> None:
        self._nodes = nodes

    def value(self, name: str) -> Value | None:
        """See `Features.value`."""
        with _explain_sdk_errors(name):
            node = self._node(name, "RO", "RW")
            read: Value | None = None if node is None else node.value
            return read

    def writable(self, name: str) -> bool:
        """See `Features.writable`."""
        with _explain_sdk_errors(name):
            return self._node(name, "WO", "RW") is not None

    def write(self, name: str, value: Value) -> None:
        """See `Features.write`."""
        from genicam import genapi

        with _explain_sdk_errors(name):
            node = self._nodes.get_node(name)
            whole = isinstance(node, genapi.IInteger)
            node.value = int(value) if whole else value

    def limits(self, name: str) -> Limits:
        """See `Features.limits`."""
        from genicam import genapi

        with _explain_sdk_errors(name):
            node = self._nodes.get_node(name)
            stepped = isinstance(node, genapi.IInteger) or node.has_inc()
            return Limits(node.min, node.max, node.inc if stepped else None)

    def choices(self, name: str) -> tuple[str, ...]:
        """See `Features.choices`."""
        with _explain_sdk_errors(name):
            node = self._node(name, "RW")
            return () if node is None else tuple(node.symbolics)

    def _node(self, name: str, *modes: str) -> Any:
        """The node, if the camera has it and it is accessible in one of the modes."""
        from genicam.genapi import EAccessMode

        if not self._nodes.has_node(name):
            return None
        node = self._nodes.get_node(name)
        accessible = node.get_access_mode() in {getattr(EAccessMode, mode) for mode in modes}
        return node if accessible else None


def producers() -> list[Path]:
    """The producers in the folders of GENICAM_GENTL64_PATH, in their order."""
    folders = os.environ.get(PATH_VARIABLE, "").split(os.pathsep)
    return [file for folder in folders if folder for file in sorted(Path(folder).glob("*.cti"))]


def discover() -> list[str]:
    """The cameras of the producers on GENICAM_GENTL64_PATH as `--camera` takes them, sorted.

    Raises:
        MissingExtraError: harvesters or genicam is not installed.
        CaptureError: no producer there can be loaded.
    """
    extras.require("a GenICam camera", "genicam")
    files = producers()
    if not files:
        return []
    harvester, _ = _load_producers(files)
    try:
        return [f"genicam:{name}" for name in sorted(_list_devices(harvester))]
    finally:
        harvester.reset()


def _split_address(address: str) -> tuple[list[Path], str]:
    """The producers to load, and the name of the camera ("" for the only one)."""
    file, _, name = address.partition("#")
    if _is_producer(file):
        if not Path(file).is_file():
            raise CaptureError(
                f"camera genicam:{address}: expected a GenTL producer at {file}, found none; "
                "next step: install the producer of the camera's vendor"
            )
        # A mere file name would be searched for where libraries are, not in the current folder.
        return [Path(file).absolute()], name
    files = producers()
    if not files:
        raise CaptureError(
            f'camera "genicam{":" if address else ""}{address}": expected a GenTL producer (*.cti) '
            f"in a folder of {PATH_VARIABLE}, found none; next step: install the producer of the "
            "camera's vendor and set that variable, or name the file: genicam:FILE.cti"
        )
    return files, address


def _is_producer(text: str) -> bool:
    return text.lower().endswith(".cti")


def _load_producers(files: Sequence[Path]) -> tuple[Any, str]:
    """A harvester that lists the cameras of every producer that can be loaded.

    Each connection has its own harvester; a producer serves one of them at a time.

    Returns:
        The harvester, and a text with the loaded producers and the faults of the others.
    """
    faults = {file: _find_fault(file) for file in files}
    broken = "; ".join(f"{file}: {fault}" for file, fault in faults.items() if fault)
    loaded = [file for file, fault in faults.items() if not fault]
    if not loaded:
        raise CaptureError(
            f"no GenTL producer can be loaded: {broken}; next step: install the one made for this "
            "system, and close the program that uses it"
        )
    from harvesters.core import Harvester

    harvester = Harvester()
    for file in loaded:
        harvester.add_file(str(file))
    harvester.update()
    names = ", ".join(file.name for file in loaded)
    return harvester, f"{names} (not loaded: {broken})" if broken else names


def _find_fault(file: Path) -> str | None:
    """Why a producer cannot be loaded; harvesters would skip it silently."""
    from genicam import gentl

    producer = gentl.GenTLProducer.create_producer()
    try:
        producer.open(str(file))
    except gentl.GenericException as error:
        return _first_line(error)
    producer.close()
    return None


def _list_devices(harvester: Any) -> dict[str, Any]:
    """The devices of all producers by name; a device that two producers list counts once."""
    devices: dict[str, Any] = {}
    for info in harvester.device_info_list:
        known = info.property_dict
        words = (known["vendor"], known["model"], known["serial_number"] or known["id_"])
        name = "-".join("_".join(str(word).split()) for word in words if word)
        devices.setdefault(name, info)
    return devices


def _choose_device(devices: dict[str, Any], requested: str, producer_names: str) -> tuple[str, Any]:
    """Name and information of the device with that name or serial number, or of the only one."""
    matching = {
        name: info
        for name, info in devices.items()
        if requested in ("", name, info.property_dict["serial_number"])
    }
    camera = f'camera "genicam{":" if requested else ""}{requested}"'
    if not matching:
        raise CaptureError(
            f"{camera}: not found by {producer_names}; {did_you_mean(requested, devices)}; next "
            "step: check its cable and power"
        )
    if len(matching) > 1:
        listed = ", ".join(f"genicam:{name}" for name in sorted(matching))
        raise CaptureError(
            f"{camera}: expected one camera, got {len(matching)} found by {producer_names}; next "
            f"step: give one of {listed}"
        )
    return next(iter(matching.items()))


def rgb(payload: Any) -> Pixels:
    """Copy the first image of a payload to (H, W, 3) uint8 RGB.

    Raises:
        IncompleteFrameError: the payload holds no image.
        CaptureError: its pixel format is not supported.
    """
    if not payload or not payload.components:
        raise IncompleteFrameError("it held no image")
    image = payload.components[0]
    pixel_format = image.data_format
    if pixel_format not in _TO_RGB:
        raise CaptureError(
            f"pixel format {pixel_format}: expected one of {', '.join(_TO_RGB)}; next step: set "
            "pixel_format in the plan's [camera]"
        )
    channels, conversion = _TO_RGB[pixel_format]
    # Rows may end with padding.
    rows = image.data.reshape(image.height, -1)[:, : image.width * channels]
    pixels = np.array(rows.reshape(image.height, image.width, channels), dtype=np.uint8)
    return pixels if conversion is None else cv2.cvtColor(pixels, conversion).astype(np.uint8)


@contextmanager
def _keep_interrupt_handler() -> Iterator[None]:
    """Restore the handler of Ctrl-C: that of harvesters does not end the program."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handler = signal.getsignal(signal.SIGINT)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)


@contextmanager
def _explain_sdk_errors(name: str) -> Iterator[None]:
    """Raise an error of the SDK as a CaptureError that names the feature."""
    try:
        yield
    except _sdk_errors() as error:
        raise CaptureError(f"{name}: {_first_line(error)}") from error


def _sdk_errors() -> tuple[type[Exception], ...]:
    from genicam import genapi, gentl

    return genapi.GenericException, gentl.GenericException


def _first_line(error: Exception) -> str:
    """The message of an SDK without the position in the SDK's source code."""
    return str(error).split(" : ")[0].split(" (Message")[0].strip().rstrip(".")
