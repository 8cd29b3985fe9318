"""Cameras that OpenCV opens by a number or a path: USB cameras and video files."""

from loco_tools.capture.cameras import usb_names
from loco_tools.capture.cameras.camera import Camera
from loco_tools.capture.cameras.uvc import UvcCamera
from loco_tools.capture.cameras.video_file import VideoFileCamera
from loco_tools.errors import CaptureError
from loco_tools.plan import Plan


def open_address(address: str, plan: Plan | None) -> Camera:
    """Make the camera for a USB camera or a video file, not connected yet.

    Raises:
        CaptureError: the address is empty.
    """
    if not address:
        raise CaptureError(
            'camera "opencv:": expected a number, a path under /dev/v4l/by-id or a video file, got '
            "nothing; next step: see what is connected with: loco-tools cameras"
        )
    if usb_names.names_device(address):
        return UvcCamera(address, plan)
    return VideoFileCamera(address, plan)


def discover() -> list[str]:
    """The USB cameras that are connected, as `--camera` takes them.

    Raises:
        MissingExtraError: the system's cameras cannot be listed.
    """
    return [f"opencv:{address}" for address in usb_names.usb_cameras()]
