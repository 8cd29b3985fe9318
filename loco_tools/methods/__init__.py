"""Anomaly detectors by name.

To add one, write its file, its line in `METHODS` and its row in
`tests/conformance/test_detectors.py`. Importing this module imports no torch; `method_class`
imports the one file it needs.

>>> dict(describe_methods())["patchcore"]
'PatchCore: distance to the nearest patch of good training images.'
"""

import ast
import importlib.util
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from loco_tools.errors import MethodError, did_you_mean
from loco_tools.methods.map_detector import MapDetector
from loco_tools.methods.plugins import import_plugin, named_class, register_plugin

if TYPE_CHECKING:
    from loco_tools.methods.backbones import Backbone
    from loco_tools.methods.detector import SingleDetector

__all__ = [
    "ANOMALIB",
    "METHODS",
    "MapDetector",
    "Resize",
    "allow_plugins",
    "create",
    "describe_methods",
    "import_path_of",
    "load_detector",
    "method_class",
]

Resize = Literal["keep", "square", "area"]
"""How images are resized to a detector's input, see `loco_tools.methods.batch.input_size`."""

METHODS = {
    "patchcore": "loco_tools.methods.patchcore:PatchCore",
    "simplenet": "loco_tools.methods.simplenet:SimpleNet",
    "draem": "loco_tools.methods.draem:DRAEM",
    "rd4ad": "loco_tools.methods.rd4ad:RD4AD",
    "csflow": "loco_tools.methods.csflow:CSFlow",
    "ast": "loco_tools.methods.asymmetric:AST",
}
"""Method name -> "package.module:Class"; a plug-in is named by the same spelling.

Suites run them in this order, which is also that of an ensemble's members: add new ones at the end.
"""

ANOMALIB = "anomalib:"
"""Prefix of the names of anomalib's models: "anomalib:Padim"."""


def describe_methods() -> list[tuple[str, str]]:
    """(name, one line) of every method in `METHODS`: the first line of the class's docstring.

    The sources are parsed, not imported.
    """
    described = []
    for name, import_path in METHODS.items():
        module, _, class_name = import_path.partition(":")
        spec = importlib.util.find_spec(module)
        source = Path(spec.origin).read_text("utf-8") if spec and spec.origin else ""
        docstrings = {
            node.name: ast.get_docstring(node)
            for node in ast.parse(source).body
            if isinstance(node, ast.ClassDef)
        }
        described.append((name, (docstrings.get(class_name) or "").partition("\n")[0]))
    return described


def import_path_of(name: str) -> str:
    """The import path "package.module:Class" of a method; the name itself when it is unknown."""
    if name.startswith(ANOMALIB):
        return f"loco_tools.methods.anomalib.adapter:{name.removeprefix(ANOMALIB)}"
    return METHODS.get(name, name)


def method_class(name: str) -> "type[SingleDetector]":
    """The detector class of a name in `METHODS`, a plug-in "module:Class", or "anomalib:Model".

    A plug-in is imported from Python's path or from the current folder. Naming it here allows
    `load_detector` to load saved detectors of it in this process.

    Raises:
        MethodError: unknown name (with the nearest one), or a plug-in that cannot be imported or
            is no complete detector.
        MissingExtraError: a model of anomalib, which is not installed.
    """
    if name.startswith(ANOMALIB):
        from loco_tools.methods.anomalib.adapter import adapter

        return adapter(name)
    import_path = import_path_of(name)
    if ":" not in import_path:
        raise MethodError(
            f'unknown method "{name}"; {did_you_mean(name, METHODS)}; '
            'a plug-in is named "module:Class"'
        )
    plugin = named_class(name)
    if plugin is not None:
        return plugin
    from loco_tools.methods.map_adapter import as_detector_class

    detector = as_detector_class(import_plugin(import_path), name)
    if import_path not in METHODS.values():
        register_plugin(name, detector)
    return detector


def create(
    name: str,
    *,
    backbone: "Backbone | None",
    preset: str = "fast",
    overrides: Mapping[str, Any] | None = None,
    input_size_px: int | None = None,
    resize: Resize = "keep",
    device: str = "cpu",
) -> "SingleDetector":
    """A detector that is ready to be fitted.

    Args:
        name: as for `method_class`.
        backbone: from `loco_tools.methods.backbones.resolve_backbone`; None for a method that
            needs none.
        preset: "paper" or "fast".
        overrides: fields of the method's configuration that differ from the preset.
        input_size_px: `size_px` of `loco_tools.methods.batch.input_size`; None: the preset's.
        resize: as there.
        device: "cpu", "cuda" or "auto".

    Raises:
        MethodError: unknown method, preset or device.
        DefinitionError: an unknown field or a value out of range, with the nearest field.
    """
    detector = method_class(name)
    size = {} if input_size_px is None else {"size_px": input_size_px}
    config = detector.configure(preset, {"resize": resize, **size, **(overrides or {})})
    return detector(config, backbone, device=device)


def load_detector(
    folder: Path,
    backbone: "Backbone | None" = None,
    *,
    device: str = "auto",
    plugins: Iterable[str] = (),
) -> "SingleDetector":
    """A saved detector of any method.

    Reads data only. The code of a plug-in is imported only if the caller names it.

    Args:
        folder: the folder that `save` was given.
        backbone: see `SingleDetector.load`.
        device: "auto", "cpu" or "cuda".
        plugins: names of plug-ins ("module:Class") that may be imported to load the detector,
            besides those that `method_class` or `create` were given before.

    Raises:
        MethodError: no detector there, or one of an unknown method or of a plug-in not named.
        MissingExtraError: a model of anomalib, which is not installed.
    """
    from loco_tools.methods import checkpoint

    allow_plugins(plugins)
    method = checkpoint.read_record(folder).method
    if method in METHODS or method.startswith(ANOMALIB):
        return method_class(method).load(folder, backbone, device=device)
    plugin = named_class(method)
    if plugin is not None:
        return plugin.load(folder, backbone, device=device)
    if ":" in method:
        raise MethodError(
            f'{folder}: was fitted with the plug-in "{method}", whose code is not imported unless '
            f'you name it; next step: load it with plugins=["{method}"]'
        )
    raise MethodError(
        f'{folder}: unknown method "{method}"; {did_you_mean(method, METHODS)}; a plug-in of that '
        'name is loaded with plugins=["module:Class"]'
    )


def allow_plugins(plugins: Iterable[str]) -> None:
    """Import plug-ins by name ("module:Class"), so that saved detectors of them can be loaded."""
    for name in plugins:
        method_class(name)
