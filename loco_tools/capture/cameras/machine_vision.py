"""What cameras with GenICam features share: claiming, taking frames, coming back when lost."""

import abc

from loco_tools.capture.cameras.camera import (
    Camera,
    Frame,
    Settings,
    connected,
    refuse_mismatch,
)
from loco_tools.capture.cameras.genicam_features import (
    Features,
    apply_settings,
    read_settings,
)
from loco_tools.capture.cameras.reconnecting import WAITS_S, refuse_other, with_reconnect
from loco_tools.datasets.images import Pixels
from loco_tools.errors import CaptureError
from loco_tools.plan import Plan, PlannedShot


class DeviceLostError(CaptureError):
    """The device went away; connecting anew may help."""


class IncompleteFrameError(CaptureError):
    """A buffer came back damaged or incomplete; the next one may be whole."""


class MachineVisionCamera(Camera):
    """A camera behind an SDK; a backend opens it, grabs one frame and releases it.

    Args:
        address: which camera, as the backend's own documentation says.
        plan: whose settings the camera takes; None leaves them as they are.

    Attributes:
        timeout_s: how long a frame may take.
        grab_tries: how many buffers in a row may fail, the last one included.
        waits_s: how long to wait before each try to get a lost device back.
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
    def _open(self, address: str) -> tuple[str, Features]:
        """Claim the device; its identity and its features. Raises CaptureError."""

    @abc.abstractmethod
    def _grab(self) -> Pixels:
        """One frame exposed from now on, within `timeout_s`.

        Raises:
            DeviceLostError: the device is gone.
            IncompleteFrameError: the buffer failed.
            CaptureError: nothing came in time, or not in a format that is understood.
        """

    @abc.abstractmethod
    def _release(self) -> None:
        """Give back whatever is held; calling it again does nothing."""

    def connect(self) -> None:
        """See `Camera.connect`."""
        self._claim()
        self._in_use = True

    def _claim(self) -> None:
        self._let_go()
        try:
            self.identity, self._features = self._open(self._wanted())
            if self._plan:
                self._apply(self._plan, self._features)
            now = (self.identity, self.settings())
            self._began_with = self._began_with or now
            refuse_other(self._began_with, now)
        except BaseException:
            self._let_go()
            raise

    def frame(self, shot: PlannedShot) -> Frame:
        """See `Camera.frame`. A failed buffer is retried a bounded number of times."""
        del shot
        # A camera that was lost for good is tried again at the next call: it may be back by then.
        connected(self._in_use or None, self.identity)
        image = with_reconnect(
            self._whole_frame,
            self._claim,
            identity=self.identity,
            waits_s=self.waits_s,
            lost_by=DeviceLostError,
        )
        self._check_size(image)
        return Frame(image)

    def settings(self) -> Settings:
        """See `Camera.settings`.

        Raises:
            CaptureError: the camera is not connected, or does not answer.
        """
        features = connected(self._features, self.identity)
        try:
            return read_settings(features)
        except CaptureError as error:
            raise CaptureError(
                f"camera {self.identity} does not tell its settings: {error}; next step: check its "
                "cable and power"
            ) from error

    def close(self) -> None:
        """See `Camera.close`."""
        self._in_use = False
        self._let_go()

    def _let_go(self) -> None:
        self._features = None
        self._release()

    def _wanted(self) -> str:
        """The address to open: after the first time, that of the very device found then."""
        return self.identity.partition(":")[2] if self._began_with else self._address

    def _apply(self, plan: Plan, features: Features) -> None:
        try:
            apply_settings(features, plan.camera)
        except CaptureError as error:
            raise CaptureError(
                f"camera {self.identity} does not take the plan's settings: {error}; next step: "
                "give the plan values that the camera has"
            ) from error
        refuse_mismatch(self.identity, plan.camera.requested(), self.settings())

    def _whole_frame(self) -> Pixels:
        if self._features is None:
            raise DeviceLostError(f"camera {self.identity} was lost")
        for _ in range(self.grab_tries):
            try:
                return self._grab()
            except IncompleteFrameError as error:
                fault = error
        raise CaptureError(
            f"camera {self.identity}: expected a whole frame, got {self.grab_tries} failed buffers "
            f"in a row, the last with: {fault}; next step: check the cable and the network card's "
            "packet size, then run the same command again, it goes on where it stopped"
        ) from fault

    def _check_size(self, image: Pixels) -> None:
        if self._plan is None:
            return
        wanted = (self._plan.camera.height_px, self._plan.camera.width_px, 3)
        if image.shape != wanted:
            raise CaptureError(
                f"camera {self.identity}: expected a frame of {wanted} (height, width, channels), "
                f"got {image.shape}; next step: set the camera's size, or change the plan"
            )
