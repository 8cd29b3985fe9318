"""Reading what Label Studio exports: tasks, their annotations, and the regions drawn in them.

Full JSON (a list of tasks, or one task without a list) and JSON-MIN (one flat row per annotation)
are read. Cancelled annotations, drafts and predictions are left out. Result items that share an id
(a tool, its label, a number) are one region. Choices, ratings, texts and relations draw nothing
and are no regions. An item that cannot be understood is skipped with its reason, never fatal; only
a file that is no export at all is an error.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from loco_tools.annotations.regions import Annotation, Export, Region, Skipped, Task, TaskId
from loco_tools.errors import AnnotationError

GROUP_CONTROL = "group"
"""Name of the per-region number that ties the regions of one defect instance together."""

_NOTHING_DRAWN = ("relation", "choices", "rating", "textarea", "number", "datetime", "taxonomy")
_SHAPE_OF_TYPE = {"magicwand": "brush"}
_SHAPE_BY_KEY = (
    ("rle", "brush"),
    ("imageDataURL", "bitmask"),
    ("points", "polygon"),
    ("vertices", "vector"),
    ("radiusX", "ellipse"),
    ("height", "rectangle"),
    ("x", "keypoint"),
)
_IMAGE_KEYS = ("image", "images", "img")
_IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".gif")


def read_export(path: Path) -> Export:
    """Read a Label Studio export, full JSON or JSON-MIN.

    A task without a usable id gets its place in the file, counted from 1.

    Raises:
        AnnotationError: the file cannot be read, is no JSON, or holds no tasks.
    """
    tasks, skipped = [], []
    for number, entry in enumerate(_entries(path), start=1):
        if not isinstance(entry, dict):
            reason = f"expected a task as an object, got {_kind(entry)}"
            skipped.append(Skipped(number, None, None, reason))
            continue
        task, faults = _read_task(entry, number)
        tasks.append(task)
        skipped.extend(faults)
    return Export(path, tuple(tasks), tuple(skipped))


def _entries(path: Path) -> list[Any]:
    try:
        content = json.loads(path.read_bytes())
    except OSError as error:
        raise AnnotationError(f"{path}: cannot be read ({error.strerror})") from error
    except RecursionError as error:
        raise AnnotationError(f"{path}: refused, its JSON is nested too deeply") from error
    except ValueError as error:
        raise AnnotationError(f"{path}: expected a JSON export, got {error}") from error
    if isinstance(content, dict) and {"annotations", "data", "annotation_id"} & content.keys():
        return [content]
    if isinstance(content, list):
        return content
    raise AnnotationError(
        f"{path}: expected a Label Studio export (a list of tasks with their annotations), got "
        f"{_kind(content)}; next step: export from Label Studio as JSON"
    )


def _read_task(entry: dict[str, Any], number: int) -> tuple[Task, list[Skipped]]:
    if "annotations" not in entry and "data" not in entry:
        entry = _from_min(entry)
    task_id = entry.get("id")
    if isinstance(task_id, bool) or not isinstance(task_id, int | str) or task_id == "":
        task_id = number
    task_id = _clean(task_id) if isinstance(task_id, str) else task_id
    data = entry.get("data")
    data = data if isinstance(data, dict) else {}
    found = entry.get("annotations")
    if found is not None and not isinstance(found, list):
        reason = f"expected annotations as a list, got {_kind(found)}"
        return Task(task_id, data, _images(data), ()), [Skipped(task_id, None, None, reason)]
    annotations, skipped = [], []
    for item in found or []:
        if not isinstance(item, dict):
            reason = f"expected an annotation as an object, got {_kind(item)}"
            skipped.append(Skipped(task_id, None, None, reason))
        elif not item.get("was_cancelled"):
            annotations.append(_read_annotation(item, task_id, data))
    drawn_on = [r.image for a in annotations for r in a.regions if r.image is not None]
    images = tuple(dict.fromkeys([*_images(data), *drawn_on]))
    return Task(task_id, data, images, tuple(annotations)), skipped


def _from_min(row: dict[str, Any]) -> dict[str, Any]:
    """A row of JSON-MIN in the words of the full export; its regions have no ids."""
    result = [
        {**_min_item(item), "from_name": control}
        for control, items in row.items()
        if isinstance(items, list)
        for item in items
        if isinstance(item, dict)
    ]
    annotation = {
        "id": row.get("annotation_id"),
        "completed_by": row.get("annotator"),
        "created_at": row.get("created_at"),
        "updated_at": row.get("updated_at"),
        "result": result,
    }
    data = {key: value for key, value in row.items() if _looks_like_image(key, value)}
    ours = {key: value for key, value in row.items() if key.startswith("loco_")}
    return {"id": row.get("id"), "data": {**data, **ours}, "annotations": [annotation]}


def _min_item(item: dict[str, Any]) -> dict[str, Any]:
    outside = ("original_width", "original_height", "image_rotation", "item_index")
    value = {key: found for key, found in item.items() if key not in outside}
    labelled = [key for key in value if key.endswith("labels")]
    kind = labelled[0] if labelled else _shape("", value)
    return {**{key: item[key] for key in outside if key in item}, "type": kind, "value": value}


def _read_annotation(item: dict[str, Any], task: TaskId, data: dict[str, Any]) -> Annotation:
    result = item.get("result")
    regions, skipped = [], []
    if not isinstance(result, list):
        reason = f"expected the annotation's result as a list, got {_kind(result)}"
        skipped.append(Skipped(task, None, None, reason))
        result = []
    for items in _by_id(result):
        made = _read_region(items, task, data)
        if isinstance(made, Region):
            regions.append(made)
        elif made is not None:
            skipped.append(made)
    return Annotation(
        id=_text(item.get("id")),
        annotator=_annotator(item.get("completed_by")),
        time=_text(item.get("updated_at")) or _text(item.get("created_at")) or "",
        regions=tuple(regions),
        skipped=tuple(skipped),
    )


def _by_id(result: list[Any]) -> Iterator[list[Any]]:
    """The items of each region together, in the order of their first items."""
    groups: dict[str, list[Any]] = {}
    for place, item in enumerate(result):
        name = _text(item.get("id")) if isinstance(item, dict) else None
        groups.setdefault(f"#{place}" if name is None else f"id {name}", []).append(item)
    yield from groups.values()


def _read_region(items: list[Any], task: TaskId, data: dict[str, Any]) -> Region | Skipped | None:
    """The region that the items of one id make; None when they draw nothing."""
    objects = [item for item in items if isinstance(item, dict)]
    if not objects:
        return Skipped(task, None, None, f"expected a region as an object, got {_kind(items[0])}")
    drawn = [item for item in objects if _text(item.get("type")) not in _NOTHING_DRAWN]
    if not drawn:
        return None
    tool = next((item for item in drawn if item.get("type") != "labels"), drawn[0])
    name, kind = _text(tool.get("id")), _text(tool.get("type"))
    value = _value(tool)
    if value is None:
        got = _kind(tool.get("value"))
        return Skipped(task, name, kind, f"expected a geometry under value, got {got}")
    try:
        size = _original_size(tool)
        item_index = _item_index(tool)
    except AnnotationError as error:
        return Skipped(task, name, kind, str(error))
    return Region(
        task=task,
        id=name,
        type=kind or "",
        shape=_shape(kind or "", value),
        labels=_labels(objects),
        group=_group(objects),
        value=value,
        size=size,
        image=_image_of(data, _text(tool.get("to_name")), item_index),
        item_index=item_index,
    )


def _value(item: dict[str, Any]) -> dict[str, Any] | None:
    """The geometry; older files keep a brush's code beside `value` instead of inside."""
    value = item.get("value")
    if isinstance(value, dict) or (value is None and "rle" in item):
        beside = {"rle": item["rle"]} if "rle" in item else {}
        return {**beside, **(value or {})}
    return None


