"""Reading what Label Studio exports: tasks, their annotations, and the regions drawn in them.

Full JSON (a list of tasks, or one task without a list) and JSON-MIN (one flat row per annotation)
are read, one task at a time; brush codes and polygons are kept packed. Cancelled annotations and
drafts are left out, predictions too unless they are asked for. Result items that share an id (a
tool, its label, a number) are one region. Choices, ratings, texts and relations draw nothing and
are no regions. An item that cannot be understood is skipped with its reason, never fatal; only a
file that is no export at all is an error.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from loco_tools.annotations.formats.json_checks import clean, described, is_number, text
from loco_tools.annotations.formats.json_min import from_min
from loco_tools.annotations.formats.regions import Annotation, Export, Region, Skipped, Task, TaskId
from loco_tools.annotations.formats.task_file import entries
from loco_tools.annotations.formats.task_images import TaskImages
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
_VERDICTS = ("good", "anomalous", "unsure")


def read_export(path: Path, *, predictions: bool = False) -> Export:
    """Read a Label Studio export, full JSON or JSON-MIN.

    A task without a usable id gets its place in the file, counted from 1. The file may be larger
    than the memory that its objects would take: what is kept is about a byte per value of a brush.

    Args:
        path: the export.
        predictions: take predictions for annotations, each by the "annotator"
            `prediction <model version>`.

    Raises:
        AnnotationError: the file cannot be read, is no JSON, or holds no tasks.
    """
    tasks, skipped = [], []
    for number, entry in enumerate(entries(path), start=1):
        if not isinstance(entry, dict):
            reason = f"expected a task as an object, got {described(entry)}"
            skipped.append(Skipped(number, None, None, reason))
            continue
        task, faults = _read_task(entry, number, predictions)
        tasks.append(task)
        skipped.extend(faults)
    return Export(path, tuple(tasks), tuple(skipped))


def _read_task(entry: dict[str, Any], number: int, predictions: bool) -> tuple[Task, list[Skipped]]:
    if "annotations" not in entry and "data" not in entry:
        entry = from_min(entry)
    task_id = entry.get("id")
    if isinstance(task_id, bool) or not isinstance(task_id, int | str) or task_id == "":
        task_id = number
    task_id = clean(task_id) if isinstance(task_id, str) else task_id
    data = entry.get("data")
    data = data if isinstance(data, dict) else {}
    submitted, skipped = _listed(entry, "annotations", task_id)
    guessed, faults = _listed(entry, "predictions", task_id)
    skipped += faults if predictions else []
    cancelled = [item for item in submitted if item.get("was_cancelled")]
    kept = [item for item in submitted if not item.get("was_cancelled")]
    images = TaskImages(data, {text(i.get("to_name")) for i in _items(kept) if _draws(i)})
    annotations = [_read_annotation(item, task_id, images, predicted=False) for item in kept]
    if predictions:
        annotations += [_read_annotation(item, task_id, images, predicted=True) for item in guessed]
    drafts, _ = _listed(entry, "drafts", task_id)
    out = [(cancelled, "its annotation was cancelled"), (drafts, "a draft, not submitted")]
    out += [] if predictions else [(guessed, "a prediction, not drawn by a person")]
    left_out = [skip for items, reason in out for skip in _left_out(items, task_id, reason)]
    drawn_on = [r.image for a in annotations for r in a.regions if r.image is not None]
    shown = tuple(dict.fromkeys([*images.shown, *drawn_on]))
    return Task(task_id, data, shown, tuple(annotations), tuple(left_out)), skipped


def _listed(
    entry: dict[str, Any], key: str, task: TaskId
) -> tuple[list[dict[str, Any]], list[Skipped]]:
    """The annotations (or drafts, or predictions) of a task, and what is none."""
    found = entry.get(key)
    if found is None:
        return [], []
    if not isinstance(found, list):
        reason = f"expected {key} as a list, got {described(found)}"
        return [], [Skipped(task, None, None, reason)]
    faults = [
        Skipped(task, None, None, f"expected an annotation as an object, got {described(item)}")
        for item in found
        if not isinstance(item, dict)
    ]
    return [item for item in found if isinstance(item, dict)], faults


def _items(annotations: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for annotation in annotations:
        result = annotation.get("result")
        yield from (i for i in result if isinstance(i, dict)) if isinstance(result, list) else ()


def _left_out(annotations: list[dict[str, Any]], task: TaskId, reason: str) -> Iterator[Skipped]:
    seen: set[str] = set()
    for item in _items(annotations):
        name = text(item.get("id"))
        if _draws(item) and (name is None or name not in seen):
            yield Skipped(task, name, text(item.get("type")), reason)
            seen.add(name or "")


def _draws(item: dict[str, Any]) -> bool:
    return text(item.get("type")) not in _NOTHING_DRAWN


def _read_annotation(
    item: dict[str, Any], task: TaskId, images: TaskImages, *, predicted: bool
) -> Annotation:
    result = item.get("result")
    regions, skipped = [], []
    if not isinstance(result, list):
        reason = f"expected the annotation's result as a list, got {described(result)}"
        skipped.append(Skipped(task, None, None, reason))
        result = []
    for items in _by_id(result):
        made = _read_region(items, task, images)
        if isinstance(made, Region):
            regions.append(made)
        elif made is not None:
            skipped.append(made)
    objects = [entry for entry in result if isinstance(entry, dict)]
    return Annotation(
        id=text(item.get("id")),
        annotator=_model(item) if predicted else _annotator(item.get("completed_by")),
        time=text(item.get("updated_at")) or text(item.get("created_at")) or "",
        regions=tuple(regions),
        skipped=tuple(skipped),
        reviewed=not predicted and _is_reviewed(item),
        predicted=predicted,
        verdicts=_verdicts(objects),
        relations=_relations(objects),
    )


def _by_id(result: list[Any]) -> Iterator[list[Any]]:
    """The items of each region together, in the order of their first items."""
    groups: dict[str, list[Any]] = {}
    for place, item in enumerate(result):
        name = text(item.get("id")) if isinstance(item, dict) else None
        groups.setdefault(f"#{place}" if name is None else f"id {name}", []).append(item)
    yield from groups.values()


def _read_region(items: list[Any], task: TaskId, images: TaskImages) -> Region | Skipped | None:
    """The region that the items of one id make; None when they draw nothing."""
    objects = [item for item in items if isinstance(item, dict)]
    if not objects:
        got = described(items[0])
        return Skipped(task, None, None, f"expected a region as an object, got {got}")
    drawn = [item for item in objects if _draws(item)]
    if not drawn:
        return None
    tool = next((item for item in drawn if item.get("type") != "labels"), drawn[0])
    name, kind = text(tool.get("id")), text(tool.get("type"))
    value = _value(tool)
    if value is None:
        got = described(tool.get("value"))
        return Skipped(task, name, kind, f"expected a geometry under value, got {got}")
    try:
        size = _original_size(tool)
        item_index = _item_index(tool)
        image = images.of(text(tool.get("to_name")), item_index)
    except AnnotationError as error:
        return Skipped(task, name, kind, str(error))
    return Region(
        task=task,
        id=name,
        type=kind or "",
        shape=_shape(kind or "", value),
        labels=_labels(objects),
        group=_group(objects),
        value=_packed(value),
        size=size,
        image=image,
        item_index=item_index,
        parent=text(tool.get("parentID")),
    )


def _value(item: dict[str, Any]) -> dict[str, Any] | None:
    """The geometry; older files keep a brush's code beside `value` instead of inside."""
    value = item.get("value")
    if isinstance(value, dict) or (value is None and "rle" in item):
        beside = {"rle": item["rle"]} if "rle" in item else {}
        return {**beside, **(value or {})}
    return None


