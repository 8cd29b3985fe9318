"""`data/<class>.audit.json`: what a conversion wrote, so that edits made since are not lost.

It holds the SHA-256 of every file of the class folder, and what became of each region of the
export: a mask ("regions", with its file), nothing because it could not ("skipped"), or nothing
because it did not count ("left_out"), each with the reason.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from loco_tools import files
from loco_tools.annotations.formats.regions import Skipped
from loco_tools.errors import AnnotationError


def audit_path(class_dir: Path) -> Path:
    """Where the audit of a class folder belongs."""
    return class_dir.with_name(f"{class_dir.name}.audit.json")


def page_path(class_dir: Path) -> Path:
    """Where the audit of a class folder belongs as a page to look at."""
    return class_dir.with_name(f"{class_dir.name}.audit.html")


def audit_record(
    export: Path,
    hashes: Mapping[str, str],
    *,
    masked: Sequence[Mapping[str, Any]],
    skipped: Sequence[Skipped],
    left_out: Sequence[Skipped],
    notes: Sequence[str],
) -> dict[str, Any]:
    """What goes into the file.

    Args:
        export: the export.
        hashes: of the files of the class folder, by path in it.
        masked: the regions that became a mask.
        skipped: the regions that could not become one.
        left_out: the regions that did not count.
        notes: what a person should look at: overlaps, thresholds above a defect's area, and so on.
    """
    return {
        "schema_version": 1,
        "export": {"file": export.name, "sha256": files.sha256_of(export)},
        "regions": list(masked),
        "skipped": [asdict(skip) for skip in skipped],
        "left_out": [asdict(skip) for skip in left_out],
        "notes": list(notes),
        "files": dict(sorted(hashes.items())),
    }


def check_unedited(class_dir: Path) -> None:
    """Refuse a class folder that no conversion wrote, or that was edited since.

    Raises:
        AnnotationError: the message names the first file that differs.
    """
    if not class_dir.is_dir():
        raise AnnotationError(f"{class_dir}: expected a folder for the class, got a file")
    known = _known_files(audit_path(class_dir))
    if known is None:
        raise AnnotationError(
            f"{class_dir}: exists, and no conversion is known to have written it; next step: move "
            "it away, or --overwrite"
        )
    there = {
        path.relative_to(class_dir).as_posix(): path
        for path in class_dir.rglob("*")
        if not path.is_dir()
    }
    for name in sorted({*known, *there}):
        if name not in there:
            change = "is gone"
        elif name not in known:
            change = "was added"
        elif files.sha256_of(there[name]) != known[name]:
            change = "was changed"
        else:
            continue
        raise AnnotationError(
            f"{class_dir / name}: {change} since the class was converted; next step: bring the "
            "edit into the annotations or the taxonomy, or drop it with --overwrite"
        )


def _known_files(path: Path) -> dict[str, str] | None:
    try:
        record = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    known = record.get("files") if isinstance(record, dict) else None
    return known if isinstance(known, dict) else None
