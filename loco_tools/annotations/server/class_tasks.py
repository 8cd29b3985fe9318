"""From a converted class back to Label Studio: its masks as tasks, so that they can be corrected.

Converting what comes back gives the same class: brushes hold masks exactly, and each mask file is
one group.
"""

from pathlib import Path
from typing import Any

from loco_tools.annotations.formats import mask_to_shape
from loco_tools.annotations.formats.label_studio import GROUP_CONTROL
from loco_tools.datasets import load
from loco_tools.datasets.sample import Defect, Sample
from loco_tools.datasets.sidecar import read_records, sidecar_path
from loco_tools.errors import AnnotationError

MODEL_VERSION = "loco-tools class"


def class_tasks(class_dir: Path, *, as_predictions: bool = True) -> list[dict[str, Any]]:
    """The images of a class that have defects, or whose part has one, as Label Studio tasks.

    Each mask becomes a brush region with the defect's label and a group number. The tasks name
    their photographs by our ids, from the sidecar beside the class.

    Args:
        class_dir: the class, as `convert` wrote it.
        as_predictions: pre-annotations for people to correct; otherwise submitted annotations.

    Raises:
        AnnotationError: an image has no line in the sidecar that names its shot and session.
        DatasetError: the class or its sidecar cannot be read.
    """
    dataset = load(class_dir)
    records = read_records(sidecar_path(class_dir))
    tasks = []
    for sample in dataset.test:
        name = sample.image_path.relative_to(class_dir).as_posix()
        record = records.get(name, {})
        if sample.defects or record.get("part_kind") not in {"good", None}:
            tasks.append(_task(sample, _ids(class_dir, name, record), as_predictions))
    return tasks


def _ids(class_dir: Path, name: str, record: dict[str, Any]) -> dict[str, str]:
    ids = {"loco_class": class_dir.name} | {
        f"loco_{key}": record[key]
        for key in ("session", "shot")
        if isinstance(record.get(key), str)
    }
    if len(ids) != 3:
        raise AnnotationError(
            f"{class_dir / name}: expected its session and shot in {sidecar_path(class_dir)}, "
            "found neither; next step: only classes made by loco-tools convert can go back"
        )
    return ids


def _task(sample: Sample, ids: dict[str, str], as_predictions: bool) -> dict[str, Any]:
    result = [
        item
        for number, defect in enumerate(sample.defects, start=1)
        for item in _region(sample, defect, number)
    ]
    data = {"image": f"{ids['loco_shot']}.png", **ids}
    if as_predictions:
        return {"data": data, "predictions": [{"model_version": MODEL_VERSION, "result": result}]}
    return {"data": data, "annotations": [{"result": result, "was_cancelled": False}]}


def _region(sample: Sample, defect: Defect, number: int) -> list[dict[str, Any]]:
    height, width = sample.size
    common = {
        "id": f"mask-{number}",
        "to_name": "image",
        "original_width": width,
        "original_height": height,
        "image_rotation": 0,
    }
    drawn = mask_to_shape.brush(defect.mask)
    said: tuple[tuple[str, str, dict[str, Any]], ...] = (
        ("brush", "brush", {}),
        ("labels", "label", {"labels": [defect.name]}),
        ("number", GROUP_CONTROL, {"number": number}),
    )
    return [
        {**common, "type": kind, "from_name": control, "value": {**drawn, **value}}
        for kind, control, value in said
    ]
