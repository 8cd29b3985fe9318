"""A video file as a camera: a recording is replayed frame by frame."""

from collections.abc import Sequence
from pathlib import Path

import cv2

from loco_tools.capture.cameras.camera import (
    Camera,
    Frame,
    Settings,
    refuse_mismatch,
    require_connected,
)
from loco_tools.capture.cameras.opencv_capture import (
    open_capture,
    read_size_and_codec,
    retrieve_rgb,
)
from loco_tools.capture.cameras.replay import DIGITS, ShotOrder, find_source, refuse_swapped
from loco_tools.capture.cameras.video_check import frame_times, refuse_damaged
from loco_tools.datasets.images import Pixels
from loco_tools.errors import CaptureError
from loco_tools.files import sha256_of
from loco_tools.plan import Plan, PlannedShot
from loco_tools.wording import plural


class VideoFileCamera(Camera):
    """Replays a video file: the plan's n-th shot gets the n-th frame.

    The file holds one frame per shot, in the order of the plan. A shot that is taken again gets
    the same frame again. After the last frame there is an error, never a repetition.

    Args:
        address: the file, with or without the digest of its content.
        plan: see `Camera`.
    """

    def __init__(self, address: str, plan: Plan | None) -> None:
        self.identity = f"opencv:{address}"
        self._address = address
        self._plan = plan
        self._order = ShotOrder(plan)
        self._video: _Video | None = None

    def connect(self) -> None:
        """See `Camera.connect`. Reads the whole file once, for its digest."""
        self.close()
        file, expected = find_source(self._address, Path.is_file)
        digest = sha256_of(file)[:DIGITS]
        refuse_swapped(file, digest, expected)
        video = _Video(file)
        try:
            if self._plan:
                requested = self._plan.camera.requested()
                refuse_mismatch(str(file), requested, video.settings, replayed=True)
        except CaptureError:
            video.close()
            raise
        self.identity = f"opencv:{file}#{digest}"
        self._video = video

    def check_shots(self, shots: Sequence[PlannedShot]) -> None:
        """See `Camera.check_shots`: there has to be one sound frame for each shot.

        All frames are decoded once, so this may take as long as playing the video.
        """
        video = require_connected(self._video, self.identity)
        times = frame_times(video.file)
        if len(times) != len(shots):
            raise CaptureError(
                f"{video.file}: expected {plural(len(shots), 'frame')}, one for each shot of the "
                f"plan in order, got {len(times)}; next step: give a video with one frame per "
                "shot, or save its frames as images and give their folder as folder:DIR"
            )
        refuse_damaged(video.file, times)

    def frame(self, shot: PlannedShot) -> Frame:
        """See `Camera.frame`.

        Raises:
            CaptureError: the video is damaged or ends before the shot's frame.
        """
        return Frame(require_connected(self._video, self.identity).frame(self._order.number(shot)))

    def settings(self) -> Settings:
        """See `Camera.settings`: size, frame rate and codec of the file."""
        return dict(require_connected(self._video, self.identity).settings)

    def close(self) -> None:
        """See `Camera.close`."""
        if self._video:
            self._video.close()
        self._video = None


class _Video:
    """An open video file. It is read forwards; for an earlier frame it is opened again.

    Seeking to a frame by its number is not used: with many codecs it reaches a neighbouring frame.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        self._last: Pixels | None = None
        self._rewind()
        self.settings: Settings = {
            **read_size_and_codec(self._capture),
            "frames_per_s": round(self._capture.get(cv2.CAP_PROP_FPS), 3),
        }

    def frame(self, number: int) -> Pixels:
        """Frame `number`, counted from 0, as (H, W, 3) uint8 RGB."""
        if self._last is not None and number == self._grabbed - 1:
            return self._last.copy()
        if number < self._grabbed:
            self._rewind()
        while self._grabbed <= number:
            if not self._capture.grab():
                grabbed = self._grabbed
                self._rewind()  # the next frame would be taken for the one that was left out
                raise CaptureError(
                    f"{self.file}: ended or is damaged after {plural(grabbed, 'frame')}, this shot "
                    f"needs frame {number + 1}; next step: give a video with one sound frame per "
                    "shot"
                )
            self._grabbed += 1
        self._last = retrieve_rgb(self._capture)
        return self._last.copy()

    def close(self) -> None:
        self._capture.release()

    def _rewind(self) -> None:
        self._grabbed = 0
        self._capture = open_capture(str(self.file), cv2.CAP_FFMPEG)
        if not self._capture.isOpened():
            raise CaptureError(
                f"{self.file}: expected a video file, got one that cannot be opened; next step: "
                "give a video, or a folder of images as folder:DIR"
            )
