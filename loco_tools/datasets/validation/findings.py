"""The findings of a validation: each fault with its file, what was expected, and a next step."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from loco_tools.datasets.tree import natural_key
from loco_tools.wording import plural, printable

Severity = Literal["error", "warning"]

CODES: Mapping[str, Severity] = {
    # the folder
    "no_class": "error",
    "missing_folder": "error",
    "missing_validation": "warning",
    "missing_kind": "error",
    "unexpected_folder": "error",
    "stray_folder": "warning",
    "stray_image": "error",
    "stray_file": "warning",
    "link_outside": "error",
    "broken_link": "error",
    "linked_folder": "error",
    "special_file": "error",
    "unreadable": "error",
    # names
    "odd_name": "warning",
    "gap_in_numbers": "warning",
    "name_case": "error",
    "same_stem": "error",
    "folder_name": "warning",
    # images
    "damaged": "error",
    "image_bomb": "error",
    "image_mode": "error",
    "image_gray": "warning",
    "not_png": "warning",
    "wrong_suffix": "warning",
    "exif_orientation": "error",
    "mixed_sizes": "warning",
    "image_in_two_splits": "error",
    "image_in_two_kinds": "error",
    "image_repeated": "warning",
    # masks
    "image_without_mask": "error",
    "mask_without_image": "error",
    "good_with_mask": "error",
    "two_masks": "error",
    "mask_not_png": "error",
    "mask_mode": "error",
    "mask_size": "error",
    "empty_mask": "error",
    "two_values": "error",
    "value_not_in_config": "error",
    "mask_values": "warning",
    # defects_config.json
    "config_missing": "error",
    "config_invalid": "error",
    "config_keys": "error",
    "config_name": "error",
    "config_pixel_value": "error",
    "config_threshold_type": "error",
    "config_threshold_range": "error",
    "duplicate_value": "error",
    "duplicate_name": "error",
    "threshold_above_area": "warning",
    "saturation_zero": "error",
    "defect_unused": "warning",
    # the sidecar
    "part_in_two_splits": "error",
    "sidecar_invalid": "error",
    "sidecar_stale": "warning",
    "sidecar_incomplete": "warning",
    "image_changed": "warning",
}
"""Every code with its severity.

An error makes an official evaluator or a loader stop, or makes metrics wrong. A warning is
something unusual, or something that only other tools cannot read.
"""


@dataclass(frozen=True)
class Finding:
    """One fault.

    Attributes:
        severity: "error" or "warning".
        code: a key of `CODES`.
        file: the path relative to the class folder; "." for the folder itself.
        expected: what was expected.
        found: what was found instead.
        next_step: what to do about it; its key in JSON is "mend".
    """

    severity: Severity
    code: str
    file: str
    expected: str
    found: str
    next_step: str

    def describe(self) -> str:
        """Two lines of text."""
        return (
            f"{self.severity} {self.code}: {self.file}: expected {self.expected}, "
            f"found {self.found}\n    next step: {self.next_step}"
        )


@dataclass(frozen=True)
class Findings:
    """All findings about one class folder: errors first, then by file."""

    path: Path
    layout: str
    findings: tuple[Finding, ...]

    @property
    def errors(self) -> int:
        """Number of findings that are errors."""
        return sum(finding.severity == "error" for finding in self.findings)

    @property
    def warnings(self) -> int:
        """Number of findings that are warnings."""
        return len(self.findings) - self.errors

    def describe(self, limit_per_code: int = 5) -> str:
        """The findings as text, at most `limit_per_code` of each code, then their number."""
        shown: Counter[str] = Counter()
        lines = []
        for finding in self.findings:
            shown[finding.code] += 1
            if shown[finding.code] <= limit_per_code:
                lines.append(finding.describe())
        lines += [
            f"... and {count - limit_per_code} more of {code} (all of them with --json)"
            for code, count in shown.items()
            if count > limit_per_code
        ]
        summary = f"{plural(self.errors, 'error')}, {plural(self.warnings, 'warning')}"
        verdict = f"sound ({self.layout})" if not self.findings else f"{self.layout}; {summary}"
        return "\n".join([*lines, f"{self.path}: {verdict}"])

    def as_record(self) -> dict[str, Any]:
        """The findings as plain data for JSON."""
        return {
            "path": printable(str(self.path)),
            "layout": self.layout,
            "errors": self.errors,
            "warnings": self.warnings,
            "findings": [
                {"mend" if key == "next_step" else key: text for key, text in asdict(f).items()}
                for f in self.findings
            ],
        }


class Report:
    """Collects the findings of all checks."""

    def __init__(self) -> None:
        self._findings: list[Finding] = []

    def add(self, code: str, file: str, *, expected: str, found: str, next_step: str) -> None:
        """Add one finding; its severity is that of its code."""
        texts = [printable(text) for text in (file or ".", expected, found, next_step)]
        self._findings.append(Finding(CODES[code], code, *texts))

    def findings(self) -> tuple[Finding, ...]:
        """All findings: errors first, then by file and code, in the same order at every run."""
        return tuple(
            sorted(
                self._findings,
                key=lambda f: (f.severity, natural_key(f.file), f.code, f.found),
            )
        )
