"""Cameras by the string that `--camera` takes: a kind and an address, `basler:0815-0000`.

twin                          the digital twin
opencv:0                      a USB camera, by number or by its stable path under /dev/v4l
opencv:FILE                   a video file
rtsp://..., http(s)://...     a network camera: RTSP, or MJPEG over HTTP
folder:DIR                    a folder of images
basler, basler:SERIAL         a Basler camera
genicam:...                   any camera with a GenTL producer
"""

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from loco_tools.capture.cameras.camera import Camera, Frame, TrueDefect
from loco_tools.errors import CaptureError, LocoToolsError, did_you_mean
from loco_tools.plan import Plan

__all__ = ["Camera", "Frame", "TrueDefect", "connected_cameras", "open_camera", "public_name"]

NETWORK = frozenset({"http", "https", "rtsp", "rtsps"})

BACKENDS = {
    "twin": "loco_tools.capture.cameras.twin:TwinCamera",
    "opencv": "loco_tools.capture.cameras.opencv:open_address",
    "rtsp": "loco_tools.capture.cameras.stream:StreamCamera",
    "rtsps": "loco_tools.capture.cameras.stream:StreamCamera",
    "http": "loco_tools.capture.cameras.stream:StreamCamera",
    "https": "loco_tools.capture.cameras.stream:StreamCamera",
    "folder": "loco_tools.capture.cameras.folder:FolderCamera",
    "basler": "loco_tools.capture.cameras.basler:BaslerCamera",
    "genicam": "loco_tools.capture.cameras.genicam:GenicamCamera",
}
"""Kind of camera -> what makes one of an address and a plan; the address of a URL is all of it."""

FINDERS = {
    "opencv": "loco_tools.capture.cameras.opencv:discover",
    "basler": "loco_tools.capture.cameras.basler:BaslerCamera.discover",
    "genicam": "loco_tools.capture.cameras.genicam:GenicamCamera.discover",
}
"""Kind of camera -> what lists those that are connected, each as `--camera` takes it."""


@dataclass(frozen=True)
class Connected:
    """The cameras that were found, and why some kinds could not be looked for."""

    cameras: tuple[str, ...]
    notes: tuple[str, ...]


def open_camera(identity: str, plan: Plan | None, *, seed: int) -> Camera:
    """The camera of that identity, not connected yet, to be used as a context manager.

    Args:
        identity: as `--camera` takes it; a URL may hold a user and a password, which go into no
            record and no message.
        plan: the settings to bring it to; None leaves them as they are.
        seed: of the parts that the twin renders; other cameras ignore it.

    Raises:
        CaptureError: no such kind of camera.
        MissingExtraError: the kind needs a part of loco-tools that is not installed.
    """
    kind, address = _kind_and_address(identity)
    if kind not in BACKENDS:
        raise CaptureError(f'unknown camera "{kind}"; {did_you_mean(kind, BACKENDS)}')
    if "://" in address and kind not in NETWORK:
        raise CaptureError(f'camera "{kind}:...": expected no URL; next step: give the URL alone')
    make = _resolve(BACKENDS[kind])
    camera: Camera = make(address, plan, seed=seed) if kind == "twin" else make(address, plan)
    return camera


def connected_cameras() -> Connected:
    """What is connected to this machine; blocks a few seconds at most.

    Network cameras, files and folders are not looked for: they are asked for by name.
    """
    cameras: list[str] = []
    notes: list[str] = []
    for kind, place in FINDERS.items():
        try:
            cameras += _resolve(place)()
        except LocoToolsError as error:
            notes.append(f"{kind}: {error}")
    return Connected(tuple(cameras), tuple(notes))


def public_name(identity: str) -> str:
    """A camera's name as a person gave it, without the passwords that a URL may hold."""
    kind, address = _kind_and_address(identity)
    if kind not in NETWORK and "://" not in address:
        # an address whose "rtsp://" was forgotten
        return "..." if kind not in BACKENDS and "@" in address else identity
    from loco_tools.capture.cameras.stream import without_secrets

    try:
        return without_secrets(address)
    except CaptureError:
        return f"{kind}://..."


def _kind_and_address(identity: str) -> tuple[str, str]:
    """A URL is its own address; `opencv:URL` is the URL."""
    kind, _, address = identity.partition(":")
    if kind == "opencv" and "://" in address:
        return _kind_and_address(address)
    return kind, identity if address.startswith("//") else address


def _resolve(place: str) -> Callable[..., Any]:
    """The class or function at "module:name" or "module:Class.name"."""
    module, _, name = place.partition(":")
    found: Any = importlib.import_module(module)
    for step in name.split("."):
        found = getattr(found, step)
    made: Callable[..., Any] = found
    return made
