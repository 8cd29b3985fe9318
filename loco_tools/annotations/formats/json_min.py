"""The format JSON-MIN of Label Studio: one flat row per annotation.

A row has one key per control of the labelling configuration. The items under it hold geometry,
labels and the original image size side by side, and have no ids. A region that several controls
describe (a tool, its label, a number) therefore occurs several times with the same geometry, and
gets one id here. Rows are rewritten as tasks of the full export, which `label_studio` reads.
"""

import hashlib
import json
from collections import Counter
from pathlib import Path
from typing import Any

from loco_tools.annotations.formats.label_studio import is_task, read_tasks
from loco_tools.annotations.formats.regions import Export
from loco_tools.annotations.formats.task_file import entries, first_object
from loco_tools.annotations.formats.task_images import looks_like_image
from loco_tools.schema import loads_json

_OUTSIDE = ("original_width", "original_height", "image_rotation", "item_index")
_GEOMETRY = (
    *("x", "y", "width", "height", "rotation", "radiusX", "radiusY", "points", "closed"),
    *("vertices", "format", "rle", "imageDataURL"),
)
_TYPE_BY_KEY = {
    "number": "number",
    "choices": "choices",
    "rating": "rating",
    "text": "textarea",
    "datetime": "datetime",
    "taxonomy": "taxonomy",
}


def recognises(path: Path) -> bool:
    """Whether the first object in the file is a row, not a task of the full export."""
    first = first_object(path)
    return first is not None and not is_task(first)


def read(path: Path, *, predictions: bool = False) -> Export:
    """Read a JSON-MIN export; it holds no predictions.

    Raises:
        AnnotationError: the file cannot be read, or is not JSON.
    """
    tasks = (
        _task_of_row(entry) if isinstance(entry, dict) and not is_task(entry) else entry
        for entry in entries(path)
    )
    return read_tasks(path, tasks, predictions=predictions)


def _task_of_row(row: dict[str, Any]) -> dict[str, Any]:
    """A row as a task of the full export with one annotation."""
    result = []
    for control, content in row.items():
        repeats: Counter[str] = Counter()
        for item in items_of(content):
            if isinstance(item, dict):
                result.append({**_result_item(item, repeats), "from_name": control})
    annotation = {
        "id": row.get("annotation_id"),
        "completed_by": row.get("annotator"),
        "created_at": row.get("created_at"),
        "updated_at": row.get("updated_at"),
        "result": result,
    }
    data = {key: value for key, value in row.items() if looks_like_image(key, value)}
    loco_ids = {key: value for key, value in row.items() if key.startswith("loco_")}
    return {"id": row.get("id"), "data": {**data, **loco_ids}, "annotations": [annotation]}


def items_of(content: Any) -> list[Any]:
    """The items under a control; converters to tables write a list of regions as its text."""
    if isinstance(content, str) and content.startswith("["):
        try:
            parsed = loads_json(content)
        except ValueError:
            return []
        return parsed if isinstance(parsed, list) and any(map(is_drawn, parsed)) else []
    return content if isinstance(content, list) else []


def is_drawn(item: Any) -> bool:
    """Whether an item under a control has a geometry."""
    return isinstance(item, dict) and not item.keys().isdisjoint(_GEOMETRY)


def _result_item(item: dict[str, Any], repeats: Counter[str]) -> dict[str, Any]:
    """An item as one of the full export; the same shape drawn twice stays two regions."""
    value = {key: content for key, content in item.items() if key not in {*_OUTSIDE, "type"}}
    label_keys = [key for key in value if key.endswith("labels")]
    other_types = [kind for key, kind in _TYPE_BY_KEY.items() if key in value]
    result = {key: item[key] for key in _OUTSIDE if key in item}
    geometry = {key: value[key] for key in _GEOMETRY if key in value}
    if geometry:
        drawn = json.dumps([geometry, result.get("item_index")], sort_keys=True)
        digest = hashlib.sha256(drawn.encode("utf-8", "replace")).hexdigest()[:10]
        result["id"] = f"{digest}-{repeats[digest]}"
        repeats[digest] += 1
    return {**result, "type": [*label_keys, *other_types, ""][0], "value": value}
