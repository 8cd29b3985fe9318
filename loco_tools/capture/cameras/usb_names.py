"""Stable names of USB cameras.

The number of a USB camera (`/dev/video0`) changes when it is plugged in anew. On Linux its stable
name is its link under `/dev/v4l/by-id`, made of maker, model and serial number; when it has none of
its own, because two cameras of one model have no serial numbers, it is named by the USB port that
it is plugged into, under `/dev/v4l/by-path`. Elsewhere the package `cv2_enumerate_cameras` knows
the path that the operating system gives it.
"""

import sys
from dataclasses import dataclass
from pathlib import Path

import cv2

from loco_tools.errors import CaptureError
from loco_tools.extras import require

ROOT = Path("/")
"""Where `dev` and `sys` are."""

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
        """Whether the name is that of the port, not of the camera."""
        return "by-path" in Path(self.name).parts


def names_device(address: str, platform: str = sys.platform) -> bool:
    """Whether an address means a USB camera and not a video file."""
    if address.isdigit() or Path(address).is_relative_to(ROOT / "dev"):
        return True
    files = (Path(address), Path(address.rpartition("#")[0]))
    return platform in ENUMERATED and not any(path.is_file() for path in files)


def find_usb_camera(address: str, platform: str = sys.platform) -> UsbCamera:
    """The USB camera of that number or path.

    Raises:
        CaptureError: there is none, or it has no stable name, or another one has the same.
        MissingExtraError: the system's cameras cannot be listed.
    """
    return _find_enumerated(address, platform) if platform in ENUMERATED else _find_linked(address)


def usb_cameras(platform: str = sys.platform) -> list[str]:
    """The addresses of what is connected: stable names, or numbers of cameras that lack one.

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
            f"camera opencv:{address}: {path} is not connected; next step: plug it in, or see what "
            "is connected with: loco-tools cameras"
        )
    device = path.resolve()
    name = _linked_name(device)
    if name is None:
        raise CaptureError(
            f"camera opencv:{address} has no stable name under {ROOT / 'dev/v4l'}, and its number "
            "changes with every plugging; next step: install udev, or give it a rule that makes a "
            f"link in {ROOT / 'dev/v4l/by-id'}"
        )
    if path.parent.name == "by-id" and name != str(path):
        raise CaptureError(
            f"camera opencv:{address} is ambiguous: another camera of this model without a serial "
            f"number is connected; next step: name it by its port: --camera opencv:{name}"
        )
    chosen = str(path) if path.parent.name == "by-path" else name
    return UsbCamera(chosen, chosen, cv2.CAP_V4L2, _has_serial(device))


def _linked_name(device: Path) -> str | None:
    by_id = _links("by-id", device)
    if by_id and not _has_nameless_double(device):
        return str(by_id[0])
    by_path = _links("by-path", device)
    return str(by_path[0]) if by_path else None


def _links(kind: str, device: Path) -> list[Path]:
    folder = ROOT / "dev/v4l" / kind
    links = sorted(folder.iterdir()) if folder.is_dir() else []
    return [link for link in links if link.resolve() == device]


def _has_nameless_double(device: Path) -> bool:
    """Whether another camera of the same model has no link of its own: it contends for this one."""
    model = _model(device)
    others = [other for other in _devices() if other != device and _model(other) == model]
    return any(not _links("by-id", other) for other in others)


def _devices() -> list[Path]:
    """The video devices that give pictures; a camera's further ones give metadata."""
    nodes = sorted((ROOT / "sys/class/video4linux").glob("video*"))
    return [ROOT / "dev" / node.name for node in nodes if _attribute(node, "index") == "0"]


def _model(device: Path) -> str:
    return _attribute(ROOT / "sys/class/video4linux" / device.name, "name")


def _has_serial(device: Path) -> bool:
    """Whether the camera tells a serial number; its link under by-id is of its model alone if not.

    The device of a video node is an interface of the camera, the folder above it the camera.
    """
    interface = ROOT / "sys/class/video4linux" / device.name / "device"
    return bool(_attribute(interface / "..", "serial"))


def _attribute(node: Path, name: str) -> str:
    file = node / name
    return file.read_text(encoding="utf-8", errors="replace").strip() if file.is_file() else ""


def _find_enumerated(address: str, platform: str) -> UsbCamera:
    known = _enumerated(platform)
    found = [camera for camera in known if address in (camera.name, str(camera.source))]
    names = [camera.name for camera in known]
    if not found:
        raise CaptureError(
            f"camera opencv:{address} is not connected; found: {', '.join(names) or 'none'}; next "
            "step: plug it in, or see what is connected with: loco-tools cameras"
        )
    if names.count(found[0].name) > 1 or not found[0].name:
        raise CaptureError(
            f"camera opencv:{address} has no path of its own, so it could be swapped for another; "
            "next step: connect one camera of this model only"
        )
    return found[0]


def _enumerated(platform: str) -> list[UsbCamera]:
    require("finding USB cameras on this system", "uvc")
    from cv2_enumerate_cameras import enumerate_cameras

    backend = ENUMERATED[platform]
    return [UsbCamera(info.path or "", info.index, backend) for info in enumerate_cameras(backend)]
