"""A simulated annotator: draws the defects of a simulated session and writes a Label Studio export.

It replaces human annotators in demos and tests. The defects come from the ground-truth masks of the
digital twin, and the export has the form that Label Studio writes.
"""

import base64
import datetime
import hashlib
import uuid
from pathlib import Path
from typing import Any

from loco_tools import files
from loco_tools.annotations.formats import mask_to_shape
from loco_tools.annotations.formats.label_studio import GROUP_CONTROL
from loco_tools.annotations.formats.shapes import Mask
from loco_tools.annotations.taxonomy import Taxonomy
from loco_tools.capture.session import Session, Shot, read_session, read_shots, truth_files
from loco_tools.datasets.images import image_size, read_mask
from loco_tools.errors import AnnotationError
from loco_tools.wording import json_text

EXPORT = "labelstudio.json"

_MOST_REGIONS = 3
_SMALLEST_REGION_PX = 20
_SECONDS_PER_TASK = 30
_GOOD_ELLIPSE, _GOOD_POLYGON = 0.9, 0.97


def annotate_session(
    session: Path, taxonomy: Taxonomy, out: Path | None = None, seed: int = 0
) -> Path:
    """Annotate the defects of a simulated session and write Label Studio's full JSON export.

    Every anomalous test shot is a task with one submitted annotation, whose result is empty when
    the defect is not visible in that view. A defect is drawn as an ellipse or a polygon where such
    a shape fits its mask (IoU of at least 0.9 and 0.97), and otherwise painted with the brush; one
    region in three is painted in any case. The separate pieces of one defect are regions with one
    group number. The same session and seed give the same bytes.

    Args:
        session: folder of the session.
        taxonomy: the defects of the class; the labels come from here.
        out: file to write; by default `labelstudio.json` in the session's folder.
        seed: seed of the annotator's choice between tools.

    Returns:
        The file.

    Raises:
        AnnotationError: the session is not simulated, or shows a defect that the taxonomy lacks.
    """
    record = read_session(session)
    if not record.simulated:
        raise AnnotationError(
            f"{session}: has real photographs, whose defects only people can mark; next step: "
            "mark them in Label Studio"
        )
    try:
        begun = datetime.datetime.fromisoformat(record.created)
    except ValueError as error:
        raise AnnotationError(
            f"session {record.session}: expected created as an ISO 8601 time, got "
            f'"{record.created}"; next step: restore its session.json'
        ) from error
    begun = begun if begun.tzinfo else begun.replace(tzinfo=datetime.UTC)
    shots = [shot for shot in read_shots(session) if shot.kind != "good"]
    tasks = [
        _task(number, shot, record, begun, _result_items(session, shot, taxonomy, seed))
        for number, shot in enumerate(shots, start=1)
    ]
    target = out or session / EXPORT
    files.write_text(target, json_text(tasks) + "\n")
    return target


def _result_items(session: Path, shot: Shot, taxonomy: Taxonomy, seed: int) -> list[dict[str, Any]]:
    """The result of one annotation: for each region its geometry, then its group number."""
    height, width = image_size(session / shot.file)
    result = []
    for instance, (name, path) in enumerate(truth_files(session, shot.shot), start=1):
        label = taxonomy.defect(name).name
        mask = read_mask(path) > 0
        blobs = mask_to_shape.blobs(mask)
        smallest = min((int(blob.sum()) for blob in blobs), default=_SMALLEST_REGION_PX)
        if len(blobs) > _MOST_REGIONS or smallest < _SMALLEST_REGION_PX:
            blobs = [mask]  # a scattered defect is one region
        for index, blob in enumerate(blobs):
            text = f"{seed}/{shot.shot}/{instance}/{index}"
            digest = hashlib.sha256(text.encode()).digest()
            shape, drawn = _choose_shape(blob, prefers_brush=digest[0] % 3 == 0)
            common = {
                "original_width": width,
                "original_height": height,
                "image_rotation": 0,
                "id": base64.urlsafe_b64encode(digest).decode()[:10],
                "to_name": "image",
                "origin": "manual",
            }
            for kind, control, extra in (
                (f"{shape}labels", shape, {f"{shape}labels": [label]}),
                ("number", GROUP_CONTROL, {"number": instance}),
            ):
                value = {**drawn, **extra}
                result.append({**common, "value": value, "from_name": control, "type": kind})
    return result


def _choose_shape(mask: Mask, *, prefers_brush: bool) -> tuple[str, mask_to_shape.Drawn]:
    """The simplest shape that fits the mask, and its geometry."""
    if not prefers_brush:
        ellipse = mask_to_shape.ellipse(mask)
        if mask_to_shape.overlap("ellipse", ellipse, mask) >= _GOOD_ELLIPSE:
            return "ellipse", ellipse
        outline = mask_to_shape.polygon(mask)
        if outline and mask_to_shape.overlap("polygon", outline, mask) >= _GOOD_POLYGON:
            return "polygon", outline
    return "brush", mask_to_shape.brush(mask)


def _task(
    number: int,
    shot: Shot,
    record: Session,
    begun: datetime.datetime,
    result: list[dict[str, Any]],
) -> dict[str, Any]:
    """One task with all the keys that the server writes."""
    upload = f"{shot.sha256[:8]}-{shot.shot}.png"
    submitted = begun + datetime.timedelta(seconds=_SECONDS_PER_TASK * number)
    unique = uuid.uuid5(uuid.NAMESPACE_URL, f"{record.name}/{record.session}/{shot.shot}")
    annotation = {
        "id": number,
        "completed_by": 1,
        "result": result,
        "was_cancelled": False,
        "ground_truth": False,
        "created_at": _timestamp(submitted),
        "updated_at": _timestamp(submitted),
        "draft_created_at": None,
        "lead_time": float(_SECONDS_PER_TASK),
        "prediction": {},
        "result_count": len({item["id"] for item in result}),
        "unique_id": str(unique),
        "import_id": None,
        "last_action": None,
        "bulk_created": False,
        "task": number,
        "project": 1,
        "updated_by": 1,
        "parent_prediction": None,
        "parent_annotation": None,
        "last_created_by": None,
    }
    return {
        "id": number,
        "annotations": [annotation],
        "file_upload": upload,
        "drafts": [],
        "predictions": [],
        "data": {
            "image": f"/data/upload/1/{upload}",
            "loco_class": record.name,
            "loco_session": record.session,
            "loco_shot": shot.shot,
        },
        "meta": {},
        "created_at": _timestamp(begun),
        "updated_at": _timestamp(submitted),
        "allow_skip": True,
        "inner_id": number,
        "total_annotations": 1,
        "cancelled_annotations": 0,
        "total_predictions": 0,
        "comment_count": 0,
        "unresolved_comment_count": 0,
        "last_comment_updated_at": None,
        "project": 1,
        "updated_by": 1,
        "comment_authors": [],
    }


def _timestamp(moment: datetime.datetime) -> str:
    return moment.astimezone(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
