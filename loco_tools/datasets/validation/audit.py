"""Checking a class against `<class>.audit.json`: was it edited since it was converted?"""

from collections.abc import Mapping

from loco_tools import files
from loco_tools.datasets.sidecar import audit_path
from loco_tools.datasets.validation.class_tree import ClassTree
from loco_tools.datasets.validation.file_inspection import Inspection
from loco_tools.datasets.validation.findings import Report
from loco_tools.schema import loads_json


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
    present = set(tree.files)
    for file in sorted({*recorded, *present}):
        if file not in present:
            code, found = "file_gone", "no such file any more"
        elif file not in recorded:
            code, found = "file_added", "a file that the conversion did not write"
        elif _sha256(tree, file, inspections) != recorded[file]:
            code, found = "file_changed", "different content: it was edited since"
        else:
            continue
        report.add(
            code,
            file,
            expected=f"the file that {name} records",
            found=found,
            next_step="bring the edit into the annotations and convert again, or keep it knowingly",
        )


def _sha256(tree: ClassTree, file: str, inspections: Mapping[str, Inspection]) -> str:
    inspection = inspections.get(file)
    if inspection is not None and inspection.sha256:
        return inspection.sha256
    try:
        return files.sha256_of(tree.root / file)
    except OSError:
        return ""
