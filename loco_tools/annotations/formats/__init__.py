"""Annotation formats: from the files that annotation tools export to regions and masks.

Adding a format takes three things: its module, its line in `FORMATS`, and its test. The module has
two functions:

- `recognises(path) -> bool` tells whether a file is in this format. It raises nothing for a file of
  another format, and looks no further into the file than it has to.
- `read(path, *, predictions) -> Export` reads the whole file; `regions.Export` documents what it
  returns. It raises `AnnotationError` for a file that it cannot read.
"""

import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast

from loco_tools.errors import AnnotationError

if TYPE_CHECKING:
    from loco_tools.annotations.formats.regions import Export

FORMATS = {
    "Label Studio JSON": "loco_tools.annotations.formats.label_studio",
    "Label Studio JSON-MIN": "loco_tools.annotations.formats.json_min",
}
"""Format name -> the module that reads it. The first format that recognises a file reads it."""

_LABEL_STUDIO = tuple(FORMATS.values())


class FormatModule(Protocol):
    """The two functions that the module of an annotation format has."""

    def recognises(self, path: Path) -> bool:
        """Whether the file is in this format."""
        ...

    def read(self, path: Path, *, predictions: bool) -> "Export":
        """Every task of the file."""
        ...


def read_export(path: Path, *, predictions: bool = False) -> "Export":
    """Read an annotation export in any of the known `FORMATS`.

    A file that is of another kind (COCO, a table, an archive) is named in the error. A damaged file
    is read as the first format, whose error message explains what is wrong with it.

    Args:
        path: the export.
        predictions: also read the predictions of models, as annotations whose annotator is
            `prediction <model version>`.

    Returns:
        Its tasks with their annotations and regions, in the order of the file.

    Raises:
        AnnotationError: the file cannot be read, or is not an annotation export.
    """
    from loco_tools.annotations.formats import foreign

    # many foreign files look like tasks or rows at first sight, so that Label Studio's own formats
    # are tried only on files that are not known to be something else
    described = foreign.description(path)
    names = [name for name in FORMATS.values() if not (described and name in _LABEL_STUDIO)]
    modules = [cast(FormatModule, importlib.import_module(name)) for name in names]
    chosen = next((module for module in modules if module.recognises(path)), None)
    if chosen is None and described:
        raise AnnotationError(
            f"{path}: expected a Label Studio export as JSON or JSON-MIN, got {described}"
        )
    return (chosen or modules[0]).read(path, predictions=predictions)
