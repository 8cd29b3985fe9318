"""`data/<class>.audit.json`: a record of a conversion, which also protects later edits.

It holds the SHA-256 of every file of the class folder, and the outcome of each region of the
export: it became a mask ("regions", with its file), it could not become one ("skipped"), or it did
not count ("left_out"), with the reason.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from loco_tools import files
from loco_tools.annotations.formats.regions import Skipped
from loco_tools.datasets.sidecar import audit_path
from loco_tools.datasets.validation.audit import edits
from loco_tools.errors import AnnotationError
from loco_tools.schema import loads_json


def page_path(class_dir: Path) -> Path:
    """Path of the audit page of a class folder."""
    return class_dir.with_name(f"{class_dir.name}.audit.html")


def audit_record(
    export: Path,
    hashes: Mapping[str, str],
    *,
    drawn: int,
    masked: Sequence[Mapping[str, Any]],
    skipped: Sequence[Skipped],
    left_out: Sequence[Skipped],
    notes: Sequence[str],
) -> dict[str, Any]:
    """The content of the audit record.

    Args:
        export: the export that was converted.
        hashes: SHA-256 of the files of the class folder, by path in it.
        drawn: number of regions in the export; each of them is in one of the next three.
        masked: the regions that became a mask.
        skipped: the regions that could not become one.
        left_out: the regions that did not count.
        notes: remarks for a person: overlaps, thresholds above a defect's area, and so on.
    """
    return {
        "schema_version": 1,
        "export": {"file": export.name, "sha256": files.sha256_of(export)},
        "counts": {
            "drawn": drawn,
            "masked": len(masked),
            "skipped": len(skipped),
            "left_out": len(left_out),
        },
        "regions": list(masked),
        "skipped": [asdict(skip) for skip in skipped],
        "left_out": [asdict(skip) for skip in left_out],
        "notes": list(notes),
        "files": dict(sorted(hashes.items())),
    }


def check_unedited(class_dir: Path) -> None:
    """Refuse a class folder that was not written by a conversion, or was edited afterwards.

    Raises:
        AnnotationError: the message names the first file that differs.
    """
    if not class_dir.is_dir():
        raise AnnotationError(f"{class_dir}: expected a folder for the class, got a file")
    try:
        record = loads_json(files.read_bytes(audit_path(class_dir)))
    except (OSError, ValueError):
        record = None
    known = record.get("files") if isinstance(record, dict) else None
    if not isinstance(known, dict):
        raise AnnotationError(
            f"{class_dir}: exists, and no conversion is known to have written it; next step: move "
            "it away, or --overwrite"
        )
    present = [p.relative_to(class_dir).as_posix() for p in class_dir.rglob("*") if not p.is_dir()]
    for name, edit in edits(known, present, lambda name: files.sha256_of(class_dir / name)):
        change = "is gone" if edit == "gone" else f"was {edit}"
        raise AnnotationError(
            f"{class_dir / name}: {change} since the class was converted; next step: bring the "
            "edit into the annotations or the taxonomy, or drop it with --overwrite"
        )
