"""Decoding a whole video file in a process of its own, to find out whether every frame is sound.

    python -m loco_tools.capture.cameras.video_check FILE FRAMES

FFmpeg leaves out frames that it cannot decode, and fills damaged ones with guesses. It reports both
on standard error only. The process adds a line of its own there after each frame, so that the
reports can be attributed to frames. Frames of motion JPEG are decoded with Pillow too, and searched
for damage that both of them accept.
"""

import io
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import cv2
from PIL import Image

from loco_tools.capture.cameras.opencv_capture import open_capture, read_size_and_codec
from loco_tools.datasets.jpeg import jpeg_fault
from loco_tools.errors import CaptureError
from loco_tools.wording import plural, printable

_HUFFMAN_TABLES = b"\xff\xc4"
_FRAME = "loco-tools: frame at "
_LOUDER = ("OPENCV_FFMPEG_LOGLEVEL", "OPENCV_FFMPEG_DEBUG")
"""Without these variables FFmpeg reports errors on standard error; with one, on standard output."""


def frame_times(file: Path) -> list[str]:
    """The display time of every frame of a video in milliseconds, in order, without decoding any.

    A file that cannot be opened has none.
    """
    capture = open_capture(str(file), cv2.CAP_FFMPEG)
    capture.set(cv2.CAP_PROP_FORMAT, -1)  # gives the encoded frames
    times_ms = []
    while capture.grab():
        times_ms.append(capture.get(cv2.CAP_PROP_POS_MSEC))
    capture.release()
    return [f"{time_ms:.3f}" for time_ms in sorted(times_ms)]


def refuse_damaged(file: Path, times: Sequence[str]) -> None:
    """Check that every frame of a video can be decoded; blocks while all are decoded once.

    Damage that leaves a valid stream is not found: VP8, VP9 and FFV1 often have no checksums.

    Args:
        file: the video.
        times: its `frame_times`.

    Raises:
        CaptureError: a frame is damaged or missing; the message gives its number, from 1. Where
            frames depend on later ones, as in H.264, it may be that of a frame shortly before.
    """
    environment = {name: value for name, value in os.environ.items() if name not in _LOUDER}
    child = subprocess.run(  # noqa: S603 - our own command
        [sys.executable, "-m", __name__, str(file), str(len(times))],
        env=environment | {"OPENCV_LOG_LEVEL": "OFF"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        check=False,
    )
    decoded: list[str] = []
    reports: dict[int, str] = {}
    for line in child.stderr.decode("utf-8", "replace").splitlines():
        if line.startswith(_FRAME):
            decoded.append(line.removeprefix(_FRAME))
        else:
            reports.setdefault(len(decoded), line.rpartition("] ")[2])
    for number in _broken_jpegs(file):
        reports.setdefault(number, "damaged JPEG")
    sound = set(decoded)
    missing = [number for number, time in enumerate(times) if time not in sound]
    first = min([*reports, *missing[:1]], default=len(decoded))
    if not reports and list(times) == decoded and child.returncode == 0:
        return
    report = f" ({printable(reports[first])})" if first in reports else ""
    raise CaptureError(
        f"{file}: expected {plural(len(times), 'sound frame')}, got one that is damaged: frame "
        f"{first + 1}{report}; next step: copy or record the video again, or save its frames as "
        "images, without the damaged ones, and give their folder as folder:DIR"
    )


def _broken_jpegs(file: Path) -> list[int]:
    """The numbers of the damaged frames, from 0, of a motion-JPEG video.

    Frames without Huffman tables, as some cameras write them, are only decoded.
    """
    capture = open_capture(str(file), cv2.CAP_FFMPEG)
    is_jpeg = read_size_and_codec(capture)["codec"] == "MJPG"
    capture.set(cv2.CAP_PROP_FORMAT, -1)
    broken = []
    number = 0
    while is_jpeg and capture.grab():
        content = capture.retrieve()[1].tobytes()
        try:
            with Image.open(io.BytesIO(content), formats=["JPEG"]) as image:
                image.load()
            if _HUFFMAN_TABLES in content and jpeg_fault(content):
                broken.append(number)
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
            broken.append(number)
        number += 1
    capture.release()
    return broken


def _main(file: str, frames: int) -> None:
    """Decode a video and write the time of every frame to standard error."""
    capture = cv2.VideoCapture(file, cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, 1])
    failures = 0
    while failures <= frames:  # a damaged frame and the end of the file look the same
        if capture.grab():
            line = f"{_FRAME}{capture.get(cv2.CAP_PROP_POS_MSEC):.3f}\n"
            sys.stderr.write(line)
            sys.stderr.flush()
        else:
            failures += 1


if __name__ == "__main__":
    _main(sys.argv[1], int(sys.argv[2]))
