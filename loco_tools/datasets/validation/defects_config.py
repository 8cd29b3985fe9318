"""Checking `defects_config.json` entry by entry, as far as each one is valid."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loco_tools import files
from loco_tools.datasets.mvtec_loco import CONFIG
from loco_tools.datasets.validation.class_tree import MaskFile
from loco_tools.datasets.validation.file_inspection import Inspection
from loco_tools.datasets.validation.findings import Report
from loco_tools.schema import loads_json
from loco_tools.wording import listed

_KEYS = ("defect_name", "pixel_value", "saturation_threshold", "relative_saturation")
_HUGE = 1e12  # pixels; also refuses NaN and infinity


@dataclass(frozen=True)
class Entry:
    """One defect type; `threshold` is None if the entry has no valid one."""

    name: str
    value: int
    threshold: float | None
    relative: bool


def check_config(root: Path, report: Report) -> dict[int, Entry] | None:
    """The usable entries by pixel value, with every fault reported; None if there is no list."""
    entries = _read_entries(root / CONFIG, report)
    if entries is None:
        return None
    checked = [_check_entry(entry, number, report) for number, entry in enumerate(entries)]
    usable = [entry for entry in checked if entry is not None]
    for value, count in Counter(entry.value for entry in usable).items():
        if count > 1:
            names = [entry.name for entry in usable if entry.value == value]
            _report_fault(
                report,
                "duplicate_value",
                "a different pixel_value for each defect",
                f"{value} for {listed(names)}",
                "give each defect its own value, and rewrite the masks",
            )
    for name, count in Counter(entry.name for entry in usable).items():
        if count > 1:
            _report_fault(
                report,
                "duplicate_name",
                "a different defect_name for each defect",
                f'"{name}" {count} times',
                "rename all but one, or merge them",
            )
    return {entry.value: entry for entry in reversed(usable)}


def _read_entries(path: Path, report: Report) -> list[Any] | None:
    if not path.is_file():
        _report_fault(
            report,
            "config_missing",
            "the list of this class's defects with their pixel values and thresholds",
            "no such file",
            "write it, or make the class with loco-tools convert",
        )
        return None
    try:
        content: Any = loads_json(files.read_text(path))
    except (OSError, ValueError) as error:
        _report_invalid(report, f"a file that is not JSON ({error})")
        return None
    if not isinstance(content, list) or not content:
        found = "an empty list" if content == [] else f"a {type(content).__name__}"
        _report_invalid(report, found)
        return None
    return content


def _check_entry(entry: Any, number: int, report: Report) -> Entry | None:
    location = f"entry {number}"
    if not isinstance(entry, dict):
        _report_invalid(report, f"{location}: {_short(entry)}")
        return None
    name = entry.get("defect_name")
    has_name = isinstance(name, str) and name
    if has_name:
        location = f'entry {number} ("{name}")'
    missing = [key for key in _KEYS if key not in entry]
    unknown = [key for key in entry if key not in _KEYS]
    if missing or unknown:
        parts = [f"no {', '.join(missing)}"] if missing else []
        parts += [f"the unknown {listed(unknown)}"] if unknown else []
        _report_fault(
            report,
            "config_keys",
            f"exactly {', '.join(_KEYS)}",
            f"{location}: {' and '.join(parts)}",
            "add what is missing and remove what is unknown",
        )
    if "defect_name" in entry and not has_name:
        found = f"{location}: {_short(name)}"
        _report_fault(report, "config_name", "a string that is not empty", found, "give it a name")
    threshold = _check_threshold(entry, location, report)
    value = entry.get("pixel_value")
    if type(value) is not int or not 1 <= value <= 255:
        if "pixel_value" in entry:
            _report_fault(
                report,
                "config_pixel_value",
                "a pixel_value that is a whole number from 1 to 255",
                f"{location}: {_short(value)}",
                "use the value that the masks of this defect have",
            )
        return None
    relative = entry.get("relative_saturation") is True
    return Entry(str(name) if has_name else location, value, threshold, relative)


def _check_threshold(entry: dict[str, Any], location: str, report: Report) -> float | None:
    if not {"relative_saturation", "saturation_threshold"} <= entry.keys():
        return None
    relative, value = entry["relative_saturation"], entry["saturation_threshold"]
    found = f"{location}: {_short(value)}"
    if type(relative) is not bool:
        _report_fault(
            report,
            "config_threshold_type",
            "true or false for relative_saturation",
            f"{location}: {_short(relative)}",
            "write true for a share of the defect's area, false for pixels",
        )
        return None
    number = type(value) in (int, float) and abs(value) < _HUGE
    if type(value) is not (float if relative else int):
        _report_fault(
            report,
            "config_threshold_type",
            "a number with a decimal point for a relative threshold (the official loader rejects 1)"
            if relative
            else "a whole number of pixels for an absolute threshold",
            found,
            f"write {float(value)}" if number and relative else "write it as expected",
        )
    in_range = number and (0 < value <= 1 if relative else value >= 1)
    if type(value) in (int, float) and not in_range:
        expected = "a share greater than 0 and at most 1" if relative else "at least 1 pixel"
        next_step = (
            "correct it, or set relative_saturation to false for pixels" if relative else "raise it"
        )
        _report_fault(report, "config_threshold_range", expected, found, next_step)
    return float(value) if in_range else None


def check_use(
    masks: Sequence[MaskFile],
    inspections: Mapping[str, Inspection],
    entries: Mapping[int, Entry],
    report: Report,
) -> None:
    """Check masks against the configuration: unknown values, unused defects, thresholds, areas."""
    areas: dict[int, list[tuple[int, str]]] = {value: [] for value in entries}
    known = ", ".join(f"{value} {entry.name}" for value, entry in entries.items()) or "none"
    for mask in masks:
        inspection = inspections[mask.path]
        for value in inspection.values if len(inspection.values) == 1 else ():
            if value in areas:
                areas[value].append((inspection.area_px, mask.path))
                continue
            report.add(
                "value_not_in_config",
                mask.path,
                expected=f"a value of {CONFIG} ({known})",
                found=str(value),
                next_step="add the defect to the configuration, or write the mask with its value",
            )
    for value, masks_of_value in areas.items():
        _check_areas(entries[value], masks_of_value, report)


def _check_areas(entry: Entry, areas: list[tuple[int, str]], report: Report) -> None:
    if not areas:
        _report_fault(
            report,
            "defect_unused",
            f'at least one mask of "{entry.name}" (pixel value {entry.value})',
            "none",
            "none if there is no such image; otherwise check the values of the masks",
        )
    if entry.threshold is None:
        return
    small = [item for item in areas if not entry.relative and item[0] < entry.threshold]
    if small:
        area, path = min(small)
        report.add(
            "threshold_above_area",
            path,
            expected=f'masks of "{entry.name}" of at least its threshold, {entry.threshold:g} px',
            found=f"{len(small)} of {len(areas)} smaller, the smallest {area} px",
            next_step="lower the threshold or enlarge the masks; until then they saturate at their "
            "area",
        )
    for area, path in areas:
        if entry.relative and int(entry.threshold * area) < 1:
            report.add(
                "saturation_zero",
                path,
                expected="a saturation area of at least 1 px (the official tool divides by it)",
                found=f'{entry.threshold:g} of {area} px for "{entry.name}"',
                next_step="enlarge the mask, or raise the threshold",
            )


def _report_invalid(report: Report, found: str) -> None:
    expected = "a JSON list of objects, one for each defect"
    _report_fault(report, "config_invalid", expected, found, "write the file again")


def _report_fault(report: Report, code: str, expected: str, found: str, next_step: str) -> None:
    report.add(code, CONFIG, expected=expected, found=found, next_step=next_step)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
