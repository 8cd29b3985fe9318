"""The full JSON export of Label Studio: tasks, their annotations, and the regions drawn in them.

The file is a list of tasks, or one task without a list. It is read one task at a time, and what is
kept of it is packed: a byte per value of a brush, sixteen bytes per point of a polygon. Cancelled
annotations and drafts do not count, and predictions only count on request. Result items that share
an id (a tool, its label, a number) are one region, unless they draw different geometries, or on
different pages or Image tags: ids of four digits, as some back ends write them, repeat. Choices,
ratings, texts and relations draw nothing and are not regions. An item that cannot be understood is
skipped with the reason; only a file that is not an export at all is an error.
"""

from collections.abc import Hashable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from loco_tools.annotations.formats.json_checks import (
    as_text,
    describe,
    escape_surrogates,
    is_number,
)
from loco_tools.annotations.formats.regions import Annotation, Export, Region, Skipped, Task, TaskId
from loco_tools.annotations.formats.task_file import entries, first_object
from loco_tools.annotations.formats.task_images import TaskImages
from loco_tools.errors import AnnotationError

GROUP_CONTROL = "group"
"""Name of the per-region number that ties the regions of one defect instance together."""

_TYPES_WITHOUT_REGION = {
    "relation",
    "choices",
    "rating",
    "textarea",
    "number",
    "datetime",
    "taxonomy",
}
_SHAPE_BY_KEY = (
    ("rle", "brush"),
    ("imageDataURL", "bitmask"),
    ("points", "polygon"),
    ("vertices", "vector"),
    ("radiusX", "ellipse"),
    ("height", "rectangle"),
    ("x", "keypoint"),
)
_GEOMETRY = (
    *("x", "y", "width", "height", "rotation", "radiusX", "radiusY", "points", "vertices"),
    *("rle", "imageDataURL"),
)
_DRAWING = (*_GEOMETRY, "item_index", "to_name")
_VERDICTS = ("good", "anomalous", "unsure")


def recognises(path: Path) -> bool:
    """Whether the first object in the file is a task."""
    first = first_object(path)
    return first is not None and is_task(first)


def is_task(entry: dict[str, Any]) -> bool:
    """Whether an entry is a task of the full export; a row of JSON-MIN has neither of its keys."""
    return "annotations" in entry or "data" in entry


def read(path: Path, *, predictions: bool = False) -> Export:
    """Read a full JSON export.

    Args:
        path: the export.
        predictions: read predictions as annotations too, each by the annotator
            `prediction <model version>`.

    Raises:
        AnnotationError: the file cannot be read, is not JSON, or holds no tasks.
    """
    return read_tasks(path, entries(path), predictions=predictions)


def read_tasks(path: Path, raw_tasks: Iterable[Any], *, predictions: bool) -> Export:
    """Read the tasks of an export as they come; a task without a usable id gets its number.

    Args:
        path: the file that the tasks come from.
        raw_tasks: each as an object of the full export; anything else is skipped.
        predictions: read predictions as annotations too.
    """
    tasks, skipped = [], []
    for number, entry in enumerate(raw_tasks, start=1):
        if isinstance(entry, dict):
            task, faults = _read_task(entry, number, predictions)
            tasks.append(task)
            skipped += faults
        else:
            reason = f"expected a task as an object, got {describe(entry)}"
            skipped.append(Skipped(number, None, None, reason))
    return Export(path, tuple(tasks), tuple(skipped))


def _read_task(entry: dict[str, Any], number: int, predictions: bool) -> tuple[Task, list[Skipped]]:
    """One task, and the entries in it that are not annotations."""
    task_id = entry.get("id")
    if isinstance(task_id, bool) or not isinstance(task_id, int | str) or task_id == "":
        task_id = number
    task_id = escape_surrogates(task_id) if isinstance(task_id, str) else task_id
    data = entry.get("data")
    data = data if isinstance(data, dict) else {}
    submitted, skipped = _objects_under(entry, "annotations", task_id)
    predicted, faults = _objects_under(entry, "predictions", task_id)
    if predictions:
        skipped += faults
        faults = []
    drafts, _ = _objects_under(entry, "drafts", task_id)
    cancelled = [item for item in submitted if item.get("was_cancelled")]
    kept = [item for item in submitted if not item.get("was_cancelled")]
    images = TaskImages(data, {as_text(i.get("to_name")) for i in _drawn_items(kept)})
    annotations = [_read_annotation(item, task_id, images, predicted=False) for item in kept]
    if predictions:
        annotations += [
            _read_annotation(item, task_id, images, predicted=True) for item in predicted
        ]
    left_out = [
        Skipped(task_id, as_text(drawn[0].get("id")), as_text(drawn[0].get("type")), reason)
        for items, reason in (
            (cancelled, "its annotation was cancelled"),
            (drafts, "a draft, not submitted"),
            ([] if predictions else predicted, "a prediction, not drawn by a person"),
        )
        for item in items
        for region in _items_by_region(_list_of(item.get("result")))
        if (drawn := [i for i in region if isinstance(i, dict) and _draws(i)])
    ]
    left_out += [
        Skipped(task_id, None, None, "a prediction of which the export gives no regions")
        for _ in faults
    ]
    drawn_on = [r.image for a in annotations for r in a.regions if r.image is not None]
    shown = tuple(dict.fromkeys([*images.shown, *drawn_on]))
    return Task(task_id, data, shown, tuple(annotations), tuple(left_out)), skipped


