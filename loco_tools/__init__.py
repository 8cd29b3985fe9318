"""From a camera and a table of parts to an anomaly-detection benchmark that you can trust.

The Python interface: the functions here do what the commands do, and return objects. The page
`benchmark/python.md` documents them with examples.

    >>> import loco_tools
    >>> angle = loco_tools.load("data/angle")                                  # doctest: +SKIP
    >>> loco_tools.evaluate("maps/angle", angle).metrics                       # doctest: +SKIP
    >>> report = loco_tools.bench("data", ["patchcore", "simplenet"])          # doctest: +SKIP

`import loco_tools` is cheap: torch and other large libraries are imported when they are needed.
"""

import importlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from loco_tools.annotations.convert import ConversionReport
    from loco_tools.annotations.grouping import Group
    from loco_tools.annotations.merging import Merge
    from loco_tools.annotations.taxonomy import Taxonomy
    from loco_tools.benchmark.run.bench import bench
    from loco_tools.datasets import find_classes
    from loco_tools.datasets import load_any as load
    from loco_tools.evaluation import evaluate_folder as evaluate
    from loco_tools.methods.backbones import Backbone
    from loco_tools.methods.detector import Detector
    from loco_tools.progress import Progress

__all__ = ["bench", "convert", "evaluate", "find_classes", "load", "load_detector"]

_SOURCES = {
    "bench": "loco_tools.benchmark.run.bench:bench",
    "evaluate": "loco_tools.evaluation:evaluate_folder",
    "find_classes": "loco_tools.datasets:find_classes",
    "load": "loco_tools.datasets:load_any",
}
"""Name -> the "module:function" that it is imported from."""


def __getattr__(name: str) -> Any:
    """Import a function of `_SOURCES` when it is first used (PEP 562)."""
    if name not in _SOURCES:
        raise AttributeError(f"module 'loco_tools' has no attribute {name!r}")
    module, _, function = _SOURCES[name].partition(":")
    return getattr(importlib.import_module(module), function)


def __dir__() -> list[str]:
    """All names, also those that have not been imported yet."""
    return sorted({*globals(), *__all__})


def load_detector(
    path: Path | str,
    backbone: "Backbone | Mapping[str, Backbone] | None" = None,
    *,
    device: str = "auto",
    plugins: Iterable[str] = (),
) -> "Detector":
    """Open a saved detector: one of any method, or an ensemble. Reads data and executes no code.

    Args:
        path: the folder that the detector's `save` wrote.
        backbone: the backbone that the detector was fitted with, where it is not stored with it; of
            an ensemble also a mapping from each member's name to its backbone.
        device: "auto", "cpu", "cuda" or "cuda:1".
        plugins: names of detectors of your own that may be imported, "my_file:MyDetector".

    Raises:
        MethodError: the folder holds no detector or a damaged one, its method is unknown, or
            `backbone` is not the one that it was fitted with.
        MissingExtraError: torch, or the library that the method needs, is not installed.
    """
    from loco_tools import extras

    extras.require("A saved detector", "bench")
    from loco_tools import ensembles, methods
    from loco_tools.errors import MethodError
    from loco_tools.methods import checkpoint

    folder = Path(path)
    method = checkpoint.read_record(folder).method
    if method in ensembles.ENSEMBLES:
        return ensembles.load_ensemble(folder, backbone, device=device, plugins=plugins)
    if isinstance(backbone, Mapping):
        raise MethodError(
            f"{folder}: expected one backbone for a single detector ({method}), got a mapping"
        )
    return methods.load_detector(folder, backbone, device=device, plugins=plugins)


def convert(
    export: Path | str,
    out: Path | str = "data",
    *,
    sessions: Sequence[Path | str] = (),
    taxonomy: "Taxonomy | Path | str | None" = None,
    merge: "Merge" = "latest",
    group: "Group" = "auto",
    predictions: bool = False,
    storages: Mapping[str, Path] | None = None,
    alpha_threshold: int = 128,
    overwrite: bool = False,
    progress: "Progress | None" = None,
) -> "ConversionReport":
    """Turn a Label Studio export into a dataset class, as `loco-tools convert` does.

    Args:
        export: the exported JSON or JSON-MIN file.
        out: the folder of all classes; the class becomes a folder in it.
        sessions: the session folders of the photographs; only needed if the export does not lie in
            its session's folder.
        taxonomy: a taxonomy, its name or the path of its file; by default the one with the name of
            the class.
        merge: which annotations of an image count; see `loco_tools.annotations.merging.Merge`.
        group: which regions form one defect instance; see `loco_tools.annotations.grouping.Group`.
        predictions: whether predictions count as annotations.
        storages: the local folder of each prefix of image references; only needed for URLs and
            absolute paths in tasks that loco-tools did not create.
        alpha_threshold: brush pixels of at least this opacity (1 to 255) belong to the mask.
        overwrite: whether a class folder is replaced even if it was edited.
        progress: receives progress and messages; silent by default.

    Raises:
        AnnotationError: the export and the sessions do not match, a label is unknown, an anomalous
            photograph has no annotation, or the class folder was edited since it was converted.
        CaptureError: a session cannot be read.
        DefinitionError: there is no such taxonomy.
    """
    from loco_tools.annotations.convert import convert as convert_export
    from loco_tools.annotations.taxonomy import load_taxonomy
    from loco_tools.progress import SILENT

    return convert_export(
        Path(export),
        out_root=Path(out),
        sessions=[Path(session) for session in sessions],
        taxonomy=load_taxonomy(str(taxonomy)) if isinstance(taxonomy, Path | str) else taxonomy,
        merge=merge,
        group=group,
        predictions=predictions,
        storages=storages,
        alpha_threshold=alpha_threshold,
        overwrite=overwrite,
        progress=progress or SILENT,
    )
