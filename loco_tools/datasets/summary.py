"""What a class holds, counted: images, defects, masks, sizes."""

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from loco_tools.datasets.sample import DatasetClass, Defect, Sample
from loco_tools.datasets.sidecar import read_records, sidecar_path
from loco_tools.wording import printable


@dataclass(frozen=True)
class DefectSummary:
    """All masks of one defect type; areas in pixels. `pixel_values` is empty where any counts."""

    name: str
    kinds: tuple[str, ...]
    images: int
    masks: int
    pixel_values: tuple[int, ...]
    saturation: str
    smallest_px: int
    largest_px: int


@dataclass(frozen=True)
class SizeSummary:
    """The image sizes of one view (None: views are not known), from - to in pixels."""

    view: str | None
    images: int
    widths: tuple[int, int]
    heights: tuple[int, int]


@dataclass(frozen=True)
class Summary:
    """What was understood of a class.

    `images` counts by folder ("test/good"); `simulated` counts images that the sidecar calls so.
    """

    name: str
    layout: str
    images: dict[str, int]
    defects: tuple[DefectSummary, ...]
    sizes: tuple[SizeSummary, ...]
    parts: int
    simulated: int

    @property
    def masks(self) -> int:
        """Masks of all defects."""
        return sum(defect.masks for defect in self.defects)

    @property
    def origin(self) -> str:
        """The layout, and a mark that no reader of simulated images can overlook."""
        total = sum(self.images.values())
        share = "" if self.simulated == total else f"{self.simulated} of {total} "
        return f"{self.layout}, {share}SIMULATED images" if self.simulated else self.layout

    def describe(self) -> str:
        """The summary for a terminal."""
        total = sum(self.images.values())
        parts = f" of {self.parts} parts" if self.parts else ""
        lines = [f"{printable(self.name)} ({self.origin}): {total} images{parts}"]
        lines += table([["", folder, str(count)] for folder, count in self.images.items()])
        lines += [f"sizes: {line}" for line in self.size_lines()]
        lines.append(f"defects: {len(self.defects)} types, {self.masks} masks")
        if self.defects:
            rows = [["", *row] for row in self.defect_rows()]
            lines += table([["", *DEFECT_COLUMNS], *rows])
        return "\n".join(lines)

    def size_lines(self) -> list[str]:
        """One line per size, as "640 x 480 px (60 images, views top, inside)"."""
        groups: defaultdict[str, list[SizeSummary]] = defaultdict(list)
        for size in self.sizes:
            groups[f"{_range(size.widths)} x {_range(size.heights)} px"].append(size)
        lines = []
        for text, members in groups.items():
            views = ", ".join(printable(size.view) for size in members if size.view)
            shown = f", views {views}" if views else ""
            lines.append(f"{text} ({sum(size.images for size in members)} images{shown})")
        return lines

    def defect_rows(self) -> list[list[str]]:
        """The cells of the defect table below `DEFECT_COLUMNS`."""
        return [
            [
                printable(defect.name),
                ", ".join(defect.kinds),
                str(defect.images),
                str(defect.masks),
                ", ".join(map(str, defect.pixel_values)) or "any",
                defect.saturation,
                f"{_range((defect.smallest_px, defect.largest_px))} px",
            ]
            for defect in self.defects
        ]

    def as_record(self) -> dict[str, Any]:
        """The summary as plain data for JSON."""
        return asdict(self)


DEFECT_COLUMNS = ("defect", "kind", "images", "masks", "value", "saturation", "area")


def summarise(dataset: DatasetClass) -> Summary:
    """Count what is in a class; no image is decoded, only headers are read.

    Raises:
        DatasetError: the header of an image, or the sidecar, cannot be read.
    """
    samples = list(dataset)
    found: defaultdict[str, list[tuple[Sample, Defect]]] = defaultdict(list)
    for sample in samples:
        for defect in sample.defects:
            found[defect.name].append((sample, defect))
    views: defaultdict[str | None, list[tuple[int, int]]] = defaultdict(list)
    for sample in samples:
        views[sample.view].append(sample.size)
    return Summary(
        name=dataset.name,
        layout=dataset.layout,
        images=dict(Counter(f"{s.split}/{s.kind_folder}" for s in samples)),
        defects=tuple(_defect(name, found[name]) for name in sorted(found)),
        sizes=tuple(_sizes(view, sizes) for view, sizes in views.items()),
        parts=len({sample.part for sample in samples} - {None}),
        simulated=_simulated(dataset, samples),
    )


def _simulated(dataset: DatasetClass, samples: Iterable[Sample]) -> int:
    records = read_records(sidecar_path(dataset.path))
    paths = (sample.image_path.relative_to(dataset.path).as_posix() for sample in samples)
    return sum(records.get(path, {}).get("simulated") is True for path in paths)


def _defect(name: str, found: list[tuple[Sample, Defect]]) -> DefectSummary:
    areas = [defect.area_px for _, defect in found]
    return DefectSummary(
        name=name,
        kinds=tuple(sorted({defect.kind for _, defect in found})),
        images=len({sample.image_path for sample, _ in found}),
        masks=len(found),
        pixel_values=tuple(sorted({d.pixel_value for _, d in found if d.pixel_value is not None})),
        saturation=" or ".join(sorted({saturation_text(defect) for _, defect in found})),
        smallest_px=min(areas),
        largest_px=max(areas),
    )


def saturation_text(defect: Defect) -> str:
    """When a defect counts as found, in a few words.

    >>> from pathlib import Path
    >>> saturation_text(Defect("scratch", "structural", Path("000.png")))
    'whole area'
    """
    threshold = defect.threshold
    if threshold is None or (threshold.relative and threshold.value == 1):
        return "whole area"
    if threshold.relative:
        return f"{100 * threshold.value:g} % of area"
    return f"{threshold.value:g} px"


def _sizes(view: str | None, sizes: list[tuple[int, int]]) -> SizeSummary:
    heights, widths = zip(*sizes, strict=True)
    return SizeSummary(view, len(sizes), (min(widths), max(widths)), (min(heights), max(heights)))


def _range(bounds: tuple[int, int]) -> str:
    low, high = bounds
    return str(low) if low == high else f"{low}-{high}"


def table(rows: Iterable[list[str]]) -> list[str]:
    """Rows of cells as lines with aligned columns; numbers are aligned to the right."""
    cells = list(rows)
    widths = [max(len(cell) for cell in column) for column in zip(*cells, strict=True)]
    return [
        "  ".join(
            cell.rjust(width) if cell.isdigit() else cell.ljust(width)
            for cell, width in zip(row, widths, strict=True)
        ).rstrip()
        for row in cells
    ]
