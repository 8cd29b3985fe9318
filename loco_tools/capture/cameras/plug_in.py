"""Cameras of your own: `--camera module:Class`, or `--camera module:Class:ADDRESS`.

The module is a Python file in the current folder (`my_camera.py`) or an installed module
(`package.module`). The class is a subclass of `Camera` whose constructor takes the address (what
follows the second colon, "" if there is none) and a plan, or None for the plan:

    loco-tools capture --class angle --camera my_camera:MyCamera

A name is read as a plug-in if it begins with two Python names joined by a colon and its first part
is no kind of camera in `CAMERAS`. `loco_tools.testing.check_camera` checks a camera of your own
against everything that the capture station relies on.
"""

import inspect
import re
from dataclasses import dataclass
from pathlib import Path

from loco_tools.capture.cameras.camera import Camera
from loco_tools.errors import CaptureError, did_you_mean
from loco_tools.plan import Plan
from loco_tools.plugin_import import NoModuleError, import_own_module

_PATTERN = re.compile(r"([^\W\d]\w*(?:\.[^\W\d]\w*)*):([^\W\d]\w*)(?::(.*))?", re.DOTALL)


@dataclass(frozen=True)
class PlugIn:
    """A camera class outside loco-tools, and the address that its constructor gets."""

    module: str
    class_name: str
    address: str

    @property
    def name(self) -> str:
        """Module and class, without the address."""
        return f"{self.module}:{self.class_name}"

    def open(self, plan: Plan | None) -> Camera:
        """Import the class and make a camera, not connected yet.

        Raises:
            CaptureError: there is no such module or class, or the class is not a usable camera.
        """
        expected = f"expected a module {self.module}, installed or as a file in {Path.cwd()}"
        try:
            module = import_own_module(self.module)
        except NoModuleError as error:
            raise self._fault(
                f"{expected}, got no such module",
                "check its name, and run the command in its folder",
            ) from error
        except (
            Exception,
            SystemExit,
        ) as error:  # The file is the user's own: it may raise anything.
            got = f"{type(error).__name__}: {error}"
            raise self._fault(f"{expected}, got {got}", "correct it") from error
        if not hasattr(module, self.class_name):
            classes = [name for name, value in vars(module).items() if _is_camera(value)]
            raise self._fault(
                f"expected a class {self.class_name} in {module.__file__}, got none; "
                f"{did_you_mean(self.class_name, classes)}",
                "correct the name of the class",
            )
        camera = getattr(module, self.class_name)
        if not _is_camera(camera):
            raise self._fault(
                f"expected a subclass of loco_tools.capture.cameras.Camera, got {camera!r}",
                "derive the class from Camera",
            )
        if missing_methods := sorted(camera.__abstractmethods__):
            raise self._fault(
                "expected all methods of Camera, got a class without "
                + " and ".join(missing_methods),
                "add what is missing",
            )
        try:
            inspect.signature(camera).bind(self.address, plan)
        except TypeError as error:
            raise self._fault(
                f"expected a constructor that takes an address and a plan, got "
                f"{self.class_name}{inspect.signature(camera)}",
                "define __init__(self, address, plan)",
            ) from error
        made: Camera = camera(self.address, plan)
        return made

    def _fault(self, fault: str, next_step: str) -> CaptureError:
        return CaptureError(f'camera "{self.name}": {fault}; next step: {next_step}')


def parse_plug_in(identity: str) -> PlugIn | None:
    """The plug-in that a name stands for; None if it does not have the form of one.

    >>> parse_plug_in("my_camera:MyCamera:7")
    PlugIn(module='my_camera', class_name='MyCamera', address='7')
    """
    match = _PATTERN.fullmatch(identity)
    return None if match is None else PlugIn(match[1], match[2], match[3] or "")


def _is_camera(value: object) -> bool:
    return isinstance(value, type) and issubclass(value, Camera) and value is not Camera
