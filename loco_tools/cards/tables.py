"""The tables of a data card, as Markdown."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median

from loco_tools.capture.session import Session
from loco_tools.datasets.mvtec_loco import CONFIG, read_config
from loco_tools.datasets.sample import DatasetClass, Defect, Threshold

_LICENCE_FILES = ("license.txt", "LICENSE.txt", "LICENSE", "readme.txt", "readme.md", "README.md")
_LICENCES = {
    "Attribution-NonCommercial-ShareAlike 4.0": "cc-by-nc-sa-4.0",
    "CC BY-NC-SA 4.0": "cc-by-nc-sa-4.0",
    "Attribution-ShareAlike 4.0": "cc-by-sa-4.0",
    "Attribution 4.0 International": "cc-by-4.0",
    "CC0 1.0": "cc0-1.0",
    "Apache License": "apache-2.0",
    "MIT License": "mit",
}


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A Markdown table; figures are the reader's to align."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)


def splits(dataset: DatasetClass) -> str:
    """Images, parts and masks by split and folder, and the sizes of the images."""
    groups: dict[tuple[str, str], list[int]] = {}
    parts: dict[tuple[str, str], set[str]] = {}
    for sample in dataset:
        place = (sample.split, sample.kind_folder)
        groups.setdefault(place, []).append(len(sample.defects))
        parts.setdefault(place, set()).update([sample.part] if sample.part else [])
    rows = [
        (split, folder, len(masks), len(parts[split, folder]) or "unknown", sum(masks))
        for (split, folder), masks in groups.items()
    ]
    sizes = Counter(f"{w} x {h}" for h, w in (sample.size for sample in dataset))
    views = sorted({sample.view for sample in dataset if sample.view})
    lines = [
        table(("split", "folder", "images", "parts", "masks"), rows),
        "",
        f"{len(dataset)} images of {', '.join(f'{size} px' for size in sorted(sizes))}"
        + (f"; views: {', '.join(views)}." if views else "."),
    ]
    return "\n".join(lines)


def images_by_defect(dataset: DatasetClass) -> Counter[str]:
    """Number of test images that show each defect."""
    return Counter(name for s in dataset.test for name in {d.name for d in s.defects})


def defects(dataset: DatasetClass, px_per_mm: Mapping[str, float]) -> str:
    """Every defect with its saturation and the areas of its masks; mm² where scales are known."""
    configured = _configured(dataset)
    found: dict[str, list[tuple[Defect, float | None]]] = {name: [] for name in configured}
    for sample in dataset.test:
        scale = px_per_mm.get(sample.view) if sample.view else None
        for defect in sample.defects:
            found.setdefault(defect.name, []).append((defect, scale))
    if not found:
        return "No defects."
    images = images_by_defect(dataset)
    header = ("defect", "kind", "pixel value", "saturates at", "images", "masks")
    rows = [
        (
            f"`{name}`",
            ", ".join(sorted({defect.kind for defect, _ in instances})) or "unknown",
            *configured.get(name, ("any", "all of it (1.0)")),
            images[name],
            len(instances),
            _areas(instances),
        )
        for name, instances in found.items()
    ]
    listing = table((*header, "area: min, median, max"), rows)
    if not px_per_mm:
        return listing
    return f"{listing}\n\nAreas in mm² are as seen by the camera, at the scale of the view."


def _configured(dataset: DatasetClass) -> dict[str, tuple[int, str]]:
    """Pixel value and saturation of each defect of `defects_config.json`, if the class has one."""
    path = dataset.path / CONFIG
    if dataset.layout == "mvtec_ad" or not path.is_file():
        return {}
    types = read_config(path).values()
    return {t.defect_name: (t.pixel_value, _saturation(t.threshold)) for t in types}


def _saturation(threshold: Threshold) -> str:
    if threshold.relative and threshold.value == 1:
        return "all of it (1.0)"
    if threshold.relative:
        return f"{threshold.value:g} of its area"
    return f"{threshold.value:.0f} px"


def _areas(instances: Sequence[tuple[Defect, float | None]]) -> str:
    if not instances:
        return "no masks"
    px = [defect.area_px for defect, _ in instances]
    text = f"{min(px)}, {median(px):.0f}, {max(px)} px"
    mm2 = [defect.area_px / scale**2 for defect, scale in instances if scale]
    if len(mm2) == len(px):
        text += f" ({min(mm2):.1f}, {median(mm2):.1f}, {max(mm2):.1f} mm²)"
    return text


def capture(sessions: Sequence[Session]) -> str:
    """Camera, settings and scale of every session."""
    if not sessions:
        return "Unknown: no capture session of these images was found."
    blocks = []
    for session in sessions:
        names = sorted({*session.camera.requested, *session.camera.actual})
        rows = [
            (
                name,
                *(
                    _figure(side, name)
                    for side in (session.camera.requested, session.camera.actual)
                ),
            )
            for name in names
        ]
        scales = ", ".join(f"{view} {s:.2f}" for view, s in session.px_per_mm.items())
        blocks.append(
            f"Session {session.session}, begun {session.created}, camera "
            f"`{session.camera.identity}`{' (simulated)' if session.simulated else ''}. "
            f"Scale in the part's plane, px per mm: {scales or 'unknown'}.\n\n"
            + table(("setting", "requested", "actual"), rows)
        )
    return "\n\n".join(blocks)


def _figure(settings: Mapping[str, float | str], name: str) -> str:
    value = settings.get(name, "unknown")
    return value if isinstance(value, str) else f"{value:g}"


def licence(class_dir: Path) -> tuple[str, str]:
    """Hugging Face's name of the class's licence ("unknown" if it is not said), and a sentence."""
    for name in _LICENCE_FILES:
        path = class_dir / name
        if not path.is_file():
            continue
        text = " ".join(path.read_text(encoding="utf-8", errors="replace").split())
        for phrase, identifier in _LICENCES.items():
            if phrase.lower() in text.lower():
                return identifier, f"{phrase}, says `{name}` ({identifier})."
        if name.lower().startswith("license"):
            return "other", f"As `{name}` in the class folder says."
    return "unknown", "Not stated in the class folder; whoever publishes the class has to state it."
