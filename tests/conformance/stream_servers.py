"""Network cameras on loopback, which can be killed and started again, and frames that are known.

Every frame shows its number in black and white blocks and three patches of pure colour, so that a
test can read which frame it got and whether red is red.
"""

import base64
import functools
import http.server
import socket
import subprocess
import threading
from pathlib import Path

import cv2
import numpy as np

SIZE = (96, 128)
BITS = 12
BLOCK_PX = 8
FRAMES_PER_S = 20
COLOURS = ((220, 20, 20), (20, 220, 20), (20, 20, 220))
SYSTEM_PYTHON = "/usr/bin/python3"  # has gi, which no virtual environment has
RTSP_SERVER = Path(__file__).with_name("rtsp_server.py")


def stamped(number: int, size: tuple[int, int] = SIZE) -> np.ndarray:
    """(H, W, 3) uint8 RGB frame with its number, and red, green and blue patches."""
    image = np.full((*size, 3), 90, np.uint8)
    for bit in range(BITS):
        left = 4 + bit * (BLOCK_PX + 2)
        image[8 : 8 + BLOCK_PX, left : left + BLOCK_PX] = 255 * (number >> bit & 1)
    for place, colour in enumerate(COLOURS):
        image[40:80, 8 + 40 * place : 40 + 40 * place] = colour
    return image


def number_of(image: np.ndarray) -> int:
    """The number that a stamped frame shows."""
    row = image[8 + BLOCK_PX // 2].mean(axis=1)
    centres = [4 + bit * (BLOCK_PX + 2) + BLOCK_PX // 2 for bit in range(BITS)]
    return sum(1 << bit for bit, x in enumerate(centres) if row[x] > 128)


def shows_the_colours(image: np.ndarray) -> bool:
    """Whether red, green and blue are where `stamped` put them."""
    patches = [image[60, 24 + 40 * place].astype(int) for place in range(3)]
    return [int(patch.argmax()) for patch in patches] == [0, 1, 2]


def write_film(path: Path, frames: int, *, first: int = 0, size: tuple[int, int] = SIZE) -> Path:
    """A motion-JPEG file of stamped frames."""
    height, width = size
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, (width, height))
    for number in range(first, first + frames):
        writer.write(stamped(number, size)[..., ::-1])
    writer.release()
    return path


class MjpegServer:
    """Motion JPEG over HTTP, as many network cameras give it."""

    def __init__(
        self,
        *,
        port: int = 0,
        login: str | None = None,
        size: tuple[int, int] = SIZE,
        frames_per_s: float = FRAMES_PER_S,
        black: bool = False,
        still: bool = False,
    ) -> None:
        self.sent = 0
        self.size = size
        self.cut_off = 0
        """How many bytes of every JPEG are cut off at its end."""
        self._pause_s = 1 / frames_per_s
        self._light = 0 if black else 1
        self._stop = threading.Event()
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                expected = login and "Basic " + base64.b64encode(login.encode()).decode()
                if expected and self.headers.get("Authorization") != expected:
                    self.send_response(401)
                    self.send_header("WWW-Authenticate", 'Basic realm="camera"')
                    self.end_headers()
                    return
                self.send_response(200)
                if still:
                    self.send_header("Content-Type", "image/jpeg")
                    self.end_headers()
                    self.wfile.write(cv2.imencode(".jpg", stamped(1, size))[1].tobytes())
                    return
                self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
                self.end_headers()
                outer._send_frames(self)

            def log_message(self, *_: object) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self._server.daemon_threads = True
        self.port = int(self._server.server_address[1])
        self.url = f"http://127.0.0.1:{self.port}/live.mjpg"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def _send_frames(self, handler: http.server.BaseHTTPRequestHandler) -> None:
        while not self._stop.is_set():
            frame = stamped(self.sent + 1, self.size)[..., ::-1] * self._light
            image = cv2.imencode(".jpg", frame.astype(np.uint8))[1].tobytes()
            image = image[: len(image) - self.cut_off]
            head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(image)}\r\n\r\n"
            try:
                handler.wfile.write(head.encode() + image + b"\r\n")
            except OSError:
                return
            self.sent += 1
            self._stop.wait(self._pause_s)

    def close(self) -> None:
        """Break off every connection; calling it again does nothing."""
        if self._stop.is_set():
            return
        self._stop.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@functools.cache
def rtsp_is_possible() -> bool:
    """Whether GStreamer's RTSP server and what it needs are installed."""
    if not Path(SYSTEM_PYTHON).exists():
        return False
    check = [SYSTEM_PYTHON, str(RTSP_SERVER), "--check"]
    return subprocess.call(check, stderr=subprocess.DEVNULL) == 0


class RtspServer:
    """H.264 over RTSP, by GStreamer's server in a process of its own."""

    def __init__(self, frames: Path, *, port: int = 0) -> None:
        self.port = port or _free_port()
        self.url = f"rtsp://127.0.0.1:{self.port}/live"
        self._process = subprocess.Popen(
            [SYSTEM_PYTHON, str(RTSP_SERVER), str(self.port), str(frames), str(FRAMES_PER_S)],
            stdout=subprocess.PIPE,
        )
        assert self._process.stdout is not None
        self._output = self._process.stdout
        assert self._output.readline().strip() == b"ready"

    def close(self) -> None:
        """Kill the server; calling it again does nothing."""
        self._process.kill()
        self._process.wait()
        self._output.close()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
