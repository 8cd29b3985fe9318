"""Checking a class against `<class>.audit.json`: was it edited since it was converted?"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Literal

from loco_tools import files
from loco_tools.datasets.sidecar import audit_path
from loco_tools.datasets.validation.class_tree import ClassTree
from loco_tools.datasets.validation.file_inspection import Inspection
from loco_tools.datasets.validation.findings import Report
from loco_tools.schema import loads_json

Edit = Literal["gone", "added", "changed"]

_FOUND: Mapping[Edit, str] = {
    "gone": "no such file any more",
    "added": "a file that the conversion did not write",
    "changed": "different content: it was edited since",
}


def check_audit(tree: ClassTree, inspections: Mapping[str, Inspection], report: Report) -> None:
    """Report each file that was changed, added or removed since `loco-tools convert` wrote it.

    The audit holds the SHA-256 of every file of the class; a class without one is not checked.
    """
    path = audit_path(tree.root)
    name = f"../{path.name}"
    if not path.exists():
        return
    try:
        record = loads_json(files.read_bytes(path))
        recorded = record["files"]
        if not all(isinstance(x, str) for pair in recorded.items() for x in pair):
            raise TypeError("its files are not strings")
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        report.add(
            "audit_invalid",
            name,
            expected="the record of a conversion, with the SHA-256 of each file",
            found=str(error) or type(error).__name__,
            next_step="convert the class again, or remove the record",
        )
        return
    for file, edit in edits(recorded, tree.files, partial(_sha256, tree, inspections)):
        report.add(
            f"file_{edit}",
            file,
            expected=f"the file that {name} records",
            found=_FOUND[edit],
            next_step="bring the edit into the annotations and convert again, or keep it knowingly",
        )


def edits(
    recorded: Mapping[str, str], present: Iterable[str], sha256_of: Callable[[str], str]
) -> Iterator[tuple[str, Edit]]:
    """The files that differ from a record, in the order of their names, and how they differ.

    Args:
        recorded: the SHA-256 of each file by its name.
        present: the names of the files that are there.
        sha256_of: hashes one of these.
    """
    there = set(present)
    for file in sorted({*recorded, *there}):
        if file not in there:
            yield file, "gone"
        elif file not in recorded:
            yield file, "added"
        elif sha256_of(file) != recorded[file]:
            yield file, "changed"


def _sha256(tree: ClassTree, inspections: Mapping[str, Inspection], file: str) -> str:
    inspection = inspections.get(file)
    if inspection is not None and inspection.sha256:
        return inspection.sha256
    try:
        return files.sha256_of(tree.root / file)
    except OSError:
        return ""
