"""Reading frames and properties with OpenCV's VideoCapture."""

import io
import os
from collections.abc import Sequence

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
"""Number of padding bytes that some cameras add after the end of a frame."""


def open_capture(source: str | int, backend: int, limits: Sequence[int] = ()) -> cv2.VideoCapture:
    """Open a VideoCapture; check with its `isOpened` whether this worked.

    OpenCV and FFmpeg print nothing meanwhile: the caller reports a failure in its own words.

    Args:
        source: a number, path or URL.
        backend: one of OpenCV's `CAP_...`; never CAP_ANY, which tries every backend and prints
            the failure of each.
        limits: properties and their values in turn, which are set before opening.
    """
    # FFmpeg reads its level from the environment, once; a level that a person has set is kept.
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", FFMPEG_SILENT)
    level = cv2.getLogLevel()
    cv2.setLogLevel(0)
    try:
        return cv2.VideoCapture(source, backend, limits)
    finally:
        cv2.setLogLevel(level)


def retrieve_rgb(capture: cv2.VideoCapture) -> Pixels:
    """Decode the frame that was grabbed last to (H, W, 3) uint8 RGB.

    Raises:
        CaptureError: it is damaged.
    """
    done, image = capture.retrieve()
    if not done or image is None or image.ndim != 3 or image.dtype != np.uint8:
        raise CaptureError(_DAMAGED)
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB).astype(np.uint8, copy=False)


def decode_jpeg(capture: cv2.VideoCapture, size: Settings) -> Pixels:
    """Decode the JPEG that was grabbed last, with CAP_PROP_FORMAT -1, to (H, W, 3) uint8 RGB.

    Args:
        capture: a stream of motion JPEG.
        size: the expected width_px and height_px; they are checked before decoding.

    Raises:
        CaptureError: the frame is damaged or has another size.
    """
    _, packet = capture.retrieve()
    content = b"" if packet is None else packet.tobytes()
    try:
        # by Pillow, since OpenCV prints what is wrong with a JPEG on standard error
        with Image.open(io.BytesIO(content), formats=["JPEG"]) as image:
            if image.size != (size["width_px"], size["height_px"]):
                raise CaptureError(
                    f"expected frames of {size['width_px']} x {size['height_px']} pixels as "
                    f"before, got one of {image.width} x {image.height}; next step: set the "
                    "camera's stream to the size it had"
                )
            pixels = np.array(image.convert("RGB"))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise CaptureError(_DAMAGED) from error
    if _JPEG_END not in content[-_JPEG_PADDING:]:
        raise CaptureError(_DAMAGED)
    return pixels


def read_size_and_codec(capture: cv2.VideoCapture) -> Settings:
    """Read the picture size and the codec of an open capture."""
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
