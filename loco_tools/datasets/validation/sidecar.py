"""Checking the sidecar `<class>.jsonl`, which names the part and the view of each image."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

from loco_tools import files
from loco_tools.datasets.sample import Kind
from loco_tools.datasets.sidecar import sidecar_path
from loco_tools.datasets.validation.class_tree import ImageFile
from loco_tools.datasets.validation.file_inspection import Inspection
from loco_tools.datasets.validation.findings import Report
from loco_tools.schema import loads_json
from loco_tools.wording import listed

Records = Mapping[str, Mapping[str, Any]]


def read_sidecar(class_dir: Path, report: Report) -> Records:
    """The valid lines by image; every other line is reported. Empty if there is no such file."""
    path = sidecar_path(class_dir)
    if not path.is_file():
        return {}
    try:
        lines = files.read_text(path).splitlines()
    except (OSError, ValueError) as error:
        _report_invalid(path, f"a file that cannot be read as UTF-8 ({error})", report)
        return {}
    records: dict[str, dict[str, Any]] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            record: Any = loads_json(line)
        except ValueError as error:
            _report_invalid(path, f"line {number}: {error}", report)
            continue
        fault = _find_fault(record) or ("an image again" if record["image"] in records else "")
        if fault:
            _report_invalid(path, f"line {number}: {fault}", report)
        else:
            records[record["image"]] = record
    return records


def _find_fault(record: Any) -> str:
    if not isinstance(record, dict) or not isinstance(record.get("image"), str):
        return 'not an object with a string "image"'
    for name in ("part", "view"):
        if not isinstance(record.get(name), str | None):
            return f'"{name}" is neither a string nor null'
    if record.get("part_kind") not in (None, *get_args(Kind)):
        return f'"part_kind" is not {", ".join(get_args(Kind))} or null'
    return ""


def check_sidecar(
    class_dir: Path,
    images: Sequence[ImageFile],
    inspections: Mapping[str, Inspection],
    records: Records,
    report: Report,
) -> None:
    """Check lines against images: parts in two splits, images without a line, and the reverse."""
    if not records:
        return
    name = f"../{sidecar_path(class_dir).name}"
    paths = {image.path for image in images}
    if stale := [image for image in records if image not in paths]:
        report.add(
            "sidecar_stale",
            name,
            expected="lines for images of the class",
            found=f"{listed(stale, 3)}, which do not exist",
            next_step="remove these lines, or convert the class again",
        )
    if unknown := [path for path in sorted(paths) if path not in records]:
        report.add(
            "sidecar_incomplete",
            name,
            expected="a line for every image",
            found=f"none for {listed(unknown, 3)}",
            next_step="add the lines, or convert the class again; parts are unknown without them",
        )
    for image in images:
        recorded, sha256 = records.get(image.path, {}).get("sha256"), inspections[image.path].sha256
        if recorded and sha256 and recorded != sha256:
            report.add(
                "image_changed",
                image.path,
                expected=f"the file that {name} records",
                found="different content",
                next_step="restore the image, or convert the class again",
            )
    splits: defaultdict[str, dict[str, str]] = defaultdict(dict)
    for image in images:
        if part := records.get(image.path, {}).get("part"):
            splits[part].setdefault(image.split, image.path)
    for part, by_split in splits.items():
        if len(by_split) > 1:
            first, *others = by_split.values()
            report.add(
                "part_in_two_splits",
                others[0],
                expected=f"part {part} in one split",
                found=f"it also in {listed([first, *others[1:]])}",
                next_step="move all images of the part to one split",
            )


def _report_invalid(path: Path, found: str, report: Report) -> None:
    report.add(
        "sidecar_invalid",
        f"../{path.name}",
        expected="one JSON object per line, with the strings image, part and view",
        found=found,
        next_step="correct the line, or remove the file; the class cannot be loaded until then",
    )
