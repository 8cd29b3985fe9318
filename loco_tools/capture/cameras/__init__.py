"""Cameras by the string that `--camera` takes."""

from loco_tools.capture.cameras.camera import Camera, Frame, TrueDefect
from loco_tools.errors import CaptureError, did_you_mean
from loco_tools.plan import Plan

__all__ = ["Camera", "Frame", "TrueDefect", "open_camera"]


def open_camera(identity: str, plan: Plan, *, seed: int) -> Camera:
    """The camera of that identity, to be used as a context manager.

    Raises:
        CaptureError: no such kind of camera.
    """
    if identity == "twin":
        from loco_tools.capture.cameras.twin import TwinCamera

        return TwinCamera(plan, seed=seed)
    raise CaptureError(f'unknown camera "{identity}"; {did_you_mean(identity, ["twin"])}')
