"""Reading frames and properties of OpenCV's captures."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import cv2
import numpy as np

from loco_tools.capture.cameras.camera import Settings
from loco_tools.datasets.images import Pixels
from loco_tools.errors import CaptureError

FFMPEG_SILENT = "-8"


def opened(source: str | int, backend: int, limits: Sequence[int] = ()) -> cv2.VideoCapture:
    """A capture of OpenCV, which may have failed to open: see its `isOpened`.

    Args:
        source: a number, path or URL.
        backend: one of OpenCV's `CAP_...`; never CAP_ANY, which tries and prints everything.
        limits: properties and their values, in turn, to open it with.
    """
    with _silent_opencv():
        return cv2.VideoCapture(source, backend, limits)


@contextmanager
def _silent_opencv() -> Iterator[None]:
    """OpenCV and FFmpeg print lines of their own about what fails; the callers say it better.

    FFmpeg's level is read from the environment, once: what a person has set there is kept.
    """
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", FFMPEG_SILENT)
    level = cv2.getLogLevel()
    cv2.setLogLevel(0)
    try:
        yield
    finally:
        cv2.setLogLevel(level)


def retrieved(capture: cv2.VideoCapture) -> Pixels:
    """The frame that was grabbed last, (H, W, 3) uint8 RGB.

    Raises:
        CaptureError: it is damaged.
    """
    done, image = capture.retrieve()
    if not done or image is None or image.ndim != 3 or image.dtype != np.uint8:
        raise CaptureError(
            "a frame arrived damaged; next step: check the cable or the network, and try again"
        )
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB).astype(np.uint8, copy=False)


def size_and_codec(capture: cv2.VideoCapture) -> Settings:
    """Size and pixel format of an open capture, read back from it."""
    return {
        "width_px": int(capture.get(cv2.CAP_PROP_FRAME_WIDTH)),
        "height_px": int(capture.get(cv2.CAP_PROP_FRAME_HEIGHT)),
        "codec": four_characters(capture.get(cv2.CAP_PROP_FOURCC)),
    }


def four_characters(code: float) -> str:
    """A FOURCC as text.

    >>> four_characters(cv2.VideoWriter.fourcc(*"MJPG"))
    'MJPG'
    """
    return (int(code) & 0xFFFFFFFF).to_bytes(4, "little").decode("latin-1").rstrip(" \0")
