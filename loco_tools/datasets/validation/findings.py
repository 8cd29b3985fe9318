"""The findings of a validation: each fault with its file, what was expected, and a next step."""

import os
import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from loco_tools.datasets.tree import natural_key
from loco_tools.wording import plural, printable

Severity = Literal["error", "warning"]

CODES: Mapping[str, Severity] = {
    # the folder
    "no_class": "error",
    "images_elsewhere": "error",
    "missing_folder": "error",
    "missing_validation": "warning",
    "missing_kind": "error",
    "unknown_kind": "error",
    "good_misnamed": "error",
    "too_few_images": "error",
    "unexpected_folder": "error",
    "stray_folder": "warning",
    "stray_image": "error",
    "stray_file": "warning",
    "image_not_read": "error",
    "linked_file": "warning",
    "broken_link": "error",
    "linked_folder": "error",
    "special_file": "error",
    "unreadable": "error",
    # names
    "name_not_text": "error",
    "odd_name": "warning",
    "gap_in_numbers": "warning",
    "name_case": "error",
    "same_stem": "error",
    "folder_name": "warning",
    # images
    "damaged": "error",
    "image_bomb": "error",
    "image_mode": "error",
    "image_depth": "error",
    "image_levels": "error",
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
    "mask_lossy": "error",
    "mask_mode": "error",
    "mask_in_colour": "warning",
    "mask_covers_most": "warning",
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
    # the audit
    "file_changed": "warning",
    "file_added": "warning",
    "file_gone": "warning",
    "audit_invalid": "warning",
}
"""Every code with its severity.

An error makes an official evaluator or a loader stop, or makes metrics wrong. A warning is
something unusual, or something that only other tools cannot read.
"""

Effect = Literal["refused", "metrics", "bench", "unused", "other tools"]

EFFECTS: Mapping[str, Effect] = {
    **dict.fromkeys(
        (
            *("images_elsewhere", "unknown_kind", "good_misnamed", "name_not_text", "same_stem"),
            *("image_without_mask", "mask_without_image", "two_masks", "mask_mode", "mask_size"),
            *("empty_mask", "two_values", "value_not_in_config", "sidecar_invalid"),
        ),
        "refused",
    ),
    **dict.fromkeys(
        (
            *("image_not_read", "linked_file", "linked_folder", "broken_link", "special_file"),
            *("unreadable", "damaged", "image_bomb", "image_depth", "image_levels"),
            *("exif_orientation", "image_in_two_splits", "image_in_two_kinds"),
            *("part_in_two_splits", "mask_lossy", "mask_not_png", "mask_in_colour"),
            *("mask_covers_most", "mask_values"),
        ),
        "metrics",
    ),
    **dict.fromkeys(("unexpected_folder", "stray_folder", "stray_image", "stray_file"), "unused"),
    "too_few_images": "bench",
    "no_class": "refused",
}
"""The effect of a finding within loco-tools; that of all other codes is "other tools".

- "refused": the class cannot be loaded.
- "metrics": it is loaded, but its metrics are not those of the data that was meant.
- "bench": it is loaded, but cannot be benchmarked.
- "unused": a file or folder is not read.
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
        effect: what it means for loco-tools, see `EFFECTS`; "other tools": nothing.
    """

    severity: Severity
    code: str
    file: str
    expected: str
    found: str
    next_step: str
    effect: Effect = "other tools"

    def describe(self) -> str:
        """Two lines of text."""
        return (
            f"{self.severity} {self.code}: {self.file}: expected {self.expected}, "
            f"found {self.found}\n    next step: {self.next_step}"
        )

    def sentence(self, folder: Path) -> str:
        """The message of an error about this finding."""
        path = printable(os.path.normpath(folder / self.file))
        return f"{path}: expected {self.expected}, got {self.found}; next step: {self.next_step}"


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

    @property
    def notable(self) -> tuple[Finding, ...]:
        """The findings that concern loading and metrics, without those about hidden files."""
        return tuple(
            finding
            for finding in self.findings
            if finding.effect != "other tools"
            and not any(re.match(r"\.+[^.]", part) for part in finding.file.split("/"))
        )

    @property
    def stopping(self) -> tuple[Finding, ...]:
        """The errors on account of which a benchmark does not start."""
        return tuple(
            finding
            for finding in self.notable
            if finding.severity == "error" and finding.effect != "unused"
        )

    @property
    def refused(self) -> bool:
        """Whether the class cannot be loaded."""
        return any(finding.effect == "refused" for finding in self.findings)

    def brief(self, findings: Sequence[Finding] | None = None) -> list[str]:
        """One line per code about some findings, by default the notable ones."""
        by_code: defaultdict[str, list[Finding]] = defaultdict(list)
        for finding in self.notable if findings is None else findings:
            by_code[finding.code].append(finding)
        return [_gathered(found) for found in by_code.values()]

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
                {
                    "severity": finding.severity,
                    "code": finding.code,
                    "file": finding.file,
                    "expected": finding.expected,
                    "found": finding.found,
                    "mend": finding.next_step,
                }
                for finding in self.findings
            ],
        }


def _gathered(findings: Sequence[Finding]) -> str:
    """Findings of one code as a line: the first, and the number of the others."""
    first, others = findings[0], len(findings) - 1
    more = f" (and {others} more of {first.code})" if others else ""
    return (
        f"{first.severity} {first.code}: {first.file}: expected {first.expected}, found "
        f"{first.found}{more}"
    )


class Report:
    """Collects the findings of all checks."""

    def __init__(self) -> None:
        self._findings: list[Finding] = []
        self._named: set[str] = set()

    def add(
        self,
        code: str,
        file: str,
        *,
        expected: str,
        found: str,
        next_step: str,
        effect: Effect | None = None,
    ) -> None:
        """Add one finding; its severity, and by default its effect, are those of its code."""
        self._named.add(file)
        self._findings.append(
            Finding(
                severity=CODES[code],
                code=code,
                file=printable(file or "."),
                expected=printable(expected),
                found=printable(found),
                next_step=printable(next_step),
                effect=effect or EFFECTS.get(code, "other tools"),
            )
        )

    def refuse(self, file: str) -> None:
        """Make the errors about a file refuse the class."""
        for index, finding in enumerate(self._findings):
            if finding.file == file and finding.severity == "error":
                self._findings[index] = replace(finding, effect="refused")

    def names(self, path: str) -> bool:
        """Whether there is a finding about this very file or folder."""
        return path in self._named

    @property
    def refusals(self) -> list[Finding]:
        """The findings on account of which the class cannot be loaded, in the order they came."""
        return [finding for finding in self._findings if finding.effect == "refused"]

    def findings(self) -> tuple[Finding, ...]:
        """All findings: errors first, then by file and code, in the same order at every run."""
        return tuple(
            sorted(
                self._findings,
                key=lambda f: (f.severity, natural_key(f.file), f.code, f.found),
            )
        )
