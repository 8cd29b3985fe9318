"""What is known of images beyond their layout: `<root>/<class>.jsonl`, beside the class folder.

One JSON object per line; `image` is the path within the class folder ("test/good/000.png"),
`part` and `view` say which part it shows from where, `part_kind` what that part is ("good",
"structural" or "logical"; a defect need not show in every view), and more keys may stand beside
them. An image without a line, like a class without the file, has none of the three.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, get_args

from loco_tools.datasets.sample import Kind, Sample
from loco_tools.errors import DatasetError


@dataclass(frozen=True)
class Origin:
    """Which part an image shows, in which view, and whether that part is good."""

    part: str | None
    view: str | None
    part_kind: Kind | None = None


def sidecar_path(class_dir: Path) -> Path:
    """Where the sidecar of a class folder belongs."""
    return class_dir.with_name(f"{class_dir.name}.jsonl")


def with_origins(class_dir: Path, samples: Iterable[Sample]) -> tuple[Sample, ...]:
    """The samples with part and view filled in where the sidecar knows them.

    Raises:
        DatasetError: the sidecar cannot be read.
    """
    origins = read_origins(sidecar_path(class_dir))
    return tuple(
        replace(sample, part=origin.part, view=origin.view, part_kind=origin.part_kind)
        if (origin := origins.get(sample.image_path.relative_to(class_dir).as_posix()))
        else sample
        for sample in samples
    )


def read_origins(path: Path) -> dict[str, Origin]:
    """Part and view by image path; empty when there is no such file.

    Raises:
        DatasetError: a line is no JSON object, lacks `image`, or has a part or view that is no
            text, or a part_kind that is no kind.
    """
    return {record["image"]: _origin(record, place) for place, record in _lines(path)}


def read_records(path: Path) -> dict[str, dict[str, Any]]:
    """Everything the sidecar knows, by image path; empty when there is no such file.

    Raises:
        DatasetError: a line is no JSON object, or lacks `image`.
    """
    return {record["image"]: record for _, record in _lines(path)}


def _lines(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each line with its place, for messages."""
    if not path.is_file():
        return
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(f"{path}: expected lines of JSON, got: {error}") from error
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        place = f"{path}, line {number}"
        try:
            record: Any = json.loads(line)
        except (json.JSONDecodeError, RecursionError) as error:
            raise DatasetError(f"{place}: expected a JSON object, got: {error}") from error
        if not isinstance(record, dict) or not isinstance(record.get("image"), str):
            raise DatasetError(f'{place}: expected a JSON object with the text "image", got {line}')
        yield place, record


def _origin(record: dict[str, Any], place: str) -> Origin:
    part, view = record.get("part"), record.get("view")
    for name, value in (("part", part), ("view", view)):
        if value is not None and not isinstance(value, str):
            raise DatasetError(f'{place}: expected "{name}" to be a text or null, got {value!r}')
    part_kind = record.get("part_kind")
    if part_kind is not None and part_kind not in get_args(Kind):
        raise DatasetError(
            f'{place}: expected "part_kind" to be {", ".join(get_args(Kind))} or null, '
            f"got {part_kind!r}"
        )
    return Origin(part, view, part_kind)
