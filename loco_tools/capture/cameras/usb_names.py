"""Stable names of USB cameras.

The number of a USB camera (`/dev/video0`) changes when it is plugged in again. On Linux its stable
name is its link under `/dev/v4l/by-id`, made of maker, model and serial number. Two cameras of one
model without serial numbers share such a link; they are named by their USB ports, under
`/dev/v4l/by-path`. On other systems the package `cv2_enumerate_cameras` gives the path that the
operating system assigns.
"""

import sys
from dataclasses import dataclass
from pathlib import Path

import cv2

from loco_tools.errors import CaptureError
from loco_tools.extras import require

ROOT = Path("/")
"""The folder that holds `dev` and `sys`."""

ENUMERATED = {"win32": cv2.CAP_MSMF, "darwin": cv2.CAP_AVFOUNDATION}


@dataclass(frozen=True)
class UsbCamera:
    """A USB camera: its stable name, and how OpenCV opens it."""

    name: str
    source: str | int
    backend: int
    has_serial: bool = True

    @property
    def by_port(self) -> bool:
        """Whether the name identifies the USB port instead of the camera."""
        return "by-path" in Path(self.name).parts


def names_device(address: str, platform: str = sys.platform) -> bool:
    """Whether an address means a USB camera and not a video file."""
    if address.isdigit() or Path(address).is_relative_to(ROOT / "dev"):
        return True
    files = (Path(address), Path(address.rpartition("#")[0]))
    return platform in ENUMERATED and not any(path.is_file() for path in files)


def find_usb_camera(address: str, platform: str = sys.platform) -> UsbCamera:
    """Find the USB camera with that number or path.

    Raises:
        CaptureError: there is none, or it has no stable name, or another camera has the same name.
        MissingExtraError: the system's cameras cannot be listed.
    """
    return _find_enumerated(address, platform) if platform in ENUMERATED else _find_linked(address)


def usb_cameras(platform: str = sys.platform) -> list[str]:
    """The addresses of the connected cameras: stable names, or numbers if there is no such name.

    Raises:
        MissingExtraError: the system's cameras cannot be listed.
    """
    if platform in ENUMERATED:
        return [camera.name for camera in _enumerated(platform)]
    return [_linked_name(device) or device.name.removeprefix("video") for device in _devices()]


def _find_linked(address: str) -> UsbCamera:
    path = ROOT / f"dev/video{address}" if address.isdigit() else Path(address)
    if not path.exists():
        raise CaptureError(
            f"camera opencv:{address}: {path} is not connected; next step: plug it in, or list "
            "the connected cameras with: loco-tools cameras"
        )
    device = path.resolve()
    name = _linked_name(device)
    if name is None:
        raise CaptureError(
            f"camera opencv:{address} has no stable name under {ROOT / 'dev/v4l'}, and its number "
            "changes whenever it is plugged in; next step: install udev, or give it a rule that "
            f"makes a link in {ROOT / 'dev/v4l/by-id'}"
        )
    if path.parent.name == "by-id" and name != str(path):
        raise CaptureError(
            f"camera opencv:{address} is ambiguous: another camera of this model without a serial "
            f"number is connected; next step: name it by its port: --camera opencv:{name}"
        )
    chosen = str(path) if path.parent.name == "by-path" else name
    # The device of a video node is an interface; the folder above it is the camera. Without a
    # serial number, the link under by-id is made of the model alone.
    interface = ROOT / "sys/class/video4linux" / device.name / "device"
    has_serial = bool(_read_attribute(interface / "..", "serial"))
    return UsbCamera(chosen, chosen, cv2.CAP_V4L2, has_serial)


def _linked_name(device: Path) -> str | None:
    """The stable name of a video device; None if there is no link to it.

    A link under by-id is not used if another camera of the model has none: they compete for it.
    """
    by_id = _links("by-id", device)
    twins = [other for other in _devices() if other != device and _model(other) == _model(device)]
    if by_id and all(_links("by-id", twin) for twin in twins):
        return str(by_id[0])
    by_path = _links("by-path", device)
    return str(by_path[0]) if by_path else None


def _links(kind: str, device: Path) -> list[Path]:
    folder = ROOT / "dev/v4l" / kind
    links = sorted(folder.iterdir()) if folder.is_dir() else []
    return [link for link in links if link.resolve() == device]


def _devices() -> list[Path]:
    """The video devices that give pictures; a camera has further devices for metadata."""
    nodes = sorted((ROOT / "sys/class/video4linux").glob("video*"))
    return [ROOT / "dev" / node.name for node in nodes if _read_attribute(node, "index") == "0"]


def _model(device: Path) -> str:
    return _read_attribute(ROOT / "sys/class/video4linux" / device.name, "name")


def _read_attribute(node: Path, name: str) -> str:
    file = node / name
    return file.read_text(encoding="utf-8", errors="replace").strip() if file.is_file() else ""


def _find_enumerated(address: str, platform: str) -> UsbCamera:
    known = _enumerated(platform)
    matches = [camera for camera in known if address in (camera.name, str(camera.source))]
    names = [camera.name for camera in known]
    if not matches:
        raise CaptureError(
            f"camera opencv:{address} is not connected; found: {', '.join(names) or 'none'}; next "
            "step: plug it in, or list the connected cameras with: loco-tools cameras"
        )
    if names.count(matches[0].name) > 1 or not matches[0].name:
        raise CaptureError(
            f"camera opencv:{address} has no path of its own, so it could be confused with another "
            "one; next step: connect only one camera of this model"
        )
    return matches[0]


def _enumerated(platform: str) -> list[UsbCamera]:
    require("finding USB cameras on this system", "uvc")
    from cv2_enumerate_cameras import enumerate_cameras

    backend = ENUMERATED[platform]
    return [UsbCamera(info.path or "", info.index, backend) for info in enumerate_cameras(backend)]
