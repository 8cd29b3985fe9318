"""Network cameras: RTSP, or MJPEG over HTTP, read with FFmpeg through OpenCV."""

import re
import socket
from urllib.parse import SplitResult, urlsplit, urlunsplit

import cv2

from loco_tools.capture.cameras.camera import Settings
from loco_tools.capture.cameras.live_camera import LiveCamera
from loco_tools.capture.cameras.opencv_capture import decoded_jpeg, opened, size_and_codec
from loco_tools.datasets.images import Pixels
from loco_tools.errors import CaptureError
from loco_tools.plan import Plan

_SECRET = re.compile(
    r"(?i)(?<![a-z])(user|usr|username|login|loginuse|account|"
    r"pass|passwd|password|pwd|psw|pw|userpass|loginpas|loginpass|"
    r"token|auth|key|apikey|api_key|access_token|secret|signature|sig)="
    r"[^&;/]*?([&;]|(?=/|$)|_(?=(user|pass|passwd|password|channel|stream)=))"
)
"""A parameter that holds a secret.

Some recorders join theirs by "_", as in user=U_password=P_channel=1; the channel has to stay, since
it tells their cameras apart.
"""

_PORTS = {"rtsp": 554, "rtsps": 322, "http": 80, "https": 443}


class StreamCamera(LiveCamera):
    """A network camera by its URL.

    The identity is the URL without user, password and the like; these are taken from the URL that
    is given at the command line, and no record or message holds them. Whoever goes on with a
    session gives them again. A stream has no settings but its size, and a codec.

    The stream behind a URL is trusted to be the camera: a network does not tell cameras apart.

    Args:
        address: the URL.
        plan: see `Camera`.

    Raises:
        CaptureError: it is no URL of a camera.
    """

    settle_s = 0.5

    def __init__(self, address: str, plan: Plan | None) -> None:
        super().__init__(plan)
        self._url = address
        self.identity = without_secrets(address)

    def _open(self) -> cv2.VideoCapture:
        limit_ms = int(self.timeout_s * 1000)
        limits = [
            cv2.CAP_PROP_OPEN_TIMEOUT_MSEC,
            limit_ms,
            cv2.CAP_PROP_READ_TIMEOUT_MSEC,
            limit_ms,
        ]
        capture = opened(self._url, cv2.CAP_FFMPEG, limits)
        if not capture.isOpened():
            capture.release()
            raise CaptureError(f"camera {self.identity}: {self._why_closed()}")
        self._size = size_and_codec(capture)
        # JPEGs are taken as they come: OpenCV decodes to the size of the stream's beginning, and
        # reads beyond a frame that has become smaller
        self._as_jpeg = self._size["codec"] == "MJPG" and capture.set(cv2.CAP_PROP_FORMAT, -1)
        return capture

    def _picture(self, capture: cv2.VideoCapture) -> Pixels:
        if not self._as_jpeg:
            return super()._picture(capture)
        return decoded_jpeg(capture, self._size)

    def _read_settings(self, capture: cv2.VideoCapture) -> Settings:
        return size_and_codec(capture)

    def _why_closed(self) -> str:
        """Why the stream could not be opened, which FFmpeg does not say through OpenCV."""
        parts = urlsplit(self._url)
        place = (parts.hostname or "", parts.port or _PORTS[parts.scheme])
        try:
            socket.create_connection(place, self.timeout_s).close()
        except OSError as error:
            reason = error.strerror or "no answer"
            return (
                f"{place[0]} does not answer at port {place[1]} ({reason}); next step: check that "
                "the camera is on, and the host and port of the URL"
            )
        return (
            f"{place[0]} answers, but no video stream can be opened under this URL; next step: "
            f"check its path, and if the camera wants a user and a password, give them as "
            f"{parts.scheme}://USER:PASSWORD@{place[0]}/..."
        )


def without_secrets(url: str) -> str:
    """The URL of a camera as records and messages may show it.

    User and password are left out, and so are parameters that go by such names, in the query or
    in the path as some cameras have them.

    >>> without_secrets("rtsp://admin:1234@Cam1:554/live?channel=1&password=1234")
    'rtsp://cam1:554/live?channel=1'

    Raises:
        CaptureError: it is no URL of a camera; the message does not repeat it.
    """
    parts = _split(url)
    host = parts.hostname or ""
    host = f"[{host}]" if ":" in host else host
    place = f"{host}:{parts.port}" if parts.port else host
    path, query = (_SECRET.sub("", text).rstrip("&;") for text in (parts.path, parts.query))
    return urlunsplit((parts.scheme, place, path, query, ""))


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        whole = bool(parts.hostname) and parts.port != 0
    except ValueError:
        whole = False
    if not whole or parts.scheme not in _PORTS or "@" in parts.path + parts.query + parts.fragment:
        raise CaptureError(
            "camera: expected a URL such as rtsp://USER:PASSWORD@HOST:554/PATH, got another one "
            "(not shown, it may hold a password); next step: check it, and write the characters "
            "@ / ? # of a password as %40 %2F %3F %23"
        )
    return parts
