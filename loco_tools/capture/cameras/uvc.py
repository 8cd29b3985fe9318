"""USB cameras (UVC) through OpenCV: Video4Linux on Linux, Media Foundation on Windows."""

import math

import cv2

from loco_tools.capture.cameras.camera import Settings
from loco_tools.capture.cameras.live_camera import LiveCamera
from loco_tools.capture.cameras.opencv_capture import four_characters, opened
from loco_tools.capture.cameras.usb_names import find_usb_camera
from loco_tools.errors import CaptureError
from loco_tools.plan import CameraSettings, Plan

_MANUAL_EXPOSURE = {cv2.CAP_V4L2: 1, cv2.CAP_MSMF: 0}
"""What switches automatic exposure off. A driver that is not here lets nobody set the exposure."""

BY_PORT = "named by its USB port, for want of a serial number: keep it plugged in there"
NO_SERIAL = "without a serial number: another camera of its model would be taken for it"


class UvcCamera(LiveCamera):
    """A USB camera by its number or path; its identity is its stable name, see `usb_names`.

    Automatic exposure and white balance are switched off. A setting that the camera lacks is left
    out of `settings`. The gain of a USB camera is a number without a unit: the plan's `gain_db`
    has to be 0, which sets the least gain; `settings` has the number as `gain`.

    Args:
        address: a number, or a path under /dev/v4l.
        plan: see `Camera`.
    """

    def __init__(self, address: str, plan: Plan | None) -> None:
        super().__init__(plan)
        self.identity = f"opencv:{address}"
        self._address = address

    def _open(self) -> cv2.VideoCapture:
        # A camera that was replugged has another number: what was found once is looked up by name.
        usb = find_usb_camera(self._address)
        self._address, self.identity = usb.name, f"opencv:{usb.name}"
        self._backend = usb.backend
        self.caution = BY_PORT if usb.by_port else None if usb.has_serial else NO_SERIAL
        capture = opened(usb.source, usb.backend)
        try:
            if not capture.isOpened():
                raise CaptureError(
                    f"camera {self.identity} cannot be opened; next step: close other programs "
                    "that use it, and check that you may read it (on Linux: group video)"
                )
            capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)
            if self._plan:
                self._apply(capture, self._plan.camera)
        except CaptureError:
            capture.release()
            raise
        return capture

    def _apply(self, capture: cv2.VideoCapture, wanted: CameraSettings) -> None:
        if wanted.gain_db:
            raise CaptureError(
                f"camera {self.identity}: the plan wants gain_db = {wanted.gain_db}, but the gain "
                "of a USB camera has no unit; next step: gain_db = 0.0, which sets its least gain"
            )
        if wanted.pixel_format:  # before the size: each format has its own sizes
            capture.set(cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*f"{wanted.pixel_format:4.4}"))
        capture.set(cv2.CAP_PROP_FRAME_WIDTH, wanted.width_px)
        capture.set(cv2.CAP_PROP_FRAME_HEIGHT, wanted.height_px)
        if self._backend in _MANUAL_EXPOSURE:
            capture.set(cv2.CAP_PROP_AUTO_EXPOSURE, _MANUAL_EXPOSURE[self._backend])
            capture.set(cv2.CAP_PROP_EXPOSURE, self._exposure_units(wanted.exposure_us))
        capture.set(cv2.CAP_PROP_GAIN, 0)
        capture.set(cv2.CAP_PROP_AUTO_WB, 0)
        if wanted.white_balance_k:
            capture.set(cv2.CAP_PROP_WB_TEMPERATURE, wanted.white_balance_k)

    def _requested(self, wanted: CameraSettings) -> Settings:
        off: Settings = {"auto_exposure": "off", "auto_white_balance": "off"}
        return {**wanted.requested(), **off}

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
        return settings | self._read_exposure(capture)

    def _read_exposure(self, capture: cv2.VideoCapture) -> Settings:
        settings: Settings = {}
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

    def _exposure_units(self, exposure_us: float) -> float:
        in_stops = self._backend == cv2.CAP_MSMF
        return round(math.log2(exposure_us / 1e6)) if in_stops else round(exposure_us / 100)
