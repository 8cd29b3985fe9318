"""Builders for the tests of annotations: small masks, plans and Label Studio exports."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from loco_tools.annotations.formats import brush_rle
from loco_tools.plan import Plan, Shots, load_plan

Mask = npt.NDArray[np.bool_]

HEIGHT, WIDTH = 48, 64
CONDITIONS = (
    ("train", "good", None, 2),
    ("validation", "good", None, 1),
    ("test", "good", None, 1),
    ("test", "structural", "scratch", 2),
    ("test", "logical", "misplaced_screw", 2),
)


def small_plan(name: str = "composite_part") -> Plan:
    """Eight parts in small pictures; the composite part from above only: one image per part."""
    plan = load_plan(name)
    shots = tuple(
        Shots(split=split, kind=kind, defect=defect, parts=parts, demo_parts=0)
        for split, kind, defect, parts in CONDITIONS
    )
    camera = plan.camera.model_copy(update={"width_px": WIDTH, "height_px": HEIGHT})
    views = tuple(view for view in plan.views if name != "composite_part" or view.name == "top")
    return plan.model_copy(update={"shots": shots, "camera": camera, "views": views})


def box(top: int, left: int, bottom: int, right: int) -> Mask:
    mask = np.zeros((HEIGHT, WIDTH), dtype=bool)
    mask[top:bottom, left:right] = True
    return mask


def default_truth() -> dict[str, list[tuple[str, Mask]]]:
    """p0004, p0005: scratch; p0006: a misplaced screw in two places; p0007: hidden."""
    ring = box(5, 5, 40, 40) & ~box(12, 12, 30, 30)
    two_places = box(5, 5, 15, 15) | box(20, 30, 30, 45)
    return {
        "p0004-top": [("scratch", ring)],
        "p0005-top": [("scratch", box(10, 10, 30, 40)), ("dent", box(20, 35, 40, 60))],
        "p0006-top": [("misplaced_screw", two_places)],
    }


def make_region(kind: str = "rectanglelabels", **changes: Any) -> dict[str, Any]:
    """A result item as the server writes it; `changes` replace or add keys, None removes one."""
    value: dict[str, Any] = {"x": 25.0, "y": 25.0, "width": 50.0, "height": 50.0, "rotation": 0}
    if kind.endswith("labels"):
        value[kind] = ["scratch"]
    item = {
        "id": "abcdefghij",
        "type": kind,
        "from_name": "tool",
        "to_name": "image",
        "origin": "manual",
        "image_rotation": 0,
        "original_width": WIDTH,
        "original_height": HEIGHT,
        "value": value,
        **changes,
    }
    return {key: content for key, content in item.items() if content is not None}


def brush_region(mask: Mask, label: str = "scratch", **changes: Any) -> dict[str, Any]:
    code = brush_rle.encode(mask.astype(np.uint8) * 255)
    value = {"format": "rle", "rle": code, "brushlabels": [label]}
    return make_region("brushlabels", value=value, **changes)


def group_number(region: str, number: int) -> dict[str, Any]:
    return {
        "id": region,
        "type": "number",
        "from_name": "group",
        "to_name": "image",
        "value": {"number": number},
    }


def make_task(*result: Any, task: Any = 1, shot: str | None = None, **changes: Any) -> Any:
    data = {"image": "/data/upload/1/0a1b2c3d-photo.png"}
    if shot is not None:
        data = {"image": f"/data/upload/1/0a1b2c3d-{shot}.png"}
    annotation = {"id": 7, "completed_by": 1, "was_cancelled": False, "result": list(result)}
    return {"id": task, "data": data, "annotations": [annotation], **changes}


def write_export(path: Path, *tasks: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(list(tasks)), encoding="utf-8")
    return path