def _shape(kind: str, value: dict[str, Any]) -> str:
    """The kind of geometry: from the type when that tells, else from what the value holds."""
    word = kind.removesuffix("labels")
    word = _SHAPE_OF_TYPE.get(word, word)
    if word in {shape for _, shape in _SHAPE_BY_KEY}:
        return word
    by_key = next((shape for key, shape in _SHAPE_BY_KEY if key in value), None)
    return by_key if by_key and word == "" else word or "region of unknown shape"


def _labels(items: list[dict[str, Any]]) -> tuple[str, ...]:
    found: dict[str, None] = {}
    for item in items:
        value = item.get("value")
        for key, names in value.items() if isinstance(value, dict) else ():
            if key.endswith("labels") and isinstance(names, list):
                found.update({_clean(name): None for name in names if isinstance(name, str)})
    return tuple(found)


def _group(items: list[dict[str, Any]]) -> int | None:
    for item in items:
        value = item.get("value")
        if item.get("from_name") == GROUP_CONTROL and isinstance(value, dict):
            number = value.get("number")
            if isinstance(number, int | float) and not isinstance(number, bool):
                return int(number) if abs(number) < 1e9 else None
    return None


def _original_size(item: dict[str, Any]) -> tuple[int, int] | None:
    height, width = item.get("original_height"), item.get("original_width")
    if height is None or width is None:
        return None
    for key, length in (("original_height", height), ("original_width", width)):
        is_number = isinstance(length, int | float) and not isinstance(length, bool)
        if not is_number or not 0 < length < 1e9 or length != int(length):
            raise AnnotationError(f"{key}: expected a whole number of pixels, got {_kind(length)}")
    return int(height), int(width)


