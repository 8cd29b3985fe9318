"""The base class of cameras with GenICam features: connecting, taking frames, reconnecting."""

import abc

from loco_tools.capture.cameras.camera import (
    Camera,
    Frame,
    Settings,
    refuse_mismatch,
    require_connected,
)
from loco_tools.capture.cameras.genicam_features import (
    Features,
    apply_settings,
    read_settings,
)
from loco_tools.capture.cameras.reconnecting import WAITS_S, refuse_changed_camera, with_reconnect
from loco_tools.datasets.images import Pixels
from loco_tools.errors import CaptureError
from loco_tools.plan import Plan, PlannedShot


class DeviceLostError(CaptureError):
    """The device was lost; connecting it again may help."""


class IncompleteFrameError(CaptureError):
    """A buffer was damaged or incomplete; the next one may be complete."""


class MachineVisionCamera(Camera):
    """A camera behind an SDK; subclasses open it, grab one frame and release it.

    Args:
        address: which camera; see the subclass.
        plan: has the settings that the camera takes; None leaves them as they are.

    Attributes:
        timeout_s: how long a frame may take.
        grab_tries: number of failed buffers in a row after which an error is raised.
        waits_s: seconds to wait before each attempt to reconnect a lost device.
    """

    kind: str
    timeout_s = 5.0
    grab_tries = 3
    waits_s: tuple[float, ...] = WAITS_S

    def __init__(self, address: str, plan: Plan | None) -> None:
        self.identity = f"{self.kind}:{address}" if address else self.kind
        self._address = address
        self._plan = plan
        self._features: Features | None = None
        self._in_use = False
        self._began_with: tuple[str, Settings] | None = None

    @abc.abstractmethod
    def _open(self) -> Features:
        """Claim the device at `_address`; set `identity`, and `_address` to that very device.

        Raises:
            CaptureError: the device cannot be claimed.
        """

    @abc.abstractmethod
    def _grab(self) -> Pixels:
        """Take one frame, exposed after the call, within `timeout_s`.

        Raises:
            DeviceLostError: the device is lost.
            IncompleteFrameError: the buffer is damaged or incomplete.
            CaptureError: no frame came in time, or its pixel format is not supported.
        """

    @abc.abstractmethod
    def _release(self) -> None:
        """Release the device; calling it again does nothing."""

    def connect(self) -> None:
        """See `Camera.connect`."""
        self._claim()
        self._in_use = True

    def _claim(self) -> None:
        self._let_go()
        try:
            self._features = self._open()
            if self._plan:
                try:
                    apply_settings(self._features, self._plan.camera)
                except CaptureError as error:
                    raise CaptureError(
                        f"camera {self.identity} does not take the plan's settings: {error}; next "
                        "step: use values in the plan that the camera offers"
                    ) from error
                refuse_mismatch(self.identity, self._plan.camera.requested(), self.settings())
            now = (self.identity, self.settings())
            self._began_with = self._began_with or now
            refuse_changed_camera(self._began_with, now)
        except BaseException:
            self._let_go()
            raise

    def frame(self, shot: PlannedShot) -> Frame:
        """See `Camera.frame`. A failed buffer is retried a limited number of times."""
        del shot
        # A camera that was lost for good is tried again at the next call: it may be back by then.
        require_connected(self._in_use or None, self.identity)
        image = with_reconnect(
            self._grab_complete_frame,
            self._claim,
            identity=self.identity,
            waits_s=self.waits_s,
            lost_by=DeviceLostError,
        )
        if self._plan is not None:
            expected = (self._plan.camera.height_px, self._plan.camera.width_px, 3)
            if image.shape != expected:
                raise CaptureError(
                    f"camera {self.identity}: expected a frame of {expected} (height, width, "
                    f"channels), got {image.shape}; next step: set the camera's picture size, or "
                    "change the plan"
                )
        return Frame(image)

    def settings(self) -> Settings:
        """See `Camera.settings`.

        Raises:
            CaptureError: the camera is not connected, or does not answer.
        """
        features = require_connected(self._features, self.identity)
        try:
            return read_settings(features)
        except CaptureError as error:
            raise CaptureError(
                f"the settings of camera {self.identity} cannot be read: {error}; next step: check "
                "its cable and power"
            ) from error

    def close(self) -> None:
        """See `Camera.close`."""
        self._in_use = False
        self._let_go()

    def _let_go(self) -> None:
        self._features = None
        self._release()

    def _grab_complete_frame(self) -> Pixels:
        if self._features is None:
            raise DeviceLostError(f"camera {self.identity} was lost")
        for _ in range(self.grab_tries):
            try:
                return self._grab()
            except IncompleteFrameError as error:
                fault = error
        raise CaptureError(
            f"camera {self.identity}: expected a complete frame, got {self.grab_tries} failed "
            f"buffers in a row, the last with: {fault}; next step: check the cable and the network "
            "card's packet size, then run the same command again, it continues where it stopped"
        ) from fault
