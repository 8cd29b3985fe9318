"""What a person probably meant by a name of a camera that is none: `0`, `clip.mp4`, `10.0.0.7`."""

import re
from collections.abc import Sequence
from pathlib import Path

from loco_tools.capture.cameras.folder import SUFFIXES
from loco_tools.capture.cameras.stream import without_secrets
from loco_tools.errors import CaptureError

_VIDEOS = (".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".webm", ".wmv")
_DEVICE = re.compile(r"/dev/\w.*")
_HOST = re.compile(r"(\[[0-9a-f:.]+\]|[\w.-]+)(:\d+)?(/.*)?", re.IGNORECASE)
_ADDRESS = re.compile(r"\[.*\]|localhost|\d+\.\d+\.\d+\.\d+")
_RTSP_PORTS = (":554", ":8554", ":322")


def intended_cameras(identity: str) -> Sequence[str]:
    """The names for `--camera` that come closest to a text without a known kind, if any.

    They never hold a password.

    >>> intended_cameras("0"), intended_cameras("/dev/video0"), intended_cameras("clip.mp4")
    (['opencv:0'], ['opencv:/dev/video0'], ['opencv:clip.mp4'])
    >>> intended_cameras("10.0.0.7:8080/video")
    ['http://10.0.0.7:8080/video', 'rtsp://10.0.0.7:8080/video']
    >>> intended_cameras("twim")
    []
    """
    if "@" in identity:
        forms = [f"{scheme}://USER:PASSWORD@HOST/PATH" for scheme in ("rtsp", "http")]
        return [] if "://" in identity else forms
    if identity.isdecimal() or _DEVICE.fullmatch(identity):
        return [f"opencv:{identity}"]
    path = re.sub(r"^file:(//)?", "", identity, flags=re.IGNORECASE)
    if existing := _existing(path):
        return [existing]
    if urls := _urls(identity):
        return urls
    return [f"opencv:{path}"] if path.lower().endswith(_VIDEOS) else []


def _existing(path: str) -> str | None:
    """The camera that replays a file or a folder, if there is one of that name."""
    try:
        place = Path(path).expanduser()
        if path and place.is_dir():
            return f"folder:{path}"
        if place.is_file():
            is_image = place.suffix.lower() in SUFFIXES
            return f"folder:{Path(path).parent}" if is_image else f"opencv:{path}"
    except (OSError, ValueError, RuntimeError):  # no text that can be a path here
        pass
    return None


def _urls(identity: str) -> list[str]:
    """The URLs of a network camera whose scheme was left out; none for what is no host."""
    parts = _HOST.fullmatch(identity)
    if parts is None or not (_ADDRESS.fullmatch(parts[1]) or parts[2] or parts[3]):
        return []
    schemes = ("rtsp", "http") if parts[2] in _RTSP_PORTS else ("http", "rtsp")
    try:
        return [without_secrets(f"{scheme}://{identity}") for scheme in schemes]
    except CaptureError:
        return []