def _objects_under(
    entry: dict[str, Any], key: str, task: TaskId
) -> tuple[list[dict[str, Any]], list[Skipped]]:
    """The annotations (or drafts, or predictions) of a task, and what is not an object."""
    items = entry.get(key)
    if items is None:
        return [], []
    if not isinstance(items, list):
        reason = f"expected {key} as a list, got {describe(items)}"
        return [], [Skipped(task, None, None, reason)]
    faults = [
        Skipped(task, None, None, f"expected an annotation as an object, got {describe(item)}")
        for item in items
        if not isinstance(item, dict)
    ]
    return [item for item in items if isinstance(item, dict)], faults


def _drawn_items(annotations: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """The result items that draw something."""
    for annotation in annotations:
        for item in _list_of(annotation.get("result")):
            if isinstance(item, dict) and _draws(item):
                yield item


def _list_of(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _items_by_region(result: list[Any]) -> list[list[Any]]:
    """The items of an annotation's result, those of one region together.

    Items of one id are one region where they draw the same, or where the id has one region and
    nothing that both say differs. Items that draw nothing (a number, a choice) belong to the region
    whose geometry they repeat, or else to the only region of their id.
    """
    regions: list[list[Any]] = []
    by_id: dict[str, list[list[Any]]] = {}
    by_drawing: dict[Hashable, list[Any]] = {}
    for item in sorted(result, key=lambda item: isinstance(item, dict) and not _draws(item)):
        name = as_text(item.get("id")) if isinstance(item, dict) else None
        if name is None:
            regions.append([item])
            continue
        same_id = by_id.setdefault(name, [])
        if len(same_id) > 1:
            region = by_drawing.get((name, _drawing(item)))
        else:
            region = next((one for one in same_id if _belong(item, one[0])), None)
        if region is not None:
            region.append(item)
            continue
        regions.append([item])
        if _draws(item):
            same_id.append(regions[-1])
            if len(same_id) > 1:  # few ids repeat, and this takes long for brushes
                by_drawing |= {(name, _drawing(one[0])): one for one in (same_id[0], same_id[-1])}
    return regions


def _said(item: dict[str, Any]) -> dict[str, Any]:
    """What an item says about the geometry of its region, its page and its Image tag."""
    value = item.get("value")
    everything = {**item, **(value if isinstance(value, dict) else {})}
    return {key: everything[key] for key in _DRAWING if everything.get(key) is not None}


def _drawing(item: dict[str, Any]) -> Hashable:
    """The same as a value that can be looked up."""
    return tuple((key, repr(said)) for key, said in _said(item).items())


def _belong(item: dict[str, Any], first: dict[str, Any]) -> bool:
    """Whether an item belongs to the only region of its id, which begins with `first`."""
    return _said(item) == _said(first) or _agree(item, first)


def _agree(first: dict[str, Any], second: dict[str, Any]) -> bool:
    """Whether two items can belong to one region: one tool, and nothing that both say differs."""
    tools = {(as_text(i.get("type")) or "").removesuffix("labels") for i in (first, second)}
    one, other = _said(first), _said(second)
    if _draws(first) and _draws(second):
        geometries = [said.keys() & set(_GEOMETRY) for said in (one, other)]
        if len(tools - {""}) > 1 or (all(geometries) and not geometries[0] & geometries[1]):
            return False
    return all(one[key] == other[key] for key in one.keys() & other.keys())


def _draws(item: dict[str, Any]) -> bool:
    return as_text(item.get("type")) not in _TYPES_WITHOUT_REGION


def _read_annotation(
    item: dict[str, Any], task: TaskId, images: TaskImages, *, predicted: bool
) -> Annotation:
    result = item.get("result")
    skipped = []
    if not isinstance(result, list):
        reason = f"expected the annotation's result as a list, got {describe(result)}"
        skipped.append(Skipped(task, None, None, reason))
        result = []
    regions = [_read_region(items, task, images) for items in _items_by_region(result)]
    skipped += [region for region in regions if isinstance(region, Skipped)]
    objects = [entry for entry in result if isinstance(entry, dict)]
    relations = [
        (as_text(entry.get("from_id")), as_text(entry.get("to_id")))
        for entry in objects
        if entry.get("type") == "relation"
    ]
    reviews = item.get("reviews")
    last_review = reviews[-1] if isinstance(reviews, list) and reviews else None
    accepted = isinstance(last_review, dict) and last_review.get("accepted") is True
    return Annotation(
        id=as_text(item.get("id")),
        annotator=_annotator(item, predicted),
        time=as_text(item.get("updated_at")) or as_text(item.get("created_at")) or "",
        regions=tuple(region for region in regions if isinstance(region, Region)),
        skipped=tuple(skipped),
        reviewed=not predicted and (item.get("ground_truth") is True or accepted),
        predicted=predicted,
        verdicts=_verdicts(objects),
        relations=tuple((a, b) for a, b in relations if a is not None and b is not None),
    )


def _annotator(item: dict[str, Any], predicted: bool) -> str | None:
    """The annotator's id, or e-mail where the export gives no id; a model for a prediction."""
    if predicted:
        return f"prediction {as_text(item.get('model_version')) or 'of an unnamed model'}"
    user = item.get("completed_by")
    if isinstance(user, dict):
        return as_text(user.get("id")) or as_text(user.get("email"))
    return as_text(user)


def _read_region(items: list[Any], task: TaskId, images: TaskImages) -> Region | Skipped | None:
    """The region that the items of one id make; None when they draw nothing."""
    objects = [item for item in items if isinstance(item, dict)]
    if not objects:
        got = describe(items[0])
        return Skipped(task, None, None, f"expected a region as an object, got {got}")
    drawn = [item for item in objects if _draws(item)]
    if not drawn:
        return None
    tool = next((item for item in drawn if item.get("type") != "labels"), drawn[0])
    name, kind = as_text(tool.get("id")), as_text(tool.get("type"))
    value = tool.get("value")
    if "rle" in tool and (value is None or isinstance(value, dict)):
        # older files keep the code of a brush next to `value`, not in it
        value = {"rle": tool["rle"], **(value or {})}
    if not isinstance(value, dict):
        got = describe(value)
        return Skipped(task, name, kind, f"expected a geometry under value, got {got}")
    try:
        size: tuple[int, int] | None = None
        if tool.get("original_height") is not None and tool.get("original_width") is not None:
            pixels = "a whole number of pixels"
            height = _whole_number(tool, "original_height", least=1, expected=pixels)
            size = height, _whole_number(tool, "original_width", least=1, expected=pixels)
        item_index = 0
        if tool.get("item_index") is not None:
            expected = "a whole number from 0"
            item_index = _whole_number(tool, "item_index", least=0, expected=expected)
        image, item_index = images.of(as_text(tool.get("to_name")), item_index)
    except AnnotationError as error:
        return Skipped(task, name, kind, str(error))
    labels, group = _labels_and_group(objects)
    shape, value = _read_geometry(kind or "", value)
    return Region(
        task=task,
        id=name,
        type=kind or "",
        shape=shape,
        labels=labels,
        group=group,
        value=value,
        size=size,
        image=image,
        item_index=item_index,
        parent=as_text(tool.get("parentID")),
    )


def _labels_and_group(items: list[dict[str, Any]]) -> tuple[tuple[str, ...], int | None]:
    """The labels of one region, each once, and its group number."""
    labels: dict[str, None] = {}
    group = None
    for item in items:
        value = item.get("value")
        if not isinstance(value, dict):
            continue
        for key, names in value.items():
            if key.endswith("labels") and isinstance(names, list):
                labels.update(
                    {escape_surrogates(name): None for name in names if isinstance(name, str)}
                )
        number = value.get("number")
        if item.get("from_name") == GROUP_CONTROL and group is None and is_number(number):
            group = int(number) if abs(number) < 1e9 else None
    return tuple(labels), group


def _read_geometry(kind: str, value: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """The shape of a region, and its geometry with long lists packed as bytes and arrays.

    The shape follows from the region's type, or else from the keys of its geometry. A malformed
    list stays as it is; the error message comes when it is rasterised.
    """
    shape = kind.removesuffix("labels")
    shape = "brush" if shape == "magicwand" else shape
    if shape == "":
        shape = next((shape for key, shape in _SHAPE_BY_KEY if key in value), "")
    packed = dict(value)
    code, points = value.get("rle"), value.get("points")
    try:
        if isinstance(code, list):
            packed["rle"] = bytes(code)
        if isinstance(points, list) and all(
            isinstance(point, list) and len(point) == 2 and all(is_number(n) for n in point)
            for point in points
        ):
            packed["points"] = np.array(points, dtype=np.float64).reshape(-1, 2)
    except (TypeError, ValueError, OverflowError):
        pass
    return shape or "region of unknown shape", packed


def _verdicts(items: list[dict[str, Any]]) -> dict[int, str]:
    """The verdict on each whole image by its index: good, anomalous or unsure."""
    verdicts: dict[int, str] = {}
    for item in items:
        value = item.get("value")
        if item.get("type") == "choices" and isinstance(value, dict):
            chosen, index = value.get("choices"), item.get("item_index")
            for name in chosen if isinstance(chosen, list) else [chosen]:
                if isinstance(name, str) and name.lower() in _VERDICTS:
                    verdicts[index if isinstance(index, int) else 0] = name.lower()
    return verdicts


def _whole_number(item: dict[str, Any], key: str, *, least: int, expected: str) -> int:
    number = item[key]
    if not is_number(number) or not least <= number < 1e9 or number != int(number):
        raise AnnotationError(f"{key}: expected {expected}, got {describe(number)}")
    return int(number)