def _packed(value: dict[str, Any]) -> dict[str, Any]:
    """The geometry with its long lists in a byte per number of a brush, sixteen per point."""
    packed = dict(value)
    code, points = value.get("rle"), value.get("points")
    try:
        if isinstance(code, list):
            packed["rle"] = bytes(code)
        if isinstance(points, list) and all(_is_point(point) for point in points):
            packed["points"] = np.array(points, dtype=np.float64).reshape(-1, 2)
    except (TypeError, ValueError, OverflowError):
        pass  # malformed, which rasterising explains
    return packed


def _is_point(found: Any) -> bool:
    return isinstance(found, list) and len(found) == 2 and all(is_number(n) for n in found)


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
                found.update({clean(name): None for name in names if isinstance(name, str)})
    return tuple(found)


def _group(items: list[dict[str, Any]]) -> int | None:
    for item in items:
        value = item.get("value")
        if item.get("from_name") == GROUP_CONTROL and isinstance(value, dict):
            number = value.get("number")
            if is_number(number):
                return int(number) if abs(number) < 1e9 else None
    return None


def _relations(items: list[dict[str, Any]]) -> tuple[tuple[str, str], ...]:
    ends = [
        (text(item.get("from_id")), text(item.get("to_id")))
        for item in items
        if item.get("type") == "relation"
    ]
    return tuple((one, other) for one, other in ends if one is not None and other is not None)


def _verdicts(items: list[dict[str, Any]]) -> dict[int, str]:
    """What whole images were called, by their index: good, anomalous or unsure."""
    verdicts: dict[int, str] = {}
    for item in items:
        value = item.get("value")
        if item.get("type") == "choices" and isinstance(value, dict):
            chosen, index = value.get("choices"), item.get("item_index")
            for name in chosen if isinstance(chosen, list) else [chosen]:
                if isinstance(name, str) and name.lower() in _VERDICTS:
                    verdicts[index if isinstance(index, int) else 0] = name.lower()
    return verdicts


def _is_reviewed(item: dict[str, Any]) -> bool:
    """Marked as ground truth, or accepted by a reviewer."""
    reviews = item.get("reviews")
    last = reviews[-1] if isinstance(reviews, list) and reviews else None
    accepted = isinstance(last, dict) and last.get("accepted") is True
    return item.get("ground_truth") is True or accepted


def _original_size(item: dict[str, Any]) -> tuple[int, int] | None:
    height, width = item.get("original_height"), item.get("original_width")
    if height is None or width is None:
        return None
    for key, length in (("original_height", height), ("original_width", width)):
        if not is_number(length) or not 0 < length < 1e9 or length != int(length):
            got = described(length)
            raise AnnotationError(f"{key}: expected a whole number of pixels, got {got}")
    return int(height), int(width)


def _item_index(item: dict[str, Any]) -> int:
    index = item.get("item_index")
    if index is None:
        return 0
    if isinstance(index, bool) or not isinstance(index, int) or not 0 <= index < 1e6:
        got = described(index)
        raise AnnotationError(f"item_index: expected a whole number from 0, got {got}")
    return index


def _annotator(who: Any) -> str | None:
    """The annotator's id, or e-mail where the export gives a whole user."""
    if isinstance(who, dict):
        return text(who.get("id")) or text(who.get("email"))
    return text(who)


def _model(item: dict[str, Any]) -> str:
    return f"prediction {text(item.get('model_version')) or 'of an unnamed model'}"
