"""Any GenICam camera through the GenTL producer of its vendor, by harvesters.

    genicam                    the only camera of the producers on GENICAM_GENTL64_PATH
    genicam:NAME               one of them: its serial number, or VENDOR-MODEL-SERIAL
    genicam:FILE.cti           the only camera of that producer
    genicam:FILE.cti#NAME      one of them

The identity is `genicam:VENDOR-MODEL-SERIAL`: it does not change with the place of the producer.
Frames with 8 bits per channel are taken (Mono8, RGB8, BGR8, RGBa8, BGRa8, BayerXX8); packed ones
and those with more bits are refused.

Needs the extra "genicam". Reference: EMVA, GenICam GenTL 1.6 and Pixel Format Naming Convention.
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

# OpenCV's COLOR_BayerBG... count from the second row; the names with four letters are PFNC's.
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
        address: what follows `genicam:`, see this module; "" for the only camera.
        plan: whose settings the camera takes; None leaves them as they are.
    """

    kind = "genicam"
    _harvester: Any = None
    _acquirer: Any = None

    @staticmethod
    def discover() -> list[str]:
        """What `--camera` takes for each camera of the producers on GENICAM_GENTL64_PATH, sorted.

        Raises:
            MissingExtraError: harvesters or genicam is not installed.
            CaptureError: no producer there can be loaded.
        """
        extras.require("a GenICam camera", "genicam")
        files = producers()
        if not files:
            return []
        harvester, _ = _harvest(files)
        try:
            return [f"genicam:{name}" for name in sorted(_cameras(harvester))]
        finally:
            harvester.reset()

    def _open(self, address: str) -> tuple[str, Features]:
        extras.require("a GenICam camera", "genicam")
        files, wanted = _parse(address)
        self._harvester, seen_by = _harvest(files)
        name, info = _chosen(_cameras(self._harvester), wanted, seen_by)
        identity = f"genicam:{name}"
        try:
            with _own_interrupt():
                self._acquirer = self._harvester.create(info)
            return identity, GenApiFeatures(self._acquirer.remote_device.node_map)
        except _sdk_errors() as error:
            raise CaptureError(
                f"camera {identity} cannot be opened: {_first_line(error)}; next step: close the "
                "program that holds it"
            ) from error

    def _wanted(self) -> str:
        # A producer that was named need not be on the path.
        file = self._address.partition("#")[0]
        wanted = super()._wanted()
        return f"{file}#{wanted}" if self._began_with and _is_producer(file) else wanted

    def _grab(self) -> Pixels:
        try:
            # Exposed after the call: no buffer is queued before the acquisition starts.
            self._acquirer.start()
            try:
                return self._fetch()
            finally:
                self._acquirer.stop()
        except _sdk_errors() as error:
            raise DeviceLostError(
                f"camera {self.identity} was lost: {_first_line(error)}; next step: check its "
                "cable and power"
            ) from error

    def _fetch(self) -> Pixels:
        began = time.monotonic()
        buffer = self._acquirer.try_fetch(timeout=self.timeout_s)
        if buffer is not None:
            with buffer:
                return rgb(buffer.payload)
        if time.monotonic() - began < self.timeout_s:
            raise IncompleteFrameError("the producer marked it incomplete")
        # GenTL has no sure sign of a pulled cable: silence is taken for one.
        raise DeviceLostError(
            f"camera {self.identity}: expected a frame within {self.timeout_s:g} s, got "
            "none; next step: check its cable and power"
        )

    def _release(self) -> None:
        acquirer, self._acquirer = self._acquirer, None
        harvester, self._harvester = self._harvester, None
        if harvester is None:
            return
        # A device that is gone cannot be told to stop; the producer is let go nevertheless.
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
        with _explained(name):
            node = self._node(name, "RO", "RW")
            read: Value | None = None if node is None else node.value
            return read

    def writable(self, name: str) -> bool:
        """See `Features.writable`."""
        with _explained(name):
            return self._node(name, "WO", "RW") is not None

    def write(self, name: str, value: Value) -> None:
        """See `Features.write`."""
        from genicam import genapi

        with _explained(name):
            node = self._nodes.get_node(name)
            whole = isinstance(node, genapi.IInteger)
            node.value = int(value) if whole else value

    def limits(self, name: str) -> Limits:
        """See `Features.limits`."""
        from genicam import genapi

        with _explained(name):
            node = self._nodes.get_node(name)
            stepped = isinstance(node, genapi.IInteger) or node.has_inc()
            return Limits(node.min, node.max, node.inc if stepped else None)

    def choices(self, name: str) -> tuple[str, ...]:
        """See `Features.choices`."""
        with _explained(name):
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


