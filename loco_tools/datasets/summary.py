"""The contents of a class in numbers: images, defects, masks, sizes."""

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from loco_tools.datasets.sample import DatasetClass, Defect, Sample
from loco_tools.datasets.sidecar import read_records, sidecar_path
from loco_tools.wording import plural, printable


@dataclass(frozen=True)
class DefectSummary:
    """All masks of one defect type.

    Attributes:
        name: the defect type.
        kinds: "structural", "logical" or both.
        images: number of images.
        masks: number of masks.
        pixel_values: the values in the mask files; empty where any positive value counts.
        saturation: the saturation threshold as text.
        smallest_px: area of the smallest mask in pixels.
        largest_px: area of the largest mask in pixels.
    """

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
    """The image sizes of one view: smallest and largest width and height in pixels.

    `view` is None where the view is unknown.
    """

    view: str | None
    images: int
    widths: tuple[int, int]
    heights: tuple[int, int]


@dataclass(frozen=True)
class Summary:
    """The contents of a class.

    Attributes:
        name: the class.
        layout: its layout.
        images: number of images by folder ("test/good").
        defects: one entry per defect type.
        sizes: one entry per view.
        parts: number of different parts; 0 where parts are unknown.
        simulated: number of images that the sidecar marks as simulated.
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
        """Number of masks of all defects."""
        return sum(defect.masks for defect in self.defects)

    @property
    def origin(self) -> str:
        """The layout, with a conspicuous note on simulated images."""
        total = sum(self.images.values())
        share = "" if self.simulated == total else f"{self.simulated} of {total} "
        return f"{self.layout}, {share}SIMULATED images" if self.simulated else self.layout

    def describe(self) -> str:
        """The summary as lines of text."""
        total = sum(self.images.values())
        parts = f" of {plural(self.parts, 'part')}" if self.parts else ""
        lines = [f"{printable(self.name)} ({self.origin}): {plural(total, 'image')}{parts}"]
        lines += table([["", folder, str(count)] for folder, count in self.images.items()])
        lines += [f"sizes: {line}" for line in self.size_lines()]
        counts = f"{plural(len(self.defects), 'type')}, {plural(self.masks, 'mask')}"
        lines.append(f"defects: {counts}")
        if self.defects:
            rows = [["", *row] for row in self.defect_rows()]
            lines += table([["", *DEFECT_COLUMNS], *rows])
        return "\n".join(lines)

    def size_lines(self) -> list[str]:
        """One line per size, such as "640 x 480 px (60 images, views top, inside)"."""
        groups: defaultdict[str, list[SizeSummary]] = defaultdict(list)
        for size in self.sizes:
            groups[f"{_range(size.widths)} x {_range(size.heights)} px"].append(size)
        lines = []
        for text, members in groups.items():
            views = ", ".join(printable(size.view) for size in members if size.view)
            shown = f", views {views}" if views else ""
            images = plural(sum(size.images for size in members), "image")
            lines.append(f"{text} ({images}{shown})")
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
    """Count the contents of a class; of images only the headers are read.

    Raises:
        DatasetError: the header of an image, or the sidecar, cannot be read.
    """
    samples = list(dataset)
    defects: defaultdict[str, list[tuple[Sample, Defect]]] = defaultdict(list)
    sizes: defaultdict[str | None, list[tuple[int, int]]] = defaultdict(list)
    for sample in samples:
        sizes[sample.view].append(sample.size)
        for defect in sample.defects:
            defects[defect.name].append((sample, defect))
    size_summaries = []
    for view, of_view in sizes.items():
        heights, widths = zip(*of_view, strict=True)
        size_summaries.append(
            SizeSummary(
                view, len(of_view), (min(widths), max(widths)), (min(heights), max(heights))
            )
        )
    records = read_records(sidecar_path(dataset.path))
    paths = [sample.image_path.relative_to(dataset.path).as_posix() for sample in samples]
    return Summary(
        name=dataset.name,
        layout=dataset.layout,
        images=dict(Counter(f"{s.split}/{s.kind_folder}" for s in samples)),
        defects=tuple(_summarise_defect(name, defects[name]) for name in sorted(defects)),
        sizes=tuple(size_summaries),
        parts=len({sample.part for sample in samples} - {None}),
        simulated=sum(records.get(path, {}).get("simulated") is True for path in paths),
    )


def _summarise_defect(name: str, instances: list[tuple[Sample, Defect]]) -> DefectSummary:
    defects = [defect for _, defect in instances]
    areas = [defect.area_px for defect in defects]
    return DefectSummary(
        name=name,
        kinds=tuple(sorted({defect.kind for defect in defects})),
        images=len({sample.image_path for sample, _ in instances}),
        masks=len(defects),
        pixel_values=tuple(sorted({d.pixel_value for d in defects if d.pixel_value is not None})),
        saturation=" or ".join(sorted({saturation_text(defect) for defect in defects})),
        smallest_px=min(areas),
        largest_px=max(areas),
    )


def saturation_text(defect: Defect) -> str:
    """The saturation threshold of a defect in a few words.

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
