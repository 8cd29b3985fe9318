"""What a file is that people take for an export of Label Studio, and what to export instead.

Label Studio exports in many formats, keeps annotations in further ones, and other tools write their
own. None of them is read here; each is recognised by a look into the file and named.
"""

import contextlib
import re
from itertools import islice
from pathlib import Path
from typing import Any

from loco_tools import files
from loco_tools.annotations.formats.json_min import is_drawn, items_of
from loco_tools.annotations.formats.task_file import values
from loco_tools.annotations.formats.task_images import looks_like_image
from loco_tools.errors import AnnotationError
from loco_tools.wording import printable, shortened

_HEAD_BYTES = 64 * 2**10
_FILES_LOOKED_INTO = 20

_AGAIN = "export the project from Label Studio as JSON or JSON-MIN"
_IMPORT = f"{_AGAIN}; what another tool made is imported into Label Studio first"
_UNPACK = "unpack it, and give the JSON export in it"

_KINDS: tuple[tuple[str, str, tuple[set[str], ...]], ...] = (
    ("COCO annotations", _IMPORT, ({"images"}, {"categories"})),
    (
        "a list of COCO annotations",
        _IMPORT,
        ({"image_id"}, {"category_id"}, {"bbox", "segmentation", "keypoints"}),
    ),
    ("annotations of labelme", _IMPORT, ({"shapes"}, {"imagePath", "imageData", "imageHeight"})),
    ("an export of Labelbox", _IMPORT, ({"Labeled Data"}, {"Label"})),
    ("an export of Labelbox", _IMPORT, ({"data_row"}, {"projects"})),
    ("annotations of the VGG Image Annotator (VIA)", _IMPORT, ({"_via_img_metadata"},)),
    ("annotations of the VGG Image Annotator (VIA)", _IMPORT, ({"filename"}, {"regions"})),
    (
        "an export of Label Studio before 1.0 (completions instead of annotations)",
        "rename each key completions to annotations, or import it into a newer Label Studio and "
        "export it as JSON",
        ({"completions"},),
    ),
    (
        "a message of Label Studio's webhook",
        _AGAIN,
        ({"action"}, {"project", "task", "tasks", "annotation", "annotations"}),
    ),
    (
        "a page of Label Studio's API",
        f"{_AGAIN}, or save only the list under tasks",
        ({"tasks"}, {"total", "total_annotations", "total_predictions"}),
    ),
    (
        "a page of Label Studio's API",
        f"{_AGAIN}, or save only the list under results",
        ({"results"}, {"count", "next", "previous"}),
    ),
    (
        "a single annotation, as Label Studio writes it to a target storage",
        _AGAIN,
        ({"result"}, {"task", "completed_by"}),
    ),
)
"""What it is, the next step, and its keys: an object of this kind has one of each set."""

_SIGNATURES = (
    (b"PK\x03\x04", "a ZIP archive", _UNPACK),
    (b"PK\x05\x06", "an empty ZIP archive", _AGAIN),
    (b"\x1f\x8b", "a gzip archive", _UNPACK),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive", _UNPACK),
    (b"\x89PNG", "an image", _AGAIN),
    (b"\xff\xd8\xff", "an image", _AGAIN),
    (b"\x93NUMPY", "a NumPy array", _AGAIN),
    (b"SQLite format 3", "an SQLite database", _AGAIN),
    (b"version https://git-lfs", "a pointer of Git LFS, not its file", "run git lfs pull"),
)
_ELEMENTS = {
    "annotations": ("annotations of CVAT (XML)", _IMPORT),
    "annotation": ("annotations in Pascal VOC XML", _IMPORT),
    "html": ("a web page", f"{_AGAIN}, or save the file that the page offers"),
    "View": ("a labelling configuration of Label Studio", _AGAIN),
}
_FIRST_ELEMENT = re.compile(r"<([A-Za-z][\w.:-]*)")
_YOLO_LINE = re.compile(r"\d+(?:[ \t]+-?\d*\.?\d+(?:[eE][+-]?\d+)?){4,}")
_ERROR_KEYS = {"detail", "id", "status_code", "version", "exc_info", "validation_errors"}
_TABLE_COLUMNS = {"annotation_id", "annotator", "lead_time", "region_shape_attributes"}


def description(path: Path) -> str | None:
    """What a file or folder is that is no export of Label Studio, and the next step.

    Returns:
        The end of a sentence, as in "COCO annotations; next step: ..."; None for a file that may be
        an export, is not known, or cannot be read.
    """
    try:
        kind = _folder_kind(path) if path.is_dir() else _file_kind(path)
    except (OSError, AnnotationError):
        return None
    return f"{kind[0]}; next step: {kind[1]}" if kind else None