def _parse(address: str) -> tuple[list[Path], str]:
    """The producers to ask, and the camera's name ("" for the only one)."""
    file, _, name = address.partition("#")
    if _is_producer(file):
        if not Path(file).is_file():
            raise CaptureError(
                f"camera genicam:{address}: expected a GenTL producer at {file}, found none; "
                "next step: install the producer of the camera's vendor"
            )
        # A bare file name would be looked for where libraries are, not in the current folder.
        return [Path(file).absolute()], name
    found = producers()
    if not found:
        raise CaptureError(
            f'camera "genicam{":" if address else ""}{address}": expected a GenTL producer (*.cti) '
            f"in a folder of {PATH_VARIABLE}, found none; next step: install the producer of the "
            "camera's vendor and set that variable, or name the file: genicam:FILE.cti"
        )
    return found, address


def _is_producer(text: str) -> bool:
    return text.lower().endswith(".cti")


def _harvest(files: Sequence[Path]) -> tuple[Any, str]:
    """A harvester that knows the cameras of every producer that can be loaded.

    Each connection has one of its own; a producer serves one of them at a time.

    Returns:
        It, and in words which producers were asked and why others were not.
    """
    faults = {file: _fault_of(file) for file in files}
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
    asked = ", ".join(file.name for file in loaded)
    return harvester, f"{asked} (not loaded: {broken})" if broken else asked


def _fault_of(file: Path) -> str | None:
    """Why a producer cannot be loaded; harvesters would leave it out without a word."""
    from genicam import gentl

    producer = gentl.GenTLProducer.create_producer()
    try:
        producer.open(str(file))
    except gentl.GenericException as error:
        return _first_line(error)
    producer.close()
    return None


def _cameras(harvester: Any) -> dict[str, Any]:
    """What the producers see, by name; a camera that two of them see counts once."""
    found: dict[str, Any] = {}
    for info in harvester.device_info_list:
        known = info.property_dict
        words = (known["vendor"], known["model"], known["serial_number"] or known["id_"])
        name = "-".join("_".join(str(word).split()) for word in words if word)
        found.setdefault(name, info)
    return found


def _chosen(found: dict[str, Any], wanted: str, seen_by: str) -> tuple[str, Any]:
    matching = {
        name: info
        for name, info in found.items()
        if wanted in ("", name, info.property_dict["serial_number"])
    }
    asked = f'camera "genicam{":" if wanted else ""}{wanted}"'
    if not matching:
        raise CaptureError(
            f"{asked}: not seen by {seen_by}; {did_you_mean(wanted, found)}; next step: "
            "check its cable and power"
        )
    if len(matching) > 1:
        listed = ", ".join(f"genicam:{name}" for name in sorted(matching))
        raise CaptureError(
            f"{asked}: expected one camera, got {len(matching)} seen by {seen_by}; next step: name "
            f"one of {listed}"
        )
    return next(iter(matching.items()))


def rgb(payload: Any) -> Pixels:
    """(H, W, 3) uint8 RGB copy of a payload's first image."""
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
def _own_interrupt() -> Iterator[None]:
    """Keep Ctrl-C as it is: harvesters takes the signal over and lets the program run on."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handler = signal.getsignal(signal.SIGINT)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)


@contextmanager
def _explained(name: str) -> Iterator[None]:
    try:
        yield
    except _sdk_errors() as error:
        raise CaptureError(f"{name}: {_first_line(error)}") from error


def _sdk_errors() -> tuple[type[Exception], ...]:
    from genicam import genapi, gentl

    return genapi.GenericException, gentl.GenericException


def _first_line(error: Exception) -> str:
    """An SDK's message without its place in the SDK's source."""
    return str(error).split(" : ")[0].split(" (Message")[0].strip().rstrip(".")
