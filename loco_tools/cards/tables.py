"""The tables of a data card, as Markdown."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from loco_tools.capture.session import Session
from loco_tools.datasets.mvtec_loco import CONFIG, read_config
from loco_tools.datasets.sample import DatasetClass, Defect, Threshold
from loco_tools.wording import markdown, markdown_code, plural

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
    """A Markdown table; what others have named has been escaped."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)


def splits(dataset: DatasetClass) -> str:
    """Number of images, parts and masks by split and folder, and the sizes of the images."""
    groups: dict[tuple[str, str], list[int]] = {}
    parts: dict[tuple[str, str], set[str]] = {}
    for sample in dataset:
        key = (sample.split, sample.kind_folder)
        groups.setdefault(key, []).append(len(sample.defects))
        parts.setdefault(key, set()).update([sample.part] if sample.part else [])
    rows = [
        (split, markdown(folder), len(masks), len(parts[split, folder]) or "unknown", sum(masks))
        for (split, folder), masks in groups.items()
    ]
    sizes = Counter(f"{w} x {h}" for h, w in (sample.size for sample in dataset))
    views = sorted({sample.view for sample in dataset if sample.view})
    lines = [
        table(("split", "folder", "images", "parts", "masks"), rows),
        "",
        f"{plural(len(dataset), 'image')} of {', '.join(f'{size} px' for size in sorted(sizes))}"
        + (f"; views: {', '.join(map(markdown, views))}." if views else "."),
    ]
    return "\n".join(lines)


def images_by_defect(dataset: DatasetClass) -> Counter[str]:
    """Number of test images that show each defect."""
    return Counter(name for s in dataset.test for name in {d.name for d in s.defects})


def defects(dataset: DatasetClass, sessions: Sequence[Session]) -> str:
    """Every defect with its saturation threshold and the areas of its masks.

    Areas are also given in mm² where all sessions have the same scale for a defect's view.
    """
    px_per_mm: dict[str, float] = {}
    for view in {view for session in sessions for view in session.px_per_mm}:
        scales = {s.px_per_mm[view] for s in sessions if view in s.px_per_mm}
        if len(scales) == 1:
            px_per_mm[view] = scales.pop()
    configured: dict[str, tuple[int, str]] = {}
    path = dataset.path / CONFIG
    if dataset.layout != "mvtec_ad" and path.is_file():
        for kind in read_config(path).values():
            configured[kind.defect_name] = (kind.pixel_value, _describe(kind.threshold))
    by_name: dict[str, list[tuple[Defect, float | None]]] = {name: [] for name in configured}
    for sample in dataset.test:
        scale = px_per_mm.get(sample.view) if sample.view else None
        for defect in sample.defects:
            by_name.setdefault(defect.name, []).append((defect, scale))
    if not by_name:
        return "No defects."
    images = images_by_defect(dataset)
    header = ("defect", "kind", "pixel value", "saturates at", "images", "masks")
    rows = [
        (
            markdown_code(name),
            ", ".join(sorted({defect.kind for defect, _ in instances})) or "unknown",
            *configured.get(name, ("any", "all of it (1.0)")),
            images[name],
            len(instances),
            _describe_areas(instances),
        )
        for name, instances in by_name.items()
    ]
    listing = table((*header, "area: min, median, max"), rows)
    if not px_per_mm:
        return listing
    return f"{listing}\n\nAreas in mm² are projected areas, at the scale of the view."


def _describe(threshold: Threshold) -> str:
    if threshold.relative and threshold.value == 1:
        return "all of it (1.0)"
    return f"{threshold.value:g} of its area" if threshold.relative else f"{threshold.value:.0f} px"


def _describe_areas(instances: Sequence[tuple[Defect, float | None]]) -> str:
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
        requested, actual = session.camera.requested, session.camera.actual
        rows = []
        for name in sorted({*requested, *actual}):
            values = [settings.get(name, "unknown") for settings in (requested, actual)]
            texts = [markdown(v) if isinstance(v, str) else f"{v:g}" for v in values]
            rows.append((markdown(name), *texts))
        scales = ", ".join(f"{markdown(view)} {s:.2f}" for view, s in session.px_per_mm.items())
        camera = markdown_code(session.camera.identity)
        camera += " (simulated)" if session.simulated else ""
        blocks.append(
            f"Session {markdown(session.session)}, started {session.created}, camera {camera}. "
            f"Scale in the plane of the part, px per mm: {scales or 'unknown'}.\n\n"
            + table(("setting", "requested", "actual"), rows)
        )
    return "\n\n".join(blocks)


def licence(class_dir: Path) -> tuple[str, str]:
    """The licence as Hugging Face names it ("unknown" if not stated), and a sentence about it."""
    for name in _LICENCE_FILES:
        path = class_dir / name
        if not path.is_file():
            continue
        text = " ".join(path.read_text(encoding="utf-8", errors="replace").split())
        for phrase, identifier in _LICENCES.items():
            if phrase.lower() in text.lower():
                return identifier, f"{phrase}, according to `{name}` ({identifier})."
        if name.lower().startswith("license"):
            return "other", f"See `{name}` in the class folder."
    return "unknown", "Not stated in the class folder; state it before the class is published."
