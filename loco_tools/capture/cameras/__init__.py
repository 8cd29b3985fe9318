"""Cameras, opened by the name that `--camera` takes: a kind and an address, `basler:40012345`.

`CAMERAS` has the kinds that come with loco-tools; capture/README.md describes them for users. A
camera of your own is named `module:Class` or `module:Class:ADDRESS`, see `plug_in`. The address of
a network camera is its URL, which is the whole name: `rtsp://HOST/PATH`.
"""

import importlib
from dataclasses import dataclass
from typing import Any, NamedTuple

from loco_tools.capture.cameras.camera import Camera, Frame, TrueDefect
from loco_tools.capture.cameras.plug_in import PlugIn, parse_plug_in
from loco_tools.errors import CaptureError, LocoToolsError, did_you_mean
from loco_tools.plan import Plan

__all__ = ["Camera", "Frame", "TrueDefect", "connected_cameras", "open_camera", "public_name"]

NETWORK = frozenset({"http", "https", "rtsp", "rtsps"})

_ROOM = "loco_tools.capture.cameras"


class CameraKind(NamedTuple):
    """Where the code of a kind of camera is; each is "module:name" and imported when needed.

    Attributes:
        open: a class or function that takes an address and a plan; the address of a network camera
            is its whole URL.
        discover: a function that lists the cameras that are connected, in the form that
            `--camera` takes; None for kinds that cannot be searched for.
    """

    open: str
    discover: str | None = None


CAMERAS = {
    "twin": CameraKind(f"{_ROOM}.twin:TwinCamera"),
    "opencv": CameraKind(f"{_ROOM}.opencv:open_address", f"{_ROOM}.opencv:discover"),
    "rtsp": CameraKind(f"{_ROOM}.stream:StreamCamera"),
    "rtsps": CameraKind(f"{_ROOM}.stream:StreamCamera"),
    "http": CameraKind(f"{_ROOM}.stream:StreamCamera"),
    "https": CameraKind(f"{_ROOM}.stream:StreamCamera"),
    "folder": CameraKind(f"{_ROOM}.folder:FolderCamera"),
    "basler": CameraKind(f"{_ROOM}.basler:BaslerCamera", f"{_ROOM}.basler:discover"),
    "genicam": CameraKind(f"{_ROOM}.genicam:GenicamCamera", f"{_ROOM}.genicam:discover"),
}
"""The kinds of cameras that come with loco-tools."""


@dataclass(frozen=True)
class ConnectedCameras:
    """The cameras that were found, and a note for each kind that could not be searched for."""

    cameras: tuple[str, ...]
    notes: tuple[str, ...]


def open_camera(identity: str, plan: Plan | None, *, seed: int) -> Camera:
    """Make the camera of that name, not connected yet, to be used as a context manager.

    A kind in `CAMERAS` takes precedence over a plug-in whose module has the same name.

    Args:
        identity: the camera, in the form that `--camera` takes. A URL may hold a user and a
            password; they are never recorded and never part of a message.
        plan: has the settings that the camera is brought to; None leaves them as they are.
        seed: random seed of the parts that the twin renders; other cameras ignore it.

    Raises:
        CaptureError: the kind of camera is unknown, or a plug-in cannot be used.
        MissingExtraError: the kind needs a part of loco-tools that is not installed.
    """
    match _parse(identity):
        case PlugIn() as plug_in:
            return plug_in.open(plan)
        case (kind, address):
            if kind not in CAMERAS:
                raise _unknown_camera(identity, kind)
            if "://" in address and kind not in NETWORK:
                raise CaptureError(
                    f'camera "{kind}:...": expected no URL, got one; next step: give the URL alone'
                )
            make = _import(CAMERAS[kind].open)
            options = {"seed": seed} if kind == "twin" else {}
            camera: Camera = make(address, plan, **options)
            return camera


def connected_cameras() -> ConnectedCameras:
    """Search for the cameras that are connected to this machine; blocks a few seconds at most.

    Network cameras, files, folders and plug-ins are not searched for: they are given by name.
    """
    cameras: list[str] = []
    notes: list[str] = []
    for name, kind in CAMERAS.items():
        if kind.discover is None:
            continue
        try:
            cameras += _import(kind.discover)()
        except LocoToolsError as error:
            notes.append(f"{name}: {error}")
    return ConnectedCameras(tuple(cameras), tuple(notes))


def public_name(identity: str) -> str:
    """A camera's name as a person gave it, without the passwords that a URL may hold."""
    match _parse(identity):
        case PlugIn() as plug_in:
            return f"{plug_in.name}:..." if "@" in plug_in.address else identity
        case (kind, address) if kind in NETWORK or "://" in address:
            from loco_tools.capture.cameras.stream import without_secrets

            try:
                return without_secrets(address)
            except CaptureError:
                return f"{kind}://..."
        case (kind, _):
            return identity if kind in CAMERAS else _without_secrets(identity)


def _parse(identity: str) -> PlugIn | tuple[str, str]:
    """A plug-in, or the kind and the address; a URL is its own address, `opencv:URL` is the URL.

    Kinds, and with them the schemes of URLs, may be written in capitals.
    """
    kind, _, address = identity.partition(":")
    kind = kind.lower() if kind.lower() in CAMERAS else kind
    if kind == "opencv" and "://" in address:
        return _parse(address)
    if kind not in CAMERAS and (plug_in := parse_plug_in(identity)):
        return plug_in
    return kind, f"{kind}:{address}" if address.startswith("//") else address


def _unknown_camera(identity: str, kind: str) -> CaptureError:
    from loco_tools.capture.cameras.intended import intended_cameras

    intended = " or ".join(f'"{name}"' for name in intended_cameras(identity))
    name = _without_secrets(identity if intended else kind)
    hint = (
        f"did you mean {intended}? (known: {', '.join(sorted(CAMERAS))})"
        if intended
        else did_you_mean(kind, CAMERAS)
    )
    return CaptureError(
        f'unknown camera "{name}"; {hint}; a camera of your own is named module:Class'
    )


def _without_secrets(identity: str) -> str:
    """A text that is no name of a camera, without the passwords of a URL that lacks its scheme."""
    from loco_tools.capture.cameras.stream import without_secrets

    if not {"@", "="} & set(identity):
        return identity
    try:
        return without_secrets(f"http://{identity}").removeprefix("http://")
    except CaptureError:
        return "..."


def _import(path: str) -> Any:
    """The class or function at "module:name"."""
    module, _, name = path.partition(":")
    return getattr(importlib.import_module(module), name)
