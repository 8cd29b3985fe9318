"""Detectors of one's own, named "module:Class"; only modules that the user names are imported."""

import inspect
import traceback
from typing import TYPE_CHECKING, Any

from loco_tools.errors import MethodError, did_you_mean
from loco_tools.plugin_import import NoModuleError, import_own_module

if TYPE_CHECKING:
    from loco_tools.methods.detector import SingleDetector

_named: dict[str, "type[SingleDetector]"] = {}
"""The plug-ins that this process was asked for, by the name they were given."""


def register_plugin(name: str, detector: "type[SingleDetector]") -> None:
    """Save detectors of this class under `name`, and allow loading them in this process."""
    _named[name] = detector


def named_class(saved_as: str) -> "type[SingleDetector] | None":
    """The plug-in that a saved detector names, if this process was asked for it before.

    Args:
        saved_as: the plug-in's import path, or the class's own `name` as older files have it.
    """
    by_own_name = {detector.name: detector for detector in _named.values()}
    return _named.get(saved_as, by_own_name.get(saved_as))


def name_to_save(detector: "type[SingleDetector]") -> str:
    """The name that a plug-in was given by the user; the class's own `name` for other detectors."""
    return next((name for name, known in _named.items() if known is detector), detector.name)


def import_plugin(name: str) -> Any:
    """The object at "module:Class", from Python's path or a file in the current folder.

    Raises:
        MethodError: no such file or class, or the file raises an exception.
    """
    module_name, _, class_name = name.partition(":")
    try:
        module = import_own_module(module_name)
    except NoModuleError as error:
        raise MethodError(
            f'method "{name}" cannot be imported: there is no '
            f"{module_name.replace('.', '/')}.py in any of the folders searched "
            f"({', '.join(error.searched)}); "
            "next step: run the command in the folder of the file, or install its package"
        ) from error
    except (Exception, SystemExit) as error:  # whatever the file raises
        raise MethodError(
            f'method "{name}" cannot be imported: {_origin_of(error)} raises '
            f"{type(error).__name__}: {error}; next step: correct that file"
        ) from error
    if not hasattr(module, class_name):
        classes = inspect.getmembers(module, inspect.isclass)
        own = [key for key, value in classes if value.__module__ == module_name]
        raise MethodError(
            f'method "{name}" cannot be imported: {getattr(module, "__file__", module_name)} has '
            f'no class "{class_name}"; {did_you_mean(class_name, own)}'
        )
    return getattr(module, class_name)


def _origin_of(error: BaseException) -> str:
    """File and line where an import failed; of a syntax error the line that has it."""
    if isinstance(error, SyntaxError):
        return f"{error.filename}, line {error.lineno}"
    frames = traceback.extract_tb(error.__traceback__)
    last = [frame for frame in frames if not frame.filename.startswith("<frozen")][-1]
    return f"{last.filename}, line {last.lineno}"
