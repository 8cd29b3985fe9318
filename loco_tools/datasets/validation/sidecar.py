"""Checking `<class>.jsonl`, which lies beside a class folder and says which part an image shows."""

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

from loco_tools.datasets.sample import Kind
from loco_tools.datasets.sidecar import sidecar_path
from loco_tools.datasets.validation.class_tree import ImageFile
from loco_tools.datasets.validation.file_inspection import Inspection
from loco_tools.datasets.validation.findings import Report
from loco_tools.wording import listed

Records = Mapping[str, Mapping[str, Any]]


def read_sidecar(class_dir: Path, report: Report) -> Records:
    """The sound lines by image; every other line is reported. Empty if there is no such file."""
    path = sidecar_path(class_dir)
    if not path.is_file():
        return {}
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        _invalid(path, f"a file that cannot be read as UTF-8 ({error})", report)
        return {}
    return {record["image"]: record for record in _records(path, lines, report)}


def _records(path: Path, lines: Sequence[str], report: Report) -> Iterator[dict[str, Any]]:
    seen: set[str] = set()
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            record: Any = json.loads(line)
        except (ValueError, RecursionError) as error:
            _invalid(path, f"line {number}: {error}", report)
            continue
        fault = _fault_of(record) or ("an image again" if record["image"] in seen else "")
        if fault:
            _invalid(path, f"line {number}: {fault}", report)
            continue
        seen.add(record["image"])
        yield record


def _fault_of(record: Any) -> str:
    if not isinstance(record, dict) or not isinstance(record.get("image"), str):
        return 'no object with the text "image"'
    for name in ("part", "view"):
        if not isinstance(record.get(name), str | None):
            return f'"{name}" is neither a text nor null'
    if record.get("part_kind") not in (None, *get_args(Kind)):
        return '"part_kind" is none of good, structural, logical'
    return ""


def check_sidecar(
    class_dir: Path,
    images: Sequence[ImageFile],
    inspected: Mapping[str, Inspection],
    records: Records,
    report: Report,
) -> None:
    """Lines against images: parts in two splits, images without a line, lines without an image."""
    if not records:
        return
    name = _beside(sidecar_path(class_dir))
    paths = {image.path for image in images}
    if stale := [image for image in records if image not in paths]:
        report.add(
            "sidecar_stale",
            name,
            expected="lines for images of the class",
            found=f"{listed(stale, 3)}, which are not there",
            mend="remove these lines, or convert the class again",
        )
    if unknown := [path for path in sorted(paths) if path not in records]:
        report.add(
            "sidecar_incomplete",
            name,
            expected="a line for every image",
            found=f"none for {listed(unknown, 3)}",
            mend="add the lines, or convert the class again; parts are unknown without them",
        )
    for image in images:
        recorded, sha256 = records.get(image.path, {}).get("sha256"), inspected[image.path].sha256
        if recorded and sha256 and recorded != sha256:
            report.add(
                "image_changed",
                image.path,
                expected=f"the file that {name} records",
                found="another content",
                mend="restore the image, or convert the class again",
            )
    _check_parts(images, records, report)


def _check_parts(images: Sequence[ImageFile], records: Records, report: Report) -> None:
    splits: defaultdict[str, dict[str, str]] = defaultdict(dict)
    for image in images:
        if part := records.get(image.path, {}).get("part"):
            splits[part].setdefault(image.split, image.path)
    for part, found in splits.items():
        if len(found) > 1:
            first, *others = found.values()
            report.add(
                "part_in_two_splits",
                others[0],
                expected=f"part {part} in one split",
                found=f"it also in {listed([first, *others[1:]])}",
                mend="move all images of the part to one split",
            )


def _invalid(path: Path, found: str, report: Report) -> None:
    report.add(
        "sidecar_invalid",
        _beside(path),
        expected="one JSON object per line, with the texts image, part and view",
        found=found,
        mend="correct the line, or remove the file; no loader reads the class until then",
    )


def _beside(path: Path) -> str:
    return f"../{path.name}"
