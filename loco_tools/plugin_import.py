"""Importing the user's own code: a module on Python's path, or a file in the current folder.

Detectors (`loco_tools.methods.plugins`) and cameras (`loco_tools.capture.cameras.plug_in`) are
named "module:Class" and imported here; only modules that the user names are imported.
"""

import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType


class NoModuleError(Exception):
    """There is no such module, or no such package that it is in.

    Attributes:
        searched: the folders in which it was looked for.
    """

    def __init__(self, searched: list[str]) -> None:
        super().__init__(", ".join(searched))
        self.searched = searched


def import_own_module(name: str) -> ModuleType:
    """Import a module by its dotted name.

    The current folder is appended to `sys.path` when the module is found only there; the worker
    processes of a run get the same path.

    Raises:
        NoModuleError: there is none.
        Exception: whatever the module raises, or a package that it is in.
        SystemExit: the module calls `sys.exit`.
    """
    if not _is_there(name):
        folder = str(Path.cwd())
        importlib.invalidate_caches()
        sys.path.append(folder)
        if not _is_there(name):
            folders = dict.fromkeys(entry or folder for entry in sys.path)
            sys.path.remove(folder)
            raise NoModuleError([entry for entry in folders if Path(entry).is_dir()])
    return importlib.import_module(name)


def _is_there(name: str) -> bool:
    """Whether Python finds a module; the packages that it is in are imported."""
    steps = name.split(".")
    packages = {".".join(steps[:count]) for count in range(1, len(steps))}
    try:
        return name in sys.modules or importlib.util.find_spec(name) is not None
    except ModuleNotFoundError as error:
        if error.name in packages:
            return False
        raise
    except ValueError:  # a module without a specification, such as the program itself
        return False
