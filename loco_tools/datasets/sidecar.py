"""The sidecar of a class, `<root>/<class>.jsonl` next to the class folder: one JSON line per image.

`image` is the path within the class folder ("test/good/000.png"), `part` names the physical part
and `view` the direction from which it was photographed, and `part_kind` is the kind of the whole
part ("good", "structural" or "logical"; a defective part can look good in some views). Lines may
have more keys. Without a line, or without the file, these properties of an image are unknown.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from loco_tools import files
from loco_tools.datasets.sample import Kind
from loco_tools.errors import DatasetError
from loco_tools.schema import loads_json


@dataclass(frozen=True)
class Provenance:
    """The part that an image shows, the view, and the kind of the whole part."""

    part: str | None = None
    view: str | None = None
    part_kind: Kind | None = None


def sidecar_path(class_dir: Path) -> Path:
    """The path of a class folder's sidecar."""
    return class_dir.with_name(f"{class_dir.name}.jsonl")


def audit_path(class_dir: Path) -> Path:
    """The path of the record of the conversion that wrote a class folder."""
    return class_dir.with_name(f"{class_dir.name}.audit.json")


def read_provenance(path: Path) -> dict[str, Provenance]:
    """Part, view and part kind by image path; empty if there is no such file.

    Raises:
        DatasetError: a line is not a JSON object, lacks `image`, or has a part or view that is not
            a string, or a part_kind that is not a kind.
    """
    provenance: dict[str, Provenance] = {}
    for location, record in _read_lines(path):
        part, view, part_kind = (record.get(key) for key in ("part", "view", "part_kind"))
        for name, value in (("part", part), ("view", view)):
            if not isinstance(value, str | None):
                raise DatasetError(
                    f'{location}: expected "{name}" to be a string or null, got {value!r}'
                )
        if part_kind not in (None, *get_args(Kind)):
            raise DatasetError(
                f'{location}: expected "part_kind" to be {", ".join(get_args(Kind))} or null, '
                f"got {part_kind!r}"
            )
        provenance[record["image"]] = Provenance(part, view, part_kind)
    return provenance


def read_records(path: Path) -> dict[str, dict[str, Any]]:
    """The whole record of each image, by image path; empty if there is no such file.

    Raises:
        DatasetError: a line is not a JSON object, or lacks `image`.
    """
    return {record["image"]: record for _, record in _read_lines(path)}


def _read_lines(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each record, preceded by the file and line number for error messages."""
    if not path.is_file():
        return
    try:
        lines = files.read_text(path).splitlines()
    except (OSError, ValueError) as error:
        raise DatasetError(f"{path}: expected lines of JSON, got: {error}") from error
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        location = f"{path}, line {number}"
        try:
            record: Any = loads_json(line)
        except ValueError as error:
            raise DatasetError(f"{location}: expected a JSON object, got: {error}") from error
        if not isinstance(record, dict) or not isinstance(record.get("image"), str):
            raise DatasetError(
                f'{location}: expected a JSON object with a string "image", got {line}'
            )
        yield location, record
