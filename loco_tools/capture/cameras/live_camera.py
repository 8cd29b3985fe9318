"""The base class of USB and network cameras: fresh frames, time limits, reconnecting."""

import abc
from collections.abc import Callable
from typing import ClassVar, TypeVar

import cv2

from loco_tools.capture.cameras.camera import (
    Camera,
    Frame,
    Settings,
    refuse_mismatch,
    require_connected,
)
from loco_tools.capture.cameras.frame_reader import FrameReader
from loco_tools.capture.cameras.opencv_capture import retrieve_rgb
from loco_tools.capture.cameras.reconnecting import WAITS_S, refuse_changed_camera, with_reconnect
from loco_tools.datasets.images import Pixels
from loco_tools.plan import Plan, PlannedShot

Answer = TypeVar("Answer")


class LiveCamera(Camera):
    """A camera that sends frames all the time.

    Attributes:
        timeout_s: how long a frame may take.
        discard: number of frames to discard before a photograph, since they may have been exposed
            before the request.
        settle_s: in addition, frames are discarded for this long: the unknown delay of video
            coding and network.
        waits_s: seconds to wait before each attempt to reconnect the device.
        fixed_settings: settings that `connect` requires besides those of the plan.
    """

    timeout_s = 5.0
    discard = 2
    settle_s = 0.0
    waits_s: tuple[float, ...] = WAITS_S
    fixed_settings: ClassVar[Settings] = {}

    def __init__(self, plan: Plan | None) -> None:
        self._plan = plan
        self._reader: FrameReader | None = None
        self._in_use = False
        self._began_with: tuple[str, Settings] | None = None

    @abc.abstractmethod
    def _open(self) -> cv2.VideoCapture:
        """Open the device with the plan's settings and set `identity`; on a failure, release it."""

    @abc.abstractmethod
    def _read_settings(self, capture: cv2.VideoCapture) -> Settings: ...

    def _picture(self, capture: cv2.VideoCapture) -> Pixels:
        """Decode the grabbed frame to (H, W, 3) uint8 RGB; a damaged one raises CaptureError."""
        return retrieve_rgb(capture)

    def connect(self) -> None:
        """See `Camera.connect`; returns after the first frame."""
        self._claim()
        self._in_use = True

    def _claim(self) -> None:
        self._release()
        capture = self._open()
        self._reader = FrameReader(capture, self.identity)
        try:
            settings = self._ask(self._read_settings)
            if self._plan:
                requested = self._plan.camera.requested() | self.fixed_settings
                refuse_mismatch(self.identity, requested, settings)
            self._began_with = self._began_with or (self.identity, settings)
            refuse_changed_camera(self._began_with, (self.identity, settings))
        except BaseException:
            self._release()
            raise

    def frame(self, shot: PlannedShot) -> Frame:
        """See `Camera.frame`."""
        del shot
        return Frame(
            self._ask_again(
                lambda: self._ask(self._picture, discard=self.discard, settle_s=self.settle_s)
            )
        )

    def preview(self, shot: PlannedShot) -> Pixels:
        """See `Camera.preview`: the next frame, which may have been exposed before the call."""
        del shot
        return self._ask_again(lambda: self._ask(self._picture))

    def settings(self) -> Settings:
        """See `Camera.settings`; blocks until the next frame, and reconnects as `frame` does."""
        return self._ask_again(lambda: self._ask(self._read_settings))

    def close(self) -> None:
        """See `Camera.close`."""
        self._in_use = False
        self._release()

    def _release(self) -> None:
        if self._reader:
            self._reader.close(timeout_s=self.timeout_s)
        self._reader = None

    def _ask(
        self,
        job: Callable[[cv2.VideoCapture], Answer],
        *,
        discard: int = 0,
        settle_s: float = 0.0,
    ) -> Answer:
        reader = require_connected(self._reader, self.identity)
        return reader.ask(job, timeout_s=self.timeout_s, discard=discard, settle_s=settle_s)

    def _ask_again(self, take: Callable[[], Answer]) -> Answer:
        # A camera that was lost for good is tried again at the next call: it may be back by then.
        require_connected(self._in_use or None, self.identity)
        return with_reconnect(take, self._claim, identity=self.identity, waits_s=self.waits_s)
