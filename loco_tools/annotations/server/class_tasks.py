"""Turn a converted class back into Label Studio tasks, so that its masks can be corrected.

Converting the corrected export gives the same class: brushes hold masks exactly, and each mask file
is one group of regions.
"""

from pathlib import Path
from typing import Any

from loco_tools.annotations.server.labelling_config import IMAGE, brush_items
from loco_tools.datasets import load
from loco_tools.datasets.sidecar import read_records, sidecar_path
from loco_tools.errors import AnnotationError

MODEL_VERSION = "loco-tools class"


def class_tasks(class_dir: Path, *, as_predictions: bool = True) -> list[dict[str, Any]]:
    """The test images of a class that have defects, or whose part has one, as Label Studio tasks.

    Each mask becomes a brush region with the defect's label and a group number. The tasks identify
    their photographs by session and shot, which the sidecar of the class records.

    Args:
        class_dir: the class, as `convert` wrote it.
        as_predictions: make pre-annotations for people to correct; otherwise submitted annotations.

    Returns:
        The tasks as JSON data, ready for the import into a project.

    Raises:
        AnnotationError: the sidecar does not record an image's shot and session.
        DatasetError: the class or its sidecar cannot be read.
    """
    dataset = load(class_dir)
    sidecar = sidecar_path(class_dir)
    records = read_records(sidecar)
    tasks = []
    for sample in dataset.test:
        name = sample.image_path.relative_to(class_dir).as_posix()
        record = records.get(name, {})
        if not sample.defects and record.get("part_kind") in {"good", None}:
            continue
        session, shot = record.get("session"), record.get("shot")
        if not isinstance(session, str) or not isinstance(shot, str):
            raise AnnotationError(
                f"{class_dir / name}: expected its session and shot in {sidecar}, found neither; "
                "next step: only classes made by loco-tools convert can go back"
            )
        data = {
            IMAGE: f"{shot}.png",
            "loco_class": class_dir.name,
            "loco_session": session,
            "loco_shot": shot,
        }
        result = [
            item
            for number, defect in enumerate(sample.defects, start=1)
            for item in brush_items(
                defect.mask, region=f"mask-{number}", label=defect.name, group=number
            )
        ]
        if as_predictions:
            prediction = {"model_version": MODEL_VERSION, "result": result}
            tasks.append({"data": data, "predictions": [prediction]})
        else:
            annotation = {"result": result, "was_cancelled": False}
            tasks.append({"data": data, "annotations": [annotation]})
    return tasks
