"""JSON-MIN: one flat row per annotation, turned into the words of the full export.

Each control has its items under its name, with the geometry, the labels and the original size side
by side. Items have no ids: what one region says through several controls (a tool, its label, a
number) has the same geometry, and gets one id here.
"""

import hashlib
import json
from collections import Counter
from typing import Any

from loco_tools.annotations.formats.task_images import looks_like_image

_OUTSIDE = ("original_width", "original_height", "image_rotation", "item_index")
_GEOMETRY = (
    *("x", "y", "width", "height", "rotation", "radiusX", "radiusY", "points", "closed"),
    *("vertices", "format", "rle", "imageDataURL"),
)
_SAID = {
    "number": "number",
    "choices": "choices",
    "rating": "rating",
    "text": "textarea",
    "datetime": "datetime",
    "taxonomy": "taxonomy",
}


def from_min(row: dict[str, Any]) -> dict[str, Any]:
    """A row of JSON-MIN as a task with one annotation."""
    result = []
    for control, items in row.items():
        seen: Counter[str] = Counter()
        for item in items if isinstance(items, list) else ():
            if isinstance(item, dict):
                result.append({**_item(item, seen), "from_name": control})
    annotation = {
        "id": row.get("annotation_id"),
        "completed_by": row.get("annotator"),
        "created_at": row.get("created_at"),
        "updated_at": row.get("updated_at"),
        "result": result,
    }
    data = {key: value for key, value in row.items() if looks_like_image(key, value)}
    ours = {key: value for key, value in row.items() if key.startswith("loco_")}
    return {"id": row.get("id"), "data": {**data, **ours}, "annotations": [annotation]}


def _item(item: dict[str, Any], seen: Counter[str]) -> dict[str, Any]:
    value = {key: found for key, found in item.items() if key not in {*_OUTSIDE, "type"}}
    geometry = {key: value[key] for key in _GEOMETRY if key in value}
    labelled = [key for key in value if key.endswith("labels")]
    said = [kind for key, kind in _SAID.items() if key in value]
    made = {key: item[key] for key in _OUTSIDE if key in item}
    if geometry:
        where = json.dumps([geometry, made.get("item_index")], sort_keys=True)
        digest = hashlib.sha256(where.encode("utf-8", "replace")).hexdigest()[:10]
        made["id"] = f"{digest}-{seen[digest]}"  # the same shape drawn twice stays two regions
        seen[digest] += 1
    return {**made, "type": [*labelled, *said, ""][0], "value": value}