def _item_index(item: dict[str, Any]) -> int:
    index = item.get("item_index")
    if index is None:
        return 0
    if isinstance(index, bool) or not isinstance(index, int) or not 0 <= index < 1e6:
        raise AnnotationError(f"item_index: expected a whole number from 0, got {_kind(index)}")
    return index


def _image_of(data: dict[str, Any], to_name: str | None, item_index: int) -> str | None:
    """The image that a region lies on: the one named like its tag, else the task's images."""
    named = data.get(to_name) if to_name and item_index == 0 else None
    if to_name and isinstance(named, str) and _looks_like_image(to_name, named):
        return _clean(named)
    images = _images(data)
    return images[item_index] if item_index < len(images) else None


def _images(data: dict[str, Any]) -> tuple[str, ...]:
    """The image references of a task: those under "image", else the first value like an image."""
    keys = [*_IMAGE_KEYS, *(key for key in data if key not in _IMAGE_KEYS)]
    for key in keys:
        if _looks_like_image(key, data.get(key)):
            found = data[key]
            return tuple(_clean(one) for one in ([found] if isinstance(found, str) else found))
    return ()


def _looks_like_image(key: str, value: Any) -> bool:
    if isinstance(value, list):
        return bool(value) and all(
            isinstance(entry, str) and _looks_like_image(key, entry) for entry in value
        )
    if not isinstance(value, str) or value == "":
        return False
    path = value.split("?d=")[-1].split("?")[0].split("#")[0].lower()
    return key in _IMAGE_KEYS or path.endswith(_IMAGE_SUFFIXES)


def _annotator(who: Any) -> str | None:
    """The annotator's id, or e-mail where the export gives a whole user."""
    if isinstance(who, dict):
        return _text(who.get("id")) or _text(who.get("email"))
    return _text(who)


def _text(found: Any) -> str | None:
    if isinstance(found, bool) or not isinstance(found, int | str) or found == "":
        return None
    if isinstance(found, str):
        return _clean(found)
    return str(found) if abs(found) < 1e18 else None


def _clean(text: str) -> str:
    """Half of a surrogate pair is legal JSON, but can neither be printed nor written as UTF-8."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _kind(found: Any) -> str:
    """What was found, short enough for a message."""
    if isinstance(found, dict | list):
        return "an object" if isinstance(found, dict) else f"a list of {len(found)}"
    text = "nothing" if found is None else repr(found) if not _huge(found) else "a huge number"
    return text if len(text) <= 40 else f"{text[:37]}..."


def _huge(found: Any) -> bool:
    return isinstance(found, int) and abs(found) > 1e18
