"""USB cameras (UVC) through OpenCV: Video4Linux on Linux, Media Foundation on Windows."""

import math
from typing import ClassVar

import cv2

from loco_tools.capture.cameras.camera import Settings
from loco_tools.capture.cameras.live_camera import LiveCamera
from loco_tools.capture.cameras.opencv_capture import four_characters, open_capture
from loco_tools.capture.cameras.usb_names import find_usb_camera
from loco_tools.errors import CaptureError
from loco_tools.plan import CameraSettings, Plan

_MANUAL_EXPOSURE = {cv2.CAP_V4L2: 1, cv2.CAP_MSMF: 0}
"""Value that switches automatic exposure off; other drivers offer no control of the exposure."""

BY_PORT = "it has no serial number and is named by its USB port: keep it plugged in there"
NO_SERIAL = "it has no serial number: another camera of its model would not be noticed"


class UvcCamera(LiveCamera):
    """A USB camera, given by its number or path; its identity is its stable name, see `usb_names`.

    Automatic exposure and white balance are switched off. `settings` lacks the settings that the
    camera does not have. The gain of a USB camera is a number without a unit: `gain_db` of the
    plan has to be 0, which sets the lowest gain; `settings` has the number as `gain`.

    Args:
        address: a number, or a path under /dev/v4l.
        plan: see `Camera`.
    """

    fixed_settings: ClassVar[Settings] = {"auto_exposure": "off", "auto_white_balance": "off"}

    def __init__(self, address: str, plan: Plan | None) -> None:
        super().__init__(plan)
        self.identity = f"opencv:{address}"
        self._address = address

    def _open(self) -> cv2.VideoCapture:
        # A replugged camera has another number, so from now on it is found by its stable name.
        usb = find_usb_camera(self._address)
        self._address, self.identity = usb.name, f"opencv:{usb.name}"
        self._backend = usb.backend
        self.caution = BY_PORT if usb.by_port else None if usb.has_serial else NO_SERIAL
        capture = open_capture(usb.source, usb.backend)
        try:
            if not capture.isOpened():
                raise CaptureError(
                    f"camera {self.identity} cannot be opened; next step: close other programs "
                    "that use it, and check that you may read it (on Linux: group video)"
                )
            capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)
            if self._plan:
                self._apply_settings(capture, self._plan.camera)
        except CaptureError:
            capture.release()
            raise
        return capture

    def _apply_settings(self, capture: cv2.VideoCapture, requested: CameraSettings) -> None:
        if requested.gain_db:
            raise CaptureError(
                f"camera {self.identity}: expected gain_db = 0.0 in the plan, since the gain of a "
                f"USB camera has no unit, got {requested.gain_db}; next step: write gain_db = 0.0, "
                "which sets the lowest gain"
            )
        if requested.pixel_format:  # before the size: each format has its own sizes
            capture.set(
                cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*f"{requested.pixel_format:4.4}")
            )
        capture.set(cv2.CAP_PROP_FRAME_WIDTH, requested.width_px)
        capture.set(cv2.CAP_PROP_FRAME_HEIGHT, requested.height_px)
        if self._backend in _MANUAL_EXPOSURE:
            capture.set(cv2.CAP_PROP_AUTO_EXPOSURE, _MANUAL_EXPOSURE[self._backend])
            exposure = requested.exposure_us / 100  # Video4Linux: in units of 100 us
            if self._backend == cv2.CAP_MSMF:  # Media Foundation: log2 of seconds
                exposure = math.log2(requested.exposure_us / 1e6)
            capture.set(cv2.CAP_PROP_EXPOSURE, round(exposure))
        capture.set(cv2.CAP_PROP_GAIN, 0)
        capture.set(cv2.CAP_PROP_AUTO_WB, 0)
        if requested.white_balance_k:
            capture.set(cv2.CAP_PROP_WB_TEMPERATURE, requested.white_balance_k)

    def _read_settings(self, capture: cv2.VideoCapture) -> Settings:
        settings: Settings = {
            "width_px": int(capture.get(cv2.CAP_PROP_FRAME_WIDTH)),
            "height_px": int(capture.get(cv2.CAP_PROP_FRAME_HEIGHT)),
            "pixel_format": four_characters(capture.get(cv2.CAP_PROP_FOURCC)),
        }
        numbers = {"gain": cv2.CAP_PROP_GAIN, "white_balance_k": cv2.CAP_PROP_WB_TEMPERATURE}
        for name, number in numbers.items():
            if (value := capture.get(number)) >= 0:  # OpenCV gives -1 for what a camera lacks
                settings[name] = value
        if (value := capture.get(cv2.CAP_PROP_AUTO_WB)) >= 0:
            settings["auto_white_balance"] = "on" if value else "off"
        manual = _MANUAL_EXPOSURE.get(self._backend)
        automatic = capture.get(cv2.CAP_PROP_AUTO_EXPOSURE)
        if manual is not None and automatic >= 0:
            settings["auto_exposure"] = "off" if automatic == manual else "on"
        value = capture.get(cv2.CAP_PROP_EXPOSURE)
        if self._backend == cv2.CAP_V4L2 and value > 0:
            settings["exposure_us"] = value * 100  # Video4Linux counts in units of 100 us
        if self._backend == cv2.CAP_MSMF and value < 0:
            settings["exposure_us"] = 2.0**value * 1e6  # Media Foundation: log2 of seconds
        return settings
