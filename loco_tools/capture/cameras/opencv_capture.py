"""Reading frames and properties of OpenCV's captures."""

import io
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import cv2
import numpy as np
from PIL import Image

from loco_tools.capture.cameras.camera import Settings
from loco_tools.datasets.images import Pixels
from loco_tools.errors import CaptureError

FFMPEG_SILENT = "-8"

_DAMAGED = "a frame arrived damaged; next step: check the cable or the network, and try again"
_JPEG_END = b"\xff\xd9"
_JPEG_PADDING = 64
"""Some cameras fill their frames up after the end."""


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
        raise CaptureError(_DAMAGED)
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB).astype(np.uint8, copy=False)


def decoded_jpeg(capture: cv2.VideoCapture, size: Settings) -> Pixels:
    """The JPEG that a capture with CAP_PROP_FORMAT -1 grabbed last, (H, W, 3) uint8 RGB.

    Args:
        capture: of motion JPEG.
        size: width_px and height_px that the frame has to have.

    Raises:
        CaptureError: it is damaged, or has another size, which is seen before it is decoded.
    """
    _, packet = capture.retrieve()
    content = b"" if packet is None else packet.tobytes()
    try:
        with Image.open(io.BytesIO(content), formats=["JPEG"]) as header:
            width, height = header.size
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise CaptureError(_DAMAGED) from error
    if (width, height) != (size["width_px"], size["height_px"]):
        raise CaptureError(
            f"expected frames of {size['width_px']} x {size['height_px']} pixels as before, got "
            f"one of {width} x {height}; next step: set the camera's stream to the size it had"
        )
    image = cv2.imdecode(
        np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION
    )
    if image is None or _JPEG_END not in content[-_JPEG_PADDING:]:
        raise CaptureError(_DAMAGED)
    return image.astype(np.uint8, copy=False)


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
