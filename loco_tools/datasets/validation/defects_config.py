"""Checking `defects_config.json` entry by entry, as far as each can be understood."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loco_tools.datasets.mvtec_loco import CONFIG
from loco_tools.datasets.validation.class_tree import MaskFile
from loco_tools.datasets.validation.file_inspection import Inspection
from loco_tools.datasets.validation.findings import Report
from loco_tools.wording import listed

_KEYS = ("defect_name", "pixel_value", "saturation_threshold", "relative_saturation")
_HUGE = 1e12  # pixels; also refuses NaN and infinity


@dataclass(frozen=True)
class Entry:
    """One defect type as far as its entry makes sense; `threshold` is None where it does not."""

    name: str
    value: int
    threshold: float | None
    relative: bool


def check_config(root: Path, report: Report) -> dict[int, Entry] | None:
    """The usable entries by pixel value, with every fault reported; None if there is no list."""
    entries = _read(root / CONFIG, report)
    if entries is None:
        return None
    usable = [found for n, entry in enumerate(entries) if (found := _entry(entry, n, report))]
    for value, count in Counter(entry.value for entry in usable).items():
        if count > 1:
            names = [entry.name for entry in usable if entry.value == value]
            _fault(
                report,
                "duplicate_value",
                "a pixel_value of its own for each defect",
                f"{value} for {listed(names)}",
                "give each its own value, and rewrite the masks",
            )
    for name, count in Counter(entry.name for entry in usable).items():
        if count > 1:
            _fault(
                report,
                "duplicate_name",
                "a defect_name of its own for each defect",
                f'"{name}" {count} times',
                "rename all but one, or merge them",
            )
    return {entry.value: entry for entry in reversed(usable)}


def _read(path: Path, report: Report) -> list[Any] | None:
    if not path.is_file():
        _fault(
            report,
            "config_missing",
            "the list of this class's defects with their pixel values and thresholds",
            "no such file",
            "write it, or make the class with loco-tools convert",
        )
        return None
    try:
        content: Any = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        _invalid(report, f"a file that is no JSON ({error})")
        return None
    if not isinstance(content, list) or not content:
        _invalid(report, "an empty list" if content == [] else f"a {type(content).__name__}")
        return None
    return content


def _entry(entry: Any, number: int, report: Report) -> Entry | None:
    place = f"entry {number}"
    if not isinstance(entry, dict):
        _invalid(report, f"{place}: {_short(entry)}")
        return None
    name = entry.get("defect_name")
    if isinstance(name, str) and name:
        place = f'entry {number} ("{name}")'
    _check_keys(entry, place, report)
    if "defect_name" in entry and not (isinstance(name, str) and name):
        _fault(report, "config_name", "a text", f"{place}: {_short(name)}", "give it a name")
    threshold = _threshold(entry, place, report)
    value = entry.get("pixel_value")
    if type(value) is not int or not 1 <= value <= 255:
        if "pixel_value" in entry:
            _fault(
                report,
                "config_pixel_value",
                "a pixel_value that is a whole number from 1 to 255",
                f"{place}: {_short(value)}",
                "use the value that the masks of this defect have",
            )
        return None
    known = name if isinstance(name, str) and name else place
    return Entry(known, value, threshold, entry.get("relative_saturation") is True)


def _check_keys(entry: dict[str, Any], place: str, report: Report) -> None:
    missing = [key for key in _KEYS if key not in entry]
    unknown = [key for key in entry if key not in _KEYS]
    if missing or unknown:
        parts = [f"no {listed(missing)}"] if missing else []
        parts += [f"the unknown {listed(unknown)}"] if unknown else []
        _fault(
            report,
            "config_keys",
            f"exactly {', '.join(_KEYS)}",
            f"{place}: {' and '.join(parts)}",
            "add what is missing and remove what is unknown",
        )


def _threshold(entry: dict[str, Any], place: str, report: Report) -> float | None:
    if not {"relative_saturation", "saturation_threshold"} <= entry.keys():
        return None
    relative, value = entry["relative_saturation"], entry["saturation_threshold"]
    found = f"{place}: {_short(value)}"
    if type(relative) is not bool:
        _fault(
            report,
            "config_threshold_type",
            "true or false for relative_saturation",
            f"{place}: {_short(relative)}",
            "true for a share of the defect's area, false for pixels",
        )
        return None
    number = type(value) in (int, float) and abs(value) < _HUGE
    if type(value) is not (float if relative else int):
        _fault(
            report,
            "config_threshold_type",
            "a number with a decimal point for a relative threshold (the official loader refuses 1)"
            if relative
            else "a whole number of pixels for an absolute threshold",
            found,
            f"write {float(value)}" if number and relative else "write it as expected",
        )
    in_range = number and (0 < value <= 1 if relative else value >= 1)
    if type(value) in (int, float) and not in_range:
        expected = "a share greater than 0 and at most 1" if relative else "at least 1 pixel"
        mend = (
            "correct it; for pixels, set relative_saturation to false" if relative else "raise it"
        )
        _fault(report, "config_threshold_range", expected, found, mend)
    return float(value) if in_range else None


def check_use(
    masks: Sequence[MaskFile],
    inspected: Mapping[str, Inspection],
    entries: Mapping[int, Entry],
    report: Report,
) -> None:
    """Masks against the configuration: unknown values, unused defects, thresholds and areas."""
    areas: dict[int, list[tuple[int, str]]] = {value: [] for value in entries}
    known = ", ".join(f"{value} {entry.name}" for value, entry in entries.items()) or "none"
    for mask in masks:
        seen = inspected[mask.path]
        for value in seen.values if len(seen.values) == 1 else ():
            if value in areas:
                areas[value].append((seen.area_px, mask.path))
                continue
            report.add(
                "value_not_in_config",
                mask.path,
                expected=f"a value of {CONFIG} ({known})",
                found=str(value),
                mend="add the defect to the configuration, or write the mask with its value",
            )
    for value, found in areas.items():
        _check_areas(entries[value], found, report)


def _check_areas(entry: Entry, areas: list[tuple[int, str]], report: Report) -> None:
    if not areas:
        _fault(
            report,
            "defect_unused",
            f'at least one mask of "{entry.name}" (pixel value {entry.value})',
            "none",
            "nothing, if there is no such image; otherwise check the values of the masks",
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
            found=f"{len(small)} of {len(areas)} smaller ones, the smallest of {area} px",
            mend="lower the threshold or enlarge the masks; until then they saturate at their area",
        )
    for area, path in areas:
        if entry.relative and int(entry.threshold * area) < 1:
            report.add(
                "saturation_zero",
                path,
                expected="a saturation area of at least 1 px (the official tool divides by it)",
                found=f'{entry.threshold:g} of {area} px for "{entry.name}"',
                mend="enlarge the mask, or raise the threshold",
            )


def _invalid(report: Report, found: str) -> None:
    expected = "a JSON list of objects, one for each defect"
    _fault(report, "config_invalid", expected, found, "write it anew")


def _fault(report: Report, code: str, expected: str, found: str, mend: str) -> None:
    report.add(code, CONFIG, expected=expected, found=found, mend=mend)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
