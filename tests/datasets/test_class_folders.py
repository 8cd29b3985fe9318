"""Properties of all class folders: nothing on the disk is passed over, and commands agree."""

import os
import tempfile
import warnings
from pathlib import Path
from typing import Any

from class_trees import build, trees
from hypothesis import HealthCheck, given, settings

from loco_tools.datasets import check, is_class, load
from loco_tools.datasets.validation import validate
from loco_tools.datasets.validation.examination import examine
from loco_tools.datasets.validation.findings import Findings
from loco_tools.datasets.validation.names import is_allowed
from loco_tools.errors import DatasetError
from loco_tools.wording import printable

many = settings(max_examples=250, deadline=None, suppress_health_check=list(HealthCheck))


def entries_of(folder: Path) -> list[str]:
    """Everything below a folder that is not a folder, without following links."""
    found = []
    for parent, folders, files in os.walk(folder):
        linked = [name for name in folders if (Path(parent) / name).is_symlink()]
        below = Path(parent).relative_to(folder)
        found += [(below / name).as_posix() for name in files + linked]
    return found


def is_named(path: str, findings: Findings) -> bool:
    """Whether a finding is about a file, or about a folder that it lies in."""
    shown = printable(path)
    return any(
        shown == finding.file or shown.startswith(f"{finding.file}/")
        for finding in findings.findings
    )


@many
@given(tree=trees())
def test_every_file_is_a_samples_or_named_by_a_finding(tree: dict[str, Any]) -> None:
    with tempfile.TemporaryDirectory() as root:
        folder = build(Path(root), tree)
        examination = examine(folder, "headers")
        if examination.layout == "unknown":
            return
        used = set(examination.contents.paths)
        for findings in (examination.findings, validate(folder)):
            passed_over = [
                path
                for path in entries_of(folder)
                if path not in used and not is_allowed(path) and not is_named(path, findings)
            ]
            assert passed_over == []


def loads(folder: Path) -> bool:
    try:
        load(folder)
    except DatasetError:
        return False
    return True


@many
@given(tree=trees())
def test_load_validate_and_the_check_of_bench_agree(tree: dict[str, Any]) -> None:
    with tempfile.TemporaryDirectory() as root, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        folder = build(Path(root), tree)
        quick, whole = check(folder), validate(folder)
        assert quick.refused == whole.refused
        # what only pixels tell apart: stored otherwise, the same image; damage behind the header
        by_pixels = {"image_in_two_splits", "image_in_two_kinds", "damaged"}
        damaged = {finding.file for finding in whole.notable if finding.code == "damaged"}
        found = {(f.code, f.file) for f in quick.notable if f.file not in damaged}
        assert found <= {(finding.code, finding.file) for finding in whole.notable}
        missed = {f.code for f in whole.notable} - {f.code for f in quick.notable}
        assert missed <= by_pixels
        assert loads(folder) == (is_class(folder) and not quick.refused)
        if not loads(folder):
            return
        dataset = load(folder)
        samples = {sample.image_path.relative_to(folder).as_posix() for sample in dataset}
        masks = {d.mask_path.relative_to(folder).as_posix() for s in dataset for d in s.defects}
        contents = examine(folder, "masks").contents
        assert samples | masks == set(contents.paths)
        for sample in dataset.test:
            assert bool(sample.defects) == (sample.kind != "good")
            assert all(defect.mask.any() for defect in sample.defects)
