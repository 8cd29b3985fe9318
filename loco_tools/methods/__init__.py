"""Anomaly detectors by name.

To add one, write its file, its line in `METHODS` and its row in
`tests/conformance/test_detectors.py`. Importing this module imports no torch; `method_class`
imports the one file it needs.

>>> dict(describe_methods())["patchcore"]
'PatchCore: distance to the nearest patch of good training images.'
"""

import ast
import importlib
import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from loco_tools.errors import MethodError, did_you_mean

if TYPE_CHECKING:
    from loco_tools.methods.backbones import Backbone
    from loco_tools.methods.detector import SingleDetector

Resize = Literal["keep", "square", "area"]
"""How images become a detector's input, see `loco_tools.methods.batch.input_size`."""

METHODS = {
    "ast": "loco_tools.methods.asymmetric:AST",
    "csflow": "loco_tools.methods.csflow:CSFlow",
    "draem": "loco_tools.methods.draem:DRAEM",
    "patchcore": "loco_tools.methods.patchcore:PatchCore",
    "rd4ad": "loco_tools.methods.rd4ad:RD4AD",
    "simplenet": "loco_tools.methods.simplenet:SimpleNet",
}
"""Method name -> "package.module:Class"; the same spelling names a method of your own."""

ANOMALIB = "anomalib:"
"""Opens the names of anomalib's models: "anomalib:Padim"."""


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
    """The detector class of a name in `METHODS`, a "package.module:Class", or "anomalib:Model".

    Raises:
        MethodError: unknown name (with the nearest one), or the class cannot be imported.
        MissingExtraError: a model of anomalib, which is not installed.
    """
    if name.startswith(ANOMALIB):
        from loco_tools.methods.anomalib.adapter import adapter

        return adapter(name)
    place = import_path_of(name)
    if ":" not in place:
        raise MethodError(
            f'unknown method "{name}"; {did_you_mean(name, METHODS)}; '
            'a method of your own is named "package.module:Class"'
        )
    module, _, attribute = place.partition(":")
    try:
        found = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise MethodError(f'method "{name}" cannot be imported: {error}') from error
    from loco_tools.methods.detector import SingleDetector

    if not (isinstance(found, type) and issubclass(found, SingleDetector)):
        raise MethodError(
            f'method "{name}": expected a subclass of loco_tools.methods.detector.SingleDetector, '
            f"got {found!r}"
        )
    return found


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
    found = method_class(name)
    size = {} if input_size_px is None else {"size_px": input_size_px}
    config = found.configure(preset, {"resize": resize, **size, **(overrides or {})})
    return found(config, backbone, device=device)


def load_detector(
    folder: Path, backbone: "Backbone | None" = None, *, device: str = "auto"
) -> "SingleDetector":
    """A saved detector of any method in `METHODS` or of anomalib. Reads data, executes nothing.

    Raises:
        MethodError: no detector there, or one of a method that is not in `METHODS`; a method of
            your own is loaded by its class's `load`.
        MissingExtraError: a model of anomalib, which is not installed.
    """
    from loco_tools.methods import checkpoint

    method = checkpoint.read_record(folder).method
    if method not in METHODS and not method.startswith(ANOMALIB):
        raise MethodError(f'{folder}: unknown method "{method}"; {did_you_mean(method, METHODS)}')
    return method_class(method).load(folder, backbone, device=device)