def _folder_kind(folder: Path) -> tuple[str, str]:
    inside = sorted(path for path in folder.iterdir() if path.is_file())
    for path in inside[:_FILES_LOOKED_INTO]:
        with contextlib.suppress(OSError, AnnotationError):
            kind = _file_kind(path)
            if kind is not None:
                return f"a folder; its file {printable(path.name)} is {kind[0]}", kind[1]
    return "a folder", "name the file of the export in it"


def _file_kind(path: Path) -> tuple[str, str] | None:
    with files.open_regular(path) as stream:
        head = stream.read(_HEAD_BYTES)
    signed = next((kind for start, *kind in _SIGNATURES if head.startswith(start)), None)
    if signed is not None:
        return signed[0], signed[1]
    text = head.decode("utf-8-sig", "replace").lstrip()
    if text[:1] in {"{", "["}:
        return _json_kind(path, listed=text[0] == "[")
    return _xml_kind(text) if text[:1] == "<" else _text_kind(text)


def _xml_kind(text: str) -> tuple[str, str]:
    bare = re.sub(r"<!--.*?(?:-->|\Z)", "", text, flags=re.DOTALL)
    element = _FIRST_ELEMENT.search(bare)
    name = element[1] if element else ""
    name = "html" if name.lower() == "html" else name
    return _ELEMENTS.get(name, ("an XML file", _IMPORT))


def _text_kind(text: str) -> tuple[str, str] | None:
    lines = text.splitlines()[:5]
    if lines and _YOLO_LINE.fullmatch(lines[0].strip()):
        return "annotations in the text format of YOLO", _IMPORT
    columns = {name.strip(' "') for name in re.split(r"[,;\t]", lines[0])} if lines else set()
    if len(columns) > 1 and columns & _TABLE_COLUMNS:
        return "a table of annotations (CSV or TSV)", f"{_AGAIN}, not as CSV or TSV"
    return None


def _json_kind(path: Path, *, listed: bool) -> tuple[str, str] | None:
    with contextlib.closing(values(path)) as found:
        first = next((value for value in found if isinstance(value, dict)), None)
        if first is None:
            return None
        kind = _object_kind(first)
        if kind is not None:
            return kind
        if not listed:
            if any(isinstance(value, dict) for value in islice(found, 1)):
                return "one JSON object after another (NDJSON)", f"make it one list, or {_AGAIN}"
            return _unmarked(first)
        if _unmarked(first) and all(not isinstance(v, dict) or _unmarked(v) for v in found):
            return _unmarked(first)
    return None


def _object_kind(entry: dict[str, Any]) -> tuple[str, str] | None:
    """The foreign kind of a JSON object; None for tasks, rows and unknown objects."""
    if _is_annotated(entry):
        return None
    for what, next_step, keys in _KINDS:
        if all(not group.isdisjoint(entry) for group in keys):
            return what, next_step
    inner = [value for value in islice(entry.values(), 100) if isinstance(value, dict)]
    if any({"filename", "regions"} <= value.keys() for value in inner):
        return "annotations of the VGG Image Annotator (VIA)", _IMPORT
    if isinstance(entry.get("detail"), str) and entry.keys() <= _ERROR_KEYS:
        said = printable(shortened(entry["detail"]))
        return f'an error message of a server ("{said}")', _AGAIN
    return None


def _is_annotated(entry: dict[str, Any]) -> bool:
    """Whether an object is a task with its annotations, or a row of JSON-MIN, beyond doubt."""
    annotations = entry.get("annotations")
    return (
        ("annotations" in entry and "data" in entry)
        or any(isinstance(item, dict) and "result" in item for item in items_of(annotations))
        or not entry.keys().isdisjoint({"annotation_id", "annotator"})
        or any("original_width" in item and "value" not in item for item in _drawn_items(entry))
    )


def _drawn_items(row: dict[str, Any]) -> list[dict[str, Any]]:
    return [item for content in row.values() for item in items_of(content) if is_drawn(item)]


def _unmarked(entry: dict[str, Any]) -> tuple[str, str] | None:
    """The kind of an object that nobody can have annotated; None for one that was or may be."""
    kept = not entry.keys().isdisjoint({"annotations", "predictions", "drafts"})
    if kept or _is_annotated(entry) or _object_kind(entry) or _drawn_items(entry):
        return None
    if isinstance(entry.get("data"), dict) or any(looks_like_image(*i) for i in entry.items()):
        return "tasks to import, without annotations", f"annotate them, then {_AGAIN}"
    keys = printable(shortened(", ".join(entry)))
    return f"JSON of an unknown kind with the keys {keys}" if keys else "an empty object", _AGAIN
