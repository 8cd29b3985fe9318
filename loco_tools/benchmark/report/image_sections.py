"""The report's sections with pictures: the gallery, the error analysis, the interactive view."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from loco_tools.benchmark.analysis.error_analysis import ClassErrors, analyse_errors, key_of
from loco_tools.benchmark.analysis.run_data import ClassResults, ReportData, share_of_good_below
from loco_tools.benchmark.analysis.segmentation import TOP_LEVEL
from loco_tools.benchmark.cell.thumbnails import HIGH_PERCENTILE
from loco_tools.benchmark.report import error_tables, image_view
from loco_tools.benchmark.report.gallery import ClassImages, heat_legend, image_link, image_rows
from loco_tools.benchmark.report.html import render
from loco_tools.benchmark.report.images import (
    IMAGES_PER_CLASS,
    RULE,
    GroundTruth,
    SelectedImage,
    read_small_maps,
    select_images,
    spro_at_threshold,
)
from loco_tools.benchmark.report.tables import Table
from loco_tools.progress import Progress
from loco_tools.wording import plural

GALLERY_BYTES = 5_000_000
ERRORS_BYTES = 2_000_000
VIEW_BYTES = 5_000_000
"""What each may take of a report; many classes and methods get fewer images each."""

BYTES_PER_TILE = 11_000
"""A generous guess for one picture of the gallery, photo or map."""

FEWEST_IMAGES = 3
"""Of each class, whatever the budget: a run of many classes and methods takes a little more."""

_ERRORS_PER_CLASS = 6


@dataclass(frozen=True)
class Pictured:
    """One class with the data of its images; `fault` explains why it has no images."""

    results: ClassResults
    images: ClassImages
    in_gallery: tuple[SelectedImage, ...]
    in_view: tuple[SelectedImage, ...]
    in_errors: tuple[SelectedImage, ...]
    class_errors: ClassErrors | None
    tables: tuple[Table, ...]
    fault: str


def pictured(data: ReportData, progress: Progress) -> list[Pictured]:
    """Read what the pictures of every class need, and choose the images.

    Raises:
        BenchmarkError: a cell is damaged.
    """
    truth = GroundTruth(data)
    done = [one for one in data.classes if one.done]
    classes = []
    with progress.task("report: images", len(done)) as advance:
        for one in done:
            classes.append(_choose_pictures(data, one, truth, len(done)))
            advance(1)
    return classes


def gallery_section(data: ReportData, classes: Sequence[Pictured]) -> Markup:
    """The galleries of all classes."""
    simulated = {info.name for info in data.run.classes if info.simulated}
    blocks = [
        (
            one.results.name,
            one.results.name in simulated,
            one.fault,
            [] if one.fault else image_rows(f"g{number}", one.images, one.in_gallery),
        )
        for number, one in enumerate(classes)
    ]
    return render(
        "gallery.html",
        note=f"{RULE} {data.seed_note}",
        percentile=f"{HIGH_PERCENTILE:g}",
        ramp=heat_legend("gallery-ramp"),
        blocks=blocks,
    )


def errors_section(data: ReportData, classes: Sequence[Pictured]) -> Markup:
    """The error analysis of all classes."""
    blocks = []
    for number, one in enumerate(classes):
        block: dict[str, Any] = {"name": one.results.name, "tables": one.tables}
        if one.tables:
            listing = one.tables[-1]
            links = {key: image_link(one.results.name, key) for key in one.images.linked}
            block |= {
                "summary": f"The {plural(len(listing.rows), 'image')} that a method is wrong about",
                "listing": error_tables.first_rows(listing, links),
                "more": len(listing.rows) - error_tables.ROWS_SHOWN,
                "fault": one.fault,
                "images": [] if one.fault else image_rows(f"e{number}", one.images, one.in_errors),
            }
        blocks.append(block)
    return render("errors.html", note=f"{error_tables.NOTE} {data.seed_note}", blocks=blocks)


def view_section(data: ReportData, classes: Sequence[Pictured]) -> Markup | None:
    """The interactive view; None where no image can be shown."""
    content = image_view.view(
        data, [(one.images, one.in_view, one.class_errors) for one in classes]
    )
    if content is None:
        return None
    count = sum(len(one.in_view) for one in classes)
    total = sum(len(one.images.scores) for one in classes)
    which = f"All {total} test images are in this file."
    if count < total:
        which = (
            f"{count} of {total} test images are in this file, to keep it small: first those that "
            "most methods are wrong about, then those of the gallery, then any others."
        )
    return render(
        "image_view.html",
        note=f"{image_view.NOTE} {data.seed_note}",
        meaning=f"{image_view.MEANING} {which} The address of the page leads back to the image "
        "that is shown.",
        ramp=heat_legend("view-ramp"),
        top_level=TOP_LEVEL,
        content=content,
    )


def _choose_pictures(
    data: ReportData, one: ClassResults, truth: GroundTruth, classes: int
) -> Pictured:
    """Choose the images of a class: many classes and methods get fewer images each."""
    scores = {record.stamp.method: data.scores(record.cell) for record in one.shown}
    first = next(iter(scores.values()))
    above = {method: share_of_good_below(of_method) for method, of_method in scores.items()}
    maps = [] if truth.fault(one) else read_small_maps(data, one)
    per_image = classes * (len(maps) + 1)
    gallery = max(FEWEST_IMAGES, GALLERY_BYTES // (per_image * BYTES_PER_TILE))
    most_errors = max(1, ERRORS_BYTES // (per_image * BYTES_PER_TILE))
    most_in_view = max(FEWEST_IMAGES, VIEW_BYTES // (per_image * image_view.BYTES_PER_PICTURE))
    keys, class_errors = [key_of(score) for score in first], analyse_errors(data, one)
    segmented = spro_at_threshold(maps, keys, truth, one)
    selected = select_images(first, above, segmented, limit=min(IMAGES_PER_CLASS, gallery))
    errors: list[SelectedImage] = []
    tables: list[Table | None] = []
    if class_errors is not None:
        errors = error_tables.hardest(class_errors, min(_ERRORS_PER_CLASS, most_errors))
        sizes = truth.shares(one)
        tables = [
            error_tables.decisions(one.name, class_errors),
            error_tables.shared(one.name, class_errors, sizes),
            error_tables.overlaps(one.name, class_errors),
            error_tables.listing(one.name, class_errors, sizes),
        ]
    more = select_images(first, above, segmented, limit=most_in_view)
    rest = [SelectedImage(index, "another image") for index in range(len(first))]
    by_index: dict[int, SelectedImage] = {}
    for image in (*errors, *selected, *more, *rest):
        if len(by_index) < most_in_view:
            by_index.setdefault(image.index, image)
    in_view = [by_index[index] for index in sorted(by_index)]
    samples = truth.samples(one)
    linked = frozenset(keys[image.index] for image in in_view) & frozenset(samples)
    return Pictured(
        one,
        ClassImages(one, first, samples, maps, above, linked),
        tuple(selected),
        tuple(in_view),
        tuple(errors),
        class_errors,
        tuple(table for table in tables if table is not None),
        truth.fault(one),
    )
