"""Network cameras: RTSP, or MJPEG over HTTP, read with FFmpeg through OpenCV."""

import base64
import http.client
import re
import socket
from collections.abc import Callable
from typing import TypeVar
from urllib.parse import unquote, urlsplit, urlunsplit

import cv2

from loco_tools.capture.cameras.camera import Settings
from loco_tools.capture.cameras.live_camera import LiveCamera
from loco_tools.capture.cameras.opencv_capture import decode_jpeg, open_capture, read_size_and_codec
from loco_tools.capture.cameras.reconnecting import UnsuitableCameraError
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

Some recorders join parameters with "_", as in user=U_password=P_channel=1; the channel is kept,
since it distinguishes their cameras.
"""

Answer = TypeVar("Answer")

_PORTS = {"rtsp": 554, "rtsps": 322, "http": 80, "https": 443}


class StreamCamera(LiveCamera):
    """A network camera, given by its URL.

    The identity is the URL without user, password and similar parameters. These are used from the
    URL on the command line and never appear in a record or message, so they have to be given again
    when a session continues. The settings of a stream are its size and its codec.

    A stream has no serial number: another camera under the same URL would not be noticed.

    Args:
        address: the URL.
        plan: see `Camera`.

    Raises:
        CaptureError: the address is not the URL of a camera.
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
        capture = open_capture(self._url, cv2.CAP_FFMPEG, limits)
        if not capture.isOpened():
            capture.release()
            raise CaptureError(f"camera {self.identity}: {self._why_closed()}")
        self._size = read_size_and_codec(capture)
        # JPEGs are decoded here: OpenCV decodes them to the size at the beginning of the stream and
        # reads beyond the end of a frame that has become smaller.
        self._as_jpeg = self._size["codec"] == "MJPG" and capture.set(cv2.CAP_PROP_FORMAT, -1)
        return capture

    def _picture(self, capture: cv2.VideoCapture) -> Pixels:
        if not self._as_jpeg:
            return super()._picture(capture)
        return decode_jpeg(capture, self._size)

    def _read_settings(self, capture: cv2.VideoCapture) -> Settings:
        return read_size_and_codec(capture)

    def _ask(
        self,
        job: Callable[[cv2.VideoCapture], Answer],
        *,
        discard: int = 0,
        settle_s: float = 0.0,
    ) -> Answer:
        try:
            return super()._ask(job, discard=discard, settle_s=settle_s)
        except CaptureError as error:
            ended = self._reader is not None and self._reader.frames == 1
            if ended and self._content_type().startswith("image/"):
                raise UnsuitableCameraError(
                    f"camera {self.identity}: this URL gives one still image, expected a video "
                    "stream; next step: give the URL of the camera's MJPEG or RTSP stream (its "
                    "manual or settings page names it)"
                ) from error
            raise

    def _content_type(self) -> str:
        """The type that an HTTP server states for the URL; "" if it states none."""
        parts = urlsplit(self._url)
        if parts.scheme not in {"http", "https"}:
            return ""
        secure = parts.scheme == "https"
        kind = http.client.HTTPSConnection if secure else http.client.HTTPConnection
        headers = {}
        if parts.username:
            login = f"{unquote(parts.username)}:{unquote(parts.password or '')}".encode()
            headers["Authorization"] = f"Basic {base64.b64encode(login).decode()}"
        connection = kind(parts.hostname or "", parts.port, timeout=self.timeout_s)
        try:
            connection.request("GET", urlunsplit(("", "", *parts[2:4], "")) or "/", headers=headers)
            return connection.getresponse().getheader("Content-Type", "").lower()
        except (OSError, ValueError, http.client.HTTPException):
            return ""
        finally:
            connection.close()

    def _why_closed(self) -> str:
        """Why the stream could not be opened; FFmpeg's reason is not available through OpenCV."""
        parts = urlsplit(self._url)
        host, port = parts.hostname or "", parts.port or _PORTS[parts.scheme]
        try:
            socket.create_connection((host, port), self.timeout_s).close()
        except OSError as error:
            reason = error.strerror or "no answer"
            return (
                f"{host} does not answer at port {port} ({reason}); next step: check that "
                "the camera is on, and the host and port of the URL"
            )
        return (
            f"{host} answers, but no video stream can be opened under this URL; next step: "
            f"check its path, and if the camera asks for a user and a password, give them as "
            f"{parts.scheme}://USER:PASSWORD@{host}/..."
        )


def without_secrets(url: str) -> str:
    """Remove user, password and similar parameters from the URL of a camera.

    Parameters are removed from the query and from the path, where some cameras have them.

    >>> without_secrets("rtsp://admin:1234@Cam1:554/live?channel=1&password=1234")
    'rtsp://cam1:554/live?channel=1'

    Raises:
        CaptureError: it is not the URL of a camera; the message does not repeat it.
    """
    try:
        parts = urlsplit(url)
        is_complete = bool(parts.hostname) and parts.port != 0 and parts.scheme in _PORTS
    except ValueError:
        is_complete = False
    if not is_complete or "@" in parts.path + parts.query + parts.fragment:
        raise CaptureError(
            "camera: expected a URL such as rtsp://USER:PASSWORD@HOST:554/PATH, got another text "
            "(not shown, it may hold a password); next step: check it, and write the characters "
            "@ / ? # of a password as %40 %2F %3F %23"
        )
    host = parts.hostname or ""
    host = f"[{host}]" if ":" in host else host
    host = f"{host}:{parts.port}" if parts.port else host
    path, query = (_SECRET.sub("", text).rstrip("&;") for text in (parts.path, parts.query))
    return urlunsplit((parts.scheme, host, path, query, ""))
