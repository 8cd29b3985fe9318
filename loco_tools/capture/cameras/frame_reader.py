"""Reading a live capture on a separate thread, so that its buffers never hold old frames."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, TypeVar

import cv2

from loco_tools.capture.cameras.reconnecting import UnsuitableCameraError
from loco_tools.errors import CaptureError

Answer = TypeVar("Answer")


@dataclass(eq=False)
class _Request:
    job: Callable[[cv2.VideoCapture], Any]
    frames_left: int
    not_before_s: float
    answer: Future[Any]

    def is_due(self, now_s: float) -> bool:
        return self.frames_left == 0 and now_s >= self.not_before_s


class FrameReader:
    """Grabs every frame of a capture and discards it, unless a request is due.

    Only the reader's thread uses the capture, and it releases the capture when it ends. A driver
    that hangs therefore blocks that thread alone; the caller's request ends with its timeout.

    Args:
        capture: open; from now on used by the reader only.
        name: of the camera, for messages.

    Attributes:
        frames: the number of frames that were grabbed.
    """

    def __init__(self, capture: cv2.VideoCapture, name: str) -> None:
        self._capture = capture
        self._name = name
        self.frames = 0
        self._grabbed_s = time.monotonic()
        self._interval_s = 0.0
        self._lock = threading.Lock()
        self._requests: list[_Request] = []
        self._fault: CaptureError | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"frames of {name}", daemon=True)
        self._thread.start()

    def ask(
        self,
        job: Callable[[cv2.VideoCapture], Answer],
        *,
        timeout_s: float,
        discard: int = 0,
        settle_s: float = 0.0,
    ) -> Answer:
        """Run `job` on the capture right after a frame was grabbed; blocks until it has returned.

        Args:
            job: reads the grabbed frame or a property.
            timeout_s: how long to wait, including `settle_s`.
            discard: number of frames to discard first.
            settle_s: in addition, frames are discarded for this long.

        Returns:
            The result of `job`.

        Raises:
            UnsuitableCameraError: frames came, but too slowly.
            CaptureError: no frame came in time, or the device is lost.
        """
        answer: Future[Answer] = Future()
        request = _Request(job, discard, time.monotonic() + settle_s, answer)
        with self._lock:
            if self._fault:
                raise CaptureError(str(self._fault)) from self._fault
            self._requests.append(request)
        try:
            return answer.result(timeout_s)
        except TimeoutError:
            self._refuse_slow(timeout_s, discard)
            raise CaptureError(
                f"camera {self._name} gave no frame within {timeout_s:g} s; next step: check its "
                "cable, its power, and whether another program uses it"
            ) from None

    def close(self, *, timeout_s: float) -> None:
        """Stop, and wait at most `timeout_s` until the device is released."""
        self._stop.set()
        self._thread.join(timeout_s)

    def _refuse_slow(self, timeout_s: float, discard: int) -> None:
        """Raise an error if frames come regularly, but not as many as a request needs in time."""
        silence_s = time.monotonic() - self._grabbed_s
        needed_s = timeout_s / (discard + 1)
        if self.frames > 1 and self._interval_s > needed_s / 2 and silence_s < 2 * self._interval_s:
            raise UnsuitableCameraError(
                f"camera {self._name}: one frame in {self._interval_s:.1f} s is too slow, expected "
                f"{discard + 1} within {timeout_s:g} s, since the first may be old; next step: set "
                "a higher frame rate at the camera, or a smaller picture"
            )

    def _run(self) -> None:
        """Grab frames and serve requests until the reader is closed or the device is lost."""
        fault = CaptureError(f"camera {self._name} was closed")
        try:
            while not self._stop.is_set():
                if not self._capture.grab():
                    raise CaptureError(
                        f"camera {self._name} stopped giving frames; next step: check its cable or "
                        "its network, and its power"
                    )
                now_s = time.monotonic()
                self._interval_s, self._grabbed_s = now_s - self._grabbed_s, now_s
                self.frames += 1
                for request in self._take_due_requests():
                    try:
                        request.answer.set_result(request.job(self._capture))
                    except cv2.error as error:
                        request.answer.set_exception(CaptureError(str(error)))
                    except Exception as error:  # It goes to the caller; the frames continue.
                        request.answer.set_exception(error)
        except (CaptureError, cv2.error) as error:
            fault = CaptureError(str(error))
        finally:
            self._capture.release()
            with self._lock:
                self._fault = fault
                unanswered, self._requests = self._requests, []
            for request in unanswered:
                request.answer.set_exception(fault)

    def _take_due_requests(self) -> list[_Request]:
        """Remove and return the requests that the frame just grabbed answers."""
        now_s = time.monotonic()
        with self._lock:
            due = [request for request in self._requests if request.is_due(now_s)]
            self._requests = [request for request in self._requests if request not in due]
            for request in self._requests:
                request.frames_left = max(0, request.frames_left - 1)
        return due
